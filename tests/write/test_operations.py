"""Operations once, and claims with a token."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from onerow import aio
from onerow.write import (
    InFlight,
    LostClaim,
    NotFound,
    OperationReused,
    Replay,
    claim,
    create_tables,
    operation,
    release,
    renew,
    transactional,
)
from onerow.write.operations import operations, purge_operations
from tests.write.support import async_engine_of, count, sessions, sync_url
from tests.write.test_contention import in_threads


def test_fresh_and_replay(engine: sa.Engine) -> None:
    """The first time the operation is fresh, later its stored result is replayed."""
    create_tables(engine)

    @transactional(sessions(engine))
    def place(session: Session) -> Any:
        op = operation(session, "op", "print")
        if isinstance(op, Replay):
            return "replayed", op.result
        op.store({"id": 7})
        return "done", None

    assert [place(), place()] == [("done", None), ("replayed", {"id": 7})]


def test_rolled_back_is_fresh_again(engine: sa.Engine) -> None:
    """Without the COMMIT of the effect there is no record of it."""
    create_tables(engine)
    with Session(engine) as session:
        assert not operation(session, "op").replay
        session.rollback()
        assert not operation(session, "op").replay


def test_reused_with_other_content(engine: sa.Engine) -> None:
    """One id with two contents is a mistake of the caller."""
    create_tables(engine)
    with Session(engine) as session:
        operation(session, "op", "one")
        session.commit()
        with pytest.raises(OperationReused):
            operation(session, "op", "two")


def test_in_flight(pg_url: str) -> None:
    """Who will not wait is told that the operation is running elsewhere."""
    engine = sa.create_engine(sync_url(pg_url))
    create_tables(engine)
    with Session(engine) as one, Session(engine) as two:
        operation(one, "op", wait=False)
        with pytest.raises(InFlight):
            operation(two, "op", wait=False)
        one.rollback()
        two.rollback()
        assert not operation(two, "op", wait=False).replay
    engine.dispose()


def test_once_among_many(engine: sa.Engine) -> None:
    """Of sixteen callers of one operation one does it."""
    create_tables(engine)

    @transactional(sessions(engine))
    def place(session: Session) -> bool:
        return operation(session, "op").replay

    assert sorted(in_threads(16, lambda _: place())) == [False] + [True] * 15


def test_tables_are_made_by_many(engine: sa.Engine) -> None:
    """Several processes may make the table at once."""
    in_threads(6, lambda _: create_tables(engine))
    assert count(engine, operations) == 0


def test_tables_are_made_by_many_that_begin(engine: sa.Engine) -> None:
    """So they may where the application has BEGIN sent, on SQLite too."""

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")

    for _ in range(5):
        operations.drop(engine, checkfirst=True)
        in_threads(6, lambda _: create_tables(engine))
    assert count(engine, operations) == 0


def test_purge(engine: sa.Engine) -> None:
    """Old operations are forgotten, young ones kept."""
    create_tables(engine)
    with Session(engine) as session:
        operation(session, "old")
        session.execute(sa.update(operations).values(created_at=datetime(2020, 1, 1, tzinfo=UTC)))
        operation(session, "young")
        assert purge_operations(session, timedelta(days=1)) == 1
        assert operation(session, "young").replay


async def test_async(db_url: str) -> None:
    """The async twin stores and replays."""
    engine = async_engine_of(db_url)
    await aio.create_tables(engine)

    @aio.transactional(async_sessionmaker(engine))
    async def place(session: AsyncSession) -> Any:
        op = await aio.operation(session, "op")
        if isinstance(op, Replay):
            return op.result
        await op.store([1])
        return "fresh"

    assert [await place(), await place()] == ["fresh", [1]]
    await engine.dispose()


# -- claims ----------------------------------------------------------------------------------------


class Base(DeclarativeBase):
    pass


class Job(Base):
    __tablename__ = "jobs"
    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(default="pending")
    claimed_by: Mapped[str | None]
    claimed_until: Mapped[datetime | None] = mapped_column(sa.DateTime(timezone=True))
    claim_token: Mapped[int | None]
    done: Mapped[int] = mapped_column(default=0)


@pytest.fixture
def jobs(engine: sa.Engine) -> sa.Engine:
    """A table with twenty jobs."""
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(Job() for _ in range(20))
        session.commit()
    return engine


def test_claim_and_release(jobs: sa.Engine) -> None:
    """A claimed row is nobody else's until it is released or the lease ends."""
    with Session(jobs) as session:
        (job,) = claim(session, Job, owner="a", where=Job.status == "pending", order_by=Job.id)
        assert (job.id, job.claimed_by, job.claim_token) == (1, "a", 1)
        (other,) = claim(session, Job, owner="b", where="status = 'pending'", order_by="id")
        assert other.id == 2
        release(session, Job, job, token=1, set={"status": "completed"})
        assert (job.status, job.claimed_by) == ("completed", None)


