"""What `before` makes, whatever the system."""

from __future__ import annotations

import pytest

from systems.shared.errors import SystemFailure, SystemRefusal
from systems.shared.fixtures import State, build
from tests.support.sandbox import Sandbox
from tests.systems.support import BROKEN, NAMES, ROWS, after, before, made

each = pytest.mark.parametrize("name", NAMES)


@each
@pytest.mark.parametrize("rows", [0, 1, ROWS])
def test_as_many_rows_as_asked(db_url: str, name: str, rows: int) -> None:
    """The table whose key is broken has exactly that many."""
    assert made(db_url, before(name, rows)).count(BROKEN[name]) == rows


@each
def test_the_same_seed_makes_the_same_rows(db_url: str, name: str) -> None:
    """Content and schema, also where tables were dropped before; another seed makes others."""
    box = made(db_url, before(name))
    first = box.state()
    build(db_url, before(name), force=True)
    assert box.state() == first
    build(db_url, before(name, seed=2), force=True)
    assert box.contents() != first[1]


@each
def test_every_reference_refers(sqlite_url: str, name: str) -> None:
    """SQLite loads with its foreign keys off; PostgreSQL would have refused."""
    assert made(sqlite_url, before(name)).rows("PRAGMA foreign_key_check") == []


@each
def test_the_next_id_is_free(db_url: str, name: str) -> None:
    """Ids that the database counts go on after those that were given."""
    box = made(db_url, before(name))
    schema = before(name).schema
    for table in schema.sorted_tables:
        if "id" not in table.c or table.c.id.identity is None:
            continue
        if not box.sqlite:
            sequence = f"pg_get_serial_sequence('{table.name}', 'id')"
            sql = f"SELECT nextval({sequence}) > coalesce(max(id), 0) FROM {table.name}"
            assert box.value(sql)


@each
def test_what_is_there_stays(db_url: str, name: str) -> None:
    """A second call refuses, says which tables, and changes nothing."""
    box = made(db_url, before(name))
    first = box.state()
    for state in (before(name, 5), after(name)):
        with pytest.raises(SystemRefusal, match=BROKEN[name]):
            build(db_url, state)
    assert box.state() == first


@each
def test_force_drops_only_what_is_ours(db_url: str, name: str) -> None:
    """A table of somebody else stays, rows and all."""
    box = made(db_url, before(name, 5))
    box.execute("CREATE TABLE others (id integer PRIMARY KEY); INSERT INTO others VALUES (7);")
    build(db_url, after(name), force=True)
    assert box.rows("SELECT id FROM others") == [(7,)]


def test_a_table_that_others_refer_to_is_not_dropped(pg_url: str) -> None:
    """The server says who needs it, and everything is as it was."""
    box = made(pg_url, before("workout_planner", 5))
    box.execute("CREATE TABLE others (workout_id integer REFERENCES workouts (id))")
    with pytest.raises(SystemFailure, match="others"):
        build(pg_url, after("workout_planner"), force=True)
    assert box.count("workout_selections") == 5


def test_a_call_that_fails_leaves_nothing(db_url: str) -> None:
    """Half a state is never to be seen."""

    def broken() -> object:
        yield "workouts", (1, "Run", "2026-03-02")
        raise RuntimeError("stop")

    schema = before("workout_planner").schema
    columns = {"workouts": ("id", "title", "originally_planned_day")}
    state = State(schema, columns, broken())  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="stop"):
        build(db_url, state)
    assert Sandbox(db_url).contents() == {}


def test_statistics_are_there(db_url: str) -> None:
    """Plans are estimated from them at once."""
    box = made(db_url, before("workout_planner"))
    if box.sqlite:
        assert box.count("sqlite_stat1") > 0
    else:
        sql = "SELECT reltuples FROM pg_class WHERE relname = 'workout_selections'"
        assert box.value(sql) == ROWS


@pytest.mark.slow
@pytest.mark.timeout(600)
@each
def test_a_million_rows(db_url: str, name: str) -> None:
    """The size at which a change is shown."""
    assert made(db_url, before(name, 1_000_000)).count(BROKEN[name]) == 1_000_000
