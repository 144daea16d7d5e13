"""A workspace as the stand-in keeps it: channels, modals, homes, and every call that was made."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Answer = dict[str, Any]
Given = dict[str, Any]

TRIGGER_SECONDS = 3.0
METHOD = Callable[["Workspace", Given], Answer]


class Fault(Exception):
    """What Slack answers with `ok: false`."""


@dataclass(slots=True)
class Call:
    """A call of the Web API.

    Attributes:
        answer: `ok`, or the error.
    """

    method: str
    given: Given
    answer: str


@dataclass(slots=True)
class Modal:
    """A modal that somebody has open."""

    id: str
    user: str
    view: Answer


@dataclass
class Workspace:
    """Of one team; several threads look at it.

    Attributes:
        people: name by id.
        channels: name by id; those of two begin with D.
        limits: answers 429 that are still to be given, by method: how many, and Retry-After.
        down: nothing is answered but 503.
    """

    token: str
    people: dict[str, str]
    channels: dict[str, str]
    messages: dict[str, list[Answer]] = field(default_factory=dict)
    asides: dict[str, list[Answer]] = field(default_factory=dict)
    modals: dict[str, Modal] = field(default_factory=dict)
    homes: dict[str, Answer] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    limits: dict[str, tuple[int, int]] = field(default_factory=dict)
    down: bool = False
    triggers: dict[str, tuple[str, float]] = field(default_factory=dict)
    responses: dict[str, tuple[str, str, str | None]] = field(default_factory=dict)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))
    _lock: Any = field(default_factory=threading.RLock)

    # -- what the bot calls ------------------------------------------------------------------------

    def limited(self, method: str) -> int | None:
        """Seconds to wait, where a limit was laid on the method."""
        with self._lock:
            left, seconds = self.limits.get(method, (0, 0))
            if not left:
                return None
            self.limits[method] = (left - 1, seconds)
            self.calls.append(Call(method, {}, "ratelimited"))
            return seconds

    def call(self, method: str, token: str, given: Given) -> Answer:
        """Do what a method does, and remember it."""
        with self._lock:
            try:
                if token != self.token:
                    raise Fault("invalid_auth" if token else "not_authed")
                if method not in METHODS:
                    raise Fault("unknown_method")
                answer = {"ok": True, **METHODS[method](self, given)}
            except Fault as fault:
                answer = {"ok": False, "error": str(fault)}
            self.calls.append(Call(method, given, str(answer.get("error", "ok"))))
            return answer

    def respond(self, token: str, given: Given) -> bool:
        """A message to a response_url; False where there is none like it."""
        with self._lock:
            if token not in self.responses:
                return False
            channel, user, ts = self.responses[token]
            if given.get("replace_original") and ts is not None:
                said = self._message(channel, ts)
                said.update({n: given[n] for n in ("text", "blocks") if n in given})
            else:
                self.asides.setdefault(user, []).append({"channel": channel, **given})
            self.calls.append(Call("response_url", given, "ok"))
            return True

    def of(self, method: str) -> list[Given]:
        """What was given to the calls of a method that were answered well."""
        with self._lock:
            return [c.given for c in self.calls if c.method == method and c.answer == "ok"]

    # -- what people do ----------------------------------------------------------------------------

    def trigger(self, user: str) -> str:
        """Lets the bot open one modal within three seconds."""
        with self._lock:
            number = f"T{next(self._numbers)}"
            self.triggers[number] = (user, time.monotonic() + TRIGGER_SECONDS)
            return number

    def response(self, channel: str, user: str, ts: str | None = None) -> str:
        """The end of a response_url."""
        with self._lock:
            token = f"R{next(self._numbers)}"
            self.responses[token] = (channel, user, ts)
            return token

    def say(self, channel: str, user: str, text: str) -> Answer:
        """A message of a person."""
        with self._lock:
            return self._add(channel, {"user": user, "text": text})

    def modal_of(self, user: str) -> Modal | None:
        """The one on top."""
        with self._lock:
            mine = [m for m in self.modals.values() if m.user == user]
            return mine[-1] if mine else None

    def close(self, modal: str) -> None:
        with self._lock:
            self.modals.pop(modal, None)

    def show(self, modal: str, view: Answer) -> None:
        """What an ack puts in the place of a modal."""
        with self._lock:
            if modal in self.modals:
                self.modals[modal].view = view

    def text(self, channel: str) -> str:
        """Everything in a channel, as JSON."""
        with self._lock:
            return json.dumps(self.messages.get(channel, []), ensure_ascii=False)

    def state(self, user: str) -> Answer:
        """What a person sees."""
        with self._lock:
            open_now = self.modal_of(user)
            mine = {c: n for c, n in self.channels.items() if c[0] != "D" or c == direct(user)}
            return json.loads(  # type: ignore[no-any-return]
                json.dumps(
                    {
                        "people": self.people,
                        "channels": mine,
                        "messages": {c: self.messages.get(c, []) for c in mine},
                        "asides": self.asides.get(user, []),
                        "home": self.homes.get(user),
                        "groups": self.groups,
                        "modal": open_now and {"id": open_now.id, "view": open_now.view},
                    }
                )
            )

    # -- inside ------------------------------------------------------------------------------------

    def _add(self, channel: str, said: Answer) -> Answer:
        if channel in self.people:
            channel = direct(channel)
            self.channels.setdefault(channel, "Triage")
        if channel not in self.channels:
            raise Fault("channel_not_found")
        message = {"ts": f"{int(time.time())}.{next(self._numbers):06d}", **said}
        self.messages.setdefault(channel, []).append(message)
        return message

    def _message(self, channel: str, ts: str) -> Answer:
        found = (m for m in self.messages.get(channel, []) if m["ts"] == ts)
        message = next(found, None)
        if message is None:
            raise Fault("message_not_found")
        return message

    def _open(self, user: str, view: Answer) -> Answer:
        number = f"V{next(self._numbers)}"
        self.modals[number] = Modal(number, user, view)
        return {"view": {"id": number, **view}}


def direct(user: str) -> str:
    """The channel of a person and the bot."""
    return f"D{user}"


# -- methods -------------------------------------------------------------------------------------


def _said(given: Mapping[str, Any]) -> Answer:
    names = ("text", "blocks", "metadata", "thread_ts")
    return {"user": "BOT", **{n: given[n] for n in names if given.get(n)}}


def _post(here: Workspace, given: Given) -> Answer:
    if not given.get("text") and not given.get("blocks"):
        raise Fault("no_text")
    if len(given.get("blocks") or ()) > 50:
        raise Fault("invalid_blocks")
    message = here._add(str(given.get("channel")), _said(given))
    return {"channel": given["channel"], "ts": message["ts"], "message": message}


def _views_open(here: Workspace, given: Given) -> Answer:
    user, until = here.triggers.pop(str(given.get("trigger_id")), ("", 0.0))
    if not user:
        raise Fault("invalid_trigger_id")
    if time.monotonic() > until:
        raise Fault("expired_trigger_id")
    return here._open(user, _view(given))


def _views_update(here: Workspace, given: Given) -> Answer:
    modal = here.modals.get(str(given.get("view_id")))
    if modal is None:
        raise Fault("not_found")
    modal.view = _view(given)
    return {"view": {"id": modal.id, **modal.view}}


def _views_publish(here: Workspace, given: Given) -> Answer:
    if given.get("user_id") not in here.people:
        raise Fault("user_not_found")
    here.homes[given["user_id"]] = _view(given)
    return {}


def _view(given: Given) -> Answer:
    view: Answer = given["view"]
    if len(view["blocks"]) > 100 or len(view.get("title", {}).get("text", "")) > 24:
        raise Fault("invalid_arguments")
    return view


def _conversations_open(here: Workspace, given: Given) -> Answer:
    user = str(given.get("users"))
    if user not in here.people:
        raise Fault("user_not_found")
    here.channels.setdefault(direct(user), "Triage")
    return {"channel": {"id": direct(user)}}


def _history(here: Workspace, given: Given) -> Answer:
    if given.get("channel") not in here.channels:
        raise Fault("channel_not_found")
    found = here.messages.get(given["channel"], [])[::-1][: int(given.get("limit") or 100)]
    if str(given.get("include_all_metadata")).lower() not in ("1", "true"):
        found = [{n: v for n, v in m.items() if n != "metadata"} for m in found]
    return {"messages": found}


def _group(here: Workspace, given: Given) -> Answer:
    users = given["users"]
    here.groups[given["usergroup"]] = users.split(",") if isinstance(users, str) else list(users)
    return {}


METHODS: dict[str, METHOD] = {
    "auth.test": lambda _here, _given: {"user_id": "BOT", "bot_id": "B1", "team_id": "TEAM"},
    "chat.postMessage": _post,
    "conversations.history": _history,
    "conversations.open": _conversations_open,
    "usergroups.users.update": _group,
    "views.open": _views_open,
    "views.publish": _views_publish,
    "views.update": _views_update,
}
