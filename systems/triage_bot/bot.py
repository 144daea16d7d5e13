"""The bot in Slack: what it is asked, and what it answers.

Every listener acks first, from memory; what takes longer comes after the ack.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import date, datetime
from typing import Any

from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from systems.triage_bot import messages, severity, views
from systems.triage_bot.asking import Asking
from systems.triage_bot.desk import Desk
from systems.triage_bot.forms import Form, Wrong
from systems.triage_bot.records import (
    AddUser,
    AnswerOverride,
    Record,
    Transition,
)
from systems.triage_bot.rotation import Team
from systems.triage_bot.settings import Settings, Slack

log = logging.getLogger(__name__)

Clock = Callable[[], datetime]
Ack = Callable[..., Awaitable[Any]]
Body = dict[str, Any]


class Bot:
    """Its listeners, over a desk.

    Attributes:
        app: Bolt's; it verifies signatures and times before anything is asked here.
    """

    def __init__(
        self, desk: Desk, settings: Settings, slack: Slack, client: AsyncWebClient, clock: Clock
    ) -> None:
        self.desk, self.settings, self.client, self.clock = desk, settings, client, clock
        self.levels = severity.read_levels(settings.severities)
        self.asking = Asking(desk, settings, client)

        async def authorize() -> AuthorizeResult:
            # One workspace: no question to Slack, which may be away.
            return AuthorizeResult(enterprise_id=None, team_id=None, bot_token=slack.token)

        # It warns that a token is ignored, which is the very one that `authorize` gives it.
        logging.getLogger("slack_bolt.AsyncApp").addFilter(_is_no_token_warning)
        self.app = AsyncApp(signing_secret=slack.signing_secret, client=client, authorize=authorize)
        self._listen()

    def _listen(self) -> None:
        app, suffix = self.app, self.settings.suffix
        for name, listener in {
            "/triage-schedule": self.schedule,
            "/triage-override": self.override,
            "/admin-users": self.admin,
            "/admin-disciplines": self.admin,
            "/admin-sprints": self.admin,
        }.items():
            app.command(name + suffix)(listener)
        app.view(views.SCHEDULE)(self.schedule_asked)
        app.view(views.OVERRIDE)(self.override_asked)
        for callback in (views.USERS, views.PLACES, views.SPRINTS):
            app.view(callback)(self.admin_asked)
        app.action(views.ASK)(self.override)
        app.action(messages.APPROVE)(self.answer)
        app.action(messages.DECLINE)(self.answer)
        app.action(views.TOGGLE)(self.toggle)
        app.action(views.ENTER)(self.enter)
        app.event("app_home_opened")(self.home)
        app.event("app_mention")(self.mentioned)

    @property
    def today(self) -> date:
        """The team's."""
        return self.clock().astimezone(self.settings.zone).date()

    @property
    def team(self) -> Team:
        return self.desk.known.team

    # -- everybody ---------------------------------------------------------------------------------

    async def schedule(self, ack: Ack, body: Body) -> None:
        """`/triage-schedule`: asks for a day."""
        await ack()
        await self._open(body, views.schedule(self.today))

    async def schedule_asked(self, ack: Ack, view: Body) -> None:
        form = Form(view)
        try:
            when = form.day("day", least=self.today)
        except Wrong as wrong:
            await ack(response_action="errors", errors=wrong.errors)
            return
        await ack(response_action="update", view=views.schedule_of(self.desk.known, when))

    async def override(self, ack: Ack, body: Body) -> None:
        """`/triage-override`, and the button on App Home."""
        await ack()
        await self._open(body, views.override(self.team.shifts(_who(body), self.today)))

    async def override_asked(self, ack: Ack, body: Body, view: Body) -> None:
        who = _who(body)
        try:
            record = Form(view).override(self.team, who, self.today)
        except Wrong as wrong:
            await ack(response_action="errors", errors=wrong.errors)
            return
        await ack()
        await self.asking.request(record, who, f"view:{view['id']}")

    async def home(self, event: Body) -> None:
        """App Home was opened."""
        if event.get("tab") == "home":
            await self._publish(event["user"])

    async def _publish(self, who: str) -> None:
        found = await self.desk.read()
        await self.client.views_publish(user_id=who, view=views.home(found, who, self.today))

    async def mentioned(self, body: Body, event: Body) -> None:
        """Who is on call; and how severe something is, if the message says what is wrong."""
        if not await self.desk.is_first(f"event:{body['event_id']}"):
            return
        _, _, said = str(event.get("text", "")).partition(">")
        found = await self.desk.read()
        told = messages.assessment(found.team, self.today, said, self.levels)
        thread = event.get("thread_ts") or event["ts"]
        await self.client.chat_postMessage(channel=event["channel"], thread_ts=thread, **told)

    # -- administrators ----------------------------------------------------------------------------

    async def admin(self, ack: Ack, body: Body) -> None:
        """`/admin-…`: a modal with what there is and a form."""
        if _who(body) not in self.settings.admins:
            await ack("Only administrators may do that.")
            return
        await ack()
        name = str(body["command"]).removeprefix("/").removesuffix(self.settings.suffix)
        await self._open(body, self._admin_view(name.replace("-", "_")))

    def _admin_view(self, callback: str) -> views.View:
        if callback == views.SPRINTS:
            return views.sprints(self.team, self.today)
        return views.users(self.team) if callback == views.USERS else views.places(self.team)

    async def admin_asked(self, ack: Ack, body: Body, view: Body) -> None:
        who = _who(body)
        try:
            if who not in self.settings.admins:
                raise Wrong(next(iter(view["state"]["values"])), "Only administrators may do that.")
            name, record = Form(view).administration(self.team)
        except Wrong as wrong:
            await ack(response_action="errors", errors=wrong.errors)
            return
        await ack()
        await self.asking.administer(name, record, who, f"view:{view['id']}")

    async def answer(self, ack: Ack, body: Body, respond: Callable[..., Awaitable[Any]]) -> None:
        """Approve or Decline was pressed."""
        await ack()
        who, action = _who(body), body["actions"][0]
        if who not in self.settings.admins:
            await respond("Only administrators may answer.", replace_original=False)
            return
        number, index, role = str(action["value"]).split(":")
        approved = action["action_id"] == messages.APPROVE
        record = AnswerOverride(
            id=int(number),
            decision="approved" if approved else "declined",
            sprint_index=int(index),
            role=role,  # type: ignore[arg-type]
        )
        told = await self.asking.answer(record, who, _press(body))
        await respond(**told)

    async def toggle(self, ack: Ack, body: Body) -> None:
        """Somebody is activated or deactivated."""
        slack_id, discipline, turn = str(body["actions"][0]["value"]).split(":")
        name = self.team.name_of(slack_id) or slack_id
        record = AddUser(
            slack_id=slack_id,
            name=name,
            discipline=discipline,  # type: ignore[arg-type]
            active=turn == "on",
        )
        await self._pressed(ack, body, "add_user", record)

    async def enter(self, ack: Ack, body: Body) -> None:
        """The next sprint, before its time."""
        record = Transition(from_index=int(body["actions"][0]["value"]))
        await self._pressed(ack, body, "transition", record)

    async def _pressed(self, ack: Ack, body: Body, name: str, record: Record) -> None:
        """A button in a modal: the modal is shown anew."""
        await ack()
        who, view = _who(body), body["view"]
        if who not in self.settings.admins:
            await self.asking.tell(who, "Only administrators may do that.")
            return
        if await self.asking.administer(name, record, who, _press(body)):
            await self.desk.read()
            await self.client.views_update(
                view_id=view["id"], view=self._admin_view(view["callback_id"])
            )

    async def _open(self, body: Body, view: views.View) -> None:
        try:
            await self.client.views_open(trigger_id=body["trigger_id"], view=view)
        except SlackApiError as error:
            if error.response.get("error") != "expired_trigger_id":
                raise
            await self.asking.tell(_who(body), "That took too long; please try again.")


def _is_no_token_warning(record: logging.LogRecord) -> bool:
    return "`token` (or SLACK_BOT_TOKEN env variable)" not in record.getMessage()


def _who(body: Body) -> str:
    """Who has asked, in a command or in anything else."""
    return str(body.get("user_id") or body["user"]["id"])


def _press(body: Body) -> str:
    """The same for every delivery of one press of a button."""
    action = body["actions"][0]
    return f"press:{_who(body)}:{action['action_ts']}:{action['value']}"
