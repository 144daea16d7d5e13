"""The bot as people in Slack meet it, over HTTP, against the stand-in."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from systems.triage_bot import sandbox
from systems.triage_bot.sandbox import ADMIN, ADMIN_CHANNEL, CHANNEL, GROUP, Sandbox
from systems.triage_bot.team import slack_id
from systems.triage_bot.testing.play import FORM, NotAcked
from systems.triage_bot.testing.workspace import direct
from tests.support.sandbox import Sandbox as Box
from tests.systems.serving import served
from tests.systems.support import FOLDER
from tests.systems.triage.support import broken, repaired

ANA, BEN, CY = slack_id(2), slack_id(7), slack_id(12)
PATIENCE = 20.0


@contextmanager
def playing(url: str, folder: Path, **more: Any) -> Iterator[Sandbox]:
    suffix = more.pop("suffix", "")
    with sandbox.playing(url, sandbox.settings(folder / "spool", suffix=suffix), **more) as found:
        yield found


@pytest.fixture
def box(sqlite_url: str) -> Box:
    return repaired(sqlite_url)


@pytest.fixture
def slack(box: Box, tmp_path: Path) -> Iterator[Sandbox]:
    with playing(box.url, tmp_path) as found:
        yield found


async def until(said: Callable[[], Any]) -> Any:
    """What comes after the ack."""
    end = time.monotonic() + PATIENCE
    while not (found := said()):
        assert time.monotonic() < end, "it did not come"
        await asyncio.sleep(0.02)
    return found


async def modal(slack: Sandbox, user: str, command: str) -> Any:
    """The modal that a command opens."""
    await slack.play.command(user, CHANNEL, command)
    return await until(lambda: slack.workspace.modal_of(user))


def option(value: str) -> dict[str, Any]:
    return {"type": "static_select", "selected_option": {"value": value}}


def person(who: str) -> dict[str, Any]:
    return {"type": "users_select", "selected_user": who}


def text(value: str) -> dict[str, Any]:
    return {"type": "plain_text_input", "value": value}


def day(value: date) -> dict[str, Any]:
    return {"type": "datepicker", "selected_date": value.isoformat()}


def form(shift: str = "0:po", replacement: str = BEN, reason: str = "ill") -> dict[str, Any]:
    return {
        "shift": option(shift),
        "replacement": person(replacement),
        "reason": text(reason),
    }


async def ask(slack: Sandbox, who: str = ANA, **more: str) -> dict[str, Any]:
    """Ask for an override; the message that the administrators get."""
    seen = len(slack.workspace.messages.get(ADMIN_CHANNEL, []))
    opened = await modal(slack, who, "/triage-override")
    assert await slack.play.submit(who, opened.id, form(**more)) == {}
    found = await until(lambda: slack.workspace.messages.get(ADMIN_CHANNEL, [])[seen:])
    return dict(found[0])


def buttons(message: dict[str, Any]) -> dict[str, dict[str, Any]]:
    (actions,) = (b for b in message["blocks"] if b["type"] == "actions")
    return {e["text"]["text"]: e for e in actions["elements"]}


async def press(slack: Sandbox, who: str, message: dict[str, Any], name: str) -> None:
    await slack.play.press(who, buttons(message)[name], channel=ADMIN_CHANNEL, ts=message["ts"])


def dms(slack: Sandbox, who: str) -> str:
    return slack.workspace.text(direct(who))


# -- requests ------------------------------------------------------------------------------------


async def test_signatures(slack: Sandbox) -> None:
    """A request without one, with a wrong one, or with an old one is 401 and does nothing."""
    body = slack.play.event({"type": "app_mention", "user": ANA, "channel": CHANNEL, "ts": "1.1"})
    good = slack.play.signed(body)
    old = slack.play.signed(body, int(time.time()) - 400)
    wrong = {**good, "X-Slack-Signature": "v0=" + "0" * 64}
    async with httpx.AsyncClient() as http:
        for headers in ({}, wrong, old):
            sent = {"Content-Type": "application/json", **headers}
            answer = await http.post(slack.play.bot, content=body, headers=sent)
            assert answer.status_code == 401
        sent = {"Content-Type": "application/json", **good}
        assert (await http.post(slack.play.bot, content=body, headers=sent)).status_code == 200
        large = await http.post(slack.play.bot, content=b"x" * 2**20)
        assert large.status_code == 413
    assert [c.given["channel"] for c in await until(lambda: calls(slack, "chat.postMessage"))] == [
        CHANNEL
    ]


def calls(slack: Sandbox, method: str) -> list[Any]:
    return [c for c in list(slack.workspace.calls) if c.method == method]


async def test_staging(box: Box, tmp_path: Path) -> None:
    """Its commands end in -staging, and it knows no others."""
    with playing(box.url, tmp_path, suffix="-staging") as slack:
        assert await modal(slack, ANA, "/triage-schedule-staging")
        with pytest.raises(NotAcked, match="404"):
            await slack.play.command(ANA, CHANNEL, "/triage-schedule")


# -- everybody -----------------------------------------------------------------------------------


async def test_schedule(box: Box, slack: Sandbox) -> None:
    """A day in the past is an error at the field; another one shows who is on call."""
    opened = await modal(slack, BEN, "/triage-schedule")
    past = {"day": day(date(2020, 1, 1))}
    errors = await slack.play.submit(BEN, opened.id, past)
    assert "or a later day" in errors["day"]
    start = date.fromisoformat(box.value("SELECT start_date FROM sprints WHERE sprint_index = 1"))
    assert await slack.play.submit(BEN, opened.id, {"day": day(start)}) == {}
    shown = json.dumps(opened.view)
    assert "Sprint 1" in shown
    assert f"*PO*: <@{BEN}>" in shown
    assert slack.play.slowest < 3


async def test_home(slack: Sandbox) -> None:
    """On call now and next, and one's own shifts."""
    await slack.play.open_home(BEN)
    shown = json.dumps(await until(lambda: slack.workspace.homes.get(BEN)))
    assert f"*PO*: <@{ANA}>" in shown
    assert "*PO* in Sprint 1" in shown
    await slack.play.open_home(ADMIN)
    shown = json.dumps(await until(lambda: slack.workspace.homes.get(ADMIN)))
    assert "You are not on call" in shown


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("", "On call now"),
        ("who is on call?", "On call now"),
        ("the checkout is DOWN for all users", "SEV1 (Critical): answer within 15 minutes"),
        ("a typo on the page", "SEV4"),
        ("hmm, the downloads look odd", "No word of the guidelines was found."),
    ],
)
async def test_mention(slack: Sandbox, said: str, told: str) -> None:
    """Who is on call, or how severe it is and whom to call; in the thread, and once."""
    channel, thread = CHANNEL, slack.workspace.say(CHANNEL, ANA, f"<@BOT> {said}")
    body = slack.play.event({"type": "app_mention", "user": ANA, "channel": channel, **thread})
    for _ in range(2):
        await slack.play.send(body, "application/json")
    answers = await until(lambda: slack.workspace.messages[CHANNEL][1:])
    assert told in json.dumps(answers[0])
    assert answers[0]["thread_ts"] == thread["ts"]
    await asyncio.sleep(0.2)
    assert len(slack.workspace.messages[CHANNEL]) == 2


