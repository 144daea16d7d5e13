"""The change of a key while others read and write."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from onerow import api
from onerow.errors import OnerowError, PlanFileError
from onerow.rules import Key
from onerow.session import Limits
from tests.support.live import InBackground, Writers, at, transaction, until, waits_for_lock
from tests.support.sandbox import Sandbox
from tests.support.story import SMALL, applied, blockers, planned, undone

ROWS = """
CREATE TABLE parent (id integer PRIMARY KEY, k integer NOT NULL, v text);
INSERT INTO parent VALUES (1, 1, NULL), (2, 1, 'b'), (3, 1, NULL), (4, 2, 'd'), (5, 2, 'e');
"""
KEY = Key("parent", "k", name="parent_k")
ACTIONS = ["CASCADE", "SET NULL", "RESTRICT", "NO ACTION", "SET DEFAULT"]


def while_open(box: Sandbox, statement: str, *rules: Key, end: str = "COMMIT") -> api.Outcome:
    """Apply while another session has executed a statement and not committed it yet."""
    plan = planned(box, *rules)
    with transaction(box) as other:
        other.execute(statement)
        run = InBackground(lambda: api.apply(box.url, list(rules), plan=plan, limits=SMALL))
        if not box.sqlite:
            until(lambda: waits_for_lock(box), "the batch waits")
        else:
            until(lambda: run.running, "the run has begun")
        other.execute(end)
    outcome: api.Outcome = run.result()
    assert outcome.status == "done"
    return outcome


# -- what others do to the rows ------------------------------------------------------------------


@pytest.mark.parametrize("action", ACTIONS)
def test_a_child_that_is_not_committed_yet(every_url: str, action: str) -> None:
    """Nobody can see it when the batch begins, and it follows the survivor all the same."""
    box = Sandbox(every_url)
    box.execute(
        ROWS,
        f"""CREATE TABLE child (id integer PRIMARY KEY,
            parent_id integer DEFAULT 4 REFERENCES parent ON DELETE {action});
        INSERT INTO child VALUES (1, 3);""",
    )
    before = box.contents()
    while_open(box, "INSERT INTO child VALUES (2, 2)", KEY)
    assert box.rows("SELECT * FROM child ORDER BY id") == [(1, 1), (2, 1)]
    undone(box)
    box.execute("DELETE FROM child WHERE id = 2")
    assert box.contents() == before


@pytest.mark.parametrize("action", ACTIONS)
def test_a_child_that_is_moved_to_a_row_that_goes(every_pg_url: str, action: str) -> None:
    """By an UPDATE that is not committed yet, with user triggers on the tables."""
    box = Sandbox(every_pg_url)
    box.execute(
        ROWS,
        f"""CREATE TABLE child (id integer PRIMARY KEY,
            parent_id integer DEFAULT 4 REFERENCES parent ON DELETE {action});
        INSERT INTO child VALUES (1, 5), (2, 1);
        CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'fired'; END $$;
        CREATE TRIGGER stop AFTER DELETE ON parent FOR EACH ROW EXECUTE FUNCTION stop();""",
    )
    while_open(box, "UPDATE child SET parent_id = 3 WHERE id = 1", KEY)
    assert box.rows("SELECT * FROM child ORDER BY id") == [(1, 1), (2, 1)]


def test_a_child_that_is_changed_while_the_batch_waits_for_it(every_url: str) -> None:
    """One that has left is left alone; one that stays is moved, kept and put back as it is then."""
    box = Sandbox(every_url)
    box.execute(
        ROWS,
        """CREATE TABLE child (id integer PRIMARY KEY, parent_id integer REFERENCES parent, v text);
        INSERT INTO child VALUES (1, 3, 'old'), (2, 3, 'old'), (3, 2, 'old');""",
    )
    # To a row of a group that is not at work yet: so the batch waits for the child, not the parent.
    changes = "CASE id WHEN 1 THEN 4 ELSE 3 END, v = 'new'"
    while_open(box, f"UPDATE child SET parent_id = {changes} WHERE id < 3", KEY)
    rows = "SELECT * FROM child ORDER BY id"
    assert box.rows(rows) == [(1, 4, "new"), (2, 1, "new"), (3, 1, "old")]
    undone(box)
    assert box.rows(rows) == [(1, 4, "new"), (2, 3, "new"), (3, 2, "old")]


def test_a_child_that_comes_while_the_batch_holds_its_rows(every_pg_url: str) -> None:
    """It waits, and is refused by the foreign key: never taken and lost."""
    import psycopg

    box = Sandbox(every_pg_url)
    box.execute(
        ROWS,
        """CREATE TABLE child (id integer PRIMARY KEY,
            parent_id integer REFERENCES parent ON DELETE CASCADE);
        CREATE TABLE other (id integer PRIMARY KEY, parent_id integer REFERENCES parent);
        INSERT INTO other VALUES (1, 2);""",
    )
    plan = planned(box, KEY)
    with transaction(box) as holder:
        holder.execute("SELECT * FROM other FOR UPDATE")
        run = InBackground(lambda: api.apply(box.url, [KEY], plan=plan))
        until(lambda: waits_for_lock(box, "other"), "the batch has locked the parents")
        insert = InBackground(lambda: box.execute("INSERT INTO child VALUES (1, 2)"))
        until(
            lambda: box.value(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'INSERT INTO child%'"
                " AND wait_event_type = 'Lock'"
            ),
            "the insert waits",
        )
        holder.execute("COMMIT")
    assert run.result().status == "done"
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        insert.result()
    assert box.count("child") == 0


COLLIDING = """
CREATE TABLE child (id integer PRIMARY KEY, parent_id integer REFERENCES parent ON DELETE {action},
    tag text NOT NULL, word text, UNIQUE (parent_id, tag));
