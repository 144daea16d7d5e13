"""What needs no database: weeks of a range, statuses, verdicts, the client, the local service."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.responses import Response

from systems.report_weeks.calendar_weeks import weeks_between
from systems.report_weeks.client import ServiceFailure, WorkflowService
from systems.report_weeks.judging import judge, last_seven
from systems.report_weeks.ledger import Claim
from systems.report_weeks.models import Answer, NewCollection
from systems.report_weeks.refresh import status_of
from systems.report_weeks.reporting import as_html, as_text, bars
from systems.report_weeks.survey import Catalog, Day, Findings, Numbers
from tests.systems.report_weeks.support import WORKFLOW, request, stats, workflows
from tests.systems.serving import in_thread

DAYS = st.dates(date(2000, 1, 1), date(2040, 1, 1))


# -- weeks ----------------------------------------------------------------------------------------


@given(start=DAYS, length=st.integers(0, 800))
def test_weeks_cover_the_range(start: date, length: int) -> None:
    """Each day is in one week; all begin on Monday but the first, all end on Sunday but the last."""
    end = start + timedelta(days=length)
    weeks = weeks_between(start, end)
    days = [a + timedelta(days=n) for a, b in weeks for n in range((b - a).days + 1)]
    assert days == [start + timedelta(days=n) for n in range(length + 1)]
    assert all(a.weekday() == 0 for a, _ in weeks[1:])
    assert all(b.weekday() == 6 for _, b in weeks[:-1])


def test_a_year_has_52_weeks_and_the_last_is_cut() -> None:
    """364 days from a Monday; two days more are a week of two days."""
    assert len(weeks_between(date(2024, 1, 1), date(2024, 12, 29))) == 52
    assert weeks_between(date(2024, 1, 1), date(2024, 12, 31))[-1] == (
        date(2024, 12, 30),
        date(2024, 12, 31),
    )


@pytest.mark.parametrize(
    ("counts", "old", "new"),
    [
        ({"pending": 3}, "pending", "pending"),
        ({"pending": 3, "completed": 1}, "pending", "running"),
        ({"running": 1, "failed": 1}, "running", "running"),
        ({"pending": 1}, "paused", "paused"),
        ({"completed": 2}, "paused", "completed"),
        ({"completed": 2, "failed": 1}, "running", "failed"),
    ],
)
def test_the_status_of_a_collection(counts: dict[str, int], old: str, new: str) -> None:
    """What its weeks say, and paused for as long as there is something to pause."""
    assert status_of(old, counts) == new


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"endDate": "2023-12-31"}, "before startDate"),
        ({"endDate": "2099-01-01"}, "520 weeks"),
        ({"workflowId": "x"}, "pattern"),
        ({"startDate": 20240101}, "2026-03-02"),
        ({"name": ""}, "at least 1"),
    ],
)
def test_bad_requests(changed: dict[str, Any], said: str) -> None:
    """A sentence for each."""
    with pytest.raises(ValidationError, match=said):
        NewCollection.model_validate({**request(), **changed})


# -- verdicts -------------------------------------------------------------------------------------

CATALOG = Catalog(
    type="uuid",
    nullable=True,
    default=None,
    executions=True,
    foreign_key="workflow_executions(id)",
    on_delete="set null",
    validated=True,
    keys=(("collection_id", "week_start_date"),),
    indexes=(
        {"name": "idx_report_data_weeks_execution_id", "valid": True},
        {"name": "idx_report_data_weeks_collection_execution", "valid": True},
    ),
)
GOOD = Findings(
    dialect="postgresql", since=date(2025, 9, 8), today=date(2026, 3, 2), catalog=CATALOG
)


def failed(found: Findings) -> dict[str, str]:
    return {c.name: c.severity for c in judge(found).checks if not c.ok}


def test_nothing_is_wrong_with_an_empty_table() -> None:
    """No division by zero, in any of the forms."""
    report = judge(GOOD)
    assert (report.ok, failed(GOOD)) == (True, {})
    assert report.to_dict()["population"]["rate"] == 0
    assert list(as_text(report))[-1] == "ok: no error"
    assert "There are no weeks yet" in as_html(report)


@pytest.mark.parametrize(
    ("changed", "name", "severity"),
    [
        ({"type": None}, "column_exists", "error"),
        ({"type": "text"}, "column_type", "error"),
        ({"nullable": False}, "column_nullable", "error"),
        ({"default": "gen_random_uuid()"}, "column_default", "error"),
        ({"executions": False}, "executions_table", "warning"),
        ({"foreign_key": None}, "foreign_key", "error"),
        ({"on_delete": "cascade"}, "foreign_key", "error"),
        ({"validated": False}, "foreign_key_validated", "error"),
        ({"keys": ()}, "unique_week", "error"),
        ({"indexes": ()}, "partial_indexes", "warning"),
    ],
)
def test_a_wrong_schema_is_told(changed: dict[str, Any], name: str, severity: str) -> None:
    """By one check each; only an error makes the report not ok."""
    found = replace(GOOD, catalog=replace(CATALOG, **changed))
    assert failed(found) == {name: severity}
    assert judge(found).ok == (severity != "error")


def test_wrong_rows_are_told() -> None:
    """Weeks without execution since the day, values of another type, orphans, links to nothing."""
    numbers = Numbers(per_day=(Day("2026-03-01", 4, 3),), odd=1, done=4, done_populated=3)
    linked = ({"execution_exists": "False"},)
    found = replace(GOOD, numbers=numbers, orphans=2, linked=linked)
    names = ("column_values", "population_since", "orphans", "newest_linked")
    assert failed(found) == dict.fromkeys(names, "error")


def test_the_last_seven_days_and_the_chart() -> None:
    """Days without weeks count; the highest bar is as high as the chart, and told in words."""
    days = (Day("2026-02-20", 2, 2), Day("2026-03-01", 4, 1))
    found = replace(GOOD, numbers=Numbers(per_day=days))
    week = last_seven(found)
    assert [d.total for d in week] == [0, 0, 0, 0, 0, 4, 0]
    small, large = bars(days)
    assert (small.total, small.populated, large.total, large.populated) == (80, 80, 160, 40)
    assert large.told == "2026-03-01: 1 of 4, 25%"


# -- the client -----------------------------------------------------------------------------------

CLAIM = Claim(
    week="w1",
    collection="c1",
    start=date(2024, 1, 1),
    end=date(2024, 1, 7),
    workflow=WORKFLOW,
    instance="i-1",
    token=1,
    execution="e1",
)


def asked(address: str, attempts: int = 3, timeout: float = 5, times: int = 1) -> Any:
    """What the client makes of a service, for as many calls at once."""

    async def ask() -> Any:
        async with WorkflowService(address, attempts=attempts, timeout=timeout) as client:
            calls = (client.execute(CLAIM) for _ in range(times))
            return await asyncio.gather(*calls, return_exceptions=True)

    return asyncio.run(ask())


def answering(*answers: Response) -> tuple[FastAPI, list[Any]]:
    """A service that gives these answers, the last again and again; and what it was asked."""
    app, seen = FastAPI(), []

    @app.post("/workflows/{workflow}/executions")
    async def execute(workflow: str, order: dict[str, Any]) -> Response:
        seen.append((workflow, order))
        return answers[min(len(seen), len(answers)) - 1]

    return app, seen


OK = '{"executionId": "amc-1", "status": "SUCCEEDED", "rowCount": 7, "data": {"a": 1}, "more": 0}'


def test_a_call_is_as_agreed_and_tried_again() -> None:
    """The body names instance and days; 503 passes, and the third answer counts."""
    app, seen = answering(Response(status_code=503), Response(status_code=503), Response(OK))
    with in_thread(app) as address:
        (answer,) = asked(address)
    assert answer == Answer(execution_id="amc-1", status="SUCCEEDED", row_count=7, data={"a": 1})
    days = {"start_date": "2024-01-01", "end_date": "2024-01-07"}
    assert seen == [(WORKFLOW, {"instanceId": "i-1", "parameters": days})] * 3


@pytest.mark.parametrize(
    ("answer", "said", "calls"),
    [
        (Response(status_code=503), "answered 503", 2),
        (Response(status_code=404), "answered 404", 1),
        (Response('{"status": "FAILED", "error": "no"}'), "FAILED: no", 1),
        (Response('{"status": "RUNNING"}'), "RUNNING: no reason", 1),
        (Response("<html>"), "cannot be read", 1),
        (Response('{"rowCount": -1, "status": "SUCCEEDED"}'), "rowCount", 1),
        (Response('{"status": "SUCCEEDED", "data": "\\u0000"}'), "NUL", 1),
    ],
)
def test_failures_of_the_service(answer: Response, said: str, calls: int) -> None:
    """What may pass is tried as often as was said, everything else once."""
    app, seen = answering(answer)
    with in_thread(app) as address:
        (failure,) = asked(address, attempts=2)
    assert isinstance(failure, ServiceFailure)
    assert said in str(failure)
    assert len(seen) == calls


def test_a_service_that_is_slow_or_gone() -> None:
    """A sentence, after the timeout."""
    with workflows(latency=1) as slow:
        (late,) = asked(slow, attempts=1, timeout=0.2)
    (gone,) = asked("http://127.0.0.1:9", attempts=1)
    assert "in time" in str(late)
    assert "cannot be reached" in str(gone)


def test_the_service_works_once_for_a_key() -> None:
    """Calls at once with one key, and later ones, get one execution's answer."""
    with workflows(latency=0.1) as address:
        first = asked(address, times=3)
        again = asked(address)
        done = stats(address)
    assert len({a.execution_id for a in (*first, *again)}) == 1
    assert (done["calls"], done["executions"], done["repeated"]) == (4, 1, 3)


def test_the_service_keeps_its_rates() -> None:
    """Some fail, some have no id, as often as it was told."""
    with workflows(fail_rate=0.3, no_id_rate=0.2, latency=0) as address, httpx.Client() as http:
        body = {
            "instanceId": "i",
            "parameters": {"start_date": "2024-01-01", "end_date": "2024-01-07"},
        }
        url = f"{address}/workflows/{WORKFLOW}/executions"
        answers = [http.post(url, json=body) for _ in range(100)]
    good = [a.json() for a in answers if a.status_code == 200 and a.json()["status"] == "SUCCEEDED"]
    assert 0.6 < len(good) / 100 < 0.8
    assert 0.05 < sum("executionId" not in a for a in good) / len(good) < 0.35
    assert {a.status_code for a in answers} == {200, 503}
