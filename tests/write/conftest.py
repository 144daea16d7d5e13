"""Fixtures of the write tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

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
