"""`onerow archive`: what was kept, shown as it was, and dropped when it is no longer wanted."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from onerow import Key, api
from onerow.database import Database
from onerow.errors import InputError, OnerowError, Refused
from onerow.journal import Journal
from onerow.session import Limits
from tests.cli.shell import Shell
from tests.support.sandbox import Sandbox

KEY = Key("t", "k", name="t_k_key", keep="first")


def merged(url: str) -> tuple[Sandbox, str]:
    """Two groups merged: 2 into 1, `b c` and `d,e` into `a`; a child of each table, one unused."""
    box = Sandbox(url)
    box.execute(
        "CREATE TABLE t (id text PRIMARY KEY, k integer, note text)",
        "CREATE TABLE child (id integer PRIMARY KEY, t_id text REFERENCES t)",
        "CREATE TABLE idle (id integer PRIMARY KEY, t_id text REFERENCES t)",
        "CREATE INDEX child_t ON child (t_id)",
        "CREATE INDEX idle_t ON idle (t_id)",
        "INSERT INTO t VALUES ('a', 1, 'x'), ('b ''c', 1, 'y'), ('d,e', 1, 'z'), ('f', 2, NULL)",
        "INSERT INTO child VALUES (1, 'd,e'), (2, 'f')",
    )
    outcome = api.apply(url, [KEY])
    assert outcome.status == "done"
    return box, str(outcome.run)


def test_list_leaves_empty_tables_out(db_url: str) -> None:
    """A child of which nothing was archived has no table; rows and state of the others are told."""
    box, run = merged(db_url)
    found = {str(a.table).partition(".")[2]: a for a in api.archive_list(db_url)}
    assert {t: a.rows for t, a in found.items()} == {"t": 2, "child": 1}
    assert all(a.prunable and a.run == run and a.status == "done" for a in found.values())
    tables = "sqlite_master" if box.sqlite else "pg_tables"
    name = "name" if box.sqlite else "tablename"
    kept = "" if box.sqlite else " AND schemaname = 'onerow'"
    like = f"{name} LIKE '%archive\\_{run.replace('-', chr(92) + '_')}%' ESCAPE '\\'"
    only = " AND type = 'table'" if box.sqlite else ""
    assert box.value(f"SELECT count(*) FROM {tables} WHERE {like}{kept}{only}") == 2
    assert api.undo(db_url).left_alone == ()


def test_show_tells_which_id_became_which(db_url: str) -> None:
    """Rows as they were, what was done to them, and the row that took them; odd ids included."""
    merged(db_url)
    rows = api.archive_show(db_url)
    gone = {r.row["id"]: r for r in rows if r.action == "deleted"}
    assert set(gone) == {"b 'c", "d,e"}
    assert {r.survivor["id"] for r in gone.values() if r.survivor} == {"a"}
    assert gone["d,e"].row == {"id": "d,e", "k": 1, "note": "z"}
    (moved,) = api.archive_show(db_url, table="child")
    assert (moved.action, moved.row) == ("repointed", {"id": 1, "t_id": "d,e"})
    assert [r.row["note"] for r in api.archive_show(db_url, table="t", key={"id": "d,e"})] == ["z"]
    assert len(api.archive_show(db_url, limit=1)) == 1


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"run": "nope"}, "no run 'nope'"),
        ({"table": "idle"}, "nothing of 'idle'"),
        ({"table": "t", "key": {"kk": 1}}, "no column 'kk'"),
    ],
)
def test_show_refuses(sqlite_url: str, asked: dict[str, Any], said: str) -> None:
    """A run, table or column that is not there is said."""
    merged(sqlite_url)
    with pytest.raises(InputError, match=said):
        api.archive_show(sqlite_url, **asked)


def test_prune(db_url: str) -> None:
    """What is pruned is told by every verb: no undo, nothing to show, and verify says so."""
    box, run = merged(db_url)
    before = box.contents()
    assert api.archive_prune(db_url, older_than=timedelta(days=1)) == ()
    assert api.archive_prune(db_url) == (run,)
    assert api.archive_prune(db_url) == ()
    assert box.contents() == before
    back = api.undo(db_url)
    assert (back.status, back.exit_code) == ("refused", 1)
    assert "was pruned" in back.message
    with pytest.raises(Refused, match="was pruned"):
        api.archive_show(db_url, run)
    proof = api.verify(db_url, [KEY])[-1]
    assert proof.ok
    assert "archive of 3 rows was pruned" in proof.message
    assert [(a.rows, a.prunable) for a in api.archive_list(db_url)] == [(1, False), (2, False)]
    assert box.state()[1] == before


def test_an_open_run_keeps_its_archive(db_url: str) -> None:
    """A run that is not at its end is not pruned, named or not."""
    box = Sandbox(db_url)
    box.execute(
        "CREATE TABLE t (id integer PRIMARY KEY, k integer)",
        "INSERT INTO t VALUES (1, 1), (2, 1), (3, 2)",
    )
    stopped = api.apply(db_url, [KEY], limits=Limits(budget=0.0))
    assert stopped.status == "stopped"
    with pytest.raises(Refused, match="is stopped, and needs its archive"):
        api.archive_prune(db_url, [str(stopped.run)])
    assert api.archive_prune(db_url) == ()
    assert api.apply(db_url, [KEY]).status == "done"
    assert api.undo(db_url).left_alone == ()


def test_command(db_url: str, tmp_path: Path) -> None:
    """List, show and prune as a person and as a script call them."""
    _, run = merged(db_url)
    shell = Shell(tmp_path)
    assert run in shell("archive", "list", "--url", db_url).out
    (first, _) = shell("archive", "list", "--url", db_url, "--json").json["archives"]
    assert set(first) == {
        "run", "table", "rows", "bytes", "status", "finished_at", "prunable", "pruned_at",
    }  # fmt: skip
    show = ("archive", "show", run, "--url", db_url, "--table", "t")
    assert [r["survivor"] for r in shell(*show, "--json").json["rows"]] == [{"id": "a"}] * 2
    lines = list(csv.DictReader(io.StringIO(shell(*show, "--format", "csv").out)))
    assert {json.loads(r["row"])["id"]: json.loads(r["survivor"])["id"] for r in lines} == {
        "b 'c": "a", "d,e": "a",
    }  # fmt: skip
    assert "note = z" in shell(*show, "--key", "id=d,e").out
    assert shell(*show, "--key", "id").code == 2
    prune = ("archive", "prune", "--url", db_url)
    assert shell(*prune).code == 2
    assert shell(*prune, "--yes", "--older-than", "soon").code == 2
    assert shell(*prune, "--yes", "--json").json["pruned"] == [run]
    assert shell("undo", run, "--url", db_url).code == 1


def test_a_journal_of_version_1_is_brought_up(db_url: str) -> None:
    """A journal that an older onerow made is read as it is, and brought up by the next change."""
    box, run = merged(db_url)
    prefix = "onerow_" if box.sqlite else "onerow."
    box.execute(f"DROP TABLE {prefix}pruned", f"DELETE FROM {prefix}migration WHERE version > 1")
    assert [r.id for r in api.status(db_url)] == [run]
    assert all(p.ok for p in api.verify(db_url, [KEY]))
    assert api.archive_show(db_url)
    assert api.archive_prune(db_url) == (run,)
    assert box.value(f"SELECT max(version) FROM {prefix}migration") == 2


def test_a_newer_journal_is_refused(db_url: str) -> None:
    """What a newer onerow has written is not touched."""
    box, _ = merged(db_url)
    prefix = "onerow_" if box.sqlite else "onerow."
    box.execute(f"INSERT INTO {prefix}migration VALUES (99)", "DROP INDEX child_t")
    before = box.state()
    other = Key("child", "t_id")
    for change in (lambda: api.apply(db_url, [other]), lambda: api.archive_prune(db_url)):
        with pytest.raises(OnerowError, match="newer onerow"):
            change()
    assert box.state() == before


def test_a_kill_between_drop_and_entry_leaves_both(db_url: str) -> None:
    """Dropping and its entry are one transaction: what is cut off there has not happened."""
    _, run = merged(db_url)
    database = Database(db_url)
    with database.write() as connection:
        Journal(connection, database.dialect).prune(run)
        connection.get_transaction().rollback()  # type: ignore[union-attr]
    assert len(api.archive_list(db_url)) == 2
    assert api.undo(db_url).left_alone == ()