def test_late_completion_is_refused(jobs: sa.Engine) -> None:
    """After the lease another worker may claim; the first one's completion is refused."""
    with Session(jobs) as session:
        (job,) = claim(session, Job, owner="a", lease=timedelta(seconds=-1), order_by=Job.id)
        token = job.claim_token
        (again,) = claim(session, Job, owner="b", order_by=Job.id, set={"status": "running"})
        assert (again.id, again.claim_token, again.status) == (job.id, token + 1, "running")
        with pytest.raises(LostClaim) as caught:
            release(session, Job, {"id": job.id}, token=token, set={"status": "completed"})
        assert caught.value.row.claimed_by == "b"
        with pytest.raises(LostClaim):
            renew(session, Job, job.id, token=token)
        assert renew(session, Job, job, token=token + 1).claimed_by == "b"


def test_released_twice(jobs: sa.Engine) -> None:
    """A claim that was given back cannot be used again."""
    with Session(jobs) as session:
        (job,) = claim(session, Job, owner="a")
        release(session, Job, job, token=1)
        with pytest.raises(LostClaim):
            release(session, Job, job, token=1)
        with pytest.raises(NotFound):
            release(session, Job, 999, token=1)


def test_each_job_has_one_worker(jobs: sa.Engine) -> None:
    """Eight workers complete twenty jobs once each."""

    @transactional(sessions(jobs))
    def take(session: Session, w: int) -> list[tuple[int, int]]:
        rows = claim(session, Job, owner=f"w{w}", where=Job.status == "pending", limit=3)
        return [(row.id, row.claim_token) for row in rows]

    @transactional(sessions(jobs))
    def finish(session: Session, ident: int, token: int) -> None:
        release(session, Job, ident, token=token, set={"status": "done", "done": Job.done + 1})

    def worker(w: int) -> int:
        n = 0
        while rows := take(w):
            for ident, token in rows:
                finish(ident, token)
                n += 1
        return n

    assert sum(in_threads(8, worker)) == 20
    with Session(jobs) as session:
        assert session.scalars(sa.select(Job.done)).all() == [1] * 20


def test_rows_being_taken_are_skipped(pg_url: str) -> None:
    """On PostgreSQL a claim does not wait for another one that is not committed."""
    engine = sa.create_engine(sync_url(pg_url))
    Base.metadata.create_all(engine)
    with Session(engine) as one, Session(engine) as two, threading.Lock():
        one.add_all(Job() for _ in range(3))
        one.commit()
        first = claim(one, Job, owner="a", limit=2)
        second = claim(two, Job, owner="b", limit=2)
        assert (len(first), len(second)) == (2, 1)
    engine.dispose()


async def test_async_claim(db_url: str) -> None:
    """The async twins claim, renew and release."""
    engine = async_engine_of(db_url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine) as session:
        session.add(Job())
        (job,) = await aio.claim(session, Job, owner="a")
        await aio.renew(session, Job, job, token=1)
        await aio.release(session, Job, job, token=1, set={"status": "done"})
        assert job.status == "done"
    await engine.dispose()
