"""What happens by itself: by the team's clock, and all the time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from sqlalchemy.ext.asyncio import AsyncConnection

from onerow.aio import purge_operations, transactional
from onerow.write import SpoolBusy
from systems.triage_bot import rotation
from systems.triage_bot.desk import Desk, SafeDesk, Unreadable, away
from systems.triage_bot.outbox import Postman
from systems.triage_bot.records import Announce, Transition
from systems.triage_bot.rotation import NONE_YET
from systems.triage_bot.settings import Settings
from systems.triage_bot.writes import Refused

log = logging.getLogger(__name__)

BY = "schedule"
LATE = 3600  #: seconds that a job may be late
FORGOTTEN = timedelta(days=30)  #: older operations are not repeated any more


class Jobs:
    """Announces, enters sprints, sends, replays."""

    def __init__(
        self,
        desk: Desk,
        settings: Settings,
        postman: Postman | None,
        clock: Callable[[], datetime],
    ) -> None:
        self.desk, self.settings, self.postman, self.clock = desk, settings, postman, clock

    def scheduler(self) -> AsyncIOScheduler:
        """The two jobs, in the team's zone; not started."""
        scheduler = AsyncIOScheduler(timezone=self.settings.zone)
        jobs = {rotation.ANNOUNCED: self.announce, rotation.TURN: self.turn}
        for at, job in jobs.items():
            scheduler.add_job(
                _guarded(job),
                self.trigger(at.hour),
                id=job.__name__,
                coalesce=True,
                misfire_grace_time=LATE,
            )
        return scheduler

    def trigger(self, hour: int) -> CronTrigger:
        """Every day at an hour of the team."""
        return CronTrigger(hour=hour, timezone=self.settings.zone)

    async def announce(self) -> None:
        """The evening before a sprint: who will be on call."""
        today = self.clock().astimezone(self.settings.zone).date()
        sprint = rotation.begins_tomorrow((await self.desk.read()).team.sprints, today)
        if sprint is not None:
            record = Announce(sprint_index=sprint.index)
            await self.desk.submit("announce", record, BY, f"announce:{sprint.index}")

    async def turn(self) -> None:
        """Enter the sprint that has begun; of those that were missed, only the last is told."""
        team = (await self.desk.read()).team
        due = rotation.due(team.sprints, self.clock(), self.settings.zone)
        here = NONE_YET if team.current is None else team.current
        for index in range(here, NONE_YET if due is None else due):
            record = Transition(from_index=index, quiet=index + 1 != due)
            try:
                await self.desk.submit("transition", record, BY)
            except Refused as refused:
                log.error("sprint %s: %s", index + 1, refused)
                return

    async def catch_up(self) -> None:
        """What was missed while nobody served; a team that has not begun is left alone."""
        if (await self.desk.read()).team.current is not None:
            await self.turn()

    async def send(self) -> None:
        """What waits in the outbox."""
        if self.postman is not None:
            await self.postman.send_waiting()

    async def replay(self) -> None:
        """What waits in the spool, once the database is back."""
        if isinstance(self.desk, SafeDesk) and self.desk.depth:
            try:
                await self.desk.replay()
            except SpoolBusy:
                log.info("another process replays")

    async def look(self) -> None:
        """What others have written."""
        await self.desk.read()

    async def forget(self) -> None:
        """Operations that nobody repeats any more."""

        async def purge(connection: AsyncConnection) -> int:
            return await purge_operations(connection, FORGOTTEN)

        await transactional(self.desk.engine)(purge)()

    async def run(self, every: float) -> None:
        """Send, replay and look, until cancelled."""
        loops = [_every(every, self.send), _every(10 * every, self.look)]
        if isinstance(self.desk, SafeDesk):
            loops += [_every(every, self.replay), _every(3600.0, self.forget)]
        await asyncio.gather(*loops)


async def _every(seconds: float, job: Callable[[], Awaitable[None]]) -> None:
    guarded = _guarded(job)
    while True:
        await guarded()
        await asyncio.sleep(seconds)


def _guarded(job: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """A job that fails is logged, and comes again."""

    async def run() -> None:
        try:
            await job()
        except Unreadable:
            log.warning("nothing is known yet")
        except Exception as error:
            if away(error):
                log.warning("the database is away")
            else:
                log.exception("job failed")

    return run
