"""The gallery: classic races and their cures, with known answers, on every driver."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from docs.races.gallery import CASES, Case, metadata
from docs.races.gallery.known import KNOWN
from onerow.race import Result, explore, replay
from onerow.testing import Server
from tests.race.conftest import ASYNC, open_engine

UPDATE = bool(os.environ.get("ONEROW_UPDATE_DOCS"))
DRIVERS = ("psycopg", "psycopg2", "asyncpg", "sqlite", "aiosqlite")
KNOWN_FILE = Path(__file__).parents[2] / "docs/races/gallery/known.py"


def engine_of(driver: str) -> str:
    return "sqlite" if "sqlite" in driver else "postgresql"


def plain(body: Any) -> Any:
    def worker(factory: Any) -> None:
        with factory() as session:
            body(session)

    return worker


def awaited(body: Any) -> Any:
    async def worker(factory: Any) -> None:
        async with factory() as session:
            await session.run_sync(body)

    return worker


def workers_of(case: Case, driver: str) -> list[Any]:
    wrap = awaited if driver in ASYNC else plain
    return [wrap(body) for body in case.workers]


def cases(*drivers: str) -> list[Any]:
    return [
        pytest.param(case, driver, id=f"{driver}-{case.name}")
        for driver in drivers
        for case in CASES
        if getattr(case, engine_of(driver)) is not None
    ]


@pytest.fixture(scope="module")
def engines(race_server: Server, race_folder: Path) -> Iterator[dict[str, Any]]:
    """An engine by each driver, over a database with the tables."""
    made = {driver: open_engine(driver, race_server, race_folder) for driver in DRIVERS}
    for driver, engine in made.items():
        if driver in ASYNC:
            continue
        with engine.begin() as connection:
            metadata.drop_all(connection)
            metadata.create_all(connection)
    _other_files(made)
    yield made
    for driver in set(made) - set(ASYNC):
        made[driver].dispose()


def _other_files(made: dict[str, Any]) -> None:
    """Tables for the drivers that need a loop, by their siblings that need none."""
    from sqlalchemy import create_engine

    from onerow.race.world import sync_url

    for driver in ASYNC:
        engine = create_engine(sync_url(made[driver].url))
        if driver == "aiosqlite":
            for each in (engine, made["sqlite"]):
                with each.connect() as connection:
                    connection.exec_driver_sql("PRAGMA journal_mode = wal")
        metadata.create_all(engine)
        engine.dispose()


def run(case: Case, driver: str, engines: dict[str, Any], **options: Any) -> Result:
    return explore(
        engines[driver],
        workers_of(case, driver),
        setup=case.setup,
        invariant=case.holds,
        **options,
    )


def run_all(
    case: Case, driver: str, engines: dict[str, Any], *, prune: bool
) -> tuple[Result, set[str]]:
    """Every schedule, and the end states that they lead to; numbers given by the server aside."""
    ends: set[str] = set()

    def holds(connection: Connection) -> object:
        rows = []
        for name in case.rows:
            table = metadata.tables[name]
            columns = [c for c in table.c if c.name != "id" or name in ("accounts", "jobs")]
            found = connection.execute(sa.select(sa.literal(name), *columns))
            rows += sorted(map(repr, found))
        ends.add(repr(rows))
        return case.holds(connection)

    result = explore(
        engines[driver],
        workers_of(case, driver),
        setup=case.setup,
        invariant=holds,
        keep_going=True,
        prune=prune,
    )
    return result, ends


def measured(case: Case, driver: str, engines: dict[str, Any]) -> tuple[Any, ...]:
    """Schedules until the answer, steps of the failure, all schedules, all after pruning."""
    first = run(case, driver, engines)
    every, ends = run_all(case, driver, engines, prune=False)
    pruned, pruned_ends = run_all(case, driver, engines, prune=True)
    assert every.exhausted
    assert pruned.exhausted
    assert set(every.outcomes) == set(pruned.outcomes)
    assert ends == pruned_ends
    length = first.failure.length if first.failure else 0
    return first.schedules, length, every.schedules, pruned.schedules


@pytest.mark.parametrize(("case", "driver"), cases("psycopg", "asyncpg", "sqlite"))
def test_answer_is_known(
    case: Case, driver: str, engines: dict[str, Any], race_server: Server
) -> None:
    """Verdict, anomaly, length and number of schedules are those of the page; replay agrees."""
    if engine_of(driver) == "postgresql" and race_server.major < case.since:
        pytest.fail(f"this case needs PostgreSQL {case.since}")
    result = run(case, driver, engines)
    assert result.verdict == getattr(case, engine_of(driver)), result
    if result.failure is None:
        assert result.exhausted
    else:
        if engine_of(driver) == "postgresql":
            assert result.failure.anomaly == case.anomaly
        again = replay(
            engines[driver],
            workers_of(case, driver),
            result.failure.script,
            setup=case.setup,
            invariant=case.holds,
        )
        assert (again.verdict, again.notes) == (result.verdict, [])
    length = result.failure.length if result.failure else 0
    assert (result.schedules, length) == KNOWN[case.name][engine_of(driver)][:2]


@pytest.mark.slow
@pytest.mark.parametrize(("case", "driver"), cases("psycopg", "sqlite"))
def test_pruning_loses_nothing(case: Case, driver: str, engines: dict[str, Any]) -> None:
    """The pruned search meets the same outcomes as the one that runs every schedule."""
    if UPDATE:
        KNOWN.setdefault(case.name, {})[engine_of(driver)] = measured(case, driver, engines)
        return
    assert measured(case, driver, engines) == KNOWN[case.name][engine_of(driver)]


@pytest.mark.slow
@pytest.mark.parametrize(("case", "driver"), cases(*DRIVERS))
def test_counts_are_stable(case: Case, driver: str, engines: dict[str, Any]) -> None:
    """Ten explorations in a row run the same schedules, and ten replays end the same way."""
    found = [run(case, driver, engines, keep_going=True) for _ in range(10)]
    assert len({(r.verdict, r.schedules, r.redundant, str(r.outcomes)) for r in found}) == 1
    failure = found[0].failure
    if failure is None:
        return
    workers = workers_of(case, driver)
    again = [
        replay(
            engines[driver], workers, failure.script, setup=case.setup, invariant=case.holds
        ).verdict
        for _ in range(10)
    ]
    assert again == [failure.verdict] * 10


def test_pruning_pays() -> None:
    """On the mean of the gallery at most six of ten schedules are left."""
    shares = [p / e for known in KNOWN.values() for _, _, e, p in known.values()]
    assert sum(shares) / len(shares) <= 0.6


def test_gallery_is_large_enough() -> None:
    """At least twenty classic cases, no two of a name."""
    assert len({case.name for case in CASES}) == len(CASES) >= 20


def test_bodies_are_sessions_functions() -> None:
    """What the page shows as a worker takes a Session and nothing else."""
    for case in CASES:
        for body in case.workers:
            assert body.__annotations__["session"] in (Session, "Session")


def test_page_is_of_the_gallery() -> None:
    """The page shows these cases, their code and their numbers."""
    from docs.races.gallery import page

    if UPDATE:
        page.PAGE.write_text(page.write(), encoding="utf-8")
    assert page.PAGE.read_text(encoding="utf-8") == page.write()
