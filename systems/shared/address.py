"""From an address to an engine that an application can work with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from systems.shared.errors import SystemFailure

CONNECT_SECONDS = 10
BUSY_SECONDS = 10
#: Of a server's writers: as long as a table of a million rows may take to be made again.
SERVER_BUSY_SECONDS = 60
LITE: dict[str, Any] = {"isolation_level": None, "timeout": BUSY_SECONDS}


def parse_address(text: str) -> URL:
    """A URL with the drivers that the systems use: psycopg 3 and sqlite3.

    Raises:
        SystemFailure: it is none, or names another engine.
    """
    text = text.strip()
    if text.startswith("postgres://"):
        text = "postgresql://" + text.removeprefix("postgres://")
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        raise SystemFailure(
            "The database URL cannot be read. "
            "It should look like postgresql://user@host:5432/name or sqlite:///file.db."
        ) from None
    drivers = {"postgresql": "postgresql+psycopg", "sqlite": "sqlite"}
    backend = url.drivername.partition("+")[0]
    if backend not in drivers:
        raise SystemFailure(f"The systems run on PostgreSQL and SQLite; the URL names {backend!r}.")
    return url.set(drivername=drivers[backend])


def open_engine(text: str, *, create: bool = False, connections: int | None = None) -> sa.Engine:
    """An engine for an address as a person writes it.

    Args:
        create: a SQLite file that is not there yet is made.
        connections: for a server: at most so many, kept open; a SQLite file is read while it is
            written (WAL), which stays with the file.

    Raises:
        SystemFailure: no address, or a file that is not there.
    """
    url = parse_address(text)
    pool = {} if connections is None else {"pool_size": connections, "max_overflow": 0}
    return _sqlite(url, create, pool) if url.drivername == "sqlite" else _postgresql(url, pool)


def open_async_engine(text: str, *, connections: int) -> AsyncEngine:
    """The same for an application that is asynchronous.

    Raises:
        SystemFailure: as for `open_engine`.
    """
    url = parse_address(text)
    pool = {"pool_size": connections, "max_overflow": 0}
    if url.drivername != "sqlite":
        engine = create_async_engine(url, connect_args=_timeout(url), **pool)
        _postgresql_settings(engine.sync_engine)
        return engine
    _check_file(url, create=False)
    lite = url.set(drivername="sqlite+aiosqlite")
    engine = create_async_engine(lite, connect_args=LITE, **pool)
    _sqlite_settings(engine.sync_engine, server=True)
    return engine


def _timeout(url: URL) -> dict[str, int]:
    return {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_SECONDS}


def _postgresql(url: URL, pool: dict[str, int]) -> sa.Engine:
    engine = sa.create_engine(url, connect_args=_timeout(url), **pool)
    _postgresql_settings(engine)
    return engine


def _postgresql_settings(engine: sa.Engine) -> None:
    @sa.event.listens_for(engine, "connect")
    def settings(dbapi: Any, _record: Any) -> None:
        # Moments are written without an offset in the fixtures; they mean UTC everywhere.
        before, dbapi.autocommit = dbapi.autocommit, True
        dbapi.execute("SET TIME ZONE 'UTC'")
        dbapi.autocommit = before


def _sqlite(url: URL, create: bool, pool: dict[str, int]) -> sa.Engine:
    _check_file(url, create)
    engine = sa.create_engine(url, connect_args=LITE, **pool)
    _sqlite_settings(engine, server=bool(pool))
    return engine


def _check_file(url: URL, create: bool) -> None:
    if url.database in (None, "", ":memory:"):
        raise SystemFailure("A SQLite database must be a file; one in memory ends with us.")
    path = Path(str(url.database))
    if not (path.is_file() if not create else path.absolute().parent.is_dir()):
        raise SystemFailure(f"There is no {'folder for the' if create else 'SQLite'} file {path}.")


def _sqlite_settings(engine: sa.Engine, *, server: bool) -> None:
    @sa.event.listens_for(engine, "connect")
    def settings(dbapi: Any, _record: Any) -> None:
        dbapi.execute("PRAGMA foreign_keys = ON")
        if server:
            dbapi.execute("PRAGMA journal_mode = WAL")
            dbapi.execute(f"PRAGMA busy_timeout = {SERVER_BUSY_SECONDS * 1000}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # A read that turns into a write fails at once, whatever the timeout (SQLITE_BUSY_SNAPSHOT):
        # who will write says so at the start.
        how = connection.get_execution_options().get("begin", "DEFERRED")
        connection.exec_driver_sql(f"BEGIN {how}")