# -- overrides -----------------------------------------------------------------------------------


async def test_an_override(box: Box, slack: Sandbox) -> None:
    """Asked for, approved; the buttons go, both people are told, once each."""
    message = await ask(slack, reason="a <b> & <!channel>")
    assert "a &lt;b&gt; &amp; &lt;!channel&gt;" in json.dumps(message)
    await until(lambda: "was sent to the administrators" in dms(slack, ANA))
    await press(slack, ADMIN, message, "Approve")
    await until(lambda: "You stand in" in dms(slack, BEN) and "was approved" in dms(slack, ANA))
    shown = await until(lambda: "Approved" in slack.workspace.text(ADMIN_CHANNEL))
    assert shown
    assert "actions" not in slack.workspace.text(ADMIN_CHANNEL)
    assert box.rows("SELECT status, approved_by FROM overrides") == [("approved", ADMIN)]
    assert len(slack.workspace.messages[direct(BEN)]) == 1


async def test_the_fields_of_an_override(slack: Sandbox) -> None:
    """Each error stands at its field, within the ack."""
    opened = await modal(slack, ANA, "/triage-override")
    for given, field in (
        (form(replacement=ANA), "replacement"),
        (form(replacement=slack_id(0)), "replacement"),
        (form(shift="1:po"), "shift"),
        ({**form(), "replacement": person("")}, "replacement"),
    ):
        assert list(await slack.play.submit(ANA, opened.id, given)) == [field]
    nothing = await modal(slack, ADMIN, "/triage-override")
    assert "nothing to override" in json.dumps(nothing.view)


