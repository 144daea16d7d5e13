"""What tests of races share: one database of each kind for all of them, emptied by each setup."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from onerow.testing import Server
from tests.support.browser import browser, open_page

__all__ = ["browser", "open_page"]

#: Driver -> what stands before the address.
SYNC = {"psycopg": "postgresql+psycopg", "psycopg2": "postgresql+psycopg2", "sqlite": "sqlite"}
ASYNC = {"asyncpg": "postgresql+asyncpg", "aiosqlite": "sqlite+aiosqlite"}


def address(driver: str, pg_server: Server, folder: Path) -> str:
    """The URL of this driver's database for races."""
    scheme = (SYNC | ASYNC)[driver]
    if "sqlite" in scheme:
        return f"{scheme}:///{folder / f'{driver}.sqlite3'}"
    return pg_server.url_of(f"races_{driver}").replace("postgresql", scheme, 1)


@pytest.fixture(scope="session")
def race_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("races")


@pytest.fixture(scope="session")
def race_server(open_server: Any) -> Iterator[Server]:
    """The first PostgreSQL server, with a database for each driver."""
    from tests.conftest import _names

    server, _ = open_server(_names()[0])
    drivers = ("psycopg", "psycopg2", "asyncpg")
    for driver in drivers:
        server.create_database(f"races_{driver}")
    yield server
    for driver in drivers:
        server.drop_database(f"races_{driver}")


def open_engine(driver: str, race_server: Server, folder: Path) -> Engine | AsyncEngine:
    url = address(driver, race_server, folder)
    if driver in ASYNC:
        return create_async_engine(url)
    return create_engine(url)


@pytest.fixture(scope="session")
def pg(race_server: Server, race_folder: Path) -> Iterator[Engine]:
    """PostgreSQL by psycopg."""
    engine = open_engine("psycopg", race_server, race_folder)
    assert isinstance(engine, Engine)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def lite(race_server: Server, race_folder: Path) -> Iterator[Engine]:
    """A file of SQLite in WAL mode."""
    engine = open_engine("sqlite", race_server, race_folder)
    assert isinstance(engine, Engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = wal")
    yield engine
    engine.dispose()


@pytest.fixture(params=["psycopg", "psycopg2", "sqlite"])
def engine(request: pytest.FixtureRequest, race_server: Server, race_folder: Path) -> Any:
    """The engine of each driver that needs no loop."""
    made = open_engine(request.param, race_server, race_folder)
    assert isinstance(made, Engine)
    yield made
    made.dispose()


@pytest.fixture(params=["asyncpg", "aiosqlite"])
def async_engine(request: pytest.FixtureRequest, race_server: Server, race_folder: Path) -> Any:
    """The engine of each driver that needs one."""
    return open_engine(request.param, race_server, race_folder)
