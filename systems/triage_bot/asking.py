"""After the ack: the write is done, and whoever asked is told what became of it."""

from __future__ import annotations

import logging
from typing import Any

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from systems.triage_bot import messages, reading
from systems.triage_bot.desk import Desk, Done
from systems.triage_bot.messages import Message
from systems.triage_bot.outbox import UNREACHED
from systems.triage_bot.records import AnswerOverride, Record, RequestOverride
from systems.triage_bot.settings import Settings
from systems.triage_bot.writes import Refused

log = logging.getLogger(__name__)

WAITS = "The database is away. This waits and is written when it is back."
FAILED = "This could not be written; nothing has changed. Please try again in a moment."


class Asking:
    """Writes for people in Slack."""

    def __init__(self, desk: Desk, settings: Settings, client: AsyncWebClient) -> None:
        self.desk, self.settings, self.client = desk, settings, client

    async def tell(self, who: str, text: str) -> None:
        """A message to one person; that it does not arrive undoes nothing."""
        try:
            await self.client.chat_postMessage(channel=who, text=text)
        except (SlackApiError, *UNREACHED) as error:
            log.warning("%s could not be told: %s", who, type(error).__name__)

    async def request(self, record: RequestOverride, who: str, op_id: str) -> None:
        """An override is asked for."""
        done = await self._submit("request_override", record, who, op_id)
        if isinstance(done, str):
            await self.tell(who, done)
        elif done.waits:
            await self.tell(who, WAITS)
        elif not done.repeated:
            await self.tell(who, await self._requested(done))

    async def _requested(self, done: Done) -> str:
        assert done.result is not None
        outcome, row = done.result["outcome"], done.result["row"]
        if outcome == "unchanged":
            return f"You have asked for this already; it is {row.get('status', 'pending')}."
        if self.desk.is_naive:
            await self._send_request(row)
        return "Your request was sent to the administrators."

    async def _send_request(self, row: dict[str, Any]) -> None:
        """The original has no outbox: what does not arrive is lost."""
        override = reading.override(row)
        sprint = (await self.desk.read()).team.sprint(override.sprint_index)
        if sprint is not None:
            (notice,) = messages.of_request(override, sprint, 0)
            await self.client.chat_postMessage(
                channel=self.settings.admin_channel, **notice.message
            )

    async def answer(self, record: AnswerOverride, who: str, op_id: str) -> Message:
        """An override is approved or declined; what is shown where the buttons were."""
        done = await self._submit("answer_override", record, who, op_id)
        if isinstance(done, str):
            return {"text": done, "replace_original": False}
        if done.result is None:
            return {"text": WAITS, "replace_original": False}
        override = reading.override(done.result["row"])
        team = (await self.desk.read()).team
        told = messages.answered(override, team.sprint(override.sprint_index))
        return {**told, "replace_original": True}

    async def administer(self, name: str, record: Record, who: str, op_id: str) -> bool:
        """A write of an administrator; whether it was done."""
        done = await self._submit(name, record, who, op_id)
        if isinstance(done, str):
            await self.tell(who, done)
            return False
        if done.waits:
            await self.tell(who, WAITS)
            return False
        await self.desk.read()
        return True

    async def _submit(self, name: str, record: Record, who: str, op_id: str) -> Done | str:
        """What became of it, or the sentence that says why nothing did."""
        try:
            return await self.desk.submit(name, record, who, op_id)
        except Refused as refused:
            return str(refused)
        except Exception:
            log.exception("%s for %s", name, who)
            return FAILED