CREATE TABLE grandchild (id integer PRIMARY KEY,
    child_id integer REFERENCES child ON DELETE {action});
INSERT INTO child VALUES (1, 1, 'x', NULL), (2, 2, 'x', 'w');
INSERT INTO grandchild VALUES (1, 1), (2, 2);
"""
SETTLED = Key("parent", "k", name="parent_k", children={"child": "keep"})


@pytest.mark.parametrize("action", ACTIONS)
def test_a_child_that_will_collide_and_is_not_committed_yet(every_url: str, action: str) -> None:
    """It is settled by the policy like those that were there, and archived, not lost."""
    box = Sandbox(every_url)
    box.execute(ROWS, COLLIDING.format(action=action))
    while_open(box, "INSERT INTO child VALUES (3, 3, 'x', 'late')", SETTLED)
    assert box.rows("SELECT * FROM child") == [(1, 1, "x", None)]
    assert box.rows("SELECT * FROM grandchild ORDER BY id") == [(1, 1), (2, 1)]
    assert box.archived("child", "deleted") == 2
    undone(box)
    assert box.value("SELECT word FROM child WHERE id = 3") == "late"


@pytest.mark.parametrize("action", ACTIONS)
def test_a_grandchild_that_is_not_committed_yet(every_url: str, action: str) -> None:
    """It refers to a child that is kept away, and goes to the one that stays."""
    box = Sandbox(every_url)
    box.execute(ROWS, COLLIDING.format(action=action))
    while_open(box, "INSERT INTO grandchild VALUES (3, 2)", SETTLED)
    assert box.rows("SELECT * FROM grandchild ORDER BY id") == [(1, 1), (2, 1), (3, 1)]


def test_a_child_that_will_not_collide_any_more(every_url: str) -> None:
    """Its key is changed while the batch waits for it: it is moved, and stays."""
    box = Sandbox(every_url)
    box.execute(ROWS, COLLIDING.format(action="CASCADE"))
    while_open(box, "UPDATE child SET tag = 'y' WHERE id = 2", SETTLED)
    assert box.rows("SELECT id, parent_id, tag FROM child ORDER BY id") == [
        (1, 1, "x"),
        (2, 1, "y"),
    ]
    assert box.archived("child", "deleted") == 0


@pytest.mark.parametrize("action", ACTIONS)
def test_a_grandchild_that_comes_while_the_batch_holds_its_child(pg_url: str, action: str) -> None:
    """It waits, and is refused by the foreign key: never taken and lost."""
    import psycopg

    box = Sandbox(pg_url)
    box.execute(
        ROWS,
        COLLIDING.format(action=action),
        """CREATE TABLE other (id integer PRIMARY KEY, parent_id integer REFERENCES parent);
        INSERT INTO other VALUES (1, 2);""",
    )
    plan = planned(box, SETTLED)
    with transaction(box) as holder:
        holder.execute("SELECT * FROM other FOR UPDATE")
        run = InBackground(lambda: api.apply(box.url, [SETTLED], plan=plan))
        until(lambda: waits_for_lock(box, "other"), "the batch has its parents and children")
        insert = InBackground(lambda: box.execute("INSERT INTO grandchild VALUES (3, 2)"))
        until(
            lambda: box.value(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'INSERT INTO grandchild%'"
                " AND wait_event_type = 'Lock'"
            ),
            "the insert waits",
        )
        holder.execute("COMMIT")
    assert run.result().status == "done"
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        insert.result()
    assert box.rows("SELECT * FROM grandchild ORDER BY id") == [(1, 1), (2, 1)]


def test_a_value_that_is_not_committed_yet(every_url: str) -> None:
    """The batch merges what is there when it has the rows, not what was there before."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    while_open(box, "UPDATE parent SET v = 'late' WHERE id = 2", KEY)
    assert box.rows("SELECT * FROM parent ORDER BY id") == [(1, 1, "late"), (4, 2, "d")]


