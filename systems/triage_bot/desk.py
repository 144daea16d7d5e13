"""Where everybody reads and writes: the database, or what is kept while it is away."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from onerow import transient_of
from onerow.aio import Retry, Spool, operation, transactional
from onerow.write import Replayed, SpoolEvent
from systems.triage_bot import naive, reading, snapshot, writes
from systems.triage_bot.records import Record
from systems.triage_bot.rotation import Team
from systems.triage_bot.settings import Settings
from systems.triage_bot.snapshot import Snapshot

log = logging.getLogger(__name__)

Warn = Callable[[str, str], None]
REMEMBERED = 10_000  #: deliveries
READ = Retry(attempts=2, budget=1.0)  #: a page is better served from memory than late


class Unreadable(Exception):
    """The database is away, and nothing of it is remembered."""


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a write.

    Attributes:
        result: of the write; None while it waits in the spool.
        repeated: it was done before, by the same delivery.
    """

    result: writes.Result | None
    repeated: bool = False

    @property
    def waits(self) -> bool:
        return self.result is None


class Desk(Protocol):
    """The safe one and the naive one."""

    engine: AsyncEngine
    is_naive: bool

    async def submit(
        self, name: str, record: Record, by: str, op_id: str | None = None
    ) -> Done: ...
    async def read(self) -> Snapshot: ...
    async def is_first(self, op_id: str) -> bool: ...
    @property
    def known(self) -> Snapshot: ...
    @property
    def depth(self) -> int: ...


class _Reading:
    """Reads; what was read last is remembered."""

    is_naive = False

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._known: Snapshot | None = None

    @property
    def known(self) -> Snapshot:
        """From memory, at once."""
        if self._known is None:
            raise Unreadable
        return self._known

    async def read(self) -> Snapshot:
        """From the database; when it is away, what was read last.

        Raises:
            Unreadable: nothing was.
        """

        async def read_team(connection: AsyncConnection) -> Team:
            return await reading.team(connection, naive=self.is_naive)

        try:
            team = await transactional(self.engine, read_only=True, retry=READ)(read_team)()
        except Exception as error:
            if not away(error):
                raise
            return await self._remembered()
        self._known = Snapshot(team, datetime.now(UTC))
        await self._keep(self._known)
        return self._known

    async def _remembered(self) -> Snapshot:
        if self._known is None:
            raise Unreadable
        self._known = replace(self._known, stale=True)
        return self._known

    async def _keep(self, read: Snapshot) -> None:
        """A process that starts without the database will need it."""


class SafeDesk(_Reading):
    """Writes are applied once, retried, and kept in the spool while the database is away.

    Args:
        warn: tells administrators: what happened (``started``, ``ended``, ``failed``), why.
    """

    def __init__(self, engine: AsyncEngine, settings: Settings, warn: Warn | None = None) -> None:
        super().__init__(engine)
        self.settings = settings
        self.warn = warn or _log_only
        self.spool = Spool(
            settings.spool,
            writes.HANDLERS,
            notify=self._heard,
            retry=settings.retry,
            keep_results=True,
        )
        self._known = snapshot.load(settings.spool)
        # SQLite lets writers in one by one, and has them poll for their turn; here they queue.
        lite = engine.dialect.name == "sqlite"
        self._turn: Any = asyncio.Lock() if lite else nullcontext()
        self._saved: Team | None = None
        self._seen: dict[str, None] = {}

    @property
    def depth(self) -> int:
        """How many writes wait."""
        return self.spool.depth

    async def submit(self, name: str, record: Record, by: str, op_id: str | None = None) -> Done:
        """Do a write, or keep it.

        Args:
            by: who asks.
            op_id: of the delivery that asks: the same one is done once.

        Raises:
            Refused: it must not be done.
            Exception: what the database said; administrators were told if it passes by itself.
        """
        payload, number = record.payload(by), op_id or uuid.uuid4().hex
        try:
            async with self._turn:
                done = await self.spool.submit(
                    self.engine, name, payload, key=record.key, op_id=number
                )
        except Exception as error:
            if transient_of(error) is not None:
                self.warn("given up", f"{name}: {_first_line(error)}")
            raise
        return Done(done.result, done.repeated) if done == "applied" else Done(None)

    async def is_first(self, op_id: str) -> bool:
        """Whether a delivery is new; by our own memory while the database is away."""
        if op_id in self._seen:
            return False
        self._seen[op_id] = None
        if len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]

        async def see(connection: AsyncConnection) -> bool:
            return not (await operation(connection, op_id)).replay

        try:
            async with self._turn:
                return await transactional(self.engine, retry=READ)(see)()
        except Exception as error:
            if not away(error):
                raise
            return True

    async def replay(self) -> Replayed:
        """Apply what waits, in order, each once.

        Raises:
            SpoolBusy: another process does.
        """
        return await self.spool.replay(self.engine)

    async def _keep(self, read: Snapshot) -> None:
        if read.team != self._saved:
            await asyncio.to_thread(snapshot.save, self.settings.spool, read)
            self._saved = read.team

    def _heard(self, event: SpoolEvent) -> None:
        self.warn(event.kind, event.reason)


class NaiveDesk(_Reading):
    """The original: no retry, no spool, and every error goes to whoever asked."""

    is_naive = True
    depth = 0

    async def is_first(self, op_id: str) -> bool:
        return True

    async def submit(self, name: str, record: Record, by: str, op_id: str | None = None) -> Done:
        return Done(await naive.HANDLERS[name](self.engine, record.payload(by)))


def away(error: Exception) -> bool:
    """The database cannot be reached."""
    transient = transient_of(error)
    return transient is not None and transient.unreachable


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0]


def _log_only(kind: str, reason: str) -> None:
    log.warning("fallback %s: %s", kind, reason)
