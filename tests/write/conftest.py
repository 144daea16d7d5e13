"""Fixtures of the write tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from tests.write.arena import Arena
from tests.write.support import engine_of


@pytest.fixture
def engine(db_url: str) -> Iterator[sa.Engine]:
    """An engine over a fresh database with the tables, on either engine."""
    with engine_of(db_url) as engine:
        yield engine


@pytest.fixture
def session(engine: sa.Engine) -> Iterator[Session]:
    """A session over a fresh database."""
    with Session(engine) as session:
        yield session


@pytest.fixture
def arena(
    request: pytest.FixtureRequest, dialect: str, driver: str, workers: int, isolation: str
) -> Arena:
    """A fresh database with the tables, and its fighters."""
    url = request.getfixturevalue("sqlite_url" if dialect == "sqlite" else "pg_url")
    with engine_of(url):
        pass
    return Arena(url, driver, workers, isolation)
