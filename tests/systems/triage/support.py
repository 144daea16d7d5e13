"""What the tests of the triage bot share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncEngine

from systems.shared.address import open_async_engine
from systems.triage_bot import states, tables
from tests.support.sandbox import Sandbox
from tests.systems.support import made

NAME = "triage_bot"
CONNECTIONS = 8


def repaired(url: str) -> Sandbox:
    """Five people of each discipline, ten sprints, no sprint entered."""
    return made(url, states.after())


def broken(url: str, rows: int = 0) -> Sandbox:
    """The schema before."""
    return made(url, states.before(rows))


@asynccontextmanager
async def opened(url: str, *, naive: bool = False) -> AsyncIterator[AsyncEngine]:
    """An engine on a database that is there, with the application's own tables."""
    engine = open_async_engine(url, connections=CONNECTIONS)
    try:
        if not naive:
            await tables.prepare(engine)
        yield engine
    finally:
        await engine.dispose()
