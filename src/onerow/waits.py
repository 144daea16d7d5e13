"""Who holds a run up: asked from a second connection while a step is at work (PostgreSQL)."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from onerow.database import Database, run
from onerow.errors import OnerowError
from onerow.session import Session

EVERY = 0.25  #: seconds; shorter than a try for a lock, and nothing is asked of shorter steps

_BLOCKER = """
SELECT a.pid, a.application_name, left(a.query, 1000), extract(epoch FROM now() - a.xact_start)
FROM unnest(pg_blocking_pids({pid})) AS b (pid) JOIN pg_stat_activity AS a ON a.pid = b.pid
ORDER BY a.xact_start LIMIT 1
"""


@contextmanager
def waits_told(session: Session, tell: Callable[[str], None]) -> Iterator[None]:
    """Tell who blocks the session's statements, as long as the block lasts."""
    if session.database.dialect == "sqlite":
        yield  # nobody can tell who has the file
        return
    pid = int(run(session.connection, "SELECT pg_backend_pid()").scalar_one())
    session.connection.rollback()
    stop = threading.Event()
    thread = threading.Thread(target=_watch, args=(session.database, pid, stop, tell))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _watch(
    database: Database, pid: int, stop: threading.Event, tell: Callable[[str], None]
) -> None:
    if stop.wait(EVERY):
        return
    try:
        with database.connect(autocommit=True) as connection:
            while not stop.wait(EVERY):
                row = run(connection, _BLOCKER.format(pid=pid)).first()
                if row:
                    tell(holds_up(*row))
    except OnerowError:
        return  # a courtesy; the run itself does without


def holds_up(pid: object, app: object, query: object, age: object) -> str:
    """The sentence on a session that others wait for."""
    seconds = f"{float(str(age)):.0f} s" if age is not None else "unknown time"
    return (
        f"process {pid} ({app or 'no application name'}) holds it up, its "
        f"transaction is open for {seconds}: {without_literals(str(query or ''))}"
    )


def without_literals(query: str) -> str:
    """The first words of another session's statement; its values are none of our business.

    A text that was cut in the middle of a literal ends in an open quote.
    """
    shown = re.sub(r"\$(\w*)\$.*?(\$\1\$|\Z)", "'…'", query, flags=re.DOTALL)
    shown = re.sub(r"'(?:[^']|'')*(?:'|\Z)", "'…'", shown)
    shown = " ".join(re.sub(r"(?<![\w$])\d+(\.\d+)?", "…", shown).split())
    return shown if len(shown) <= 80 else shown[:79] + "…"
