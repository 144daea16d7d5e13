"""The damage of each page, counted by SQL that knows nothing of the generators."""

from __future__ import annotations

from pathlib import Path

from systems.execution_data import reports, states
from tests.systems.support import ROWS, before, groups, made, uniques


def test_execution_data_one_facility_saves(db_url: str) -> None:
    """The old key stands, no column says whose row it is, and no activity was saved twice."""
    box = made(db_url, before("execution_data"))
    keys = uniques(box, "execution_data")
    assert list(keys) == ["execution_data_reporting_period_id_activity_id_key"]
    assert "facility_id" not in keys.popitem()[1]
    assert groups(box, "execution_data", "reporting_period_id, activity_id") == 0
    assert box.value("SELECT count(DISTINCT created_by) FROM execution_data") > 20
    assert box.rows("SELECT id FROM facilities ORDER BY id LIMIT 20") == [
        (n,) for n in range(1, 21)
    ]
    assert box.count("activities") >= 40
    assert box.count("reporting_periods") >= 4


def test_execution_data_ledger_adds_up(db_url: str) -> None:
    """The postings of a row are its quarters, and the balance their sum."""
    box = made(db_url, before("execution_data"))
    wrong = """
        SELECT count(*) FROM execution_data AS e
        WHERE cumulative_balance <> q1_amount + q2_amount + q3_amount + q4_amount
           OR cumulative_balance <> (SELECT coalesce(sum(amount), 0) FROM execution_ledger
                                     WHERE execution_data_id = e.id)"""
    assert box.value(wrong) == 0
    assert box.count("execution_ledger") > ROWS


def test_execution_data_mapping_agrees_with_the_authors(db_url: str, tmp_path: Path) -> None:
    """A row's facility can be had from the file and from `created_by`, or from neither."""
    box = made(db_url, states.before(ROWS, 3, unmapped=9))
    reports.write_mapping(tmp_path / "m.csv", reports.Size(ROWS, 9), 3)
    head, *lines = (tmp_path / "m.csv").read_text().splitlines()
    derived = """
        SELECT id, CAST(substr(created_by, 2, 3) AS integer) FROM execution_data
        WHERE created_by LIKE 'f___.%' ORDER BY id"""
    assert head == "id,facility_id"
    assert lines == [f"{a},{b}" for a, b in box.rows(derived)]
    assert len(lines) == ROWS - 9
    assert box.value("SELECT count(*) FROM execution_data WHERE created_by = 'import'") == 9


def test_report_weeks_twice_and_untraceable(db_url: str) -> None:
    """Weeks and collections stand twice, and no week names an execution that there is."""
    box = made(db_url, before("report_weeks"))
    assert uniques(box, "report_data_weeks") == {}
    assert groups(box, "report_data_weeks", "collection_id, week_start_date") > 0
    asked = "name, workflow_id, instance_id, start_date, end_date"
    assert groups(box, "report_data_collections", asked) > 0
    named, there = box.rows("""
        SELECT count(w.execution_id), count(e.id) FROM report_data_weeks AS w
        LEFT JOIN workflow_executions AS e ON e.id = w.execution_id""")[0]
    assert 0 < named < ROWS / 20
    assert there == 0
    assert box.count("workflow_executions") > 0


def test_report_weeks_copies_differ(db_url: str) -> None:
    """Of a week that stands twice, often one is completed and has the data."""
    box = made(db_url, before("report_weeks"))
    sql = """
        SELECT count(*) FROM (
            SELECT 1 FROM report_data_weeks GROUP BY collection_id, week_start_date
            HAVING count(*) > count(data) AND count(data) > 0) AS g"""
    assert box.value(sql) > 0
    assert box.value("SELECT max(updated_at) < '2025-09-08' FROM report_data_weeks")


def test_triage_bot_keys(db_url: str) -> None:
    """Too strict on people, too loose on the state, none on requests; two indexes for nothing."""
    box = made(db_url, before("triage_bot"))
    assert list(uniques(box, "users")) == ["users_slack_id_key"]
    assert list(uniques(box, "sprints")) == ["sprints_sprint_index_key"]
    assert list(uniques(box, "current_state")) == ["unique_current_state"]
    assert uniques(box, "overrides") == {}
    catalog = "sqlite_master" if box.sqlite else "pg_indexes"
    name = "name" if box.sqlite else "indexname"
    found = {r[0] for r in box.rows(f"SELECT {name} FROM {catalog}")}
    assert {"idx_users_slack_id", "idx_sprints_sprint_index"} <= found


