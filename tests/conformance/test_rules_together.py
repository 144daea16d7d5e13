"""Rules of several kinds in one plan, ordered by what depends on what: two systems' stories."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from onerow import api
from onerow.rulefile import Rules
from onerow.session import Limits
from tests.support.rules import (
    applied,
    apply,
    blocked,
    plan,
    rules_of,
    there_and_back,
    undone,
    verdicts,
)
from tests.support.sandbox import Sandbox

# -- execution data ------------------------------------------------------------------------------

EXECUTION = """
CREATE TABLE reporting_periods (id integer PRIMARY KEY, year integer);
CREATE TABLE activities (id integer PRIMARY KEY, name text);
CREATE TABLE facilities (id integer PRIMARY KEY, name text);
CREATE TABLE execution_data ({id},
    reporting_period_id integer NOT NULL REFERENCES reporting_periods,
    activity_id integer NOT NULL REFERENCES activities,
    q1_amount numeric(18, 2), created_by text, updated_at timestamp,
    CONSTRAINT execution_data_reporting_period_id_activity_id_key
        UNIQUE (reporting_period_id, activity_id));
CREATE TABLE execution_ledger ({id},
    execution_data_id integer NOT NULL REFERENCES execution_data ON DELETE CASCADE,
    quarter integer, amount numeric(18, 2));
CREATE INDEX ledger_of ON execution_ledger (execution_data_id);
INSERT INTO reporting_periods VALUES (1, 2024), (2, 2025), (3, 2026), (4, 2027);
"""
FILL = """
INSERT INTO activities WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n
    WHERE i < {rows} / 4 + 1) SELECT i, 'a' || i FROM n;
INSERT INTO facilities WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n
    WHERE i < 20) SELECT i, 'f' || i FROM n;
INSERT INTO execution_data (reporting_period_id, activity_id, q1_amount, created_by)
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {rows} - 1)
    SELECT i % 4 + 1, i / 4 + 1, i, 'u' || (i % 20) FROM n;
INSERT INTO execution_ledger (execution_data_id, quarter, amount)
    SELECT id, 1, q1_amount FROM execution_data WHERE id % 3 = 0;
"""
OLD, NEW = (
    "execution_data_reporting_period_id_activity_id_key",
    "execution_data_reporting_period_id_activity_id_facility_id_key",
)
EXECUTION_RULES = f"""
[[key]]
name = "{NEW}"
table = "execution_data"
columns = ["reporting_period_id", "activity_id", "facility_id"]
replaces = ["{OLD}"]
keep = "latest updated_at"

