"""The repaired states: what stands in them, and what they refuse."""

from __future__ import annotations

import sqlite3

import psycopg
import pytest

from systems.shared.fixtures import build
from tests.support.sandbox import Sandbox
from tests.systems.support import BROKEN, NAMES, after, before, made

REFUSED = (sqlite3.IntegrityError, psycopg.IntegrityError)


def refuses(box: Sandbox, sql: str) -> None:
    """The statement works once and no second time."""
    box.execute(sql)
    with pytest.raises(REFUSED):
        box.execute(sql)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_in_the_broken_table(db_url: str, name: str) -> None:
    """A fresh database has reference rows only."""
    assert made(db_url, after(name)).count(BROKEN[name]) == 0


def test_execution_data(db_url: str) -> None:
    """Periods 1-4, activities 1-40, facilities 1-20; one row per facility."""
    box = made(db_url, after("execution_data"))
    for table, most in (("reporting_periods", 4), ("activities", 40), ("facilities", 20)):
        assert box.rows(f"SELECT id FROM {table} ORDER BY id") == [(n,) for n in range(1, most + 1)]
    insert = "INSERT INTO execution_data (reporting_period_id, activity_id, facility_id) VALUES {}"
    refuses(box, insert.format("(1, 1, 1)"))
    box.execute(insert.format("(1, 1, 2)"))
    with pytest.raises(REFUSED):
        box.execute(insert.format("(1, 2, NULL)"))
    with pytest.raises(REFUSED):
        box.execute(insert.format("(1, 2, 21)"))
    box.execute("DELETE FROM facilities WHERE id = 2")
    assert box.count("execution_data") == 1


def test_report_weeks(db_url: str) -> None:
    """A week once in a collection, a collection once; the link is cut when its execution goes."""
    box = made(db_url, after("report_weeks"))
    one = "'00000000-0000-4000-a000-000000000001'"
    refuses(
        box,
        "INSERT INTO report_data_collections (name, workflow_id, instance_id, start_date, end_date)"
        f" VALUES ('n', {one}, 'i', '2026-01-05', '2027-01-03')",
    )
    box.execute(f"INSERT INTO workflow_executions (id, execution_id) VALUES ({one}, 'e1')")
    refuses(
        box,
        "INSERT INTO report_data_weeks"
        " (collection_id, week_start_date, week_end_date, execution_id)"
        f" SELECT id, '2026-01-05', '2026-01-11', {one} FROM report_data_collections",
    )
    assert len(str(box.value("SELECT id FROM report_data_weeks"))) == 36
    box.execute("DELETE FROM workflow_executions")
    assert box.rows("SELECT execution_id FROM report_data_weeks") == [(None,)]


def test_triage_bot(db_url: str) -> None:
    """Five people of each of five disciplines, sprints 0-9, one state that waits for a sprint."""
    box = made(db_url, after("triage_bot"))
    roster = box.rows("SELECT discipline, count(*), max(position) FROM users GROUP BY 1")
    assert sorted(roster) == [(d, 5, 4) for d in ("account", "beEng", "po", "producer", "uiEng")]
    assert box.rows("SELECT sprint_index FROM sprints ORDER BY id") == [(n,) for n in range(10)]
    assert box.rows("SELECT sprint_index, po_slack_id FROM current_state") == [(None, None)]
    with pytest.raises(REFUSED):
        box.execute("INSERT INTO current_state (sprint_index, is_current) VALUES (1, NULL)")
    refuses(
        box, "INSERT INTO users (slack_id, name, discipline) VALUES ('U00000001', 'Ana', 'beEng')"
    )
    request = (
        "INSERT INTO overrides (sprint_index, role, requested_by, replacement_slack_id, status)"
        " VALUES (1, 'po', '{}', 'U00000008', 'approved')"
    )
    refuses(box, request.format("U00000003"))
    with pytest.raises(REFUSED):  # another request, and approved as well
        box.execute(request.format("U00000013"))


def test_triage_bot_sprints_begin_this_week(sqlite_url: str) -> None:
    """Today is in sprint 0, and sprints follow each other without gap or overlap."""
    box = made(sqlite_url, after("triage_bot"))
    today = "date('now', 'localtime')"
    sql = f"SELECT sprint_index FROM sprints WHERE {today} BETWEEN start_date AND end_date"
    assert box.rows(sql) == [(0,)]
    assert _steps(box) == [(9,)]