def test_a_row_that_leaves_its_group(every_url: str) -> None:
    """It is no duplicate any more when its key is changed meanwhile, and is left alone."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    while_open(box, "UPDATE parent SET k = 7 WHERE id = 2", KEY)
    assert box.rows("SELECT * FROM parent ORDER BY id") == [(1, 1, None), (2, 7, "b"), (4, 2, "d")]


def test_a_row_that_joins_a_group(every_url: str) -> None:
    """A duplicate that is committed after the groups were listed is merged before the build ends."""
    box = Sandbox(every_url)
    box.execute(ROWS, "INSERT INTO parent VALUES (6, 6, 'six')")
    while_open(box, "UPDATE parent SET k = 1 WHERE id IN (2, 6)", KEY)
    assert box.rows("SELECT * FROM parent ORDER BY id") == [(1, 1, "b"), (4, 2, "d")]


def test_a_survivor_that_is_deleted(every_url: str) -> None:
    """The next best row stays."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    while_open(box, "DELETE FROM parent WHERE id = 1", KEY)
    assert box.rows("SELECT * FROM parent ORDER BY id") == [(2, 1, "b"), (4, 2, "d")]


def test_a_transaction_that_is_rolled_back(every_url: str) -> None:
    """It was never there."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    while_open(box, "DELETE FROM parent WHERE id < 3", KEY, end="ROLLBACK")
    assert box.rows("SELECT * FROM parent ORDER BY id") == [(1, 1, "b"), (4, 2, "d")]


def test_what_a_survivor_takes_over_is_held(every_pg_url: str) -> None:
    """A category that only a row that goes referred to cannot vanish, also where triggers are off."""
    box = Sandbox(every_pg_url)
    box.execute(
        """CREATE TABLE category (id integer PRIMARY KEY);
        INSERT INTO category VALUES (1);
        CREATE TABLE parent (id integer PRIMARY KEY, k integer NOT NULL, category integer REFERENCES category);
        CREATE INDEX ON parent (category);
        INSERT INTO parent VALUES (1, 1, NULL), (2, 1, 1);
        CREATE TABLE child (id integer PRIMARY KEY, parent_id integer REFERENCES parent);
        INSERT INTO child VALUES (1, 2);
        CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'fired'; END $$;
        CREATE TRIGGER stop AFTER UPDATE ON parent FOR EACH ROW EXECUTE FUNCTION stop();"""
    )
    plan = planned(box, KEY)
    with transaction(box) as holder:
        holder.execute("SELECT * FROM child FOR UPDATE")
        run = InBackground(lambda: api.apply(box.url, [KEY], plan=plan))
        until(lambda: waits_for_lock(box, "child"), "the batch has its parents")
        delete = InBackground(lambda: box.execute("DELETE FROM category"))
        until(
            lambda: box.value(
                "SELECT count(*) FROM pg_stat_activity WHERE query = 'DELETE FROM category'"
                " AND wait_event_type = 'Lock'"
            ),
            "the delete waits",
        )
        holder.execute("COMMIT")
    assert run.result().status == "done"
    with pytest.raises(Exception, match=r"violates foreign key|deadlock"):
        delete.result()
    assert box.value("SELECT category FROM parent") == 1


# -- convergence ---------------------------------------------------------------------------------


def test_writers_that_keep_making_duplicates(every_url: str) -> None:
    """The key stands in the end, and every row that was taken is there or in the archive."""
    box = Sandbox(every_url)
    box.execute(
        "CREATE TABLE parent (id integer PRIMARY KEY, k integer NOT NULL, v text);",
        """WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 300)
        INSERT INTO parent SELECT i, i % 100, 'v' || i FROM g;""",
    )
    plan = planned(box, KEY)

    def insert(n: int) -> str:
        return f"INSERT INTO parent VALUES ({n}, {n % 100 if n % 5 == 0 else n}, 'w')"

    with Writers(box, insert, pause=0.1) as writers:
        until(lambda: writers.written > 5, "the writers write")
        outcome = api.apply(
            box.url, [KEY], plan=plan, limits=Limits(batch_rows=20, most_batch_rows=40, passes=60)
        )
        until(lambda: writers.refused > 1, "duplicates are refused")
    assert outcome.status == "done", outcome.message
    assert all(p.ok for p in api.verify(box.url, [KEY]))
    rows = box.count("parent")
    assert rows == box.value("SELECT count(DISTINCT k) FROM parent")
    assert rows + outcome.archived == 300 + writers.written
    api.undo(box.url)
    assert box.count("parent") == 300 + writers.written


def test_duplicates_without_end(every_url: str) -> None:
    """After as many builds as it was given it stops, says so, and leaves no index half built."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    before = box.schema()
    numbers = iter(range(1000, 2000))
    more = at(
        "merge_duplicates",
        "progress",
        lambda: box.execute(f"INSERT INTO parent VALUES ({next(numbers)}, 1, 'again')"),
    )
    limits = Limits(passes=3)
    outcome = api.apply(box.url, [KEY], limits=limits, listen=more)
    assert (outcome.status, outcome.exit_code) == ("stopped", 1)
    assert "keep arriving" in outcome.message
    assert box.schema() == before
    outcome = api.apply(box.url, [KEY])
    assert outcome.status == "done"
    assert {s.status for s in outcome.steps} == {"done"}
    assert all(p.ok for p in api.verify(box.url, [KEY]))


