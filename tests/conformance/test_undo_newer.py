"""Undo over what others wrote since: rows that an old key cannot hold, values of a column that goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from onerow import api
from onerow.rules import Key
from tests.support.live import InBackground, transaction, until, waits_for_lock
from tests.support.rules import apply, rules_of, undone
from tests.support.sandbox import Sandbox
from tests.support.story import SMALL, applied

# -- rows that the old key cannot hold ----------------------------------------------------------

ROWS = """
CREATE TABLE sheet (id integer PRIMARY KEY, period integer, activity integer, facility integer
    NOT NULL, q text{old});
CREATE TABLE ledger (id integer PRIMARY KEY, sheet_id integer NOT NULL
    REFERENCES sheet ON DELETE CASCADE, amount integer);
CREATE TABLE line (id integer PRIMARY KEY, ledger_id integer NOT NULL REFERENCES ledger);
CREATE TABLE seen (id integer PRIMARY KEY, sheet_id integer REFERENCES sheet ON DELETE SET NULL);
INSERT INTO sheet VALUES (1, 1, 1, 1, 'a'), (2, 1, 2, 1, 'b'), (3, NULL, 2, 1, 'c');
INSERT INTO ledger VALUES (1, 1, 10), (2, 2, 20);
INSERT INTO line VALUES (1, 1);
INSERT INTO seen VALUES (1, 1);
"""
OLD = ", CONSTRAINT sheet_old UNIQUE (period, activity)"
NEWER = """
INSERT INTO sheet VALUES (11, 1, 1, 2, 'x'), (12, 1, 1, 3, 'y'), (13, 1, 2, 2, 'z'),
    (14, NULL, 2, 2, 'n'), (15, 2, 1, 1, 'free');