def test_triage_bot_current_sprint_is_today(sqlite_url: str) -> None:
    """Before, too: today is in the sprint that the state names."""
    box = made(sqlite_url, before("triage_bot"))
    sql = """
        SELECT count(*) FROM current_state JOIN sprints USING (sprint_index)
        WHERE is_current AND date('now', 'localtime') BETWEEN start_date AND end_date"""
    assert box.value(sql) == 1
    assert _steps(box) == [(box.count("sprints") - 1,)]


def _steps(box: Sandbox) -> list[tuple[object, ...]]:
    return box.rows("""
        SELECT count(*) FROM sprints AS a JOIN sprints AS b
        ON b.sprint_index = a.sprint_index + 1 AND date(a.end_date, '+1 day') = b.start_date""")


def test_membership_plans(db_url: str) -> None:
    """Two tenants; one active name in a scope whatever its case, and archived ones do not count."""
    box = made(db_url, after("membership_plans"))
    assert box.rows("SELECT id FROM tenants ORDER BY id") == [("t1",), ("t2",)]
    assert box.rows("SELECT id, tenant_id FROM branches ORDER BY id") == [
        ("t1-b1", "t1"),
        ("t1-b2", "t1"),
        ("t2-b1", "t2"),
    ]
    for n, plan in enumerate((T_GOLD, B_GOLD, OTHER_BRANCH, OTHER_TENANT)):
        box.execute(_plan(f"p{n}", *plan))
    for plan in ((*T_GOLD[:3], "gOLD"), (*B_GOLD[:3], "gold")):
        with pytest.raises(REFUSED):
            box.execute(_plan("q", *plan))
        box.execute(_plan(f"a{plan[1]}", *plan, status="ARCHIVED"))
    assert box.rows("SELECT scope_key FROM membership_plans WHERE id = 'p0'") == [("TENANT",)]


T_GOLD = ("t1", "TENANT", "NULL", "Gold")
B_GOLD = ("t1", "BRANCH", "'t1-b1'", "Gold")
OTHER_BRANCH = ("t1", "BRANCH", "'t1-b2'", "Gold")
OTHER_TENANT = ("t2", "TENANT", "NULL", "Gold")


def _plan(
    own: str,
    tenant: str,
    scope: str,
    branch: str,
    name: str,
    *,
    status: str = "ACTIVE",
    months: int = 12,
    price: int = 100,
    currency: str = "EUR",
) -> str:
    return (
        "INSERT INTO membership_plans (id, tenant_id, scope, branch_id, name, duration_type,"
        f" duration_value, price, currency, status) VALUES ('{own}', '{tenant}', '{scope}',"
        f" {branch}, '{name}', 'MONTHS', {months}, {price}, '{currency}', '{status}')"
    )


def test_membership_plans_checks(db_url: str) -> None:
    """Scope and branch agree, durations and prices are in bounds, currencies three capitals."""
    box = made(db_url, after("membership_plans"))
    for bad in (
        _plan("x", "t1", "TENANT", "'t1-b1'", "N"),
        _plan("x", "t1", "BRANCH", "NULL", "N"),
        _plan("x", *T_GOLD, months=25),
        _plan("x", *T_GOLD, price=-1),
        *(_plan("x", *T_GOLD, currency=c) for c in ("eur", "EU", "EURO", "E1R", "ÉUR")),
    ):
        with pytest.raises(REFUSED):
            box.execute(bad)
    box.execute(_plan("x", *T_GOLD))


def test_workout_planner(db_url: str) -> None:
    """60 workouts; one selection each, one import per title and day, own ones as one likes."""
    box = made(db_url, after("workout_planner"))
    assert box.count("workouts") == 60
    refuses(box, "INSERT INTO workout_selections (workout_id) VALUES (1)")
    assert box.rows("SELECT version FROM workout_selections") == [(1,)]
    insert = (
        "INSERT INTO workouts (title, originally_planned_day, is_custom)"
        " VALUES ('R', '2026-03-02', {})"
    )
    refuses(box, insert.format("false"))
    box.execute(insert.format("true"), insert.format("true"))


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("execution_data", "facilities"),
        ("membership_plans", "branches"),
        ("workout_planner", "workouts"),
    ],
)
def test_the_reference_rows_are_those_of_before(db_url: str, name: str, table: str) -> None:
    """Both states speak of the same things."""
    box = made(db_url, before(name, 100))
    old = box.contents()
    build(db_url, after(name), force=True)
    key = next(k for k in old if k.endswith(table))
    assert set(box.contents()[key]) <= set(old[key])