async def test_deliveries_that_are_repeated(box: Box, slack: Sandbox) -> None:
    """A submission and a press that come again, at once: one row, one message to each."""
    opened = await modal(slack, ANA, "/triage-override")
    body = slack.play.submitting(ANA, opened.id, form())
    await asyncio.gather(*(slack.play.send(body, FORM) for _ in range(4)))
    (message,) = await until(lambda: slack.workspace.messages.get(ADMIN_CHANNEL))
    approve = buttons(message)["Approve"]
    press = slack.play.pressing(ADMIN, approve, channel=ADMIN_CHANNEL, ts=message["ts"])
    await asyncio.gather(*(slack.play.send(press, FORM) for _ in range(4)))
    await until(lambda: "You stand in" in dms(slack, BEN))
    await asyncio.sleep(0.4)
    assert box.value("SELECT count(*) FROM audit_logs WHERE table_name = 'overrides'") == 2
    assert len(slack.workspace.messages[direct(BEN)]) == 1
    told = [m["text"] for m in slack.workspace.messages[direct(ANA)]]
    assert len(told) == 2, told


async def test_asked_again(slack: Sandbox) -> None:
    """It is told that it waits already, and nobody is asked twice."""
    await ask(slack)
    opened = await modal(slack, ANA, "/triage-override")
    await slack.play.submit(ANA, opened.id, form())
    await until(lambda: "asked for this already; it is pending" in dms(slack, ANA))
    assert len(slack.workspace.messages[ADMIN_CHANNEL]) == 1


async def test_a_second_approval(slack: Sandbox) -> None:
    """The administrator is told who stands in already."""
    messages = [await ask(slack, replacement=who) for who in (BEN, CY)]
    for message in messages:
        await press(slack, ADMIN, message, "Approve")
        await until(lambda: "Approved" in slack.workspace.text(ADMIN_CHANNEL))
    aside = await until(lambda: slack.workspace.asides.get(ADMIN))
    assert f"<@{BEN}> stands in for po in sprint 0 already" in aside[0]["text"]


async def test_only_administrators(box: Box, slack: Sandbox) -> None:
    """Others are told so, and nothing happens."""
    for command in ("/admin-users", "/admin-disciplines", "/admin-sprints"):
        await slack.play.command(BEN, CHANNEL, command)
    await press(slack, BEN, await ask(slack), "Approve")
    asides = await until(
        lambda: len(slack.workspace.asides[BEN]) == 4 and slack.workspace.asides[BEN]
    )
    assert all("Only administrators" in a["text"] for a in asides)
    assert slack.workspace.modal_of(BEN) is None
    assert box.rows("SELECT status FROM overrides") == [("pending",)]


# -- administrators ------------------------------------------------------------------------------


async def test_people(box: Box, slack: Sandbox) -> None:
    """Somebody gets a second discipline, and is deactivated in the first."""
    opened = await modal(slack, ADMIN, "/admin-users")
    toggle = next(
        b["accessory"]
        for b in opened.view["blocks"]
        if b.get("accessory", {}).get("value") == f"{ANA}:po:off"
    )
    await slack.play.press(ADMIN, toggle, view={"id": opened.id, **opened.view})
    await until(lambda: "_(inactive)_" in json.dumps(slack.workspace.modals[opened.id].view))
    given = {"person": person(ANA), "name": text("Ana"), "discipline": option("beEng")}
    assert await slack.play.submit(ADMIN, opened.id, given) == {}
    rows = f"SELECT discipline, active, position FROM users WHERE slack_id = '{ANA}' ORDER BY id"
    await until(lambda: box.rows(rows) == [("po", 0, 0), ("beEng", 1, 5)])


async def test_places(box: Box, slack: Sandbox) -> None:
    """Somebody is moved in their roster; a word is no position."""
    opened = await modal(slack, ADMIN, "/admin-disciplines")
    given = {"person": option(f"{CY}:po"), "position": text("last")}
    assert list(await slack.play.submit(ADMIN, opened.id, given)) == ["position"]
    assert await slack.play.submit(ADMIN, opened.id, {**given, "position": text("9")}) == {}
    await until(lambda: box.value(f"SELECT position FROM users WHERE slack_id = '{CY}'") == 9)


