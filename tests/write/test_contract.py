"""Every public name, called as the contract shows it: both engines, Session and Connection, sync and async."""

from __future__ import annotations

import inspect
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

import onerow
from onerow import (
    Key,
    Retry,
    Spool,
    advance,
    aio,
    bulk_upsert,
    claim,
    conflict_of,
    get_or_create,
    operation,
    patch,
    restore_or_create,
    singleton,
    transactional,
    transient_of,
    upsert,
)
from onerow.write import NotFound, Stale, create_tables
from tests.write.support import async_engine_of, sync_url


class Base(DeclarativeBase):
    """The models of the contract's examples."""


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int | None]
    slug: Mapped[str]
    title: Mapped[str | None]
    version: Mapped[int] = mapped_column(default=1, server_default="1")
    deleted_at: Mapped[datetime | None]


class Sprint(Base):
    __tablename__ = "sprints"
    id: Mapped[int] = mapped_column(primary_key=True)
    sprint_index: Mapped[int]
    po_slack_id: Mapped[str | None]


class Settings(Base):
    __tablename__ = "settings"
    __table_args__ = (sa.CheckConstraint("id = 1"),)
    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    theme: Mapped[str]


class Job(Base):
    __tablename__ = "jobs"
    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(default="pending")
    claimed_by: Mapped[str | None]
    claimed_until: Mapped[datetime | None]
    claim_token: Mapped[int | None]


living = User.deleted_at.is_(None)
sa.Index(
    "users_living",
    sa.func.coalesce(User.tenant_id, -1),
    sa.func.lower(User.slug),
    unique=True,
    postgresql_where=living,
    sqlite_where=living,
)
KEYS = {
    "attributes": Key(
        User, User.tenant_id, User.slug, where=living, nulls="equal", ignore_case=("slug",)
    ),
    "names": Key(
        User,
        "tenant_id",
        "slug",
        where=User.deleted_at.is_(None),
        nulls="equal",
        ignore_case=("slug",),
    ),
    "table": Key(
        User.__table__, "tenant_id", "slug", where=living, nulls="equal", ignore_case=("slug",)
    ),
    "name": Key(
        "users",
        "tenant_id",
        "slug",
        where="deleted_at IS NULL",
        nulls="equal",
        ignore_case=("slug",),
    ),
}
SPRINT = Key(Sprint, "id")
A = {"tenant_id": 1, "slug": "a"}


def use_verbs(target: Any, key: Key) -> None:
    """The lines of the contract, in order."""
    written = upsert(target, key, {**A, "title": "A"}, update=("title",))
    assert (written.row.title, written.outcome) == ("A", "inserted")
    assert upsert(target, key, {"tenant_id": 1, "slug": "A", "title": "A"}).outcome in (
        "unchanged",
        "updated",
    )
    assert upsert(target, key, {"tenant_id": None, "slug": "n"}).created
    assert not upsert(target, key, {"tenant_id": None, "slug": "N"}, update=()).created
    assert get_or_create(target, key, A, defaults={"title": "B"}).outcome == "unchanged"
    written = patch(target, key, A, {"title": "C"}, expect={"version": 1})
    assert (written.outcome, written.row.version) == ("updated", 2)
    with pytest.raises(Stale):
        patch(target, key, A, {"title": "D"}, expect={"version": 1})
    with pytest.raises(NotFound):
        patch(target, key, {"tenant_id": 1, "slug": "nobody"}, {"title": "D"})
    target.execute(sa.update(User).values(deleted_at=datetime(2026, 1, 1)))
    assert restore_or_create(target, key, A, defaults={"title": "E"}).outcome == "restored"
    rows = [{**A, "title": "F"}, {"tenant_id": 1, "slug": "b", "title": "F"}]
    bulk = bulk_upsert(target, key, rows, update=("title",), duplicates="last")
    assert (bulk.inserted, bulk.updated, bulk.unchanged) == (1, 1, 0)
    target.execute(sa.insert(Sprint).values(id=1, sprint_index=3))
    moved = advance(target, SPRINT, {"id": 1}, {"sprint_index": (3, 4)}, set={"po_slack_id": "U1"})
    again = advance(target, SPRINT, {"id": 1}, {"sprint_index": (3, 4)}, set={"po_slack_id": "U2"})
    assert (moved.outcome, again.outcome) == ("updated", "unchanged")
    assert (again.row.sprint_index, again.row.po_slack_id) == (4, "U1")
    assert singleton(target, Settings, defaults={"theme": "dark"}).created
    target.execute(sa.insert(Job), [{"id": 1, "status": "pending"}, {"id": 2, "status": "done"}])
    lease = timedelta(minutes=5)
    where = Job.status == "pending"
    (job,) = claim(target, Job, where=where, limit=10, lease=lease, owner="host:1")
    assert (job.claimed_by, job.claim_token) == ("host:1", 1)
    assert claim(target, Job, where=where, limit=10, lease=lease, owner="host:2") == []
    assert not operation(target, "op-1", "f").replay
    assert operation(target, "op-1", "f").replay


