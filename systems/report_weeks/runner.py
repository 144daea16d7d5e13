"""The runner: so many collections at once, so many weeks at once within each.

The long waits, for the service, are on the event loop; the short transactions are in threads, where
a cancelled task does not leave one half done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

import sqlalchemy as sa

from systems.report_weeks.client import Service, ServiceFailure
from systems.report_weeks.ledger import LOST, Claim, Left
from systems.report_weeks.models import Answer

log = logging.getLogger(__name__)

COLLECTIONS_AT_ONCE = 5
WEEKS_AT_ONCE = 10
IDLE = 1.0  #: most seconds between two looks for weeks


class Book(Protocol):
    """Where a runner writes: the ledger, or what it was before."""

    @property
    def lease(self) -> timedelta: ...
    def claim(self, collection: str, limit: int) -> list[Claim]: ...
    def renew(self, claim: Claim) -> None: ...
    def complete(self, claim: Claim, answer: Answer) -> None: ...
    def fail(self, claim: Claim, reason: str, service_id: str | None = None) -> None: ...
    def left(self, collection: str) -> Left: ...


@dataclass(slots=True)
class Tally:
    """What a runner has done so far.

    Attributes:
        no_id: weeks that were completed although the service told no id.
        lost: weeks that became another runner's while they were done here.
    """

    completed: int = 0
    failed: int = 0
    no_id: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much at once."""

    collections: int = COLLECTIONS_AT_ONCE
    weeks: int = WEEKS_AT_ONCE


Tell = Callable[[str, Left], None]


def _nobody(_collection: str, _left: Left) -> None:
    pass


@dataclass(slots=True)
class Runner:
    """Runs collections until none of their weeks is open.

    Attributes:
        tell: is told how a collection stands, whenever that may have changed.
        stop: once set, no more weeks are taken, and those at work come to their end.
    """

    book: Book
    service: Service
    limits: Limits = field(default_factory=Limits)
    tell: Tell = _nobody
    tally: Tally = field(default_factory=Tally)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, collections: Iterable[str]) -> Tally:
        """Run these."""
        places = asyncio.Semaphore(self.limits.collections)

        async def one(collection: str) -> None:
            async with places:
                await self._collection(collection)

        async with asyncio.TaskGroup() as group:
            for collection in collections:
                group.create_task(one(collection))
        return self.tally

    # -- a collection ---------------------------------------------------------------------------

    async def _collection(self, collection: str) -> None:
        """Until all of its weeks have ended: also those of other runners, which may die."""
        at_work: set[asyncio.Task[None]] = set()
        try:
            while True:
                at_work |= await self._taken(collection, self.limits.weeks - len(at_work))
                at_work = await self._until_one_ends(at_work)
                left = await asyncio.to_thread(self.book.left, collection)
                self.tell(collection, left)
                if not at_work and self._over(left):
                    return
        finally:
            for task in at_work:
                task.cancel()

    async def _taken(self, collection: str, limit: int) -> set[asyncio.Task[None]]:
        if self.stop.is_set() or limit <= 0:
            return set()
        claims = await asyncio.to_thread(self.book.claim, collection, limit)
        return {asyncio.create_task(self._week(c)) for c in claims}

    async def _until_one_ends(self, at_work: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
        pause = min(IDLE, self.book.lease.total_seconds() / 4)
        if not at_work:
            if not self.stop.is_set():
                await asyncio.sleep(pause)
            return set()
        done, still = await asyncio.wait(
            at_work, timeout=pause, return_when=asyncio.FIRST_COMPLETED
        )
        for task in done:
            task.result()
        return still

    def _over(self, left: Left) -> bool:
        return self.stop.is_set() or not left.open or left.status == "paused"

    # -- a week ---------------------------------------------------------------------------------

    async def _week(self, claim: Claim) -> None:
        """One failed week does not stop the rest."""
        call = asyncio.create_task(self.service.execute(claim))
        keep = asyncio.create_task(self._kept(claim))
        try:
            await asyncio.wait({call, keep}, return_when=asyncio.FIRST_COMPLETED)
            if call.done():
                await self._end(claim, call)
            else:
                self._lost(claim)
        except LOST:
            self._lost(claim)
        except sa.exc.DBAPIError:
            # Nobody has it for longer than the lease; whoever comes then does it again.
            log.exception("week %s of %s: not written", claim.start, claim.collection)
            self.tally.lost += 1
        finally:
            call.cancel()
            keep.cancel()

    async def _end(self, claim: Claim, call: asyncio.Task[Answer]) -> None:
        try:
            answer = call.result()
        except ServiceFailure as failure:
            said = str(failure)
            await asyncio.to_thread(self.book.fail, claim, said, failure.service_id)
            log.warning("week %s of %s failed: %s", claim.start, claim.collection, said)
            self.tally.failed += 1
            return
        await asyncio.to_thread(self.book.complete, claim, answer)
        self.tally.completed += 1
        if answer.execution_id is None:
            log.warning("week %s of %s: the service told no id", claim.start, claim.collection)
            self.tally.no_id += 1

    async def _kept(self, claim: Claim) -> None:
        """Renew the claim until it is lost."""
        while True:
            await asyncio.sleep(self.book.lease.total_seconds() / 3)
            try:
                await asyncio.to_thread(self.book.renew, claim)
            except LOST:
                return
            except sa.exc.DBAPIError:
                log.warning(
                    "week %s of %s: the claim could not be renewed", claim.start, claim.week
                )

    def _lost(self, claim: Claim) -> None:
        log.warning("week %s of %s is another runner's now", claim.start, claim.collection)
        self.tally.lost += 1
