"""A backfill that dies half way, with writers at work: nobody's value is ever written over.

A migration tool that copies a table's columns aside, is killed and then told to complete, can report success and
leave most values empty. Here a run that was killed is never done: what is left is counted in the
rows each time, and only what holds nothing is filled.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from onerow import api
from onerow.rulefile import Rules
from tests.crash.launcher import SMALL
from tests.crash.support import KILLED, Launcher
from tests.support.sandbox import Sandbox

ROWS = 120
WIDE = "x" * 800  #: a few rows a page, so that there are batches
#: `own` was there and has gaps; `added` comes with the plan. Both must be filled in the end.
RULES = """
[[column]]
table = "fact"
name = "own"
type = "integer"
not_null = true
backfill = { sql = "id + 1000" }
[[column]]
table = "fact"
name = "added"
type = "integer"
not_null = true
backfill = { sql = "id + 2000" }
"""


@pytest.fixture
def box(db_url: str, tmp_path: Path) -> Sandbox:
    """Rows of which every third has a value already."""
    (tmp_path / "onerow.toml").write_text(RULES)
    box = Sandbox(db_url)
    box.execute(
        "CREATE TABLE fact (id integer PRIMARY KEY, own integer, other text);"
        f"""WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
        INSERT INTO fact SELECT i, CASE WHEN i % 3 = 0 THEN i END, '{WIDE}' FROM n;"""
    )
    return box


@pytest.fixture
def rules(tmp_path: Path) -> Rules:
    return api.parse_rules(RULES, str(tmp_path / "onerow.toml"))


def dies(launcher: Launcher, verb: str, box: Sandbox, column: str) -> None:
    """Run it until two batches of the column are committed; some rows are done, and some are not."""
    code = launcher.run(verb, box, fragment=f'SET "{column}" = ', times=2)
    assert code == KILLED, launcher.said.read_text()
    empty = int(box.value(f"SELECT count(*) FROM fact WHERE {column} IS NULL"))
    assert 0 < empty < ROWS - ROWS // 3 * (column == "own")


def written(box: Sandbox, column: str) -> dict[int, int]:
    """Every fifth row gets a value of an application's own, filled by us already or not yet."""
    box.execute(f"UPDATE fact SET {column} = -id WHERE id % 5 = 0")
    return {i: -i for i in range(5, ROWS + 1, 5)}


def values(box: Sandbox, column: str) -> dict[int, int | None]:
    return dict(box.rows(f"SELECT id, {column} FROM fact"))


@pytest.mark.parametrize("column", ["own", "added"])
def test_what_is_written_meanwhile_stays(
    box: Sandbox, rules: Rules, tmp_path: Path, column: str
) -> None:
    """Killed in the backfill; written to; gone on with: each value is the writer's, else the rule's."""
    before = values(box, "own")
    with Launcher(tmp_path) as launcher:
        dies(launcher, "apply", box, column)
        (run,) = (r for r in api.status(box.url) if r.open)
        assert run.status == "running"
        assert not all(p.ok for p in api.verify(box.url, rules))
        theirs = written(box, column)
        assert launcher.run("apply", box) == 0, launcher.said.read_text()
    own = {i: before[i] if before[i] is not None else i + 1000 for i in before}
    added = {i: i + 2000 for i in before}
    expected = {"own": own, "added": added}
    expected[column] = expected[column] | theirs
    assert values(box, "own") == expected["own"]
    assert values(box, "added") == expected["added"]
    assert all(p.ok for p in api.verify(box.url, rules))


def test_what_was_written_stays_on_the_way_back(box: Sandbox, rules: Rules, tmp_path: Path) -> None:
    """Undone after that: ours are emptied again, theirs are left; those that were ours are told."""
    before = values(box, "own")
    with Launcher(tmp_path) as launcher:
        dies(launcher, "apply", box, "own")
        filled = {i for i, v in values(box, "own").items() if v != before[i]}
        theirs = written(box, "own")
        assert launcher.run("apply", box) == 0, launcher.said.read_text()
    outcome = api.undo(box.url, limits=SMALL)
    assert outcome.status == "undone"
    assert values(box, "own") == before | theirs
    told = {row["key"]["id"] for row in outcome.left_alone}
    assert told == filled & set(theirs)


def test_undo_killed_in_the_backfill(box: Sandbox, tmp_path: Path) -> None:
    """Written to while the way back lies dead: the rest is emptied, what was written stays."""
    before = values(box, "own")
    with Launcher(tmp_path) as launcher:
        assert launcher.run("apply", box) == 0, launcher.said.read_text()
        dies(launcher, "undo", box, "own")
        theirs = written(box, "own")
        code = launcher.run("undo", box)
    assert code == 1  # rows were left alone
    assert values(box, "own") == before | theirs


def test_taken_back_without_going_on(box: Sandbox, tmp_path: Path) -> None:
    """A run that died in a backfill can be undone at once, and everything is as it was."""
    before = box.state()
    with Launcher(tmp_path) as launcher:
        dies(launcher, "apply", box, "own")
        assert box.state() != before
        assert launcher.run("undo", box) == 0, launcher.said.read_text()
    assert box.state() == before
