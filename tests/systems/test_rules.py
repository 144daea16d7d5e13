"""The rule files: they take the broken state to the repaired one, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from onerow import Key, apply, make_plan, undo, verify
from systems.execution_data import reports, states
from tests.support.sandbox import Sandbox
from tests.systems.support import NAMES, after, before, groups, made, rules

each = pytest.mark.parametrize("name", NAMES)

#: A column that another takes the place of goes when its last writer has gone, not by a rule.
STAYS = "overrides.approved"


@each
def test_there_and_back(db_url: str, name: str, tmp_path: Path) -> None:
    """Every rule holds afterwards; undone, schema and rows are as they were."""
    box = made(db_url, before(name))
    first, given = box.state(), rules(name, tmp_path)
    plan = make_plan(db_url, given)
    assert [b.message for b in plan.blockers] == []
    outcome = apply(db_url, given, plan=plan)
    assert outcome.status == "done", outcome.message
    assert [p for p in verify(db_url, given) if not p.ok] == []
    back = undo(db_url)
    assert (back.status, back.left_alone) == ("undone", ())
    assert box.state() == first


@pytest.mark.parametrize("name", NAMES)
def test_nothing_blocks_a_larger_one(pg_url: str, name: str, tmp_path: Path) -> None:
    """With children too large to be scanned for every batch."""
    made(pg_url, before(name, 25_000))
    plan = make_plan(pg_url, rules(name, tmp_path, rows=25_000))
    assert [b.message for b in plan.blockers] == []


@each
def test_the_keys_alone(db_url: str, name: str, tmp_path: Path) -> None:
    """What can be planned without the file's other rules: duplicates go, and come back."""
    keys = [k for k in rules(name, tmp_path).rules if isinstance(k, Key) and _old_columns(k)]
    box = made(db_url, before(name))
    first = box.state()
    for key in keys:
        assert apply(db_url, [key]).status == "done"
        assert undo(db_url).left_alone == ()
    assert box.state() == first


def _old_columns(key: Key) -> bool:
    """No column that the change brings is in the key."""
    new = {"facility_id", "scope_key"}
    return new.isdisjoint(key.columns) and key.where != "status = 'approved'"


@each
def test_what_comes_out_is_the_repaired_schema(
    pg_url: str, pg_server: Any, name: str, tmp_path: Path
) -> None:
    """Columns, constraints and indexes are those of `after`, names and definitions.

    But for defaults of added columns, which a rule file cannot say.
    """
    box = made(pg_url, before(name))
    assert apply(pg_url, rules(name, tmp_path)).status == "done"
    with pg_server.database() as other:
        wanted = _definitions(made(other, after(name)))
    assert _definitions(box) == wanted


def _definitions(box: Sandbox) -> dict[str, set[Any]]:
    columns = box.rows("""
        SELECT table_name, column_name, data_type, is_nullable, generation_expression,
               numeric_scale FROM information_schema.columns WHERE table_schema = 'public'""")
    constraints = box.rows("""
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'""")
    indexes = box.rows("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'")
    triggers = box.rows("SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal")
    return {
        "columns": {r for r in columns if f"{r[0]}.{r[1]}" != STAYS},
        "constraints": set(constraints),
        "indexes": set(indexes),
        "triggers": set(triggers),
    }


def test_workout_planner_loses_no_field(db_url: str, tmp_path: Path) -> None:
    """Every field that any copy of a selection had is in the one that stays."""
    box = made(db_url, before("workout_planner"))
    said = """
        SELECT w.title, w.originally_planned_day, w.is_custom, {} FROM workout_selections AS s
        JOIN workouts AS w ON w.id = s.workout_id WHERE NOT w.is_custom GROUP BY 1, 2, 3"""
    fields = ("current_plan_day", "time_of_day", "workout_location", "user_notes")
    known = said.format(", ".join(f"count({f}) > 0" for f in fields))
    told = sorted(box.rows(known))
    assert apply(db_url, rules("workout_planner", tmp_path)).status == "done"
    assert sorted(box.rows(known)) == told
    assert groups(box, "workout_selections", "workout_id") == 0


