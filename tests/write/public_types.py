"""What a type checker must know of the public names. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import Any, assert_type

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker

import onerow
from onerow import Key, aio
from onerow.write import (
    Conflict,
    Fresh,
    Replay,
    Retry,
    Spool,
    Transient,
    Written,
    advance,
    bulk_upsert,
    claim,
    conflict_of,
    get_or_create,
    operation,
    patch,
    restore_or_create,
    singleton,
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
    assert_type(onerow.upsert(session, key, {"a": 1}), Written[Any])
    assert_type(patch(session, key, {"a": 1}, {"b": 2}, expect={"v": 1}), Written[Any])
    assert_type(advance(session, key, {"a": 1}, {"n": (3, 4)}, set={"b": 1}), Written[Any])
    assert_type(singleton(session, "settings", defaults={"a": 1}), Written[Any])
    assert_type(restore_or_create(session, key, {"a": 1}), Written[Any])
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
    assert_type(await aio.get_or_create(session, key, {"a": 1}), Written[Any])
    assert_type(await aio.patch(session, key, {"a": 1}, {"b": 2}), Written[Any])
    assert_type(await aio.advance(session, key, {"a": 1}, {"n": (3, 4)}), Written[Any])
    assert_type(await aio.singleton(session, "settings"), Written[Any])
    assert_type(await aio.restore_or_create(session, key, {"a": 1}), Written[Any])
    assert_type(await aio.bulk_upsert(session, key, [{"a": 1}]), BulkWritten)
    assert_type(await aio.claim(session, "jobs", owner="me"), list[Any])
    assert_type(await aio.operation(session, "op"), aio.Fresh | Replay)

    @aio.transactional(sessions)
    async def place(session: AsyncSession, a: int) -> str:
        return ""

    assert_type(await place(1), str)

    spool = aio.Spool("folder")
    assert_type(await spool.submit(sessions, "name", {}), Submitted)
    assert_type(await spool.replay(sessions), Replayed)