INSERT INTO ledger VALUES (11, 11, 1), (12, 11, 2), (13, 13, 3), (15, 15, 4);
INSERT INTO line VALUES (11, 11), (12, 12), (15, 15);
INSERT INTO seen VALUES (11, 12), (15, 15);
"""
KEY = Key("sheet", "period", "activity", "facility", name="sheet_new", replaces=("sheet_old",))
SAME_NAME = Key(
    "sheet", "period", "activity", "facility", name="sheet_old", replaces=("sheet_old",)
)


def changed(url: str, key: Key = KEY, old: str = OLD, *more: str) -> tuple[Sandbox, Any]:
    """Applied, and others have written what the old key cannot hold; with the state before."""
    box = Sandbox(url)
    box.execute(ROWS.format(old=old), *more)
    before = box.state()
    applied(box, key)
    box.execute(NEWER)
    return box, before


INDEX = ("", "CREATE UNIQUE INDEX sheet_old ON sheet (period, activity)")


@pytest.mark.parametrize(
    ("key", "old"),
    [(KEY, (OLD,)), (KEY, INDEX), (SAME_NAME, INDEX)],
    ids=["constraint", "index", "same name"],
)
def test_they_are_named_and_nothing_is_touched(db_url: str, key: Key, old: tuple[str, ...]) -> None:
    """Values of the key and primary keys, before anything is built; the way on is told."""
    box, _ = changed(db_url, key, *old)
    merged = box.state()
    outcome = api.undo(box.url)
    assert (outcome.status, outcome.exit_code) == ("stopped", 1)
    assert "3 row(s) too many in 2 group(s)" in outcome.message
    assert "(period 1, activity 1; period 1, activity 2)" in outcome.message
    assert "of id 11; id 12; id 13" in outcome.message
    assert "--archive-newer" in outcome.message
    assert box.state() == merged


def test_only_so_many_are_named(db_url: str) -> None:
    """A thousand rows are counted, and twenty of them are told."""
    box, _ = changed(db_url)
    box.execute(
        "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 1099)"
        " INSERT INTO sheet SELECT i, i / 2, 7, i, 'many' FROM n"
    )
    told = api.undo(box.url).message
    assert "503 row(s) too many in 502 group(s)" in told
    assert told.count("id ") == 20


@pytest.mark.parametrize(
    ("key", "old"),
    [(KEY, (OLD,)), (KEY, INDEX), (SAME_NAME, INDEX)],
    ids=["constraint", "index", "same name"],
)
def test_they_are_archived_when_that_is_said(
    every_url: str, key: Key, old: tuple[str, ...]
) -> None:
    """With the rows that refer to them; the old key stands, and what it can hold is there still."""
    box, before = changed(every_url, key, *old)
    outcome = api.undo(box.url, archive_newer=True, limits=SMALL)
    assert (outcome.status, outcome.exit_code, outcome.left_alone) == ("undone", 0, ())
    assert box.schema() == before[0]
    assert box.rows("SELECT id FROM sheet ORDER BY id") == [(1,), (2,), (3,), (14,), (15,)]
    assert box.rows("SELECT id FROM ledger ORDER BY id") == [(1,), (2,), (15,)]
    assert box.rows("SELECT id FROM line ORDER BY id") == [(1,), (15,)]
    assert box.rows("SELECT * FROM seen ORDER BY id") == [(1, 1), (11, None), (15, 15)]
    aside = {a["table"].rpartition(".")[2]: a["rows"] for a in outcome.set_aside}
    assert aside == {"sheet": 3, "ledger": 3, "line": 2}
    kept = api.archive_show(box.url, "last", table="sheet")
    assert sorted((r.row["id"], r.row["q"], r.action) for r in kept) == [
        (11, "x", "set aside"), (12, "y", "set aside"), (13, "z", "set aside"),
    ]  # fmt: skip
    assert "3 row(s) of" in outcome.message
    box.execute("DELETE FROM line WHERE id > 10; DELETE FROM seen WHERE id > 10")
    box.execute("DELETE FROM sheet WHERE id > 13")
    assert box.contents()[box.called("sheet")] == before[1][box.called("sheet")]


def test_after_a_refusal_it_goes_on(db_url: str) -> None:
    """The same run, once they are settled by hand or put aside."""
    box, before = changed(db_url)
    assert api.undo(box.url).status == "stopped"
    box.execute("DELETE FROM line WHERE id = 11; DELETE FROM ledger WHERE id = 11")
    assert api.undo(box.url, archive_newer=True, limits=SMALL).status == "undone"
    assert box.schema() == before[0]


def test_a_row_that_arrives_while_the_old_key_is_built(pg_url: str) -> None:
    """The build meets it; it goes the way of the others, and the key is built again."""
    box, before = changed(pg_url)
    with transaction(box) as other:
        other.execute("INSERT INTO sheet VALUES (20, 2, 1, 9, 'late')")
        undo = InBackground(lambda: api.undo(box.url, archive_newer=True, limits=SMALL))
        until(lambda: waits_for_lock(box, "CREATE UNIQUE INDEX"), "the build waits")
        other.execute("COMMIT")
        assert undo.result().status == "undone"
    assert box.schema() == before[0]
    assert box.count("sheet WHERE id = 20") == 0
    assert [r.row["q"] for r in api.archive_show(box.url, "last", table="sheet")][-1] == "late"


def test_rows_that_refer_to_each_other_go_together(db_url: str) -> None:
    """A table that refers to itself, in a circle, too."""
    box = Sandbox(db_url)
    box.execute(
        "CREATE TABLE node (id integer PRIMARY KEY, k integer, j integer, up integer"
        " REFERENCES node (id)); CREATE UNIQUE INDEX node_old ON node (k);"
        "INSERT INTO node VALUES (1, 1, 1, NULL)"
    )
    applied(box, Key("node", "k", "j", name="node_new", replaces=("node_old",)))
    box.execute(
        "INSERT INTO node VALUES (5, 1, 2, NULL), (6, 7, 1, 5), (7, 8, 1, 6);"
        "UPDATE node SET up = 7 WHERE id = 5"
    )
    outcome = api.undo(box.url, archive_newer=True)
    assert outcome.status == "undone", outcome.message
    assert box.rows("SELECT id FROM node") == [(1,)]


# -- values of a column that goes ---------------------------------------------------------------

COLUMN = """
[[column]]
table = "fact"
name = "place"
type = "integer"
{}
"""
SOURCES = {
    "nothing": "",
    "a value": "backfill = { value = 7 }",
    "an expression": 'backfill = { sql = "id * 2" }',
    "a file": 'backfill = { csv = "map.csv", key = "id" }',
}


def with_column(url: str, folder: Path, source: str) -> tuple[Sandbox, Any]:
    box = Sandbox(url)
    box.execute(
        "CREATE TABLE fact (id integer PRIMARY KEY, name text);"
        "INSERT INTO fact VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')"
    )
    before = box.state()
    (folder / "map.csv").write_text("id,place\n1,2\n2,4\n3,6\n4,8\n")
    assert apply(box, rules_of(COLUMN.format(source), folder)).status == "done"
    return box, before


def kept(box: Sandbox) -> list[tuple[Any, Any]]:
    rows = api.archive_show(box.url, "last", table="fact")
    assert {r.action for r in rows} <= {"value set aside"}
    return sorted((r.row["id"], r.row["place"]) for r in rows)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_what_the_backfill_wrote_is_not_kept(db_url: str, tmp_path: Path, source: str) -> None:
    """It can be made again; the undo tells of nothing."""
    box, before = with_column(db_url, tmp_path, source)
    outcome = undone(box)
    assert (box.state(), outcome.set_aside) == (before, ())
    assert api.archive_list(box.url) == ()
    assert outcome.message == "Every step is taken back."


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_what_others_wrote_is_kept(db_url: str, tmp_path: Path, source: str) -> None:
    """Changed and new values are archived with their rows before the column goes, and told."""
    box, before = with_column(db_url, tmp_path, source)
    box.execute(
        "UPDATE fact SET place = 99 WHERE id = 2; UPDATE fact SET place = NULL WHERE id = 3;"
        "INSERT INTO fact VALUES (5, 'e', 55), (6, 'f', NULL)"
    )
    outcome = undone(box)
    assert box.schema() == before[0]
    assert kept(box) == [(2, 99), (5, 55)]
    assert [a["rows"] for a in outcome.set_aside] == [2]
    assert 'held a value of others in "place", which went' in outcome.message


def test_a_file_that_is_gone(db_url: str, tmp_path: Path) -> None:
    """Nobody can tell what came from it, so every value is kept."""
    box, _ = with_column(db_url, tmp_path, SOURCES["a file"])
    box.execute("UPDATE fact SET place = 99 WHERE id = 2")
    (tmp_path / "map.csv").unlink()
    undone(box)
    assert kept(box) == [(1, 2), (2, 99), (3, 6), (4, 8)]


def test_a_value_that_is_written_at_the_last_moment(pg_url: str, tmp_path: Path) -> None:
    """Behind the walk, in a transaction that the drop has to wait for."""
    box, before = with_column(pg_url, tmp_path, SOURCES["a value"])
    box.execute("UPDATE fact SET place = 98 WHERE id = 1")
    with transaction(box) as other:
        other.execute("UPDATE fact SET place = 99 WHERE id = 2")
        undo = InBackground(lambda: api.undo(box.url, limits=SMALL))
        until(lambda: waits_for_lock(box, "LOCK TABLE"), "the drop waits")
        other.execute("COMMIT")
        assert undo.result().status == "undone"
    assert box.state() == before
    assert kept(box) == [(1, 98), (2, 99)]


def test_partitions(pg_url: str, tmp_path: Path) -> None:
    """Values in any partition."""
    box = Sandbox(pg_url)
    box.execute(
        "CREATE TABLE fact (id integer PRIMARY KEY, name text) PARTITION BY RANGE (id);"
        "CREATE TABLE fact_1 PARTITION OF fact FOR VALUES FROM (0) TO (3);"
        "CREATE TABLE fact_2 PARTITION OF fact DEFAULT;"
        "INSERT INTO fact VALUES (1, 'a'), (2, 'b'), (3, 'c')"
    )
    assert apply(box, rules_of(COLUMN.format(SOURCES["a value"]))).status == "done"
    box.execute("UPDATE fact SET place = 99 WHERE id IN (2, 3)")
    undone(box)
    assert kept(box) == [(2, 99), (3, 99)]
