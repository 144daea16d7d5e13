"""Random tables, keys and policies against a model of what merging is."""

from __future__ import annotations

import sqlite3

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings

from onerow import api
from onerow.dialects import dialect
from onerow.keys import bind_key
from onerow.session import Limits
from tests.crash.support import forget
from tests.support.model import Scenario, scenarios
from tests.support.sandbox import Sandbox

SMALL = Limits(batch_rows=3, most_batch_rows=6)


def budget(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def fresh(url: str, scenario: Scenario) -> Sandbox:
    """The scenario's tables, in a database that may hold those of another one."""
    box = Sandbox(url)
    forget(box)
    box.execute("DROP TABLE IF EXISTS child", "DROP TABLE IF EXISTS parent")
    scenario.build(box)
    return box


def builds(box: Sandbox, scenario: Scenario) -> bool:
    """Whether the server would take the key's index as things are."""
    bound = bind_key(scenario.key, api.snapshot(api.open_database(box.url)))
    index = dialect(box.dialect).create_unique_index(bound, "trial", online=False)
    try:
        with box.connect() as connection:
            connection.execute("BEGIN")
            connection.execute(index)
            connection.execute("ROLLBACK")
    except (sqlite3.IntegrityError, psycopg.errors.UniqueViolation):
        return False
    return True


def there_and_back(url: str, scenario: Scenario) -> None:
    box, key = fresh(url, scenario), scenario.key
    before = box.state()
    database = api.open_database(box.url)
    (state,) = api.rule_states(database, [key], api.snapshot(database))
    groups = scenario.groups()
    # No duplicates found, none in the model, and the index can be built: all say the same.
    assert (state.violations.groups, state.violations.rows) == (
        len(groups), sum(len(g) - 1 for g in groups),
    )  # fmt: skip
    assert builds(box, scenario) == (not groups)
    plan = api.make_plan(box.url, [key])
    if scenario.collides():
        assert [b.code for b in plan.blockers] == ["colliding_children"]
        assert box.state() == before
        return
    assert plan.blockers == ()
    outcome = api.apply(box.url, [key], plan=plan, limits=SMALL)
    assert outcome.status == "done"
    assert_merged(box, scenario)
    assert outcome.archived + box.count("parent") == len(scenario.rows)
    assert all(p.ok for p in api.verify(box.url, [key]))
    back = api.undo(box.url, limits=SMALL)
    assert (back.status, back.left_alone) == ("undone", ())
    assert box.state() == before


def assert_merged(box: Sandbox, scenario: Scenario) -> None:
    """The rows and the children are those of the model."""
    names = [*scenario.identity, "a", "b", "n", "s"]
    rows = box.rows(f"SELECT {', '.join(names)} FROM parent")
    expected = [tuple(r[c] for c in names) for r in scenario.merged()]
    assert sorted(map(str, rows)) == sorted(map(str, expected))
    children = box.rows(
        f"SELECT {', '.join(f'p_{c}' for c in scenario.identity)} FROM child ORDER BY no"
    )
    assert children == [
        tuple(scenario.survivor(p)[c] if p is not None else None for c in scenario.identity)
        for p in scenario.children
    ]


@budget(25)
@given(scenario=scenarios())
def test_sqlite(sqlite_url: str, scenario: Scenario) -> None:
    """Apply leads where the model says, enforces the key, loses nothing, and undo is its inverse."""
    there_and_back(sqlite_url, scenario)


@budget(8)
@given(scenario=scenarios())
def test_postgresql(pg_url: str, scenario: Scenario) -> None:
    """The same on the first server found."""
    there_and_back(pg_url, scenario)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@budget(300)
@given(scenario=scenarios())
def test_sqlite_at_length(sqlite_url: str, scenario: Scenario) -> None:
    """With a larger budget."""
    there_and_back(sqlite_url, scenario)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@budget(100)
@given(scenario=scenarios())
def test_every_server_at_length(every_pg_url: str, scenario: Scenario) -> None:
    """On every server, with a larger budget."""
    there_and_back(every_pg_url, scenario)
