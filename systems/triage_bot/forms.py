"""What was filled in in a modal, checked: errors stand at their field. Pure."""

from __future__ import annotations

from datetime import date
from typing import Any, TypeVar

from pydantic import ValidationError

from systems.triage_bot import views
from systems.triage_bot.messages import day
from systems.triage_bot.records import AddSprint, AddUser, Record, RequestOverride
from systems.triage_bot.rotation import DAY, TITLES, Team

R = TypeVar("R", bound=Record)


class Wrong(Exception):
    """A field at fault, and why."""

    def __init__(self, block: str, message: str) -> None:
        super().__init__(message)
        self.errors = {block: message}


class Form:
    """The values of a submitted view."""

    def __init__(self, view: dict[str, Any]) -> None:
        self.callback = str(view.get("callback_id"))
        self.values: dict[str, dict[str, dict[str, Any]]] = view["state"]["values"]

    def _given(self, block: str) -> Any:
        element = self.values.get(block, {}).get("value", {})
        if "selected_option" in element:
            return (element["selected_option"] or {}).get("value")
        for name in ("value", "selected_date", "selected_user"):
            if name in element:
                return element[name]
        return None

    def text(self, block: str) -> str:
        """A value that must be there."""
        text = str(self._given(block) or "").strip()
        if not text:
            raise Wrong(block, "Please fill this in.")
        return text

    def day(self, block: str, least: date | None = None) -> date:
        try:
            when = date.fromisoformat(self.text(block))
        except ValueError:
            raise Wrong(block, "That is no date.") from None
        if least is not None and when < least:
            raise Wrong(block, f"Choose {day(least)} or a later day.")
        return when

    def number(self, block: str) -> int:
        text = self.text(block)
        if not (text.isascii() and text.isdecimal() and len(text) < 6):
            raise Wrong(block, "That is no whole number from 0 on.")
        return int(text)

    # -- what is asked for -------------------------------------------------------------------------

    def override(self, team: Team, who: str, today: date) -> RequestOverride:
        """A request for one of one's own shifts."""
        index, _, role = self.text("shift").partition(":")
        mine = {(s.index, r) for s, r in team.shifts(who, today)}
        if not index.isdecimal() or (int(index), role) not in mine:
            raise Wrong("shift", "You are not on call there any more.")
        replacement = self.text("replacement")
        if replacement == who:
            raise Wrong("replacement", "Somebody else must take it.")
        person = next((p for p in team.roster(role) if p.slack_id == replacement), None)
        if person is None:
            raise Wrong("replacement", f"They are not in the roster of {TITLES[role]}.")
        values = {
            "sprint_index": int(index),
            "role": role,
            "requested_by": who,
            "original_slack_id": who,
            "replacement_slack_id": replacement,
            "replacement_name": person.name,
            "reason": self._given("reason") or None,
        }
        return self._checked(RequestOverride, values, {"reason": "reason"}, "shift")

    def administration(self, team: Team) -> tuple[str, Record]:
        """The write of an administrator's form, and its record."""
        if self.callback == views.USERS:
            return "add_user", self._user()
        if self.callback == views.PLACES:
            return "add_user", self._place(team)
        return "add_sprint", self._sprint(team)

    def _user(self) -> AddUser:
        values = {
            "slack_id": self.text("person"),
            "name": self.text("name"),
            "discipline": self.text("discipline"),
        }
        return self._checked(AddUser, values, {"slack_id": "person", "name": "name"}, "discipline")

    def _place(self, team: Team) -> AddUser:
        slack_id, _, discipline = self.text("person").partition(":")
        person = next((p for p in team.roster(discipline) if p.slack_id == slack_id), None)
        if person is None:
            raise Wrong("person", "They are not in that roster any more.")
        values = {
            "slack_id": slack_id,
            "name": person.name,
            "discipline": discipline,
            "position": self.number("position"),
        }
        return self._checked(AddUser, values, {}, "position")

    def _sprint(self, team: Team) -> AddSprint:
        last = max(team.sprints, key=lambda s: s.index, default=None)
        start = self.day("start", least=last.end + DAY if last else None)
        values = {
            "sprint_index": last.index + 1 if last else 0,
            "sprint_name": self.text("name"),
            "start_date": start,
            "end_date": self.day("end", least=start),
        }
        return self._checked(AddSprint, values, {"sprint_name": "name"}, "end")

    @staticmethod
    def _checked(
        model: type[R], values: dict[str, Any], places: dict[str, str], otherwise: str
    ) -> R:
        try:
            return model(**values)
        except ValidationError as error:
            first = error.errors()[0]
            field = str(first["loc"][0]) if first["loc"] else ""
            said = str(first["msg"]).removeprefix("Value error, ")
            raise Wrong(places.get(field, otherwise), said) from None
