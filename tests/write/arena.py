"""Where the contention suite fights: a fresh database, and one verb in many threads or tasks."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session

from onerow import aio
from onerow.write import Retry, transactional
from tests.write.support import async_engine_of, engine_of, sessions, with_driver

PATIENT = Retry(attempts=200, budget=60, base=0.002, cap=0.05)
KEYS = 3
ROUNDS = 4


def in_threads(n: int, work: Callable[[int], Any]) -> list[Any]:
    """Run `work(0)` … `work(n - 1)` at once; an error of any is raised."""
    results: list[Any] = [None] * n
    errors: list[BaseException] = []
    barrier = threading.Barrier(n)

    def one(i: int) -> None:
        try:
            barrier.wait(30)
            results[i] = work(i)
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def _postgres(url: str) -> bool:
    return not url.startswith("sqlite")


LEVELS = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]
QUICK = [
    ("sqlite", "psycopg", 8, "READ COMMITTED"),
    ("postgresql", "psycopg", 8, "READ COMMITTED"),
    ("postgresql", "psycopg", 8, "SERIALIZABLE"),
    ("postgresql", "psycopg2", 8, "REPEATABLE READ"),
    ("postgresql", "psycopg_async", 2, "READ COMMITTED"),
    ("postgresql", "asyncpg", 8, "READ COMMITTED"),
    ("postgresql", "asyncpg", 8, "SERIALIZABLE"),
    ("sqlite", "aiosqlite", 8, "READ COMMITTED"),
]
FULL = [
    *(
        ("postgresql", driver, n, level)
        for driver in ("psycopg", "psycopg2", "asyncpg", "psycopg_async")
        for n in (2, 8, 32)
        for level in LEVELS
    ),
    *(("sqlite", d, n, "READ COMMITTED") for d in ("pysqlite", "aiosqlite") for n in (2, 8, 32)),
]
MATRIX = [
    *(pytest.param(*case, id="-".join(map(str, case))) for case in QUICK),
    *(
        pytest.param(*case, id="-".join(map(str, case)), marks=pytest.mark.slow)
        for case in FULL
        if case not in QUICK
    ),
]
Work = Callable[[Session, int, int], str]


class Arena:
    """Runs one verb in many threads, or as many tasks, and counts the outcomes."""

    def __init__(self, url: str, driver: str, workers: int, isolation: str) -> None:
        self.url = url
        self.driver = driver
        self.workers = workers
        self.isolation = isolation
        self.tasks = driver in ("asyncpg", "aiosqlite", "psycopg_async")

    def run(self, work: Work, rounds: int = ROUNDS) -> Counter[str]:
        """`work(session, worker, round)` gives an outcome; each call is one transaction."""
        return asyncio.run(self._async(work, rounds)) if self.tasks else self._sync(work, rounds)

    def _sync(self, work: Work, rounds: int) -> Counter[str]:
        driver = "sqlite" if self.url.startswith("sqlite") else f"postgresql+{self.driver}"
        url = with_driver(self.url, driver)
        with engine_of(url, pool_size=self.workers, max_overflow=0) as engine:
            place = transactional(sessions(engine), retry=PATIENT, isolation=self.isolation)(work)
            outcomes = in_threads(self.workers, lambda w: [place(w, r) for r in range(rounds)])
        return Counter(o for each in outcomes for o in each)

    async def _async(self, work: Work, rounds: int) -> Counter[str]:
        driver = "psycopg" if self.driver == "psycopg_async" else "asyncpg"
        engine = async_engine_of(self.url, driver, pool_size=self.workers, max_overflow=0)
        place = aio.transactional(
            async_sessionmaker(engine, expire_on_commit=False),
            retry=PATIENT,
            isolation=self.isolation,
        )(_in_task(work))

        async def worker(w: int) -> list[str]:
            return [await place(w, r) for r in range(rounds)]

        outcomes = await asyncio.gather(*(worker(w) for w in range(self.workers)))
        await engine.dispose()
        return Counter(o for each in outcomes for o in each)


def _in_task(work: Work) -> Callable[[AsyncSession, int, int], Awaitable[str]]:
    async def run(session: AsyncSession, worker: int, round_: int) -> str:
        return await session.run_sync(work, worker, round_)

    return run


everywhere = pytest.mark.parametrize(("dialect", "driver", "workers", "isolation"), MATRIX)
