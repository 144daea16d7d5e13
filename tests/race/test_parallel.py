"""Schedules on several databases at once: the same answer, each schedule run once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from docs.races.gallery import CASES, metadata
from onerow.errors import InputError
from onerow.race import explore
from onerow.testing import Server
from tests.race.test_gallery import plain


@pytest.fixture
def pair(pg_server: Server) -> Iterator[list[Engine]]:
    """Two databases with the same tables."""
    with pg_server.database() as first, pg_server.database() as second:
        engines = [
            sa.create_engine(u.replace("postgresql:", "postgresql+psycopg:", 1))
            for u in (first, second)
        ]
        for engine in engines:
            metadata.create_all(engine)
        yield engines
        for engine in engines:
            engine.dispose()


@pytest.mark.parametrize(
    "name",
    [
        "Look, then insert",
        "The violation caught",
        "Two locks in two orders, and the transaction again",
        "A job claimed with SKIP LOCKED",
    ],
)
def test_two_databases_count_the_same(pair: list[Engine], name: str) -> None:
    """All schedules are run once, whichever database runs them, and end as on one database."""
    case = next(c for c in CASES if c.name == name)
    workers = [plain(body) for body in case.workers]
    alone, shared = (
        explore(
            pair[0],
            workers,
            setup=case.setup,
            invariant=case.holds,
            keep_going=True,
            prune=False,
            engines=more,
        )
        for more in ((), pair[1:])
    )
    assert (shared.verdict, shared.exhausted) == (alone.verdict, True)
    assert (shared.schedules, shared.outcomes) == (alone.schedules, alone.outcomes)


def test_an_error_of_setup_ends_all(pair: list[Engine]) -> None:
    """What setup raises on one of the databases comes out, and nothing goes on."""
    case = CASES[0]
    calls: list[int] = []

    def setup(connection: Any) -> None:
        calls.append(1)
        if len(calls) > 6:
            raise RuntimeError("setup fails")
        case.setup(connection)

    with pytest.raises(RuntimeError, match="setup fails"):
        explore(
            pair[0],
            [plain(body) for body in case.workers],
            setup=setup,
            keep_going=True,
            engines=pair[1:],
        )


def test_engines_of_another_kind(pair: list[Engine], tmp_path: Path) -> None:
    """All engines must take the same workers."""
    from sqlalchemy.ext.asyncio import create_async_engine

    other = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'x'}")
    with pytest.raises(InputError, match="must be a coroutine function"):
        explore(pair[0], [plain(b) for b in CASES[0].workers], engines=[other])
