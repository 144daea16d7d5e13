"""Many writers at once: threads and tasks × verb × isolation level × driver × key shape.

The end state is compared with what any serial order gives, and no call may end in an error that
the documentation does not name. The default run takes a part of the matrix; `slow` the rest.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session

from onerow import aio
from onerow.rules import Key
from onerow.write import (
    Retry,
    advance,
    get_or_create,
    patch,
    restore_or_create,
    singleton,
    transactional,
    upsert,
)
from tests.write.support import (
    EMAIL,
    LOOSE,
    PAGE,
    PLAN,
    SELECTION,
    USER,
    Loose,
    Page,
    Plan,
    Selection,
    State,
    Two,
    User,
    async_engine_of,
    count,
    engine_of,
    sessions,
    with_driver,
)

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


@pytest.fixture
def arena(
    request: pytest.FixtureRequest, dialect: str, driver: str, workers: int, isolation: str
) -> Arena:
    """A fresh database with the tables, and its fighters."""
    url = request.getfixturevalue("sqlite_url" if dialect == "sqlite" else "pg_url")
    with engine_of(url):
        pass
    return Arena(url, driver, workers, isolation)


everywhere = pytest.mark.parametrize(("dialect", "driver", "workers", "isolation"), MATRIX)


@everywhere
def test_upsert(arena: Arena) -> None:
    """Each key gets one row, each insert is told once, and counters lose nothing."""

    def work(session: Session, w: int, r: int) -> str:
        values = {"tenant_id": 1, "slug": f"s{r % KEYS}", "hits": 1, "title": None}
        # The title never changes, so that only the counter can tell that a change is due.
        return upsert(session, USER, values, update={"hits": User.hits + 1, "title": None}).outcome

    outcomes = arena.run(work)
    with engine_of(arena.url) as engine, Session(engine) as session:
        assert count(engine, User) == KEYS == outcomes["inserted"]
        assert session.scalar(sa.select(sa.func.sum(User.hits))) == arena.workers * ROUNDS
    assert set(outcomes) == {"inserted", "updated"}


@everywhere
def test_get_or_create_with_everything(arena: Arena) -> None:
    """A key with scope, case and filter gets one row, found by all."""

    def work(session: Session, w: int, r: int) -> str:
        name = ("Gold", "GOLD", "gold")[w % 3] + str(r % KEYS)
        values = {"tenant_id": "t", "branch_id": None, "name": name}
        return get_or_create(session, PLAN, values).outcome

    outcomes = arena.run(work)
    with engine_of(arena.url) as engine:
        assert count(engine, Plan) == KEYS == outcomes["inserted"]
    assert set(outcomes) == {"inserted", "unchanged"}


@everywhere
def test_two_unique_keys(arena: Arena) -> None:
    """Equal rows with two unique keys never collide in the second one."""

    def work(session: Session, w: int, r: int) -> str:
        values = {"email": f"e{r}", "handle": f"h{r}"}
        return upsert(session, EMAIL, values).outcome

    outcomes = arena.run(work, rounds=10)
    with engine_of(arena.url) as engine:
        assert count(engine, Two) == 10 == outcomes["inserted"]


@everywhere
def test_partial_updates(arena: Arena) -> None:
    """Writers of different fields all survive, and the version counts the changes."""

    def work(session: Session, w: int, r: int) -> str:
        field = "day" if w % 2 else "slot"
        return upsert(session, SELECTION, {"workout_id": r % KEYS, field: f"{w}-{r}"}).outcome

    outcomes = arena.run(work)
    with engine_of(arena.url) as engine, Session(engine) as session:
        rows = session.scalars(sa.select(Selection)).all()
    assert len(rows) == KEYS == outcomes["inserted"]
    assert all(row.day is not None and row.slot is not None for row in rows)
    assert sum(row.version for row in rows) == outcomes["inserted"] + outcomes["updated"]


@everywhere
def test_advance(arena: Arena) -> None:
    """Of all who would move the state from n exactly one does."""
    with engine_of(arena.url) as engine, Session(engine) as session:
        singleton(session, State, defaults={"sprint_index": 0})
        session.commit()

    def work(session: Session, w: int, r: int) -> str:
        return advance(session, State, {}, {"sprint_index": (r, r + 1)}).outcome

    outcomes = arena.run(work)
    with engine_of(arena.url) as engine, Session(engine) as session:
        assert session.scalar(sa.select(State.sprint_index)) == outcomes["updated"] <= ROUNDS
    assert outcomes["updated"] >= 1


@everywhere
def test_patch_with_version(arena: Arena) -> None:
    """Readers who write with the version that they read lose no change."""
    with engine_of(arena.url) as engine, Session(engine) as session:
        upsert(session, USER, {"tenant_id": 1, "slug": "a", "hits": 0, "title": "0"})
        session.commit()

    def work(session: Session, w: int, r: int) -> str:
        from onerow.write import Stale

        ident = {"tenant_id": 1, "slug": "a"}
        seen = session.execute(sa.select(User.hits, User.title)).one()
        title = str(int(seen.title) + 1)
        try:
            return patch(session, USER, ident, {"title": title}, expect={"hits": seen.hits}).outcome
        except Stale:
            return "stale"

    outcomes = arena.run(work)
    with engine_of(arena.url) as engine, Session(engine) as session:
        row = session.execute(sa.select(User.hits, User.title)).one()
    assert row.hits == int(row.title) == outcomes["updated"]
    assert outcomes["updated"] + outcomes["stale"] == arena.workers * ROUNDS


@everywhere
def test_restore(arena: Arena) -> None:
    """One deleted page comes back once, however many ask, and one page lives."""
    with engine_of(arena.url) as engine, Session(engine) as session:
        stamp = datetime.now(UTC).replace(tzinfo=None)
        session.add_all(Page(slug="a", deleted_at=stamp) for _ in range(3))
        session.commit()

    def work(session: Session, w: int, r: int) -> str:
        return restore_or_create(session, PAGE, {"slug": "a"}).outcome

    outcomes = arena.run(work)
    with engine_of(arena.url) as engine, Session(engine) as session:
        living = session.scalars(sa.select(Page).where(Page.deleted_at.is_(None))).all()
    assert len(living) == 1
    assert (outcomes["restored"], outcomes["inserted"]) == (1, 0)


@everywhere
def test_transitional(arena: Arena) -> None:
    """Before its index exists a transitional key is kept all the same."""
    if arena.isolation == "REPEATABLE READ":
        arena.isolation = "SERIALIZABLE"  # refused, see test_transitional_refuses

    def work(session: Session, w: int, r: int) -> str:
        key = LOOSE if w % 2 else Key(Loose, "name", transitional=True, ignore_case=("name",))
        if w % 2:
            return get_or_create(session, key, {"name": f"n{r}"}).outcome
        return upsert(session, LOOSE, {"name": f"n{r}", "n": w}).outcome

    outcomes = arena.run(work)
    with engine_of(arena.url) as engine:
        assert count(engine, Loose) == ROUNDS == outcomes["inserted"]


@pytest.mark.parametrize("kind", ["upsert", "get_or_create"])
def test_transitional_before_during_after(db_url: str, kind: str) -> None:
    """The index is built while writers write: no error, no duplicate, no restart."""
    stop = threading.Event()
    with engine_of(db_url, pool_size=10) as engine:

        @transactional(sessions(engine), retry=PATIENT)
        def work(session: Session, name: str, n: int) -> str:
            if kind == "upsert":
                return upsert(session, LOOSE, {"name": name, "n": n}).outcome
            return get_or_create(session, LOOSE, {"name": name}).outcome

        def one(i: int) -> None:
            n = 0
            if i == 6:
                stop.wait(0.4)
                _build(engine)
                stop.wait(0.9)
                stop.set()
            while not stop.is_set():
                n += 1
                work(f"k{n % 40}-{n // 40}", i)

        in_threads(7, one)
        with engine.connect() as connection:
            doubles = connection.execute(
                sa.select(Loose.name).group_by(Loose.name).having(sa.func.count() > 1)
            ).all()
        assert doubles == []
        assert count(engine, Loose) > 40


def _build(engine: sa.Engine) -> None:
    if engine.dialect.name == "sqlite":
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE UNIQUE INDEX loose_name ON loose (name)")
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("CREATE UNIQUE INDEX CONCURRENTLY loose_name ON loose (name)")


def test_transitional_refuses(pg_url: str) -> None:
    """Under REPEATABLE READ a key without index is refused, because the lock comes too late."""
    from onerow.write import TransitionalIsolation

    with engine_of(pg_url) as engine:
        place = transactional(sessions(engine), isolation="REPEATABLE READ")(
            lambda session: upsert(session, LOOSE, {"name": "a"})
        )
        with pytest.raises(TransitionalIsolation, match="READ COMMITTED"):
            place()


def test_own_transaction_above_read_committed(pg_url: str) -> None:
    """In a caller's own REPEATABLE READ transaction a lost race is 40001, nothing else."""
    from onerow.write import transient_of

    with engine_of(pg_url) as engine:
        level = {"isolation_level": "REPEATABLE READ"}
        with Session(engine) as late, Session(engine) as early:
            late.connection(execution_options=level).execute(sa.select(User.id)).all()
            upsert(early, USER, {"tenant_id": 1, "slug": "a"})
            early.commit()
            with pytest.raises(sa.exc.DBAPIError) as caught:
                upsert(late, USER, {"tenant_id": 1, "slug": "a"})
    transient = transient_of(caught.value)
    assert transient is not None
    assert (transient.kind, transient.code) == ("serialization", "40001")