def test_nobody_sees_half_a_merge(every_url: str) -> None:
    """Whenever a reader looks, a group is whole or merged, and every child has its parent."""
    box = Sandbox(every_url)
    box.execute(
        "CREATE TABLE parent (id integer PRIMARY KEY, k integer NOT NULL, n integer NOT NULL);"
        "CREATE TABLE child (id integer PRIMARY KEY, parent_id integer NOT NULL REFERENCES parent);",
        """WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 400)
        INSERT INTO parent SELECT i, i % 100, 1 FROM g;""",
        "INSERT INTO child SELECT id, id FROM parent;",
    )
    if box.sqlite:
        box.execute("PRAGMA journal_mode = WAL")
    broken = (
        "SELECT 'sum', k FROM parent GROUP BY k HAVING sum(n) <> 4 UNION ALL"
        " SELECT 'half', k FROM parent GROUP BY k HAVING count(*) NOT IN (1, 4) UNION ALL"
        " SELECT 'children', p.k FROM parent p JOIN child c ON c.parent_id = p.id"
        " GROUP BY p.k HAVING count(*) <> 4 UNION ALL"
        " SELECT 'lost', c.id FROM child c LEFT JOIN parent p ON p.id = c.parent_id"
        " WHERE p.id IS NULL"
    )
    stop, seen, looks = threading.Event(), [], [0]

    def look() -> None:
        with box.connect() as connection:
            while not stop.is_set():
                seen.extend(connection.execute(broken).fetchall())
                looks[0] += 1

    reader = InBackground(look)
    try:
        applied(box, Key("parent", "k", merge={"n": "sum"}), limits=SMALL)
        undone(box, limits=SMALL)
    finally:
        stop.set()
        reader.result()
    assert seen == []
    assert looks[0] > 3


# -- indexes that are in the way -----------------------------------------------------------------


