"""Two PUTs at once: every interleaving of the naive writer and of the safe one, before and after."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import groupby
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from onerow.race import explore
from systems.shared.address import open_engine
from systems.shared.web.application import Serving
from systems.workout_planner.app import make
from tests.support.sandbox import Sandbox
from tests.systems.planner.support import SELECTED, after, before
from tests.systems.serving import TOKENS

DAY, TIME = {"currentPlanDay": "2026-03-05"}, {"timeOfDay": "morning"}


@contextmanager
def applications(box: Sandbox, *, naive: bool) -> Iterator[list[FastAPI]]:
    """Two of them over one database, as behind a balancer."""
    with ExitStack() as stack:
        apps = []
        for _ in range(2):
            engine = open_engine(box.url, connections=2)
            stack.callback(engine.dispose)
            apps.append(make(Serving(engine=engine, tokens=TOKENS, naive=naive)))
            # Whatever a first request asks of the catalog is asked now, and no connection is kept:
            # the explorer knows those that are opened under its eyes.
            asyncio.run(send(apps[-1], {}))
            engine.dispose()
        yield apps


async def send(app: FastAPI, fields: dict[str, str]) -> None:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://planner") as http:
        answer = await http.put(SELECTED.format(1), json=fields)
        assert answer.status_code == 200, answer.text


def put(app: FastAPI, fields: dict[str, str]) -> Callable[[Any], None]:
    """A worker that sends a PUT to an application."""

    def worker(_factory: Any) -> None:
        asyncio.run(send(app, fields))

    worker.__name__ = "put_" + next(iter(fields))
    return worker


def nothing_yet(connection: sa.Connection) -> None:
    connection.exec_driver_sql("DELETE FROM workout_selections")


def there_is_one(connection: sa.Connection) -> None:
    connection.exec_driver_sql(
        "INSERT INTO workout_selections (workout_id, user_notes, updated_at)"
        " VALUES (1, 'kept', '2026-03-01 00:00:00.000000')"
    )


def selected(connection: sa.Connection) -> None:
    nothing_yet(connection)
    there_is_one(connection)


def both_survive(connection: sa.Connection) -> bool:
    """One row, with the day and the time."""
    rows = connection.exec_driver_sql(
        "SELECT CAST(current_plan_day AS text), time_of_day FROM workout_selections"
    ).all()
    return [tuple(r) for r in rows] == [("2026-03-05", "morning")]


def explored(box: Sandbox, *, naive: bool, setup: Callable[[sa.Connection], None]) -> Any:
    engine = open_engine(box.url)
    try:
        with applications(box, naive=naive) as apps:
            workers = [put(apps[0], DAY), put(apps[1], TIME)]
            return explore(
                engine, workers, setup=setup, invariant=both_survive, max_seconds=60, preemptions=2
            )
    finally:
        engine.dispose()


def test_the_naive_writer_leaves_two_rows(db_url: str) -> None:
    """Found with its shortest interleaving: both look before either inserts."""
    result = explored(before(db_url, 0), naive=True, setup=nothing_yet)
    assert result.verdict == "broken"
    turns = [who for who, _ in groupby(step[0] for step in result.failure.script.split())]
    assert len(turns) <= 4, result.failure.script
    assert result.failure.table.count("INSERT INTO workout_selections") == 2


def test_the_naive_writer_loses_a_field(db_url: str) -> None:
    """With a row there, the later one writes the whole row as it had seen it."""
    result = explored(before(db_url, 0), naive=True, setup=selected)
    assert result.verdict == "broken"
    assert result.failure.table.count("UPDATE workout_selections") == 2


@pytest.fixture
def _no_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key without an index is looked for twice a second, which would be steps of their own."""
    monkeypatch.setattr("onerow.write.run.RECHECK_SECONDS", 3600.0)


@pytest.mark.usefixtures("_no_looks")
@pytest.mark.parametrize("setup", [nothing_yet, selected])
@pytest.mark.parametrize("state", [before, after])
def test_the_safe_writer_holds(
    db_url: str, state: Callable[..., Sandbox], setup: Callable[[sa.Connection], None]
) -> None:
    """In every interleaving with at most two preemptions, with the key and before it is there."""
    box = state(db_url, 0) if state is before else state(db_url)
    if setup is selected and state is after and not box.sqlite:
        box.execute("ALTER TABLE workout_selections ALTER COLUMN version SET DEFAULT 1")
    result = explored(box, naive=False, setup=setup)
    assert result.verdict == "holds", result.failure or result
    assert result.schedules > 1
