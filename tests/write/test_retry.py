"""Transactions that are run again."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session

from onerow import aio
from onerow.write import NestedTransaction, Retry, UnknownCommit, operation, transactional, upsert
from onerow.write import listeners as listening
from onerow.write.retry import Course, no_sleep
from tests.write.support import USER, User, async_engine_of, count, engine_of, sessions

A = {"tenant_id": 1, "slug": "a"}


class Heard:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def retried(self, *facts: Any) -> None:
        self.events.append(("retried", *facts[:3]))

    def finished(self, *facts: Any) -> None:
        self.events.append(("finished", *facts[:3]))


@pytest.fixture
def heard() -> Any:
    """A listener for the time of the test."""
    listener = Heard()
    listening.observe(listener)
    yield listener
    listening.observe()


def kill_me(session: Any) -> None:
    """End our own backend, from another connection."""
    pid = session.connection().exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    with session.get_bind().connect() as other:
        other.exec_driver_sql(f"SELECT pg_terminate_backend({pid})")


def test_commits(engine: sa.Engine) -> None:
    """What the function did is committed, and its result given."""

    @transactional(sessions(engine))
    def place(session: Session, title: str, *, hits: int) -> str:
        return upsert(session, USER, {**A, "title": title, "hits": hits}).outcome

    assert place("x", hits=2) == "inserted"
    assert count(engine, User) == 1


def test_over_an_engine(engine: sa.Engine) -> None:
    """With an Engine the function is given a Connection."""

    @transactional(engine)
    def place(connection: sa.Connection) -> str:
        return upsert(connection, USER, {**A, "hits": 0}).outcome

    assert place() == "inserted"
    assert count(engine, User) == 1


def test_application_errors_roll_back(engine: sa.Engine) -> None:
    """An error of the application ends the transaction and is not retried."""
    calls = []

    @transactional(sessions(engine))
    def place(session: Session) -> None:
        calls.append(session)
        upsert(session, USER, A)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        place()
    assert (len(calls), count(engine, User)) == (1, 0)


def test_conflicts_are_not_retried(engine: sa.Engine) -> None:
    """A constraint violation is never blindly retried."""
    calls = []

    @transactional(sessions(engine))
    def place(session: Session) -> None:
        calls.append(1)
        session.add_all(User(**A) for _ in "12")

    with pytest.raises(sa.exc.IntegrityError):
        place()
    assert calls == [1]


def test_refuses_to_nest(engine: sa.Engine) -> None:
    """A transactional function inside another one is refused, and works again afterwards."""
    maker = sessions(engine)

    @transactional(maker)
    def inner(session: Session) -> None:
        upsert(session, USER, A)

    @transactional(maker)
    def outer(session: Session) -> None:
        inner()

    with pytest.raises(NestedTransaction):
        outer()
    inner()
    assert count(engine, User) == 1


def test_serialization_failures_are_retried(pg_url: str, heard: Heard) -> None:
    """Write skew under SERIALIZABLE comes out at COMMIT and is run again in a new session."""
    seen: list[int] = []
    meet = threading.Barrier(2)
    with engine_of(pg_url) as engine:

        @transactional(sessions(engine), isolation="SERIALIZABLE", retry=Retry(attempts=10))
        def place(session: Session, slug: str) -> None:
            seen.append(id(session))
            total = session.scalar(sa.select(sa.func.count()).select_from(User))
            if len(seen) <= 2:
                meet.wait(10)
            session.add(User(tenant_id=total or 0, slug=slug))

        threads = [threading.Thread(target=place, args=(s,)) for s in "ab"]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        with engine.connect() as connection:
            seen_totals = connection.execute(sa.select(User.tenant_id)).scalars().all()
    assert sorted(seen_totals) == [0, 1]
    assert ("retried", "place", "serialization", 1) in heard.events
    assert ("finished", "place", "done", 2) in heard.events


def test_deadlocks_are_retried(pg_url: str) -> None:
    """Two functions that lock two rows in opposite order both get through."""
    meet = threading.Barrier(2)
    first: set[str] = set()
    with engine_of(pg_url) as engine:

        @transactional(sessions(engine), retry=Retry(attempts=10, budget=30))
        def place(session: Session, order: str) -> None:
            for slug in order:
                upsert(session, USER, {"tenant_id": 1, "slug": slug, "title": order})
                if order not in first and slug == order[0]:
                    first.add(order)
                    meet.wait(10)

        threads = [threading.Thread(target=place, args=(o,)) for o in ("ab", "ba")]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        with engine.connect() as connection:
            titles = connection.execute(sa.select(User.title)).scalars().all()
    assert len(titles) == 2
    assert len(set(titles)) == 1


def test_lost_connection_is_retried(pg_url: str) -> None:
    """A connection that is cut before COMMIT costs an attempt, not the write."""
    calls = []
    with engine_of(pg_url) as engine:

        @transactional(sessions(engine))
        def place(session: Session) -> None:
            calls.append(1)
            upsert(session, USER, A)
            if len(calls) == 1:
                kill_me(session)
                session.execute(sa.text("SELECT 1"))

        place()
        assert (len(calls), count(engine, User)) == (2, 1)


@pytest.mark.parametrize("with_operation", [False, True])
def test_connection_lost_at_commit(pg_url: str, with_operation: bool) -> None:
    """A connection cut at COMMIT is unknown, and run again only with an operation row."""
    from onerow.write import create_tables

    calls = []
    with engine_of(pg_url) as engine:
        create_tables(engine)

        @transactional(sessions(engine))
        def place(session: Session) -> None:
            calls.append(1)
            if with_operation and operation(session, "op1").replay:
                return
            upsert(session, USER, {**A, "hits": 1}, update={"hits": User.hits + 1})
            if len(calls) == 1:
                kill_me(session)

        if with_operation:
            place()
            assert (len(calls), count(engine, User)) == (2, 1)
        else:
            with pytest.raises(UnknownCommit, match="operation"):
                place()
            assert len(calls) == 1


def test_gives_up(pg_url: str, heard: Heard) -> None:
    """After the last attempt the error itself is raised."""
    with engine_of(pg_url) as engine, no_sleep():

        @transactional(sessions(engine), retry=Retry(attempts=3))
        def place(session: Session) -> None:
            session.execute(sa.text("SET LOCAL lock_timeout = 10"))
            session.execute(sa.text("SELECT pg_advisory_xact_lock(1)"))

        with engine.connect() as blocker:
            blocker.exec_driver_sql("SELECT pg_advisory_xact_lock(1)")
            with pytest.raises(sa.exc.DBAPIError, match="lock timeout"):
                place()
    assert [e[0] for e in heard.events] == ["retried", "retried", "finished"]
    assert heard.events[-1] == ("finished", "place", "given_up", 3)


def test_statement_timeout_only_on_request(pg_url: str) -> None:
    """57014 may be a person's cancel, so it is retried only when asked for."""
    with engine_of(pg_url) as engine, no_sleep():
        for kinds, expected in (((), 1), (("timeout",), 2)):
            calls: list[int] = []

            @transactional(sessions(engine), retry=Retry(attempts=2, on=kinds))
            def place(session: Session, calls: list[int]) -> None:
                calls.append(1)
                session.execute(sa.text("SET LOCAL statement_timeout = 10"))
                session.execute(sa.text("SELECT pg_sleep(3)"))

            with pytest.raises(sa.exc.DBAPIError):
                place(calls)
            assert len(calls) == expected


