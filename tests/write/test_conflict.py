"""Errors of every driver, told by code: what kind, which columns, whose values."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from onerow.write import Conflict, conflict_of, transient_of
from onerow.write.conflict import know, values_of
from onerow.write.errors import Contended, UnknownCommit
from tests.write.support import with_driver


class Base(DeclarativeBase):
    pass


class Parent(Base):
    __tablename__ = "parent"
    id: Mapped[int] = mapped_column(primary_key=True)


class Child(Base):
    __tablename__ = "child"
    __table_args__ = (
        sa.UniqueConstraint("a", "b", name="child_a_b"),
        sa.CheckConstraint("n > 0", name="child_positive"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int] = mapped_column(sa.ForeignKey("parent.id", name="child_parent"))
    a: Mapped[int]
    b: Mapped[str]
    n: Mapped[int]
    email: Mapped[str | None]


sa.Index("child_email", sa.func.lower(Child.email), unique=True)
ROW: dict[str, Any] = {"id": 1, "parent_id": 1, "a": 1, "b": "x)=(y", "n": 1, "email": "A@b"}
DRIVERS = ["psycopg", "psycopg2", "asyncpg", "pysqlite", "aiosqlite"]
Run = Callable[[Callable[[sa.Connection], Any]], Any]


@pytest.fixture(params=DRIVERS)
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a function with a connection of each driver, over a parent and a child."""
    driver: str = request.param
    lite = "sqlite" in driver
    url = request.getfixturevalue("sqlite_url" if lite else "pg_url")
    url = with_driver(url, f"sqlite+{driver}" if lite else f"postgresql+{driver}")

    def prepare(connection: sa.Connection) -> None:
        if lite:
            connection.exec_driver_sql("PRAGMA foreign_keys = ON")
        Base.metadata.create_all(connection)
        connection.execute(sa.insert(Parent), {"id": 1})
        connection.execute(sa.insert(Child), ROW)

    if driver in ("asyncpg", "aiosqlite"):

        async def in_loop(work: Callable[[sa.Connection], Any]) -> Any:
            engine = create_async_engine(url)
            try:
                async with engine.connect() as connection:
                    await connection.run_sync(prepare)
                    return await connection.run_sync(work)
            finally:
                await engine.dispose()

        return lambda work: asyncio.run(in_loop(work))

    def in_thread(work: Callable[[sa.Connection], Any]) -> Any:
        engine = sa.create_engine(url)
        try:
            with engine.connect() as connection:
                prepare(connection)
                return work(connection)
        finally:
            engine.dispose()

    return in_thread


def broken(run: Run, statement: Any, params: Any = None) -> Conflict:
    """The conflict that a statement ends in."""

    def work(connection: sa.Connection) -> BaseException:
        with pytest.raises(sa.exc.DBAPIError) as caught:
            connection.execute(statement, params)
        return caught.value

    error = run(work)
    conflict = conflict_of(error, metadata=Base.metadata)
    assert conflict is not None, error
    assert transient_of(error) is None
    return conflict


def test_unique(run: Run) -> None:
    """A unique violation has its constraint, its columns and our own values."""
    conflict = broken(run, sa.insert(Child), {**ROW, "id": 2, "email": None})
    assert (conflict.kind, conflict.constraint, conflict.table) == ("unique", "child_a_b", "child")
    assert dict(conflict.values) == {"a": 1, "b": "x)=(y"}
    assert conflict.on("b", Child.a)
    assert conflict.sqlstate in ("23505", "sqlite:2067")


def test_unique_in_update(run: Run) -> None:
    """Values of an UPDATE come from its SET."""

    def work(connection: sa.Connection) -> BaseException:
        connection.execute(sa.insert(Child), {**ROW, "id": 2, "a": 2, "email": None})
        update = sa.update(Child).where(Child.id == 2).values(a=1, b="x)=(y")
        with pytest.raises(sa.exc.DBAPIError) as caught:
            connection.execute(update)
        return caught.value

    conflict = conflict_of(run(work))
    assert conflict is not None
    assert (conflict.columns, dict(conflict.values)) == (("a", "b"), {"a": 1, "b": "x)=(y"})


def test_expression_index(run: Run) -> None:
    """The columns of an expression index come from the metadata."""
    conflict = broken(run, sa.insert(Child), {**ROW, "id": 2, "a": 2, "email": "a@B"})
    assert (conflict.kind, conflict.constraint) == ("unique", "child_email")
    assert (conflict.columns, dict(conflict.values)) == (("email",), {"email": "a@B"})


def test_primary_key(run: Run) -> None:
    """A primary key is told from another unique key."""
    conflict = broken(run, sa.insert(Child), {**ROW, "a": 2, "email": None})
    assert (conflict.kind, conflict.columns, conflict.values) == ("primary_key", ("id",), {"id": 1})