[[column]]
table = "execution_data"
name = "facility_id"
type = "integer"
not_null = true
references = "facilities(id)"
on_delete = "cascade"
backfill = {{ csv = "facility_of_row.csv", key = "id" }}
"""


def execution_data(url: str, rows: int = 120) -> Sandbox:
    box = Sandbox(url)
    number = (
        "id integer PRIMARY KEY"
        if box.sqlite
        else "id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
    )
    box.execute(EXECUTION.replace("{id}", number), FILL.replace("{rows}", str(rows)))
    return box


def mapping(folder: Path, rows: int, leave_out: set[int] | None = None) -> Rules:
    """The rule file, with a facility for each row beside it."""
    wanted = (i for i in range(1, rows + 1) if i not in (leave_out or set()))
    lines = (f"{i},{i % 20 + 1}" for i in wanted)
    (folder / "facility_of_row.csv").write_text("\n".join(["id,facility_id", *lines, ""]))
    (folder / "onerow.toml").write_text(EXECUTION_RULES)
    return rules_of(EXECUTION_RULES, folder)


def facilities(box: Sandbox) -> dict[int, int]:
    return dict(box.rows("SELECT id, facility_id FROM execution_data ORDER BY id"))


def test_the_order_of_the_execution_story(every_url: str, tmp_path: Path) -> None:
    """New rows are bound before old ones are filled; what is replaced goes last, after proof."""
    box = execution_data(every_url)
    rules = mapping(tmp_path, 120)
    assert verdicts(box, rules) == ["not enforced", "not enforced"]
    kinds = [s.kind for s in plan(box, rules).steps]
    if box.sqlite:
        assert kinds == [
            "add_column", "backfill", "merge_duplicates", "create_index", "backfill", "verify",
            "rebuild_table", "verify",
        ]  # fmt: skip
        return
    native = int(box.value("SHOW server_version_num")) >= 180000
    assert kinds == [
        "add_column", "add_foreign_key", "backfill", "set_not_null" if native else "add_check",
        "backfill", "merge_duplicates", "create_index", "attach_constraint", "validate_check",
        *([] if native else ["set_not_null"]),
        "validate_foreign_key", "verify", "verify", "drop_constraint",
    ]  # fmt: skip


def test_execution_story(every_url: str, tmp_path: Path) -> None:
    """Column, file, NOT NULL, foreign key, key in the old one's place; and back to the letter."""
    box = execution_data(every_url)
    there_and_back(box, mapping(tmp_path, 120))
    assert facilities(box) == {i: i % 20 + 1 for i in range(1, 121)}
    box.execute(
        "INSERT INTO execution_data (reporting_period_id, activity_id, facility_id)"
        " VALUES (1, 1, 9)"
    )
    with pytest.raises(Exception, match=r"(?i)unique"):
        box.execute(
            "INSERT INTO execution_data (reporting_period_id, activity_id, facility_id)"
            " VALUES (1, 1, 9)"
        )
    with pytest.raises(Exception, match=r"(?i)null"):
        box.execute("INSERT INTO execution_data (reporting_period_id, activity_id) VALUES (2, 1)")


def test_a_row_without_a_facility_is_told_before_anything_is_touched(
    db_url: str, tmp_path: Path
) -> None:
    """The rows are listed; with the file completed it goes there and back."""
    box = execution_data(db_url)
    before = box.state()
    rules = mapping(tmp_path, 120, leave_out={5, 77})
    outcome = apply(box, rules)
    assert outcome.status == "refused"
    assert "2 row(s)" in outcome.message
    assert "id = 5; id = 77" in outcome.message
    assert box.state() == before
    mapping(tmp_path, 120)
    assert apply(box, rules).status == "done"
    assert OLD not in str(box.schema().get("indexes"))
    undone(box)
    assert box.state() == before


@contextmanager
def writing(box: Sandbox) -> Iterator[list[int]]:
    """Somebody who keeps posting, with a facility as soon as there is a column for it."""
    stop, posted, failed = threading.Event(), [], []

    def post() -> None:
        number = 0
        with box.connect() as connection:
            while not stop.is_set():
                number += 1
                time.sleep(0.003)
                try:
                    _post(connection, number)
                    posted.append(number)
                except Exception as error:
                    failed.append(error)

    writer = threading.Thread(target=post)
    writer.start()
    try:
        yield posted
    finally:
        stop.set()
        writer.join()
    assert not failed, failed[:3]
    assert posted


def _post(connection: Any, number: int) -> None:
    """As a server on `optional` does: with the facility if there is a column for it, else without.

    The column may come, and become NOT NULL, between the one try and the other.
    """
    head = "INSERT INTO execution_data (reporting_period_id, activity_id, created_by"
    connection.execute(f"INSERT INTO activities VALUES ({10000 + number}, 'new')")
    tries = [
        f"{head}, facility_id) VALUES (1, {10000 + number}, 'live', 7)",
        f"{head}) VALUES (1, {10000 + number}, 'live')",
    ]
    for sql in [*tries, tries[0]]:
        try:
            connection.execute(sql)
            return
        except Exception as error:
            if "facility_id" not in str(error):
                raise
    raise AssertionError("neither with the facility nor without it")


SQL_RULES = EXECUTION_RULES.replace(
    '{ csv = "facility_of_row.csv", key = "id" }',
    "{ sql = \"CASE WHEN created_by = 'live' THEN 7 ELSE 3 END\" }",
)