def test_triage_bot_rows(db_url: str) -> None:
    """Requests twice, two approved for one role, states left behind, people kept out."""
    box = made(db_url, before("triage_bot"))
    request = "sprint_index, role, requested_by, replacement_slack_id"
    assert groups(box, "overrides", request) > 0
    two = """
        SELECT count(*) FROM (SELECT 1 FROM overrides WHERE approved GROUP BY sprint_index, role
        HAVING count(DISTINCT requested_by) > 1) AS g"""
    assert box.value(two) > 0
    assert box.count("current_state") == 3
    refused = "SELECT count(*) FROM audit_logs WHERE table_name = 'users' AND record_id IS NULL"
    assert box.value(refused) > 0
    disguised = """
        SELECT count(*) FROM users AS u JOIN users AS d ON d.slack_id = lower(u.slack_id)
        WHERE u.slack_id <> d.slack_id AND u.discipline <> d.discipline"""
    assert box.value(disguised) > 0
    # One approval of each role of each sprint stands in a row of its own: none is answered twice.
    answers = "approved_by IS NOT NULL"
    assert groups(box, "overrides", request, answers) == 0


def test_triage_bot_every_update_is_dated(db_url: str) -> None:
    """A trigger keeps `updated_at` on every table that has one."""
    box = made(db_url, before("triage_bot"))
    for table in ("users", "sprints", "current_state", "overrides"):
        sql = f"SELECT max(CAST(updated_at AS text)) FROM {table}"
        old = box.value(sql)
        box.execute(f"UPDATE {table} SET id = id WHERE id = 1")
        assert box.value(sql) > old


def test_membership_plans_null_and_case(db_url: str) -> None:
    """The old key stands and sees neither a tenant's doubles nor another case."""
    box = made(db_url, before("membership_plans"))
    assert list(uniques(box, "membership_plans")) == [
        "membership_plans_tenant_id_branch_id_name_key"
    ]
    same, folded = "tenant_id, branch_id, name", "tenant_id, branch_id, lower(name)"
    for scope, exact in (("TENANT", True), ("BRANCH", False)):
        active = f"status = 'ACTIVE' AND scope = '{scope}'"
        assert (groups(box, "membership_plans", same, active) > 0) == exact
        assert groups(box, "membership_plans", folded, active) > groups(
            box, "membership_plans", same, active
        )
    assert groups(
        box, "membership_plans", same, "status = 'ARCHIVED' OR status = 'ACTIVE'"
    ) > groups(box, "membership_plans", same, "status = 'ACTIVE'")


def test_membership_plans_children(db_url: str) -> None:
    """Copies that would go have members, and hold what the others lack."""
    box = made(db_url, before("membership_plans"))
    doubled = """
        SELECT count(DISTINCT p.id) FROM membership_plans AS p
        JOIN membership_plans AS q ON q.tenant_id = p.tenant_id AND q.id <> p.id
         AND q.branch_id IS NOT DISTINCT FROM p.branch_id AND lower(q.name) = lower(p.name)
        JOIN members AS m ON m.membership_plan_id = p.id
        WHERE p.status = 'ACTIVE' AND q.status = 'ACTIVE' AND p.description IS NULL"""
    if box.sqlite:
        doubled = doubled.replace("IS NOT DISTINCT FROM", "IS")
    assert box.value(doubled) > 0


def test_workout_planner_two_rows(db_url: str) -> None:
    """No key; selections stand twice with different parts of what was said, imports too."""
    box = made(db_url, before("workout_planner"))
    assert uniques(box, "workout_selections") == {}
    assert uniques(box, "workouts") == {}
    assert groups(box, "workout_selections", "workout_id") > 0
    day = "title, originally_planned_day"
    assert groups(box, "workouts", day, "NOT is_custom") > 0
    fields = ("current_plan_day", "time_of_day", "workout_location")
    lost = " AND ".join(f"count({f}) = 1" for f in fields)
    sql = f"""
        SELECT count(*) FROM (SELECT 1 FROM workout_selections GROUP BY workout_id
        HAVING count(*) > 1 AND {lost}) AS g"""
    assert box.value(sql) == groups(box, "workout_selections", "workout_id")


def test_workout_planner_copies_have_selections(db_url: str) -> None:
    """Both copies of an imported workout were planned: their selections will meet."""
    box = made(db_url, before("workout_planner"))
    sql = """
        SELECT count(*) FROM (
            SELECT 1 FROM workouts AS w JOIN workout_selections AS s ON s.workout_id = w.id
            WHERE NOT w.is_custom GROUP BY w.title, w.originally_planned_day
            HAVING count(DISTINCT w.id) > 1) AS g"""
    assert box.value(sql) > 0