def test_not_null(run: Run) -> None:
    """NOT NULL has its column."""
    conflict = broken(run, sa.insert(Child), {**ROW, "id": 2, "a": 2, "b": None, "email": None})
    assert (conflict.kind, conflict.table, conflict.columns) == ("not_null", "child", ("b",))


def test_check(run: Run) -> None:
    """CHECK has its name, and its columns from the metadata."""
    conflict = broken(run, sa.insert(Child), {**ROW, "id": 2, "a": 2, "n": 0, "email": None})
    assert (conflict.kind, conflict.constraint) == ("check", "child_positive")
    assert (conflict.columns, dict(conflict.values)) == (("n",), {"n": 0})


def test_missing_parent(run: Run) -> None:
    """A foreign key without its parent is told from one that is still referenced."""
    row = {**ROW, "id": 2, "a": 2, "parent_id": 9, "email": None}
    conflict = broken(run, sa.insert(Child), row)
    assert (conflict.kind, conflict.direction) == ("foreign_key", "missing_parent")
    if conflict.sqlstate == "23503":
        assert (conflict.constraint, conflict.columns) == ("child_parent", ("parent_id",))


def test_missing_parent_by_update(run: Run) -> None:
    """An UPDATE of the child misses its parent."""
    conflict = broken(run, sa.update(Child).values(parent_id=9))
    assert (conflict.kind, conflict.direction) == ("foreign_key", "missing_parent")


def test_still_referenced(run: Run) -> None:
    """A parent that has children cannot be deleted."""
    conflict = broken(run, sa.delete(Parent))
    assert (conflict.kind, conflict.direction) == ("foreign_key", "still_referenced")


def test_syntax_is_no_conflict(run: Run) -> None:
    """Other errors are neither a conflict nor transient."""

    def work(connection: sa.Connection) -> BaseException:
        with pytest.raises(sa.exc.DBAPIError) as caught:
            connection.exec_driver_sql("SELEKT 1")
        return caught.value

    error = run(work)
    assert conflict_of(error) is None
    assert transient_of(error) is None


def test_exclusion_and_unknown_constraint(pg_url: str) -> None:
    """Without metadata the columns come from the text, and are marked so."""
    engine = sa.create_engine(with_driver(pg_url, "postgresql+psycopg"))
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE z (q int CONSTRAINT zz UNIQUE)")
        connection.exec_driver_sql("INSERT INTO z VALUES (1)")
        with pytest.raises(sa.exc.DBAPIError) as caught:
            connection.exec_driver_sql("INSERT INTO z VALUES (1)")
        conflict = conflict_of(caught.value)
        assert conflict is not None
        assert (conflict.columns, conflict.lossy, conflict.values) == (("q",), True, {})
        connection.rollback()
        connection.exec_driver_sql("CREATE TABLE x (r int4range, EXCLUDE USING gist (r WITH &&))")
        connection.exec_driver_sql("INSERT INTO x VALUES ('[1,3)')")
        with pytest.raises(sa.exc.DBAPIError) as caught:
            connection.exec_driver_sql("INSERT INTO x VALUES ('[2,3)')")
        conflict = conflict_of(caught.value)
        assert conflict is not None
        assert conflict.kind == "exclusion"
    engine.dispose()