def invalid_index(box: Sandbox, name: str = "parent_k") -> None:
    """What a concurrent build that met duplicates leaves behind."""
    import psycopg

    with pytest.raises(psycopg.errors.UniqueViolation):
        box.execute(f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON parent (k)")


def test_a_foreign_invalid_index_of_our_name_is_a_blocker(every_pg_url: str) -> None:
    """It is named, and never touched; one of another name is nobody's business."""
    box = Sandbox(every_pg_url)
    box.execute(ROWS)
    invalid_index(box, "somebodys")
    assert blockers(box, KEY) == []
    invalid_index(box)
    before = box.state()
    assert blockers(box, KEY) == ["name_taken"]
    assert api.apply(box.url, [KEY]).status == "refused"
    assert box.state() == before


def test_an_index_that_a_cut_off_build_has_left_is_dropped(every_pg_url: str) -> None:
    """Ready but invalid it refuses rows already; the next apply drops it first and builds again."""
    box = Sandbox(every_pg_url)
    box.execute(ROWS, "CREATE TABLE elsewhere (id integer)")
    plan = planned(box, KEY)
    with transaction(box) as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM elsewhere")
        run = InBackground(lambda: api.apply(box.url, [KEY], plan=plan))
        state = "SELECT i.indisready, i.indisvalid FROM pg_index i WHERE indexrelid ="
        state += " to_regclass('parent_k')"
        until(lambda: box.rows(state) == [(True, False)], "the build waits at its end")
        box.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CREATE UNIQUE%'"
        )
        with pytest.raises(OnerowError):
            run.result()
        assert box.rows(state) == [(True, False)]
    outcome = api.apply(box.url, [KEY])
    assert outcome.status == "done", outcome.message
    assert box.rows(state) == [(True, True)]
    undone(box)


def test_an_index_that_somebody_makes_meanwhile(every_url: str) -> None:
    """Of our name and another definition: the run stops, and neither it nor the undo touches it."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    before = box.contents()
    make = at("create_index", "begin", lambda: box.execute("CREATE INDEX parent_k ON parent (v)"))
    outcome = api.apply(box.url, [KEY], listen=make)
    assert (outcome.status, outcome.exit_code) == ("stopped", 1)
    assert "parent_k" in outcome.message
    there = box.schema()
    undone(box)
    assert box.contents() == before
    assert box.schema() == there


# -- who may run ---------------------------------------------------------------------------------


def test_two_runners(every_url: str) -> None:
    """The second is refused at once, whatever it wants; the first is not disturbed."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    others: list[api.Outcome] = []

    def second() -> None:
        if not others:
            others.append(api.apply(box.url, [KEY]))
            others.append(api.undo(box.url))

    outcome = api.apply(box.url, [KEY], listen=at("merge_duplicates", "progress", second))
    assert outcome.status == "done"
    assert [(o.status, o.exit_code) for o in others] == [("refused", 1), ("refused", 1)]
    assert "Another onerow" in others[0].message


ALTERATIONS = [
    "ALTER TABLE parent ADD w integer",
    "CREATE UNIQUE INDEX other ON parent (k, v)",
    "DROP TABLE parent",
    "ALTER TABLE parent RENAME v TO w",
]


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_a_plan_for_a_table_that_was_altered(every_url: str, alteration: str) -> None:
    """It is refused before anything is touched; rows may have changed as they like."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    plan = planned(box, KEY)
    box.execute(alteration)
    before = box.state()
    outcome = api.apply(box.url, [KEY], plan=plan)
    assert (outcome.status, outcome.exit_code) == ("refused", 1)
    assert box.state() == before


def test_a_plan_for_rows_that_were_changed(every_url: str) -> None:
    """A plan speaks of definitions; more and fewer duplicates than it counted are merged."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    plan = planned(box, KEY)
    box.execute(
        "INSERT INTO parent VALUES (7, 7, 'x'), (8, 7, 'y'); DELETE FROM parent WHERE id = 5"
    )
    outcome = api.apply(box.url, [KEY], plan=api.Plan.from_json(plan.to_json()))
    assert (outcome.status, outcome.archived) == ("done", 3)


