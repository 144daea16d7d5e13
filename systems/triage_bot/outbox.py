"""Sends what waits in the outbox: at least once to Slack, and once to a person's eyes.

A notice that somebody claimed before us may have been sent: then the channel is asked for it first,
by the metadata that every message of ours carries.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import aiohttp
import sqlalchemy as sa
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from sqlalchemy.ext.asyncio import AsyncConnection

from onerow.aio import claim, release, transactional
from onerow.write import LostClaim
from systems.triage_bot import messages
from systems.triage_bot.desk import Desk, Warn
from systems.triage_bot.settings import Settings
from systems.triage_bot.tables import OUTBOX

log = logging.getLogger(__name__)

EVENT = "triage_notice"
LEASE = timedelta(seconds=60)
AT_ONCE = 10
LOOK_BACK = 200  #: messages of a channel among which a notice is looked for
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
#: Answers that another try would not change.
PERMANENT = frozenset(
    (
        "channel_not_found",
        "not_in_channel",
        "is_archived",
        "user_not_found",
        "users_not_found",
        "user_disabled",
        "cannot_dm_bot",
        "msg_too_long",
        "invalid_blocks",
        "invalid_blocks_format",
        "no_such_subteam",
        "restricted_action",
        "no_text",
        "invalid_arguments",
    )
)
UNREACHED = (aiohttp.ClientError, asyncio.TimeoutError, OSError)


class Undeliverable(Exception):
    """It cannot be sent, however often one tries."""


@dataclass(slots=True)
class Postman:
    """Claims notices and sends them; several may be at work."""

    desk: Desk
    client: AsyncWebClient
    settings: Settings
    warn: Warn
    lease: timedelta = LEASE
    pause: float = 0.0
    _until: float = 0.0
    _channels: dict[str, str] = field(default_factory=dict)
    _owner: str = f"{socket.gethostname()}:{os.getpid()}"

    @property
    def rests(self) -> bool:
        """Slack was away, or has asked for time."""
        return time.monotonic() < self._until

    async def send_waiting(self) -> int:
        """One round; how many were sent."""
        sent = 0
        while not self.rests:
            rows = await self._claim()
            if not rows:
                break
            for row in rows:
                # Once Slack asks for time, the others go back as well.
                sent += await (self._give_back(row) if self.rests else self._send(row))
        return sent

    async def _claim(self) -> list[Mapping[str, Any]]:
        async def claim_notices(connection: AsyncConnection) -> list[Mapping[str, Any]]:
            waiting = OUTBOX.c.status == "waiting"
            rows = await claim(
                connection,
                OUTBOX,
                owner=self._owner,
                lease=self.lease,
                limit=AT_ONCE,
                where=waiting,
            )
            return sorted((dict(row._mapping) for row in rows), key=lambda r: int(r["id"]))

        return await transactional(self.desk.engine)(claim_notices)()

    async def _send(self, row: Mapping[str, Any]) -> int:
        try:
            await self._deliver(row)
        except Undeliverable as error:
            return await self._failed(row, str(error))
        except SlackApiError as error:
            said = str(error.response.get("error"))
            if said in PERMANENT:
                return await self._failed(row, said)
            self._rest(_wanted(error))
            log.warning("Slack: %s", said)
            return await self._give_back(row)
        except UNREACHED as error:
            self._rest()
            log.warning("Slack cannot be reached: %s", type(error).__name__)
            return await self._give_back(row)
        self.pause = 0.0
        return await self._end(row, {"status": "sent"})

    def _rest(self, wanted: float | None = None) -> None:
        self.pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, 2 * self.pause))
        self._until = time.monotonic() + (wanted if wanted is not None else self.pause)

    # -- Slack -------------------------------------------------------------------------------------

    async def _deliver(self, row: Mapping[str, Any]) -> None:
        if row["recipient"] == messages.GROUP:
            await self._update_group()
            return
        channel = await self._channel(row["recipient"])
        key = f"{row['sprint_index']}/{row['recipient']}/{row['kind']}"
        if row["claim_token"] > 1 and await self._is_there(channel, key):
            return
        await self.client.chat_postMessage(
            channel=channel,
            metadata={"event_type": EVENT, "event_payload": {"key": key}},
            **row["message"],
        )

    async def _channel(self, recipient: str) -> str:
        named = {
            messages.CHANNEL: ("TRIAGE_CHANNEL", self.settings.channel),
            messages.ADMINS: ("TRIAGE_ADMIN_CHANNEL", self.settings.admin_channel),
        }
        if recipient in named:
            name, channel = named[recipient]
            if not channel:
                raise Undeliverable(f"{name} is not set")
            return channel
        if recipient not in self._channels:
            answer = await self.client.conversations_open(users=recipient)
            channel_of: dict[str, str] = answer["channel"]
            self._channels[recipient] = channel_of["id"]
        return self._channels[recipient]

    async def _is_there(self, channel: str, key: str) -> bool:
        answer = await self.client.conversations_history(
            channel=channel, limit=LOOK_BACK, include_all_metadata=True
        )
        told: list[dict[str, Any]] = answer["messages"]
        keys = (m.get("metadata", {}).get("event_payload", {}).get("key") for m in told)
        return key in keys

    async def _update_group(self) -> None:
        """By the state as it is now: notices may come out of order."""
        if not self.settings.group:
            return
        holders = (await self.desk.read()).team.holders.values()
        people = sorted({who for who in holders if who})
        if people:
            await self.client.usergroups_users_update(usergroup=self.settings.group, users=people)

    # -- the outbox --------------------------------------------------------------------------------

    async def _failed(self, row: Mapping[str, Any], reason: str) -> int:
        self.warn("undeliverable", f"{row['kind']} for {row['recipient']}: {reason}")
        await self._end(row, {"status": "failed", "failure": reason})
        return 0

    async def _give_back(self, row: Mapping[str, Any]) -> int:
        await self._end(row, {})
        return 0

    async def _end(self, row: Mapping[str, Any], values: Mapping[str, Any]) -> int:
        async def end_claim(connection: AsyncConnection) -> None:
            await release(connection, OUTBOX, row, token=row["claim_token"], set=values)

        try:
            await transactional(self.desk.engine)(end_claim)()
        except LostClaim:
            log.warning("notice %s was taken over", row["id"])
            return 0
        return 1


def _wanted(error: SlackApiError) -> float | None:
    """Seconds that Slack asks for."""
    headers = getattr(error.response, "headers", None) or {}
    text = str(headers.get("Retry-After") or headers.get("retry-after") or "")
    return float(text) if text.isdigit() else None


@dataclass(slots=True)
class Alarm:
    """Tells administrators what the outbox cannot: that its database is away.

    Called from any thread; the same thing is told once a minute at most, and tried until Slack
    takes it.
    """

    client: AsyncWebClient
    channel: str
    loop: asyncio.AbstractEventLoop
    _told: dict[tuple[str, str], float] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __call__(self, kind: str, reason: str) -> None:
        log.warning("%s: %s", kind, reason)
        self.loop.call_soon_threadsafe(self._begin, kind, reason)

    def _begin(self, kind: str, reason: str) -> None:
        now = time.monotonic()
        # Fallback begins and ends in turn; only what is said twice in a row is said in vain.
        key = (kind, reason if kind not in ("started", "ended") else "")
        if now - self._told.get(key, -LONGEST_PAUSE) < LONGEST_PAUSE and kind not in SPOOL_SAYS:
            return
        self._told[key] = now
        if self.channel:
            task = self.loop.create_task(self._tell(SENTENCES[kind].format(reason=reason)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _tell(self, text: str) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                await self.client.chat_postMessage(channel=self.channel, text=text)
                return
            except SlackApiError as error:
                if error.response.get("error") in PERMANENT:
                    log.error("administrators cannot be told: %s", error.response.get("error"))
                    return
            except UNREACHED:
                pass
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)


SPOOL_SAYS = ("started", "ended", "failed")
SENTENCES = {
    "started": ":warning: The database is away. Reads come from the last snapshot, writes wait in"
    " the spool. ({reason})",
    "ended": ":white_check_mark: The database is back, and everything that waited is written.",
    "failed": ":x: A write that waited could not be applied and was put aside: {reason}",
    "given up": ":x: A write failed after all retries: {reason}",
    "undeliverable": ":x: A notice cannot be delivered: {reason}",
}


async def waiting(connection: AsyncConnection) -> int:
    """How many notices wait."""
    query = sa.select(sa.func.count()).select_from(OUTBOX).where(OUTBOX.c.status == "waiting")
    return int((await connection.execute(query)).scalar_one())
