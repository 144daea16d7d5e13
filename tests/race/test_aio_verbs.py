"""The verbs of `onerow.aio`, explored by each driver that needs an event loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from onerow import aio
from onerow.race import Result, explore
from onerow.race.world import sync_url
from onerow.testing import Server
from onerow.write import Retry, create_tables
from tests.race.conftest import address
from tests.race.test_write_verbs import (
    ITEM,
    LEVELS,
    PAGE,
    all_keys_hold,
    done,
    jobs,
    metadata,
    settings,
    setup,
)


async def use_upsert(session: AsyncSession) -> None:
    await aio.upsert(session, ITEM, {"slug": "a", "n": 1}, update=("n",))


async def use_get_or_create(session: AsyncSession) -> None:
    await aio.get_or_create(session, ITEM, {"slug": "a"}, defaults={"n": 1})


async def use_patch(session: AsyncSession) -> None:
    await aio.patch(session, ITEM, {"slug": "there"}, {"n": 7})


async def use_restore(session: AsyncSession) -> None:
    await aio.restore_or_create(session, PAGE, {"slug": "home"})


async def use_singleton(session: AsyncSession) -> None:
    await aio.singleton(session, settings, defaults={"n": 1})


async def use_bulk(session: AsyncSession) -> None:
    rows = [{"slug": "a", "n": 1}, {"slug": "b", "n": 1}]
    await aio.bulk_upsert(session, ITEM, rows, update=("n",))


async def use_advance(session: AsyncSession) -> None:
    await aio.advance(session, ITEM, {"slug": "there"}, {"n": (0, 1)}, version="version")


async def use_claim(session: AsyncSession) -> None:
    for job in await aio.claim(session, jobs, owner="somebody"):
        await session.execute(done.insert().values(what=f"job {job.id}"))


async def use_operation(session: AsyncSession) -> None:
    op = await aio.operation(session, "op-1", "fingerprint")
    if isinstance(op, aio.Fresh):
        await session.execute(done.insert().values(what="the operation"))
        await op.store({"ok": True})


VERBS = (
    use_upsert,
    use_get_or_create,
    use_patch,
    use_restore,
    use_singleton,
    use_bulk,
    use_advance,
    use_claim,
    use_operation,
)
by_verb = pytest.mark.parametrize("verb", VERBS, ids=lambda v: v.__name__.removeprefix("use_"))


@pytest.fixture(scope="module", params=["asyncpg", "psycopg", "aiosqlite"])
def tables(request: pytest.FixtureRequest, race_server: Server, race_folder: Any) -> Iterator[str]:
    """The driver's URL, of a database with the tables."""
    url: str = address(request.param, race_server, race_folder)
    engine = create_engine(sync_url(create_async_engine(url).url))
    if "sqlite" in url:
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = wal")
    metadata.create_all(engine)
    create_tables(engine)
    yield url
    engine.dispose()


@pytest.fixture
def engine(tables: str) -> AsyncEngine:
    return create_async_engine(tables)


def holding(engine: AsyncEngine, verb: Any, level: str | None = None) -> Result:
    """Explore a verb under `aio.transactional`, with two workers."""

    async def worker(factory: Any) -> None:
        await aio.transactional(factory, retry=Retry(attempts=8), isolation=level)(verb)()

    return explore(engine, [worker, worker], setup=setup, invariant=all_keys_hold)


def test_two_workers(engine: AsyncEngine) -> None:
    """Two tasks, every schedule: it holds, and nothing is raised."""
    result = holding(engine, use_get_or_create)
    assert (result.verdict, result.exhausted) == ("holds", True), result


def test_a_race_is_found(engine: AsyncEngine) -> None:
    """That it holds says something: looking and inserting by hand does not."""

    async def worker(factory: Any) -> None:
        async with factory() as session:
            found = await session.execute(done.select())
            if found.first() is None:
                await session.execute(done.insert().values(what="the work"))
            await session.commit()

    result = explore(engine, [worker, worker], setup=setup, invariant=all_keys_hold)
    assert result.verdict == "broken"
    assert result.failure is not None
    assert result.failure.anomaly == "duplicate insert"


@pytest.mark.slow
@by_verb
def test_every_verb(engine: AsyncEngine, verb: Any) -> None:
    """Every verb at every isolation level; SQLite has one."""
    for level in [None] if engine.dialect.name == "sqlite" else LEVELS:
        result = holding(engine, verb, level)
        assert (result.verdict, result.exhausted) == ("holds", True), (level, result)
