"""What a type checker must know of the public names. Checked by mypy, never run."""

from __future__ import annotations

from typing import Any, assert_type

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker

from onerow import aio
from onerow.rules import Key
from onerow.write import (
    Conflict,
    Fresh,
    Replay,
    Retry,
    Spool,
    Transient,
    Written,
    bulk_upsert,
    claim,
    conflict_of,
    get_or_create,
    operation,
    transactional,
    transient_of,
    upsert,
)
from onerow.write.bulk import BulkWritten
from onerow.write.flow import Outcome
from onerow.write.spool import Replayed, Submitted


def sync(session: Session, sessions: sessionmaker[Session], key: Key, error: Exception) -> None:
    assert_type(upsert(session, key, {"a": 1}), Written[Any])
    assert_type(get_or_create(session, key, {"a": 1}).outcome, Outcome)
    assert_type(bulk_upsert(session, key, [{"a": 1}]), BulkWritten)
    assert_type(claim(session, "jobs", owner="me"), list[Any])
    assert_type(conflict_of(error), Conflict | None)
    assert_type(transient_of(error), Transient | None)
    assert_type(operation(session, "op"), Fresh | Replay)

    @transactional(sessions, retry=Retry(attempts=3))
    def place(session: Session, a: int, *, b: str) -> bytes:
        return b""

    assert_type(place(1, b="x"), bytes)
    spool = Spool("folder")
    assert_type(spool.submit(sessions, "name", {}), Submitted)
    assert_type(spool.replay(sessions), Replayed)


async def asynchronous(
    session: AsyncSession, sessions: async_sessionmaker[AsyncSession], key: Key
) -> None:
    assert_type(await aio.upsert(session, key, {"a": 1}), Written[Any])
    assert_type(await aio.operation(session, "op"), aio.Fresh | Replay)

    @aio.transactional(sessions)
    async def place(session: AsyncSession, a: int) -> str:
        return ""

    assert_type(await place(1), str)
