"""The application: Slack's requests at /slack/events, health, metrics, and the jobs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from fastapi import FastAPI
from slack_bolt.adapter.fastapi.async_handler import AsyncSlackRequestHandler
from slack_sdk.web.async_client import AsyncWebClient
from starlette.requests import Request
from starlette.responses import Response

from systems.shared.address import open_async_engine
from systems.shared.web.application import THREADS, Serving, make_app
from systems.triage_bot import health, tables
from systems.triage_bot.bot import Bot
from systems.triage_bot.desk import Desk, NaiveDesk, SafeDesk
from systems.triage_bot.jobs import Jobs
from systems.triage_bot.outbox import Alarm, Postman
from systems.triage_bot.settings import Settings, Slack

TITLE = "Triage rotation bot"
ABOUT = "A team's on-call rotation in Slack. Slack's requests are signed; people use Slack."
EVENTS = "/slack/events"
TIMEOUT = 10  #: seconds for a call of Slack's
EVERY = 1.0  #: seconds between two looks into the outbox and the spool

Clock = Callable[[], datetime]


def now() -> datetime:
    return datetime.now(UTC)


def make(serving: Serving) -> FastAPI:
    """The application over a database, as the environment says.

    Raises:
        SystemFailure: a setting is missing or cannot be read.
        SystemRefusal: the database's schema is not for it.
    """
    return build(serving, Settings.from_environment(), Slack.from_environment())


def build(
    serving: Serving,
    settings: Settings,
    slack: Slack,
    *,
    clock: Clock = now,
    every: float = EVERY,
) -> FastAPI:
    """The application with these settings."""
    tables.check_schema(serving.engine, naive=serving.naive)
    address = serving.engine.url.render_as_string(hide_password=False)
    engine = open_async_engine(address, connections=THREADS)
    desk: Desk = NaiveDesk(engine) if serving.naive else SafeDesk(engine, settings)
    client = AsyncWebClient(slack.token, base_url=slack.api, timeout=TIMEOUT)
    bot = Bot(desk, settings, slack, client, clock)
    running = _Running(desk, settings, client, clock, every)
    app = make_app(
        serving, title=TITLE, description=ABOUT, health_at=(), around=running.until_the_end
    )
    health.install(app, desk)
    slack_requests = AsyncSlackRequestHandler(bot.app)

    @app.post(EVENTS, include_in_schema=False)
    async def events(request: Request) -> Response:
        return await slack_requests.handle(request)

    return app


class _Running:
    """What runs while the application does."""

    def __init__(
        self, desk: Desk, settings: Settings, client: AsyncWebClient, clock: Clock, every: float
    ) -> None:
        self.desk, self.settings, self.client = desk, settings, client
        self.clock, self.every = clock, every

    @asynccontextmanager
    async def until_the_end(self) -> AsyncIterator[None]:
        jobs = Jobs(self.desk, self.settings, await self._postman(), self.clock)
        await self.desk.read()
        scheduler = jobs.scheduler()
        scheduler.start()
        if isinstance(self.desk, SafeDesk):
            await jobs.catch_up()
        task = asyncio.create_task(jobs.run(self.every))
        try:
            yield
        finally:
            scheduler.shutdown(wait=False)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await self.desk.engine.dispose()

    async def _postman(self) -> Postman | None:
        if not isinstance(self.desk, SafeDesk):
            return None
        await tables.prepare(self.desk.engine)
        loop = asyncio.get_running_loop()
        warn = Alarm(self.client, self.settings.admin_channel, loop)
        self.desk.warn = warn
        return Postman(self.desk, self.client, self.settings, warn)