def test_deferred_at_commit(pg_url: str) -> None:
    """A deferred constraint breaks at COMMIT, where there is no statement."""
    engine = sa.create_engine(with_driver(pg_url, "postgresql+psycopg"))
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE d (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        connection.exec_driver_sql("INSERT INTO d VALUES (1), (1)")
        with pytest.raises(sa.exc.DBAPIError) as caught:
            connection.commit()
    engine.dispose()
    conflict = conflict_of(caught.value)
    assert conflict is not None
    assert (conflict.kind, conflict.constraint) == ("unique", "d_a_key")


def test_strict_tables(sqlite_url: str) -> None:
    """SQLite's STRICT type errors are a kind of their own."""
    engine = sa.create_engine(sqlite_url)
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE s (a TEXT) STRICT")
        with pytest.raises(sa.exc.DBAPIError) as caught:
            connection.exec_driver_sql("INSERT INTO s VALUES (x'00')")
    engine.dispose()
    conflict = conflict_of(caught.value)
    assert conflict is not None
    assert conflict.kind == "datatype"


def test_bare_driver_errors(tmp_path: Any) -> None:
    """A driver's own error needs no SQLAlchemy around it."""
    connection = sqlite3.connect(tmp_path / "x")
    connection.execute("CREATE TABLE t (a UNIQUE)")
    connection.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(sqlite3.IntegrityError) as caught:
        connection.execute("INSERT INTO t VALUES (1)")
    connection.close()
    conflict = conflict_of(caught.value)
    assert conflict is not None
    assert (conflict.kind, conflict.table, conflict.columns) == ("unique", "t", ("a",))


# -- what passes by itself -----------------------------------------------------------------------


def test_busy_and_busy_snapshot(sqlite_url: str) -> None:
    """A locked database is told from a stale read, which only a new transaction cures."""
    path = sqlite_url.removeprefix("sqlite:///")
    one, two = (sqlite3.connect(path, timeout=0, isolation_level=None) for _ in "12")
    one.execute("PRAGMA journal_mode = WAL")
    one.execute("CREATE TABLE t (a)")
    two.execute("BEGIN")
    two.execute("SELECT * FROM t").fetchall()
    one.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError) as busy:
        two.execute("INSERT INTO t VALUES (1)")
    one.execute("INSERT INTO t VALUES (2)")
    one.execute("COMMIT")
    with pytest.raises(sqlite3.OperationalError) as stale:
        two.execute("INSERT INTO t VALUES (1)")
    one.close()
    two.close()
    found = [transient_of(e.value) for e in (busy, stale)]
    assert [(t.kind, t.restart) for t in found if t] == [("busy", False), ("busy", True)]


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
def test_refused_connection(driver: str) -> None:
    """A server that is not there is a lost connection, whatever the driver raises."""
    url = sa.URL.create(f"postgresql+{driver}", "x", "y", "127.0.0.1", 1, "z")
    if driver == "asyncpg":
        from sqlalchemy.ext.asyncio import create_async_engine

        async def connect() -> None:
            async with create_async_engine(url).connect():
                pass

        with pytest.raises(OSError) as caught:  # noqa: PT011
            asyncio.run(connect())
        error: BaseException = caught.value
    else:
        with pytest.raises(sa.exc.DBAPIError) as failed, sa.create_engine(url).connect():
            pass
        error = failed.value
    transient = transient_of(error)
    assert transient is not None
    assert (transient.kind, transient.unreachable) == ("connection", True)


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
def test_killed_connection_and_lock(pg_url: str, driver: str) -> None:
    """A terminated backend, a lock timeout and a statement timeout have their kinds."""
    url = with_driver(pg_url, f"postgresql+{driver}")

    def work(connection: sa.Connection) -> list[str]:
        kinds = []
        for statement in (
            "SET LOCAL statement_timeout = 50; ",
            "SET LOCAL lock_timeout = 50; ",
        ):
            connection.exec_driver_sql(statement)
            text = (
                "SELECT pg_sleep(5)"
                if "statement" in statement
                else "SELECT pg_advisory_xact_lock(1)"
            )
            with pytest.raises(sa.exc.DBAPIError) as caught:
                connection.exec_driver_sql(text)
            transient = transient_of(caught.value)
            assert transient is not None
            kinds.append(transient.kind)
            connection.rollback()
        with pytest.raises(sa.exc.DBAPIError) as caught:
            connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")
        transient = transient_of(caught.value)
        assert transient is not None
        return [*kinds, transient.kind]

    blocker = sa.create_engine(with_driver(pg_url, "postgresql+psycopg"))
    with blocker.connect() as held:
        held.exec_driver_sql("SELECT pg_advisory_xact_lock(1)")
        if driver == "asyncpg":

            async def connect() -> Any:
                engine = create_async_engine(url)
                async with engine.connect() as connection:
                    found = await connection.run_sync(work)
                await engine.dispose()
                return found

            kinds = asyncio.run(connect())
        else:
            engine = sa.create_engine(url)
            with engine.connect() as connection:
                kinds = work(connection)
            engine.dispose()
    blocker.dispose()
    assert kinds == ["timeout", "lock", "connection"]


def test_pool_timeout(sqlite_url: str) -> None:
    """Waiting in vain for a pooled connection counts as no connection."""
    engine = sa.create_engine(sqlite_url, pool_size=1, max_overflow=0, pool_timeout=0.01)
    with engine.connect(), pytest.raises(sa.exc.TimeoutError) as caught:
        engine.connect()
    engine.dispose()
    transient = transient_of(caught.value)
    assert transient is not None
    assert transient.kind == "connection"


@pytest.mark.parametrize("error", [ValueError("x"), FileNotFoundError(2, "x"), KeyError("x")])
def test_foreign_errors(error: Exception) -> None:
    """An application's own error is nothing of ours, not even an OSError about a file."""
    assert transient_of(error) is None
    assert conflict_of(error) is None


def test_own_errors() -> None:
    """Contended and UnknownCommit pass by themselves."""
    kinds = [t.kind for e in (Contended(), UnknownCommit()) if (t := transient_of(e))]
    assert kinds == ["serialization", "unknown_commit"]


def test_values_of_statements() -> None:
    """Parameters find their columns by name and by place; of an executemany nothing is said."""
    insert = 'INSERT INTO t (a, "b", c) VALUES (?, ?, lower(?))'
    assert values_of(insert, (1, 2, 3)) == {"a": 1, "b": 2}
    assert values_of(insert, [(1, 2, 3), (4, 5, 6)]) == {}
    assert values_of("UPDATE t SET a=?, b=(b + ?) WHERE id = ?", (1, 2, 3)) == {"a": 1}
    assert values_of("INSERT INTO t (a) VALUES (%(x)s)", {"x": 7})["a"] == 7
    know(Base.metadata)
