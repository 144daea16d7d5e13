"""Batches: what they write and how they count."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from onerow import aio
from onerow.rules import Key
from onerow.write import (
    DuplicateInBatch,
    OutsideKey,
    Retry,
    WriteError,
    bulk_upsert,
    transactional,
    upsert,
)
from onerow.write.bulk import BulkWritten
from tests.write.support import (
    LOOSE,
    PLAN,
    SELECTION,
    USER,
    Base,
    Loose,
    Plan,
    Selection,
    User,
    async_engine_of,
    count,
    engine_of,
    sessions,
    with_driver,
)
from tests.write.test_contention import in_threads

SIZES = [5, 1000]  # arrays, and COPY


def users(n: int, title: str = "x", start: int = 0) -> list[dict[str, Any]]:
    return [{"tenant_id": 1, "slug": f"s{i}", "title": title} for i in range(start, start + n)]


@pytest.mark.parametrize("size", SIZES)
def test_counts(session: Session, size: int) -> None:
    """Inserted, updated and unchanged are true."""
    assert bulk_upsert(session, USER, users(size)) == BulkWritten(size, 0, 0)
    assert bulk_upsert(session, USER, users(size)) == BulkWritten(0, 0, size)
    mixed = users(size // 2, "y") + users(size, "x", size // 2)
    assert bulk_upsert(session, USER, mixed) == BulkWritten(size // 2, size // 2, size - size // 2)
    rows = session.execute(sa.select(User.title, sa.func.count()).group_by(User.title)).all()
    assert dict(rows) == {"x": size, "y": size // 2}  # type: ignore[arg-type]


@pytest.mark.parametrize("size", SIZES)
def test_defaults_and_onupdate(session: Session, size: int) -> None:
    """Column defaults and onupdate hold for a batch as for a single row."""
    bulk_upsert(session, USER, users(size))
    bulk_upsert(session, USER, users(size, "y"))
    assert session.execute(sa.select(User.hits, User.touched).distinct()).all() == [(0, "touched")]


def test_defaults_are_computed_per_row(engine: sa.Engine) -> None:
    """A default that Python computes differs from row to row, and sees its row."""
    table = sa.Table(
        "d",
        sa.MetaData(),
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("token", sa.String, default=lambda: uuid.uuid4().hex),
        sa.Column("twice", sa.String, default=lambda c: c.get_current_parameters()["name"] * 2),
    )
    table.create(engine)
    with engine.begin() as connection:
        bulk_upsert(connection, Key(table, "name"), [{"name": n} for n in "abc"])
        rows = connection.execute(sa.select(table).order_by("name")).all()
    assert [r.twice for r in rows] == ["aa", "bb", "cc"]
    assert len({r.token for r in rows}) == 3


@pytest.mark.parametrize(("policy", "title"), [("last", "b"), ("first", "a")])
def test_duplicates_inside(session: Session, policy: Any, title: str) -> None:
    """Of two rows with one key the policy takes one."""
    rows = [{"tenant_id": 1, "slug": "s", "title": t} for t in "ab"]
    assert bulk_upsert(session, USER, rows, duplicates=policy) == BulkWritten(1, 0, 0)
    assert session.scalars(sa.select(User.title)).one() == title


def test_duplicates_refused(session: Session) -> None:
    """With `error` a duplicate in the batch is refused before anything is written."""
    rows = [{"tenant_id": 1, "slug": "s", "title": t} for t in "ab"]
    with pytest.raises(DuplicateInBatch):
        bulk_upsert(session, USER, rows, duplicates="error")
    assert session.scalars(sa.select(User)).all() == []


@pytest.mark.parametrize("size", SIZES)
def test_case_scope_and_filter(session: Session, size: int) -> None:
    """A key with everything works in a batch, duplicates by case included."""
    rows = [
        {"tenant_id": "t", "branch_id": b, "name": name, "price": 1}
        for b in (None, "b")
        for i in range(size)
        for name in (f"Plan {i}", f"PLAN {i}")
    ]
    assert bulk_upsert(session, PLAN, rows) == BulkWritten(2 * size, 0, 0)
    again = [{**row, "price": 2} for row in rows]
    assert bulk_upsert(session, PLAN, again) == BulkWritten(0, 2 * size, 0)
    session.execute(sa.update(Plan).values(status="ARCHIVED"))
    assert bulk_upsert(session, PLAN, rows) == BulkWritten(2 * size, 0, 0)


def test_outside_the_filter(session: Session) -> None:
    """Rows that the key does not cover are refused."""
    rows = [{"tenant_id": "t", "branch_id": None, "name": "x", "status": "ARCHIVED"}]
    with pytest.raises(OutsideKey):
        bulk_upsert(session, PLAN, rows)


@pytest.mark.parametrize("size", SIZES)
def test_version(session: Session, size: int) -> None:
    """A version is raised for the rows that change, and only for them."""
    rows = [{"workout_id": i, "day": "mon", "version": 1} for i in range(size)]
    bulk_upsert(session, SELECTION, rows, update=("day",))
    rows[0]["day"] = "tue"
    assert bulk_upsert(session, SELECTION, rows, update=("day",)).updated == 1
    found = session.scalars(sa.select(sa.func.sum(Selection.version))).one()
    assert found == size + 1


def test_instances_are_expired(session: Session) -> None:
    """Instances in the session show what the batch wrote."""
    row = upsert(session, USER, {"tenant_id": 1, "slug": "s0", "title": "x"}).row
    bulk_upsert(session, USER, users(3, "y"))
    assert row.title == "y"


def test_insert_only(session: Session) -> None:
    """With nothing to update only the missing rows are written."""
    bulk_upsert(session, USER, users(3))
    assert bulk_upsert(session, USER, users(5, "y"), update=()) == BulkWritten(2, 0, 3)


def test_nothing_and_uneven(session: Session) -> None:
    """No rows is no work, and rows that differ in their columns are refused."""
    assert bulk_upsert(session, USER, []) == BulkWritten()
    with pytest.raises(WriteError, match="same columns"):
        bulk_upsert(session, USER, [*users(1), {"tenant_id": 1, "slug": "s"}])


def test_chunks(session: Session) -> None:
    """A batch goes in chunks, and the counts add up."""
    assert bulk_upsert(session, USER, users(1000), chunk=300) == BulkWritten(1000, 0, 0)


def test_no_sequence_value_is_burnt(pg_url: str) -> None:
    """Rows that exist cost no sequence values."""
    with engine_of(pg_url) as engine, Session(engine) as session:
        bulk_upsert(session, USER, users(500))
        bulk_upsert(session, USER, users(500, "y"))
        last = session.scalar(sa.text("SELECT last_value FROM users_id_seq"))
    assert last == 500


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg", "psycopg_async"])
def test_drivers_and_types(pg_url: str, driver: str, size: int) -> None:
    """Every type comes through arrays and COPY as through a plain INSERT, with every driver."""
    import datetime as dt
    import decimal
    import enum

    from sqlalchemy.dialects.postgresql import ARRAY, JSONB

    kind = enum.Enum("kind", ["red", "blue"])
    table = sa.Table(
        "many",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("a", sa.Text),
        sa.Column("b", sa.Numeric(12, 2)),
        sa.Column("c", sa.DateTime(timezone=True)),
        sa.Column("d", sa.Uuid),
        sa.Column("e", JSONB),
        sa.Column("f", sa.JSON),
        sa.Column("g", sa.Enum(kind)),
        sa.Column("h", sa.LargeBinary),
        sa.Column("i", sa.Boolean),
        sa.Column("j", sa.Date),
    )
    if size > 200:
        table.append_column(sa.Column("k", ARRAY(sa.Integer)))
    values = {
        "a": "tab\tback\\slash\nline",
        "b": decimal.Decimal("12.30"),
        "c": dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
        "d": uuid.UUID(int=7),
        "e": {"x": [1, None]},
        "f": {"y": "z"},
        "g": kind.blue,
        "h": b"\x00\xff",
        "i": True,
        "j": dt.date(2026, 1, 2),
        "k": [1, 2],
    }
    names = [c.name for c in table.columns if c.name != "id"]
    rows = [{"id": 0, **dict.fromkeys(names)}]
    rows += [{"id": i, **{n: values[n] for n in names}} for i in range(1, size)]

    def work(connection: sa.Connection) -> Any:
        table.create(connection)
        written = [bulk_upsert(connection, Key(table, "id"), rows) for _ in "12"]
        return written, connection.execute(sa.select(table).order_by(table.c.id)).all()

    written, found = _with(pg_url, driver, work)
    assert written == [BulkWritten(size, 0, 0), BulkWritten(0, 0, size)]
    expected = [tuple(row[c.name] for c in table.columns) for row in rows]
    assert [
        tuple(bytes(v) if isinstance(v, memoryview) else v for v in r) for r in found
    ] == expected


def _with(url: str, driver: str, work: Callable[[sa.Connection], Any]) -> Any:
    if driver not in ("asyncpg", "psycopg_async"):
        engine = sa.create_engine(with_driver(url, f"postgresql+{driver}"))
        with engine.begin() as connection:
            result = work(connection)
        engine.dispose()
        return result

    async def in_loop() -> Any:
        engine = async_engine_of(url, driver.removesuffix("_async"))
        async with engine.begin() as connection:
            result = await connection.run_sync(work)
        await engine.dispose()
        return result

    return asyncio.run(in_loop())


async def test_async(db_url: str) -> None:
    """The async twin writes a batch."""
    engine = async_engine_of(db_url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine) as session:
        assert (await aio.bulk_upsert(session, USER, users(500))).inserted == 500
    await engine.dispose()


@pytest.mark.parametrize("key", [USER, LOOSE], ids=["index", "transitional"])
@pytest.mark.parametrize("isolation", ["READ COMMITTED", "SERIALIZABLE"])
def test_overlapping_batches(db_url: str, key: Key, isolation: str) -> None:
    """Batches that overlap, in any order, leave one row per key and count each insert once."""
    patient = Retry(attempts=100, budget=60, base=0.002, cap=0.05)

    def row(i: int, w: int) -> dict[str, Any]:
        if key is USER:
            return {"tenant_id": 1, "slug": f"s{i}", "title": str(w)}
        return {"name": f"s{i}", "n": w}

    with engine_of(db_url, pool_size=6) as engine:

        @transactional(sessions(engine), retry=patient, isolation=isolation)
        def write(session: Session, w: int) -> BulkWritten:
            rows = [row(i, w) for i in range(w * 50, w * 50 + 300)]
            return bulk_upsert(session, key, rows[:: -1 if w % 2 else 1])

        results = in_threads(6, write)
        total = count(engine, User if key is USER else Loose)
    assert total == 550 == sum(r.inserted for r in results)
    assert sum(r.inserted + r.updated for r in results) == 1800