def test_the_execution_story_while_clients_post(every_url: str) -> None:
    """No write fails; rows written meanwhile are filled too."""
    box = execution_data(every_url)
    rules = rules_of(SQL_RULES)
    with writing(box) as posted:
        time.sleep(0.1)
        applied(box, rules)
        time.sleep(0.1)
    assert box.count("execution_data") == 120 + len(posted)
    right = "CASE created_by WHEN 'live' THEN 7 ELSE 3 END"
    assert box.value(f"SELECT count(*) FROM execution_data WHERE facility_id <> {right}") == 0


def test_duplicates_of_a_key_over_a_column_that_is_still_to_come(db_url: str) -> None:
    """They are counted over the values that the backfill will put there, and merged."""
    box = Sandbox(db_url)
    box.execute(
        "CREATE TABLE t (id integer PRIMARY KEY, a integer, note text)",
        "INSERT INTO t VALUES (1, 1, NULL), (2, 1, 'b'), (3, 2, 'c'), (4, 2, 'd'), (5, 3, 'e')",
    )
    rules = rules_of(
        '[[column]]\ntable = "t"\nname = "b"\ntype = "integer"\nnot_null = true\n'
        'backfill = { sql = "id / 3" }\n[[key]]\ntable = "t"\ncolumns = ["a", "b"]\n'
    )
    merge = next(s for s in plan(box, rules).steps if s.kind == "merge_duplicates")
    assert (merge.rows, "2 groups" in merge.sentence) == (2, True)
    outcome = there_and_back(box, rules)
    assert outcome.archived == 2
    assert box.rows("SELECT * FROM t ORDER BY id") == [
        (1, 1, "b", 0), (3, 2, "c", 1), (5, 3, "e", 1)
    ]  # fmt: skip


def test_with_a_file_the_number_of_duplicates_is_unknown_and_said(
    db_url: str, tmp_path: Path
) -> None:
    """The merge meets whichever there are."""
    box = Sandbox(db_url)
    box.execute("CREATE TABLE t (id integer PRIMARY KEY, a integer)")
    box.execute("INSERT INTO t VALUES (1, 1), (2, 1), (3, 1)")
    (tmp_path / "b.csv").write_text("id,b\n1,5\n2,5\n3,6\n")
    rules = rules_of(
        '[[column]]\ntable = "t"\nname = "b"\ntype = "integer"\n'
        'backfill = { csv = "b.csv", key = "id" }\n[[key]]\ntable = "t"\ncolumns = ["a", "b"]\n',
        tmp_path,
    )
    merge = next(s for s in plan(box, rules).steps if s.kind == "merge_duplicates")
    assert "depends on the backfill's file" in merge.sentence
    there_and_back(box, rules)
    assert box.rows("SELECT * FROM t ORDER BY id") == [(1, 1, 5), (3, 1, 6)]


# -- killed --------------------------------------------------------------------------------------

RUNNER = """
import sys
from onerow import api
from onerow.session import Limits
try:
    api.apply(sys.argv[1], sys.argv[2], limits=Limits(batch_rows=10, most_batch_rows=10))
except Exception as error:
    print(error)
"""


def _runner(url: str, rules: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", RUNNER, url, str(rules)],
        env=dict(os.environ),
        stdout=subprocess.PIPE,
    )


def test_killed_in_the_backfill_and_gone_on_with(every_url: str, tmp_path: Path) -> None:
    """Nothing is lost, and nothing stays empty that was mapped; also twice in a row."""
    rows = 16_000
    box = execution_data(every_url, rows)
    before = box.state()
    rules = mapping(tmp_path, rows)
    full = {i: i % 20 + 1 for i in range(1, rows + 1)}
    assert _killed_half_way(box, tmp_path / "onerow.toml", rows)
    assert _killed_half_way(box, tmp_path / "onerow.toml", rows)
    outcome = apply(box, rules, Limits())
    assert (outcome.status, outcome.exit_code) == ("done", 0), outcome.message
    assert facilities(box) == full
    assert all(p.ok for p in api.verify(box.url, rules))
    undone(box)
    assert box.state() == before