@pytest.fixture
def engine(db_url: str) -> Any:
    """An engine over a fresh database with the contract's tables."""
    engine = sa.create_engine(sync_url(db_url))
    Base.metadata.create_all(engine)
    create_tables(engine)
    yield engine
    engine.dispose()


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_with_a_session(engine: sa.Engine, key: Key) -> None:
    """Through a Session, whatever the key was made from."""
    with Session(engine) as session:
        use_verbs(session, key)
        session.commit()


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_with_a_connection(engine: sa.Engine, key: Key) -> None:
    """Through a Connection, whatever the key was made from."""
    with engine.begin() as connection:
        use_verbs(connection, key)


async def use_async(target: Any, key: Key) -> None:
    """The same over the async twins."""
    written = await aio.upsert(target, key, {**A, "title": "A"}, update=("title",))
    assert (written.row.title, written.outcome) == ("A", "inserted")
    written = await aio.get_or_create(target, key, A, defaults={"title": "B"})
    assert written.outcome == "unchanged"
    written = await aio.patch(target, key, A, {"title": "C"}, expect={"version": 1})
    assert (written.outcome, written.row.version) == ("updated", 2)
    with pytest.raises(Stale):
        await aio.patch(target, key, A, {"title": "D"}, expect={"version": 1})
    await target.execute(sa.update(User).values(deleted_at=datetime(2026, 1, 1)))
    assert (await aio.restore_or_create(target, key, A)).outcome == "restored"
    rows = [{**A, "title": "F"}, {"tenant_id": 1, "slug": "b", "title": "F"}]
    bulk = await aio.bulk_upsert(target, key, rows, update=("title",), duplicates="last")
    assert (bulk.inserted, bulk.updated, bulk.unchanged) == (1, 1, 0)
    await target.execute(sa.insert(Sprint).values(id=1, sprint_index=3))
    moves = {"sprint_index": (3, 4)}
    moved = await aio.advance(target, SPRINT, {"id": 1}, moves, set={"po_slack_id": "U1"})
    again = await aio.advance(target, SPRINT, {"id": 1}, moves)
    assert (moved.outcome, again.outcome) == ("updated", "unchanged")
    assert (await aio.singleton(target, Settings, defaults={"theme": "dark"})).created
    await target.execute(sa.insert(Job), [{"id": 1, "status": "pending"}])
    (job,) = await aio.claim(
        target, Job, where=Job.status == "pending", limit=10, lease=timedelta(minutes=5), owner="h"
    )
    assert job.claim_token == 1
    assert not (await aio.operation(target, "op-1", "f")).replay
    assert (await aio.operation(target, "op-1", "f")).replay