def test_sqlite_begins_immediate(sqlite_url: str) -> None:
    """A function that reads first and writes then is never told BUSY_SNAPSHOT."""
    with engine_of(sqlite_url) as engine:

        @transactional(sessions(engine), retry=Retry(attempts=1))
        def place(session: Session) -> None:
            total = session.scalar(sa.select(sa.func.count()).select_from(User))
            session.add(User(tenant_id=total, slug="a"))

        threads = [threading.Thread(target=lambda: [place() for _ in range(5)]) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert count(engine, User) == 20


def test_sqlite_with_the_applications_own_begin(sqlite_url: str) -> None:
    """An engine that begins by a hook of its own still gets BEGIN IMMEDIATE."""
    with engine_of(sqlite_url) as engine:

        @sa.event.listens_for(engine, "connect")
        def no_implicit_begin(driver: Any, _: Any) -> None:
            driver.isolation_level = None

        @sa.event.listens_for(engine, "begin")
        def deferred(connection: sa.Connection) -> None:
            connection.exec_driver_sql("BEGIN")

        engine.dispose()
        for over, slug in ((sessions(engine), "a"), (engine, "b")):
            place = transactional(over)(
                lambda s, slug: upsert(s, USER, {**A, "slug": slug}).outcome
            )
            assert [place(slug), place(slug)] == ["inserted", "unchanged"]


def test_course_keeps_the_budget() -> None:
    """No attempt begins after the budget is spent."""
    now = [0.0]
    course = Course(Retry(attempts=100, budget=1.0), "f", clock=lambda: now[0])
    error = UnknownCommit()
    course.retry = Retry(attempts=100, budget=1.0, unknown_commit=True)
    assert course.failed(error, object(), False) >= 0
    now[0] = 1.1
    with pytest.raises(UnknownCommit):
        course.failed(error, object(), False)


def test_delays_grow_to_the_cap() -> None:
    """Waits are random below a bound that doubles up to the cap."""
    retry = Retry(base=0.1, cap=0.5)
    for attempt, bound in ((1, 0.2), (2, 0.4), (3, 0.5), (9, 0.5)):
        assert all(0 <= retry.delay(attempt) <= bound for _ in range(50))


def test_coroutines_are_sent_to_aio(engine: sa.Engine) -> None:
    """The sync decorator refuses a coroutine function."""

    async def place(session: Any) -> None: ...

    with pytest.raises(TypeError, match=r"onerow\.aio"):
        transactional(sessions(engine))(place)


# -- async -----------------------------------------------------------------------------------------


async def test_async(db_url: str) -> None:
    """The async twin commits and gives the result."""
    with engine_of(db_url) as engine:
        async_engine = async_engine_of(db_url)

        @aio.transactional(async_sessionmaker(async_engine))
        async def place(session: AsyncSession) -> str:
            return (await aio.upsert(session, USER, A)).outcome

        assert [await place(), await place()] == ["inserted", "unchanged"]
        await async_engine.dispose()
        assert count(engine, User) == 1


async def test_async_over_an_engine(db_url: str) -> None:
    """With an AsyncEngine the function is given an AsyncConnection, at the level it asked for."""
    with engine_of(db_url) as engine:
        async_engine = async_engine_of(db_url)

        @aio.transactional(async_engine, isolation="SERIALIZABLE")
        async def place(connection: AsyncConnection) -> str:
            written = await aio.upsert(connection, USER, {**A, "hits": 0})
            return written.outcome

        assert [await place(), await place()] == ["inserted", "unchanged"]
        await async_engine.dispose()
        assert count(engine, User) == 1


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_cancellation_leaks_no_transaction(pg_url: str, driver: str) -> None:
    """A cancelled write is rolled back, not retried, and its connection holds no lock."""
    calls = []
    with engine_of(pg_url) as engine:
        async_engine = async_engine_of(pg_url, driver, pool_size=2, max_overflow=0)
        begun = asyncio.Event()

        @aio.transactional(async_sessionmaker(async_engine))
        async def place(session: AsyncSession, wait: bool) -> str:
            calls.append(1)
            outcome = (await aio.upsert(session, USER, {**A, "title": "x"})).outcome
            if wait:
                begun.set()
                await session.execute(sa.text("SELECT pg_sleep(30)"))
            return outcome

        for _ in range(3):
            begun.clear()
            task = asyncio.create_task(place(True))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await asyncio.wait_for(place(False), 10) == "inserted"
        with engine.connect() as connection:
            idle = connection.exec_driver_sql(
                "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%'"
                " AND pid <> pg_backend_pid()"
            ).scalar_one()
        await async_engine.dispose()
    assert (len(calls), idle) == (4, 0)


async def test_tasks_started_inside_may_write(sqlite_url: str) -> None:
    """Another task is another transaction, even when it was started inside one."""
    with engine_of(sqlite_url) as engine:
        async_engine = async_engine_of(sqlite_url)
        maker = async_sessionmaker(async_engine)

        @aio.transactional(maker)
        async def inner(session: AsyncSession) -> None:
            await aio.upsert(session, USER, A)

        @aio.transactional(maker)
        async def outer(session: AsyncSession) -> asyncio.Task[None]:
            return asyncio.create_task(inner())

        await (await outer())

        @aio.transactional(maker)
        async def nested(session: AsyncSession) -> None:
            await inner()

        with pytest.raises(NestedTransaction):
            await nested()
        await async_engine.dispose()
        assert count(engine, User) == 1