def _killed_half_way(box: Sandbox, rules: Path, rows: int) -> bool:
    """Start a runner and kill it as soon as it has filled some more rows, and not all."""
    begun = _filled(box)
    runner = _runner(box.url, rules)
    try:
        with box.connect() as watcher:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and runner.poll() is None:
                if begun < _filled(box, watcher) < rows:
                    runner.send_signal(signal.SIGKILL)
                    break
                time.sleep(0.002)
    finally:
        runner.kill()
        runner.wait()
        assert runner.stdout
        runner.stdout.close()
    deadline = time.monotonic() + 30
    while not box.sqlite and box.value(_OTHERS) and time.monotonic() < deadline:
        time.sleep(0.05)  # the server notices that its client is gone
    return begun < _filled(box) < rows


_OTHERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name = 'onerow'"
)


def _filled(box: Sandbox, watcher: Any = None) -> int:
    try:
        if watcher is None:
            return int(box.value(_COUNT))
        return int(watcher.execute(_COUNT).fetchone()[0])
    except Exception:
        return 0  # there is no such column yet


_COUNT = "SELECT count(facility_id) FROM execution_data"


# -- report weeks --------------------------------------------------------------------------------

REPORT = """
CREATE TABLE workflow_executions (id {uuid} PRIMARY KEY, execution_id text UNIQUE NOT NULL);
CREATE TABLE report_data_collections (id {uuid} PRIMARY KEY, name text NOT NULL,
    workflow_id {uuid} NOT NULL);
CREATE TABLE report_data_weeks (id {uuid} PRIMARY KEY,
    collection_id {uuid} NOT NULL REFERENCES report_data_collections ON DELETE CASCADE,
    week_start_date date, status varchar(50) DEFAULT 'pending', execution_id {uuid},
    data {json}, created_at timestamp, updated_at timestamp);
"""
REPORT_RULES = """
[[reference]]
table = "report_data_weeks"
columns = ["execution_id"]
to = "workflow_executions(id)"
on_delete = "set null"
orphans = "null"

[[key]]
name = "report_data_weeks_collection_id_week_start_date_key"
table = "report_data_weeks"
columns = ["collection_id", "week_start_date"]
keep = "max (CASE WHEN status = 'completed' THEN 1 ELSE 0 END)"

[[key]]
table = "report_data_collections"
columns = ["name", "workflow_id"]

[[index]]
table = "report_data_weeks"
columns = ["execution_id"]
where = "execution_id IS NOT NULL"

[[index]]
table = "report_data_weeks"
columns = ["collection_id", "execution_id"]
where = "execution_id IS NOT NULL"

[[constraint]]
table = "report_data_weeks"
name = "known_status"
check = "status IN ('pending', 'running', 'completed', 'failed')"

[[population]]
table = "report_data_weeks"
column = "execution_id"
where = "status = 'completed'"
since = "2025-09-08"
by = "created_at"
"""


def uid(kind: int, number: int) -> str:
    return f"{kind:08d}-0000-4000-8000-{number:012d}"


def report_weeks(url: str) -> Sandbox:
    box = Sandbox(url)
    kinds = ("text", "text") if box.sqlite else ("uuid", "jsonb")
    box.execute(REPORT.replace("{uuid}", kinds[0]).replace("{json}", kinds[1]))
    for i in range(3):
        box.execute(f"INSERT INTO workflow_executions VALUES ('{uid(1, i)}', 'e{i}')")
        box.execute(
            f"INSERT INTO report_data_collections VALUES ('{uid(2, i)}', 'c', '{uid(9, i)}')"
        )
    # The third collection is the first one again, made by a restart.
    box.execute(
        f"UPDATE report_data_collections SET workflow_id = '{uid(9, 0)}' WHERE id = '{uid(2, 2)}'"
    )
    weeks = []
    for n in range(40):
        collection, week = uid(2, n % 2), f"2025-0{n // 8 + 1}-01"
        status = ("completed", "pending", "failed")[n % 3]
        execution = f"'{uid(7, n)}'" if n % 10 == 4 else "NULL"
        weeks.append(
            f"('{uid(3, n)}', '{collection}', '{week}', '{status}', {execution}, NULL,"
            f" '2025-0{n % 8 + 1}-02 00:00:00')"
        )
    weeks.append(
        f"('{uid(3, 99)}', '{uid(2, 2)}', '2026-01-05', 'completed', '{uid(1, 1)}', '{{\"a\": 1}}',"
        " '2026-01-06 00:00:00')"
    )
    box.execute(
        "INSERT INTO report_data_weeks (id, collection_id, week_start_date, status, execution_id,"
        f" data, created_at) VALUES {', '.join(weeks)}"
    )
    return box