@pytest.mark.parametrize("kind", ["session", "connection"])
async def test_async(db_url: str, kind: str) -> None:
    """Through an AsyncSession and an AsyncConnection."""
    engine = async_engine_of(db_url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await aio.create_tables(engine)
    opened: Any = AsyncSession(engine) if kind == "session" else engine.connect()
    async with opened as target:
        await use_async(target, KEYS["names"])
        await target.commit()
    await engine.dispose()


def test_transactions_and_spool(engine: sa.Engine, tmp_path: Path) -> None:
    """`transactional`, `operation` and `Spool` take what the contract gives them."""
    sessions = sessionmaker(engine)
    key = KEYS["names"]

    @transactional(sessions, retry=Retry(attempts=5, budget=2.0), isolation="SERIALIZABLE")
    def place(session: Session, op_id: str) -> Any:
        op = operation(session, op_id, "print")
        if op.replay:
            return op.result
        op.store({"id": upsert(session, key, A).row.id})
        return None

    assert place("o") is None
    assert set(place("o")) == {"id"}

    def add_user(session: Session, payload: Any) -> None:
        upsert(session, key, {"tenant_id": 1, **payload})

    spool = Spool(tmp_path / "spool", handlers={"add_user": add_user})
    done = spool.submit(sessions, "add_user", {"slug": "x"}, key="U1", op_id="o2")
    assert (done, spool.depth, spool.failed) == ("applied", 0, ())
    assert spool.replay(sessions).applied == 0


async def test_async_transactions_and_spool(db_url: str, tmp_path: Path) -> None:
    """The async twins of these."""
    engine = async_engine_of(db_url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await aio.create_tables(engine)
    sessions = async_sessionmaker(engine)

    @aio.transactional(sessions, retry=Retry(attempts=5, budget=2.0), isolation="SERIALIZABLE")
    async def place(session: AsyncSession, op_id: str) -> Any:
        op = await aio.operation(session, op_id, "print")
        if isinstance(op, aio.Replay):
            return op.result
        await op.store({"id": (await aio.upsert(session, KEYS["names"], A)).row.id})
        return None

    assert await place("o") is None
    assert set(await place("o")) == {"id"}

    async def add_user(session: AsyncSession, payload: Any) -> None:
        await aio.upsert(session, KEYS["names"], {"tenant_id": 1, **payload})

    spool = aio.Spool(tmp_path / "spool", handlers={"add_user": add_user})
    done = await spool.submit(sessions, "add_user", {"slug": "x"}, key="U1", op_id="o2")
    assert (done, spool.depth) == ("applied", 0)
    await engine.dispose()


def test_errors(engine: sa.Engine) -> None:
    """`conflict_of` and `transient_of` tell one from the other, and both from nothing."""
    with Session(engine) as session:
        upsert(session, KEYS["names"], A)
        with pytest.raises(sa.exc.IntegrityError) as caught:
            session.execute(sa.insert(User).values(tenant_id=1, slug="a"))
    conflict = conflict_of(caught.value)
    assert conflict is not None
    assert (conflict.kind, conflict.constraint) == ("unique", "users_living")
    assert set(conflict.columns) == {"tenant_id", "slug"}
    assert conflict.values == {"tenant_id": 1, "slug": "a"}
    assert conflict.sqlstate in ("23505", "sqlite:2067")
    assert transient_of(caught.value) is None
    assert conflict_of(ValueError()) is None


TWINS = [
    "advance", "bulk_upsert", "claim", "create_tables", "get_or_create", "operation", "patch",
    "release", "renew", "restore_or_create", "singleton", "transactional", "upsert",
]  # fmt: skip


@pytest.mark.parametrize("name", TWINS)
def test_twins_have_the_same_signature(name: str) -> None:
    """An async twin takes the same arguments, by the same names, with the same defaults."""
    ours = inspect.signature(getattr(onerow.write, name)).parameters.values()
    twin = inspect.signature(getattr(aio, name)).parameters.values()
    assert [(p.kind, p.default) for p in ours] == [(p.kind, p.default) for p in twin]
    assert [p.name for p in ours][1:] == [p.name for p in twin][1:]


def test_spools_have_the_same_signature() -> None:
    """So do the methods of the async spool."""
    for name in ("__init__", "submit", "replay"):
        ours, twin = (
            [
                (p.name, p.kind, p.default)
                for p in inspect.signature(getattr(c, name)).parameters.values()
            ]
            for c in (Spool, aio.Spool)
        )
        assert ours == twin


NAMES = [
    "Retry", "Spool", "advance", "bulk_upsert", "claim", "conflict_of", "get_or_create",
    "operation", "patch", "restore_or_create", "singleton", "transactional", "transient_of", "upsert",
]  # fmt: skip


def test_names_of_the_contract() -> None:
    """Every public name is importable from where the contract says, and its async twin too."""
    from onerow.write.http import django, flask, starlette

    assert all(hasattr(onerow, name) for name in NAMES)
    assert set(NAMES) <= set(aio.__all__)
    assert all(hasattr(aio, name) for name in aio.__all__)
    for module in (starlette, flask, django):
        assert inspect.isclass(module.IdempotencyMiddleware)
        assert callable(module.install_problem_handlers)
