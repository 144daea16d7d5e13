"""From an address to an engine that an application can work with."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL

from systems.shared.errors import SystemFailure

CONNECT_SECONDS = 10
BUSY_SECONDS = 10


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


def _postgresql(url: URL, pool: dict[str, int]) -> sa.Engine:
    given = {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_SECONDS}
    engine = sa.create_engine(url, connect_args=given, **pool)

    @sa.event.listens_for(engine, "connect")
    def settings(dbapi: Any, _record: Any) -> None:
        # Moments are written without an offset in the fixtures; they mean UTC everywhere.
        before, dbapi.autocommit = dbapi.autocommit, True
        dbapi.execute("SET TIME ZONE 'UTC'")
        dbapi.autocommit = before

    return engine


def _sqlite(url: URL, create: bool, pool: dict[str, int]) -> sa.Engine:
    if url.database in (None, "", ":memory:"):
        raise SystemFailure("A SQLite database must be a file; one in memory ends with us.")
    path = Path(str(url.database))
    if not (path.is_file() if not create else path.absolute().parent.is_dir()):
        raise SystemFailure(f"There is no {'folder for the' if create else 'SQLite'} file {path}.")
    given = {"isolation_level": None, "timeout": BUSY_SECONDS}
    engine = sa.create_engine(url, connect_args=given, **pool)

    @sa.event.listens_for(engine, "connect")
    def settings(dbapi: sqlite3.Connection, _record: Any) -> None:
        dbapi.execute("PRAGMA foreign_keys = ON")
        if pool:
            dbapi.execute("PRAGMA journal_mode = WAL")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # A read that turns into a write fails at once, whatever the timeout (SQLITE_BUSY_SNAPSHOT):
        # who will write says so at the start.
        how = connection.get_execution_options().get("begin", "DEFERRED")
        connection.exec_driver_sql(f"BEGIN {how}")

    return engine