def test_report_weeks_story(every_url: str) -> None:
    """Orphans emptied, doubles merged, foreign key, key, partial indexes, check; and back."""
    box = report_weeks(every_url)
    rules = rules_of(REPORT_RULES)
    there_and_back(box, rules)
    assert box.value("SELECT count(*) FROM report_data_collections") == 2
    weeks = box.rows("SELECT collection_id, week_start_date FROM report_data_weeks")
    assert len(weeks) == len(set(weeks)) == 11
    completed = "SELECT count(*) FROM report_data_weeks WHERE status = 'completed'"
    assert box.value(completed) == 11
    orphans = """SELECT count(*) FROM report_data_weeks AS w WHERE execution_id IS NOT NULL AND NOT
        EXISTS (SELECT 1 FROM workflow_executions AS e WHERE e.id = w.execution_id)"""
    assert box.value(orphans) == 0


def test_a_blocker_of_one_rule_stops_all(db_url: str) -> None:
    """Nothing is touched, and each blocker names its rule."""
    box = report_weeks(db_url)
    rules = rules_of(REPORT_RULES.replace('orphans = "null"', 'orphans = "report"'))
    assert set(blocked(box, rules)) == {"orphans"}
    found = api.make_plan(box.url, rules).blockers
    assert {b.rule for b in found} == {"report_data_weeks(execution_id)"}


def test_a_reference_to_a_key_that_the_plan_makes(db_url: str) -> None:
    """The foreign key waits for the key that it leans on; orphans and doubles are met."""
    box = Sandbox(db_url)
    box.execute(
        "CREATE TABLE people (id integer PRIMARY KEY, code integer NOT NULL, name text)",
        "CREATE TABLE posts (id integer PRIMARY KEY, code integer)",
        "INSERT INTO people VALUES (1, 10, NULL), (2, 10, 'b'), (3, 20, 'c')",
        "INSERT INTO posts VALUES (1, 10), (2, 20), (3, 99)",
    )
    rules = rules_of(
        '[[reference]]\ntable = "posts"\ncolumns = ["code"]\nto = "people(code)"\n'
        'orphans = "null"\n[[key]]\ntable = "people"\ncolumns = ["code"]\n'
    )
    kinds = [s.kind for s in plan(box, rules).steps]
    assert kinds.index("create_index") < kinds.index("archive_orphans")
    there_and_back(box, rules)
    assert box.rows("SELECT * FROM posts ORDER BY id") == [(1, 10), (2, 20), (3, None)]


def test_all_edits_of_a_table_are_one_rebuild(sqlite_url: str, tmp_path: Path) -> None:
    """NOT NULL, a check, a foreign key and the old key that goes: one copy of the table."""
    box = execution_data(sqlite_url)
    mapping(tmp_path, 120)
    text = EXECUTION_RULES + (
        '[[constraint]]\ntable = "execution_data"\nname = "positive"\ncheck = "q1_amount >= 0"\n'
        '[[reference]]\ntable = "execution_data"\ncolumns = ["created_by"]\n'
        'to = "activities(name)"\norphans = "null"\n'
        '[[key]]\ntable = "activities"\ncolumns = ["name"]\n'
    )
    rules = rules_of(text, tmp_path)
    assert [s.kind for s in plan(box, rules).steps].count("rebuild_table") == 1
    there_and_back(box, rules)
    made = box.value("SELECT sql FROM sqlite_master WHERE name = 'execution_data'")
    assert all(w in made for w in ('"facility_id" integer CONSTRAINT', "NOT NULL,", "positive"))
    assert OLD not in made
