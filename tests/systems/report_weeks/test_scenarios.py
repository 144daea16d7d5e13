"""The scenarios of the system's page, and what the original runner and writer make of them."""

from __future__ import annotations

from collections import Counter

import pytest

from onerow import Key, Population, Reference, api
from systems.report_weeks.store import Store
from systems.report_weeks.verify import RULES, verify
from tests.support.live import until
from tests.support.sandbox import Sandbox
from tests.systems.report_weeks.support import (
    application,
    at_once,
    broken,
    by_status,
    collect,
    created,
    engine_of,
    repaired,
    request,
    running,
    stats,
    workflows,
)
from tests.systems.support import groups

LINKED = """
    SELECT count(*), count(e.id), count(e.amc_execution_id) FROM report_data_weeks AS w
    LEFT JOIN workflow_executions AS e ON e.id = w.execution_id AND e.status = 'completed'
        AND e.completed_at IS NOT NULL AND e.started_at <= e.completed_at
    WHERE w.status = 'completed'"""


# -- 1: lineage -----------------------------------------------------------------------------------


def test_every_completed_week_says_its_execution(db_url: str) -> None:
    """20 % fail, 5 % have no id: all that are completed are linked, the ids of the service kept."""
    box = repaired(db_url)
    collection = created(box)
    with workflows(fail_rate=0.2, no_id_rate=0.05, seed=9) as service:
        tally = collect(box, service, collection, attempts=1)
        told = stats(service)
    completed, linked, with_id = box.rows(LINKED)[0]
    assert tally.failed > 0, "nothing failed: nothing was tried"
    assert tally.no_id > 0
    assert (completed, linked) == (tally.completed, tally.completed)
    assert completed + tally.failed == 52
    assert completed - with_id == tally.no_id == told["withoutId"]
    assert by_status(box, collection) == {"completed": completed, "failed": tally.failed}
    assert_verify_counts(db_url)
    assert verify(db_url).ok
    rules = [r for r in api.load_rules(RULES).rules if isinstance(r, Key | Reference | Population)]
    assert [p.message for p in api.verify(db_url, rules) if not p.ok] == []


def assert_verify_counts(url: str) -> None:
    """The report's numbers are those of other statements."""
    box, told = Sandbox(url), verify(url).to_dict()
    population = told["population"]
    day = (
        "date(created_at)" if box.sqlite else "to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')"
    )
    total, null = box.rows(
        "SELECT count(*), sum(CASE WHEN execution_id IS NULL THEN 1 ELSE 0 END) FROM report_data_weeks"
    )[0]
    null = int(null or 0)
    assert (population["total"], population["null"]) == (total, null)
    assert population["rate"] == ((total - null) / total if total else 0)
    days = box.rows(
        f"SELECT {day}, count(*), count(execution_id) FROM report_data_weeks GROUP BY {day} ORDER BY 1"
    )
    per_day = [(d["day"], d["total"], d["populated"]) for d in population["per_day"]]
    assert per_day == [(str(d), t, p) for d, t, p in days]
    assert told["orphans"] == box.value(
        "SELECT count(*) FROM report_data_weeks WHERE execution_id IS NOT NULL"
        " AND execution_id NOT IN (SELECT id FROM workflow_executions)"
    )


def test_before_no_week_says_it(db_url: str) -> None:
    """The original runner completes as many, and 0 % are populated."""
    box = broken(db_url)
    collection = created(box, 12, naive=True)
    with workflows() as service:
        tally = collect(box, service, collection, naive=True)
        assert stats(service)["executions"] == 12
    assert by_status(box, collection) == {"completed": 12}
    assert tally.completed == 12
    assert box.rows(LINKED)[0] == (12, 0, 0)
    assert verify(db_url).to_dict()["population"]["rate"] == 0
    assert not verify(db_url).ok


# -- 2: two runners, one killed -------------------------------------------------------------------


def test_a_killed_runner_loses_no_week(db_url: str) -> None:
    """SIGKILL in the middle: its weeks are pending after the lease, and the other completes all, each once."""
    box = repaired(db_url)
    collection = created(box)
    with workflows(latency=0.4) as service:
        with (
            running(db_url, service, collection, lease=1.5) as doomed,
            running(db_url, service, collection, lease=1.5) as other,
        ):
            mine = f"SELECT count(*) FROM report_data_weeks WHERE status = 'running' AND claimed_by LIKE '%:{doomed.process.pid}'"
            until(lambda: box.value(mine), "it has claimed some")
            doomed.kill()
            assert box.value(mine) > 0
            assert other.end() == 0, other.said
        told = stats(service)
    assert by_status(box, collection) == {"completed": 52}
    assert told["executions"] == 52, "the service did some week twice"
    assert box.rows(LINKED)[0] == (52, 52, 52)
    ended = dict(box.rows("SELECT status, count(*) FROM workflow_executions GROUP BY 1"))
    assert ended.pop("completed") == 52
    assert ended.keys() == {"failed"}, "an execution of the dead runner is running for ever"
    assert box.value("SELECT weeks_completed FROM report_data_collections") == 52
    tokens = "SELECT count(*) FROM report_data_weeks WHERE claim_token > 1"
    assert box.value(tokens) == ended["failed"]