def test_report_weeks_keeps_the_completed_week(db_url: str, tmp_path: Path) -> None:
    """A week that any copy had completed is completed, and says nothing of a failure."""
    box = made(db_url, before("report_weeks"))
    done = """
        SELECT count(*) FROM (SELECT 1 FROM report_data_weeks AS w
        JOIN report_data_collections AS c ON c.id = w.collection_id WHERE w.status = 'completed'
        GROUP BY c.name, c.instance_id, w.week_start_date) AS g"""
    completed = box.value(done)
    assert apply(db_url, rules("report_weeks", tmp_path)).status == "done"
    assert box.value(done) == completed
    bad = "status = 'completed' AND error_message IS NOT NULL OR execution_id IS NOT NULL"
    assert box.value(f"SELECT count(*) FROM report_data_weeks WHERE {bad}") == 0


def test_triage_bot_the_answer_survives(db_url: str, tmp_path: Path) -> None:
    """A request that any copy of was granted is granted, but for the second one of a role."""
    box = made(db_url, before("triage_bot"))
    pairs = "SELECT count(*) FROM (SELECT DISTINCT sprint_index, role FROM overrides WHERE {}) AS g"
    granted = box.value(pairs.format("approved"))
    current = box.rows("SELECT sprint_index FROM current_state WHERE is_current")
    assert apply(db_url, rules("triage_bot", tmp_path)).status == "done"
    assert box.value(pairs.format("status = 'approved'")) == granted
    assert box.rows("SELECT sprint_index FROM current_state") == current
    orphans = """
        SELECT count(*) FROM audit_logs WHERE table_name = 'overrides'
        AND record_id NOT IN (SELECT id FROM overrides)"""
    assert box.value(orphans) == 0


def test_triage_bot_the_sprint_key_cannot_be_replaced(db_url: str) -> None:
    """`current_state` refers to it: told before anything is touched."""
    made(db_url, before("triage_bot"))
    rule = Key(
        "sprints",
        "sprint_index",
        "sprint_name",
        name="sprints_index_and_name",
        replaces=["sprints_sprint_index_key"],
    )
    plan = make_plan(db_url, [rule])
    assert [b.code for b in plan.blockers] == ["foreign_key_on_replaced_key"]


def test_execution_data_stops_where_nobody_knows(db_url: str, tmp_path: Path) -> None:
    """Rows that the mapping leaves out are told, none is guessed; completed, it goes on."""
    box = made(db_url, states.before(200, unmapped=3))
    given = rules("execution_data", tmp_path, rows=200)
    mapping = tmp_path / "facility_of_row.csv"
    reports.write_mapping(mapping, reports.Size(200, 3), 1)
    outcome = apply(db_url, given)
    assert outcome.status == "refused"
    unknown = box.rows("SELECT id FROM execution_data WHERE created_by = 'import' ORDER BY id")
    assert all(f"id = {row[0]}" in outcome.message for row in unknown)
    assert box.count("execution_data") == 200
    with mapping.open("a") as file:
        file.writelines(f"{row[0]},7\n" for row in unknown)
    assert apply(db_url, given).status == "done"
    where = "facility_id = 7 AND created_by = 'import'"
    assert box.value(f"SELECT count(*) FROM execution_data WHERE {where}") == len(unknown) == 3


def test_membership_plans_members_follow(db_url: str, tmp_path: Path) -> None:
    """No member loses the plan: each has one of the name that it had."""
    box = made(db_url, before("membership_plans"))
    named = """
        SELECT m.id, lower(p.name), p.scope FROM members AS m
        JOIN membership_plans AS p ON p.id = m.membership_plan_id ORDER BY m.id"""
    told = box.rows(named)
    assert apply(db_url, rules("membership_plans", tmp_path)).status == "done"
    assert box.rows(named) == told
