"""`onerow plan --sql`, run as a person would run it: by psql, or by SQLite's own shell functions."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from onerow import api
from onerow.report.sql import script
from onerow.rules import Key
from onerow.testing import EmbeddedServer, Server
from tests.support.sandbox import Sandbox
from tests.support.story import applied, planned, undone

ROWS = """
CREATE TABLE parent (id integer PRIMARY KEY, k integer NOT NULL, v text, n integer);
CREATE TABLE child (id integer PRIMARY KEY, parent_id integer NOT NULL REFERENCES parent
    ON DELETE CASCADE, word text, UNIQUE (parent_id, word));
CREATE TABLE leaf (id integer PRIMARY KEY, child_id integer NOT NULL REFERENCES child);
INSERT INTO parent VALUES (1, 1, NULL, 10), (2, 1, 'it''s; "b"', 20), (3, 2, 'c', 30), (4, 2, 'd', 40),
    (5, 3, 'e', 50);
INSERT INTO child VALUES (1, 1, 'a'), (2, 2, 'a'), (3, 4, 'c'), (4, 5, 'd');
INSERT INTO leaf VALUES (1, 1), (2, 2), (3, 3);
"""
RULE = Key(
    "parent", "k", name="parent_k", merge={"n": "sum"}, children={"child": "merge"}, keep="max n"
)


def psql(server: Server) -> str:
    """The program beside the server, else the one that is installed."""
    if isinstance(server, EmbeddedServer) and (server.bin_dir / "psql").is_file():
        return str(server.bin_dir / "psql")
    found = shutil.which("psql")
    if found is None:
        found = next((str(p) for p in Path("/usr/lib/postgresql").glob("*/bin/psql")), None)
    assert found is not None, "neither the server nor the PATH has a psql"
    return found


def run(box: Sandbox, text: str, server: Server) -> None:
    """Every statement of the script, as it stands."""
    if box.sqlite:
        with closing(
            sqlite3.connect(box.url.removeprefix("sqlite:///"), isolation_level=None)
        ) as c:
            c.executescript(text)
        return
    done = subprocess.run(
        [psql(server), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-", box.url],
        input=text,
        capture_output=True,
        text=True,
        env=os.environ | {"PGOPTIONS": "-c client_min_messages=warning"},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "rule", [RULE, Key("parent", "k", name="parent_k", children={"child": "keep"})]
)
def test_a_merge_by_hand_ends_as_an_apply_does(db_url: str, pg_server: Server, rule: Key) -> None:
    """The same rows, schema and archived rows; the script needs nothing but a shell."""
    box = Sandbox(db_url)
    box.execute(ROWS)
    before = box.state()
    text = script(planned(box, rule))
    applied(box, rule)
    after = box.state()
    gone = {t: box.archived(t) for t in ("parent", "child")}
    undone(box)
    assert box.state() == before
    run(box, text, pg_server)
    assert box.state() == after
    place = "main" if box.sqlite else "onerow"
    for table, rows in gone.items():
        assert (
            box.count(f"{place}.onerow_archive_of_{table} WHERE onerow_survivor IS NOT NULL")
            == rows
        )
    assert api.make_plan(box.url, [rule]).steps == ()