def test_before_a_killed_runner_loses_its_weeks(db_url: str) -> None:
    """The original: two runners do weeks twice, and those of a dead one are running for ever."""
    box = broken(db_url)
    collection = created(box, 52, naive=True)
    with workflows(latency=0.3) as service:
        with running(db_url, service, collection, "--naive") as doomed:
            claimed = "SELECT count(*) FROM report_data_weeks WHERE status = 'running'"
            until(lambda: box.value(claimed), "it has claimed some")
            doomed.kill()
        collect(box, service, collection, naive=True)
    assert by_status(box, collection).get("running", 0) > 0


# -- 3: created many times ------------------------------------------------------------------------

CLIENTS = 20


def test_created_twenty_times_at_once(db_url: str) -> None:
    """One 201, nineteen 200 with the one that exists, 52 weeks."""
    box, body = repaired(db_url), request(52)
    with application(box) as house:
        answers = at_once([lambda: house.http.post("/collections", json=body)] * CLIENTS)
    assert Counter(a.status_code for a in answers) == {201: 1, 200: CLIENTS - 1}
    assert len({a.json()["id"] for a in answers}) == 1
    assert {a.json()["weeks"]["pending"] for a in answers} == {52}
    assert (box.count("report_data_collections"), box.count("report_data_weeks")) == (1, 52)


def test_before_it_was_created_several_times(db_url: str) -> None:
    """The original looks and inserts: one after the other right, at once several times 52."""
    box = broken(db_url)
    with application(box, naive=True) as house:
        calm = request(52)
        calls = [house.http.post("/collections", json=calm).status_code for _ in range(3)]
        assert calls == [201, 200, 200]

        def doubled() -> bool:
            rows = box.count("report_data_weeks")
            body = request(52)
            at_once([lambda: house.http.post("/collections", json=body)] * CLIENTS)
            return box.count("report_data_weeks") - rows > 52

        assert any(doubled() for _ in range(10))


# -- 4: orphans and duplicates --------------------------------------------------------------------


def test_repaired_and_back(db_url: str) -> None:
    """Apply reports, repairs and validates; undo brings every row back."""
    box, rules = broken(db_url, 900), api.load_rules(RULES)
    first = box.state()
    week = "collection_id, week_start_date"
    report = verify(db_url)
    assert_verify_counts(db_url)
    found = {c.name for c in report.checks if not c.ok and c.severity == "error"}
    assert found == {"foreign_key", "unique_week", "orphans"}
    doubled = groups(box, "report_data_weeks", week)
    assert min(doubled, report.found.orphans) > 0
    plan = api.make_plan(db_url, rules)
    said = " ".join(s.sentence for s in plan.steps)
    assert "report_data_weeks" in said
    assert not plan.blockers
    done = api.apply(db_url, rules)
    assert done.status == "done", done.message
    assert groups(box, "report_data_weeks", week) == 0
    after = verify(db_url)
    assert (after.ok, after.found.orphans) == (True, 0), list(after.checks)
    assert_verify_counts(db_url)
    back = api.undo(db_url)
    assert (back.status, back.left_alone) == ("undone", ())
    assert box.state() == first


# -- and: a failed one is tried again, a paused one waits ---------------------------------------------


def test_failed_weeks_are_tried_again(db_url: str) -> None:
    """One after the other or all; the collection is then completed."""
    box = repaired(db_url)
    collection = created(box, 12)
    with workflows(fail_rate=1.0) as bad:
        assert collect(box, bad, collection, attempts=1).failed == 12
    linked = "SELECT count(*) FROM report_data_weeks AS w JOIN workflow_executions AS e ON e.id = w.execution_id WHERE w.status = 'failed' AND e.status = 'failed' AND w.error_message = e.error_message"
    assert box.value(linked) == 12
    with application(box) as house, workflows() as good:
        assert house.http.get(f"/collections/{collection}").json()["status"] == "failed"
        one = house.weeks(collection)[0]["id"]
        answer = house.http.post(f"/weeks/{one}/retry")
        assert (answer.status_code, answer.json()["status"]) == (200, "pending")
        assert house.http.post(f"/weeks/{one}/retry").status_code == 409
        assert collect(box, good, collection).completed == 1
        with running(db_url, good, "no such collection") as refused:
            assert refused.end() == 1
    with engine_of(box) as engine, workflows() as good:
        assert Store(engine).retry_failed(collection) == 11
        assert collect(box, good, collection).completed == 11
        assert Store(engine).collection(collection)["status"] == "completed"


@pytest.mark.parametrize("naive", [False, True])
def test_a_paused_collection_waits(db_url: str, naive: bool) -> None:
    """No week is begun while it is paused; resumed it goes on where it was."""
    box = broken(db_url) if naive else repaired(db_url)
    collection = created(box, 4, naive=naive)
    with application(box, naive=naive) as house, workflows() as service:
        paused = house.http.post(f"/collections/{collection}/pause")
        assert (paused.status_code, paused.json()["status"]) == (200, "paused")
        assert collect(box, service, collection, naive=naive).completed == 0
        resumed = house.http.post(f"/collections/{collection}/resume")
        assert (resumed.status_code, resumed.json()["status"]) == (200, "pending")
        assert collect(box, service, collection, naive=naive).completed == 4
        assert house.http.post(f"/collections/{collection}/pause").status_code == 409