async def test_sprints(box: Box, slack: Sandbox) -> None:
    """One more is laid behind the last; one that overlaps is an error at its day."""
    opened = await modal(slack, ADMIN, "/admin-sprints")
    last = date.fromisoformat(box.value("SELECT max(end_date) FROM sprints"))
    given = {"name": text("Ten"), "start": day(last), "end": day(last + timedelta(days=14))}
    assert list(await slack.play.submit(ADMIN, opened.id, given)) == ["start"]
    given["start"] = day(last + timedelta(days=1))
    assert await slack.play.submit(ADMIN, opened.id, given) == {}
    await until(lambda: box.value("SELECT max(sprint_index) FROM sprints") == 10)


async def test_entering_a_sprint(box: Box, slack: Sandbox) -> None:
    """The channel, those who join, and the user group are told; a second press changes nothing."""
    opened = await modal(slack, ADMIN, "/admin-sprints")
    enter = next(b["accessory"] for b in opened.view["blocks"] if "accessory" in b)
    for _ in range(2):
        await slack.play.press(ADMIN, enter, view={"id": opened.id, **opened.view})
    await until(lambda: slack.workspace.groups.get(GROUP))
    assert sorted(slack.workspace.groups[GROUP]) == sorted(map(slack_id, range(5)))
    await until(lambda: box.value("SELECT count(*) FROM notifications WHERE status = 'sent'") == 7)
    assert [m["text"][:11] for m in slack.workspace.messages[CHANNEL]] == ["On call now"]
    assert "You are on call as PO" in dms(slack, ANA)
    assert box.rows("SELECT sprint_index FROM current_state") == [(0,)]


# -- the process ---------------------------------------------------------------------------------

ENV = {"SLACK_SIGNING_SECRET": "a-secret-to-sign-with", "SLACK_BOT_TOKEN": "xoxb-a-token"}


def test_the_server(db_url: str, tmp_path: Path) -> None:
    """In a process of its own: healthy, ends in order, and no secret is in its log."""
    repaired(db_url)
    env = {**ENV, "TRIAGE_SPOOL_DIR": str(tmp_path / "spool"), "TRIAGE_ADMINS": ADMIN}
    with served("triage_bot", db_url, env=env) as server, server.client() as http:
        told = http.get("/health").json()
        assert (told["status"], told["spool_depth"], told["consistent"]) == ("ok", 0, True)
        assert http.post("/slack/events", content="x").status_code == 401
        assert "/slack/events" in http.get("/metrics").text
        assert "SLACK_BOT_TOKEN" not in server.log
        assert "a-secret" not in server.log
        assert "xoxb-a-token" not in server.log


@pytest.mark.parametrize(
    ("state", "words", "env", "code", "said"),
    [
        (repaired, ("--naive",), ENV, 1, "--naive knows only the old keys"),
        (broken, (), ENV, 1, "current_state_one_row"),
        (repaired, (), {"SLACK_SIGNING_SECRET": ""}, 2, "SLACK_SIGNING_SECRET is not set"),
        (repaired, (), {**ENV, "TRIAGE_TIMEZONE": "Mars"}, 2, "TRIAGE_TIMEZONE is 'Mars'"),
    ],
)
def test_what_cannot_be_served(
    sqlite_url: str,
    tmp_path: Path,
    state: Callable[[str], Box],
    words: tuple[str, ...],
    env: dict[str, str],
    code: int,
    said: str,
) -> None:
    """A schema that does not fit, a setting that is missing or cannot be read."""
    state(sqlite_url)
    command = [sys.executable, "-m", "systems.triage_bot", "serve", "--port", "0"]
    done = subprocess.run(
        [*command, "--url", sqlite_url, *words],
        cwd=tmp_path,
        env={"PYTHONPATH": str(FOLDER.parent), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


# -- the original --------------------------------------------------------------------------------


async def test_the_original_does_the_same_for_one(db_url: str, tmp_path: Path) -> None:
    """A request and its approval; but the same request twice at once is two rows and more."""
    box = broken(db_url, 0)
    current = box.value("SELECT sprint_index FROM current_state WHERE is_current")
    asks = slack_id(current % 5 * 5 + 2)
    other = slack_id((current + 1) % 5 * 5 + 2)
    with playing(db_url, tmp_path, naive=True) as slack:
        message = await ask(slack, asks, shift=f"{current}:po", replacement=other)
        await press(slack, ADMIN, message, "Approve")
        await until(lambda: "Approved" in slack.workspace.text(ADMIN_CHANNEL))
    assert box.value("SELECT count(*) FROM overrides WHERE approved") == 1
