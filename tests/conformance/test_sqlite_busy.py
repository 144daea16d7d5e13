"""A SQLite file that somebody else writes to nearly all the time."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing

from onerow import api
from onerow.rules import Key
from tests.support.sandbox import Sandbox
from tests.support.story import planned

KEY = Key("parent", "k", name="parent_k")
HELD, FREE = 0.15, 0.004  #: seconds


def busy(path: str, stop: threading.Event) -> None:
    """Hold the write lock, and let it go for a moment only."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as file:
        while not stop.is_set():
            file.execute("BEGIN IMMEDIATE")
            time.sleep(HELD)
            file.execute("ROLLBACK")
            time.sleep(FREE)


def test_a_busy_writer_starves_no_run(sqlite_url: str) -> None:
    """The journal's own writes come through, each of them, and the run ends."""
    box = Sandbox(sqlite_url)
    box.execute(
        "CREATE TABLE parent (id integer PRIMARY KEY, k integer NOT NULL);"
        "INSERT INTO parent VALUES (1, 1), (2, 1), (3, 2); PRAGMA journal_mode = WAL;"
    )
    plan, stop = planned(box, KEY), threading.Event()
    writer = threading.Thread(target=busy, args=(sqlite_url.removeprefix("sqlite:///"), stop))
    writer.start()
    try:
        outcome = api.apply(box.url, [KEY], plan=plan)
    finally:
        stop.set()
        writer.join()
    assert (outcome.status, outcome.archived) == ("done", 1)