def test_a_table_that_is_altered_between_two_runs(every_url: str) -> None:
    """A run that was stopped is not continued on another table than it was planned for."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    before = box.contents()
    stopped = api.apply(box.url, [KEY], limits=Limits(budget=0, batch_rows=1, most_batch_rows=1))
    assert stopped.status == "stopped"
    box.execute("CREATE INDEX other ON parent (v)")
    outcome = api.apply(box.url, [KEY])
    assert (outcome.status, outcome.exit_code) == ("refused", 1)
    undone(box)
    assert box.contents() == before


def test_another_plan_while_a_run_is_open(every_url: str) -> None:
    """It is refused; without a plan, and with the same one, the open run is finished."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    other = planned(box, Key("parent", "v"))
    plan = planned(box, KEY)
    small = Limits(budget=0, batch_rows=1, most_batch_rows=1)
    assert api.apply(box.url, [KEY], plan=plan, limits=small).status == "stopped"
    outcome = api.apply(box.url, [Key("parent", "v")], plan=other)
    assert (outcome.status, outcome.exit_code) == ("refused", 1)
    assert api.apply(box.url, [KEY], plan=plan, limits=small).status == "stopped"
    # The rules given are not looked at: the run goes on with its own.
    outcome = api.apply(box.url, [Key("parent", "v")])
    assert outcome.status == "done"
    assert box.count("parent") == 2
    assert len(api.status(box.url)) == 1


def edits(data: dict[str, object]) -> list[dict[str, object]]:
    """A plan, changed by hand in one place each."""
    steps = list(data["steps"])  # type: ignore[call-overload]
    first = steps[0]
    return [
        {**data, "steps": steps[1:]},
        {**data, "steps": [*steps[1:], first]},
        {**data, "steps": [{**first, "sql": ["DROP TABLE parent"]}, *steps[1:]]},
        {**data, "steps": [{**first, "args": {}}, *steps[1:]]},
        {**data, "steps": [*steps, {**first, "kind": "verify"}]},
        {**data, "blockers": [{"code": "pooler", "message": "", "rule": ""}]},
        {**data, "tables": []},
        {**data, "rules": []},
        {**data, "fingerprint": "0"},
        {**data, "invariant": "0"},
        {k: v for k, v in data.items() if k != "checksum"},
    ]


def test_a_plan_that_was_edited(every_url: str, tmp_path: Path) -> None:
    """Whatever was changed in the file, it is not run; taken away blockers neither."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    before = box.state()
    data = planned(box, KEY).to_dict()
    file = tmp_path / "plan.json"
    for edited in edits(data):
        file.write_text(json.dumps(edited, default=str))
        with pytest.raises(PlanFileError):
            api.apply(box.url, plan=file)
    file.write_text(json.dumps(data, default=str))
    assert box.state() == before
    assert api.apply(box.url, plan=file).status == "done"


def test_locks_of_our_own_process(sqlite_url: str) -> None:
    """An application that uses the library keeps the locks of its own connections to the file."""
    import subprocess
    import sys

    box = Sandbox(sqlite_url)
    box.execute(ROWS)
    with transaction(box) as writer:
        writer.execute("INSERT INTO parent VALUES (9, 9, 'mine')")
        api.status(box.url)
        other = (
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], timeout=0);"
            " c.execute('BEGIN IMMEDIATE')"
        )
        path = box.url.removeprefix("sqlite:///")
        ended = subprocess.run([sys.executable, "-c", other, path], capture_output=True, text=True)
        assert "database is locked" in ended.stderr
        writer.execute("COMMIT")


def test_a_plan_for_another_database(every_url: str, tmp_path: Path) -> None:
    """Of the other engine, or of a table that looks otherwise there: refused, nothing touched."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    file = tmp_path / "other.db"
    file.touch()
    other = Sandbox(f"sqlite:///{file}")
    other.execute(
        "CREATE TABLE parent (id integer PRIMARY KEY, k integer, v text)",
        ROWS[ROWS.index("INSERT") :],
    )
    before = other.state()
    outcome = api.apply(other.url, plan=planned(box, KEY))
    assert (outcome.status, outcome.exit_code) == ("refused", 1)
    assert other.state() == before


def test_a_plan_for_a_copy(sqlite_url: str, tmp_path: Path) -> None:
    """It is run where the definitions are the same: reviewed on a copy, applied to the original."""
    box = Sandbox(sqlite_url)
    box.execute(ROWS)
    plan = planned(box, KEY)
    file = tmp_path / "copy.db"
    file.touch()
    copy = Sandbox(f"sqlite:///{file}")
    copy.execute(ROWS, "INSERT INTO parent VALUES (9, 2, 'more')")
    outcome = api.apply(copy.url, plan=plan)
    assert (outcome.status, outcome.archived) == ("done", 4)
    assert box.count("parent") == 5
