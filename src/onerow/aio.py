"""The async twins of `onerow.write`: same names, same arguments, over AsyncSession and
AsyncConnection.

The flows are the same. SQLAlchemy runs them in a greenlet of the running task (`run_sync`), so a
cancelled task is cancelled in the middle of a statement, as anywhere.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from onerow.rules import Key
from onerow.write import bulk as _bulk
from onerow.write import claims as _claims
from onerow.write import operations as _operations
from onerow.write import verbs as _verbs
from onerow.write.batch import Duplicates
from onerow.write.bulk import BulkWritten
from onerow.write.conflict import Conflict, conflict_of
from onerow.write.flow import Written
from onerow.write.flows import OtherKeys
from onerow.write.operations import Replay
from onerow.write.retry import Course, Retry, _State, begin, not_nested
from onerow.write.spool import (
    ReplayCourse,
    Replayed,
    SpoolBase,
    Submitted,
    applied,
    fingerprint,
    operation_row,
    record_of,
    unreachable,
)
from onerow.write.spoolfile import Record
from onerow.write.transient import Transient, transient_of

P = ParamSpec("P")
R = TypeVar("R")
Target = AsyncSession | AsyncConnection
Values = Mapping[Any, Any]
Update = Iterable[Any] | Mapping[Any, Any]

__all__ = [
    "Conflict",
    "Fresh",
    "Replay",
    "Retry",
    "Spool",
    "Transient",
    "advance",
    "bulk_upsert",
    "claim",
    "conflict_of",
    "create_tables",
    "get_or_create",
    "operation",
    "patch",
    "purge_operations",
    "release",
    "renew",
    "restore_or_create",
    "singleton",
    "transactional",
    "transient_of",
    "upsert",
]


async def upsert(
    session: Target,
    key: Key,
    values: Values,
    *,
    update: Update | None = None,
    defaults: Values | None = None,
    version: Any = None,
    other_keys: OtherKeys = "raise",
) -> Written[Any]:
    """See `onerow.write.upsert`."""
    return await session.run_sync(
        _verbs.upsert,
        key,
        values,
        update=update,
        defaults=defaults,
        version=version,
        other_keys=other_keys,
    )


async def get_or_create(
    session: Target,
    key: Key,
    values: Values,
    *,
    defaults: Values | None = None,
    lock: str | None = None,
    other_keys: OtherKeys = "raise",
) -> Written[Any]:
    """See `onerow.write.get_or_create`."""
    return await session.run_sync(
        _verbs.get_or_create, key, values, defaults=defaults, lock=lock, other_keys=other_keys
    )


async def singleton(session: Target, key: Any, *, defaults: Values | None = None) -> Written[Any]:
    """See `onerow.write.singleton`."""
    return await session.run_sync(_verbs.singleton, key, defaults=defaults)


async def patch(
    session: Target,
    key: Key,
    values: Values,
    changes: Values,
    *,
    expect: Values | None = None,
    version: Any = None,
) -> Written[Any]:
    """See `onerow.write.patch`."""
    return await session.run_sync(
        _verbs.patch, key, values, changes, expect=expect, version=version
    )


async def advance(
    session: Target,
    key: Any,
    values: Values,
    moves: Mapping[Any, tuple[Any, Any]],
    *,
    set: Values | None = None,
    version: Any = None,
) -> Written[Any]:
    """See `onerow.write.advance`."""
    return await session.run_sync(_verbs.advance, key, values, moves, set=set, version=version)


async def restore_or_create(
    session: Target,
    key: Key,
    values: Values,
    *,
    defaults: Values | None = None,
    update: Update | None = None,
    deleted: Any = None,
) -> Written[Any]:
    """See `onerow.write.restore_or_create`."""
    return await session.run_sync(
        _verbs.restore_or_create, key, values, defaults=defaults, update=update, deleted=deleted
    )


async def bulk_upsert(
    session: Target,
    key: Key,
    rows: Iterable[Values],
    *,
    update: Update | None = None,
    duplicates: Duplicates = "last",
    version: Any = None,
    chunk: int = _bulk.CHUNK,
) -> BulkWritten:
    """See `onerow.write.bulk_upsert`."""
    return await session.run_sync(
        _bulk.bulk_upsert,
        key,
        rows,
        update=update,
        duplicates=duplicates,
        version=version,
        chunk=chunk,
    )


async def claim(
    session: Target,
    source: Any,
    *,
    owner: str,
    lease: timedelta = timedelta(minutes=5),
    limit: int = 1,
    where: Any = None,
    order_by: Any = None,
    set: Values | None = None,
    columns: Sequence[Any] = _claims.COLUMNS,
) -> list[Any]:
    """See `onerow.write.claim`."""
    return await session.run_sync(
        _claims.claim,
        source,
        owner=owner,
        lease=lease,
        limit=limit,
        where=where,
        order_by=order_by,
        set=set,
        columns=columns,
    )


async def renew(
    session: Target,
    source: Any,
    row: Any,
    *,
    token: int,
    lease: timedelta = timedelta(minutes=5),
    columns: Sequence[Any] = _claims.COLUMNS,
) -> Any:
    """See `onerow.write.renew`."""
    return await session.run_sync(
        _claims.renew, source, row, token=token, lease=lease, columns=columns
    )


async def release(
    session: Target,
    source: Any,
    row: Any,
    *,
    token: int,
    set: Values | None = None,
    columns: Sequence[Any] = _claims.COLUMNS,
) -> Any:
    """See `onerow.write.release`."""
    return await session.run_sync(
        _claims.release, source, row, token=token, set=set, columns=columns
    )


@dataclass(frozen=True, slots=True)
class Fresh:
    """See `onerow.write.Fresh`; `store` is awaited."""

    op_id: str
    _session: Any = field(repr=False)
    _fresh: _operations.Fresh = field(repr=False)
    replay: bool = field(default=False, init=False)

    async def store(self, result: Any) -> None:
        """Keep the result for replays; before the COMMIT."""
        await self._session.run_sync(lambda _: self._fresh.store(result))


async def operation(
    session: Target, op_id: str, fingerprint: str | None = None, *, wait: bool = True
) -> Fresh | Replay:
    """See `onerow.write.operation`."""
    found = await session.run_sync(_operations.operation, op_id, fingerprint, wait=wait)
    return found if isinstance(found, Replay) else Fresh(op_id, session, found)


async def create_tables(engine: AsyncEngine) -> None:
    """See `onerow.write.create_tables`."""
    for pause in _operations.PAUSES:
        try:
            async with engine.begin() as connection:
                await connection.run_sync(_operations.create_in)
            return
        except DBAPIError as exc:
            if not _operations.may_try_again(exc, pause):
                raise
        await asyncio.sleep(pause)


async def purge_operations(session: Target, older_than: timedelta) -> int:
    """See `onerow.write.operations.purge_operations`."""
    return await session.run_sync(_operations.purge_operations, older_than)


def transactional(
    sessions: Callable[[], Any] | AsyncEngine,
    *,
    retry: Retry | None = None,
    isolation: str | None = None,
    read_only: bool = False,
    name: str | None = None,
) -> Callable[[Callable[Concatenate[Any, P], Awaitable[R]]], Callable[P, Awaitable[R]]]:
    """See `onerow.write.transactional`; for coroutine functions and an async_sessionmaker.

    A cancelled call is rolled back and not run again.
    """
    policy = retry or Retry()

    def decorate(
        function: Callable[Concatenate[Any, P], Awaitable[R]],
    ) -> Callable[P, Awaitable[R]]:
        label: str = name or getattr(function, "__name__", None) or "function"

        @functools.wraps(function)
        async def run(*args: P.args, **kwargs: P.kwargs) -> R:
            with not_nested(sessions, label):
                course = Course(policy, label)
                while True:
                    state = _State()
                    try:
                        result = await _attempt(
                            sessions, state, isolation, read_only, function, *args, **kwargs
                        )
                    except Exception as exc:
                        delay = course.failed(exc, state.session, state.committing)
                    else:
                        course.done()
                        return result
                    await asyncio.sleep(delay)

        return run

    return decorate


async def _attempt(
    sessions: Any,
    state: _State,
    isolation: str | None,
    read_only: bool,
    function: Callable[..., Awaitable[R]],
    /,
    *args: Any,
    **kwargs: Any,
) -> R:
    opened = sessions.connect() if isinstance(sessions, AsyncEngine) else sessions()
    async with opened as session:
        state.session = getattr(session, "sync_session", None) or session.sync_connection
        await session.run_sync(begin, isolation, read_only)
        result = await function(session, *args, **kwargs)
        if isinstance(session, AsyncSession):
            await session.flush()
        state.committing = True
        await session.commit()
        return result


class Spool(SpoolBase):
    """See `onerow.write.Spool`; handlers are coroutine functions, files are written in a thread."""

    async def submit(
        self,
        sessions: Callable[[], Any] | AsyncEngine,
        name: str,
        payload: Any,
        *,
        key: str | None = None,
        op_id: str | None = None,
    ) -> Submitted:
        """See `onerow.write.Spool.submit`."""
        handler = self._known(name)
        record = record_of(name, payload, key, op_id)
        if await asyncio.to_thread(self.holds, key):
            return await asyncio.to_thread(self._keep, record, "writes of this key wait already")
        try:
            return await self._apply(sessions, handler, record)
        except Exception as exc:
            if not unreachable(exc):
                raise
            return await asyncio.to_thread(self._keep, record, str(exc).split("\n")[0])

    async def replay(self, sessions: Callable[[], Any] | AsyncEngine) -> Replayed:
        """See `onerow.write.Spool.replay`."""
        course = ReplayCourse(self)
        with self.files.replaying():
            step = await asyncio.to_thread(course.begin)
            while not isinstance(step, Replayed):
                handler, record = step
                error: Exception | None = None
                try:
                    await self._apply(sessions, handler, record)
                except Exception as exc:
                    error = exc
                step = await asyncio.to_thread(course.after, record, error)
            return step

    async def _apply(
        self,
        sessions: Callable[[], Any] | AsyncEngine,
        handler: Callable[..., Any],
        record: Record,
    ) -> Submitted:
        async def once(session: Any) -> Submitted:
            with operation_row():
                op = await operation(session, record.op_id, fingerprint(record))
            if isinstance(op, Replay):
                return applied(op.result, repeated=True)
            result = await handler(session, record.payload)
            if self.keep_results:
                await op.store(result)
            return applied(result if self.keep_results else None)

        return await transactional(sessions, retry=self.retry, name=f"spool:{record.name}")(once)()
