"""People in the workspace: what they do is sent to the bot as Slack would send it, signed."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx
from slack_sdk.signature import SignatureVerifier

from systems.triage_bot.testing.workspace import Workspace, direct

SECONDS = 3.0  #: in which the bot must ack
FORM = "application/x-www-form-urlencoded"


class NotAcked(Exception):
    """The bot did not ack in time, or refused the request."""


@dataclass
class Play:
    """Acts for people.

    Attributes:
        bot: the address of the bot's requests.
        here: the stand-in's own address, for response_url.
        slowest: seconds that the slowest ack took.
    """

    workspace: Workspace
    bot: str
    here: str
    secret: str
    slowest: float = 0.0
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    def signed(self, body: str, at: int | None = None) -> dict[str, str]:
        """Headers of a request."""
        stamp = str(at or int(time.time()))
        sign = SignatureVerifier(self.secret).generate_signature(timestamp=stamp, body=body)
        return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": str(sign)}

    async def send(self, body: str, kind: str = FORM, **headers: str) -> httpx.Response:
        """A signed request; what the bot answers."""
        began = time.monotonic()
        sent = {"Content-Type": kind, **self.signed(body), **headers}
        try:
            async with httpx.AsyncClient(timeout=SECONDS) as http:
                answer = await http.post(self.bot, content=body.encode(), headers=sent)
        except httpx.HTTPError as error:
            raise NotAcked(f"the bot does not ack: {type(error).__name__}") from error
        self.slowest = max(self.slowest, time.monotonic() - began)
        return answer

    async def _acked(self, body: str, kind: str = FORM) -> Any:
        answer = await self.send(body, kind)
        if answer.status_code != 200:
            raise NotAcked(f"the bot answers {answer.status_code}")
        if not answer.content:
            return None
        is_json = answer.headers.get("content-type", "").startswith("application/json")
        return answer.json() if is_json else answer.text

    # -- what people do ----------------------------------------------------------------------------

    async def command(self, user: str, channel: str, text: str) -> None:
        """A slash command; a text that the ack carries is shown to the person alone."""
        name, _, rest = text.strip().partition(" ")
        token = self.workspace.response(channel, user)
        form = {
            "command": name,
            "text": rest.strip(),
            "user_id": user,
            "channel_id": channel,
            "team_id": "TEAM",
            "trigger_id": self.workspace.trigger(user),
            "response_url": f"{self.here}/respond/{token}",
        }
        said = await self._acked(urlencode(form))
        if said:
            told = said if isinstance(said, dict) else {"text": said}
            self.workspace.asides.setdefault(user, []).append({"channel": channel, **told})

    async def press(self, user: str, action: dict[str, Any], **where: Any) -> None:
        """A button, in a message (`channel`, `ts`), a modal (`view`) or on Home."""
        await self._acked(self.pressing(user, action, **where))

    def pressing(
        self,
        user: str,
        action: dict[str, Any],
        channel: str = "",
        ts: str | None = None,
        view: dict[str, Any] | None = None,
    ) -> str:
        """The body of a press; sent twice, it is one press."""
        token = self.workspace.response(channel, user, ts)
        return self._interactive(
            user,
            {
                "type": "block_actions",
                "actions": [{"type": "button", "action_ts": f"{time.time():.6f}", **action}],
                "response_url": f"{self.here}/respond/{token}",
                **({"view": view} if view else {"channel": {"id": channel}}),
            },
        )

    async def submit(self, user: str, modal: str, values: dict[str, Any]) -> dict[str, str]:
        """A modal's form; the errors at its fields, if there are any."""
        said = await self._acked(self.submitting(user, modal, values))
        action = said.get("response_action") if isinstance(said, dict) else None
        if action == "errors":
            errors: dict[str, str] = said["errors"]
            return errors
        if action == "update":
            self.workspace.show(modal, said["view"])
        else:
            self.workspace.close(modal)
        return {}

    def submitting(self, user: str, modal: str, values: dict[str, Any]) -> str:
        """The body of a submission; sent twice, it is one submission."""
        view = self.workspace.modals[modal].view
        given = {block: {"value": element} for block, element in values.items()}
        return self._interactive(
            user,
            {"type": "view_submission", "view": {"id": modal, **view, "state": {"values": given}}},
        )

    def _interactive(self, user: str, payload: dict[str, Any]) -> str:
        team = {"id": "TEAM", "domain": "team"}
        more = {"trigger_id": self.workspace.trigger(user), "user": {"id": user}, "team": team}
        return urlencode({"payload": json.dumps({**more, **payload})})

    async def mention(self, user: str, channel: str, text: str) -> None:
        """A message to the bot in a channel."""
        said = self.workspace.say(channel, user, f"<@BOT> {text}")
        event = {"type": "app_mention", "user": user, "channel": channel, **said}
        await self._acked(self.event(event), "application/json")

    async def open_home(self, user: str) -> None:
        event = {"type": "app_home_opened", "user": user, "channel": direct(user), "tab": "home"}
        await self._acked(self.event(event), "application/json")

    def event(self, event: dict[str, Any]) -> str:
        """The body of an event; sent twice, it is one event."""
        number = f"Ev{next(self._numbers)}"
        return json.dumps(
            {
                "type": "event_callback",
                "team_id": "TEAM",
                "api_app_id": "A1",
                "event_id": number,
                "event_time": int(time.time()),
                "event": event,
            }
        )
