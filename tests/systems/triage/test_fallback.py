"""The database away, Slack away, the process killed: nothing is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from slack_sdk.web.async_client import AsyncWebClient

from onerow.testing import postgres
from onerow.write import Retry
from systems.shared.address import open_async_engine
from systems.triage_bot import rotation, sandbox, tables
from systems.triage_bot.desk import SafeDesk
from systems.triage_bot.jobs import Jobs
from systems.triage_bot.outbox import Postman
from systems.triage_bot.records import AddUser, Transition
from systems.triage_bot.sandbox import ADMIN_CHANNEL, CHANNEL
from systems.triage_bot.team import slack_id
from systems.triage_bot.testing.server import make_slack
from systems.triage_bot.testing.workspace import Workspace, direct
from tests.systems.serving import in_thread
from tests.systems.triage.support import opened, repaired
from tests.systems.triage.test_slack import ANA, ask, dms, form, modal, until

FIRST = Transition(from_index=-1)
BURST = 200
ZONE = ZoneInfo("America/Los_Angeles")


# -- the database --------------------------------------------------------------------------------


async def test_4_the_server_is_killed_in_a_burst(tmp_path: Path) -> None:
    """Every acknowledged write is in the database or in the spool, and after two replays once."""
    told: list[str] = []
    with postgres(durable=True) as server:
        url = server.create_database("triage")
        box = repaired(url)
        engine = open_async_engine(url, connections=8)
        await tables.prepare(engine)
        given = sandbox.settings(tmp_path / "spool")
        desk = SafeDesk(engine, given, lambda kind, _reason: told.append(kind))
        await desk.read()
        people = [AddUser(slack_id=f"UNEW{n}", name=f"p{n}", discipline="po") for n in range(BURST)]

        async def write(person: AddUser) -> str | None:
            if person is people[BURST // 3]:
                server.kill()
            try:
                done = await desk.submit("add_user", person, "boss", f"op:{person.slack_id}")
            except Exception:
                return None
            return "spooled" if done.waits else "applied"

        gate = asyncio.Semaphore(8)

        async def at_most_eight(person: AddUser) -> str | None:
            async with gate:
                return await write(person)

        outcomes = await asyncio.gather(*map(at_most_eight, people))
        assert (await desk.read()).stale
        server.restart()
        for _ in range(2):
            await desk.replay()
        acknowledged = {p.slack_id for p, o in zip(people, outcomes, strict=True) if o}
        found = Counter(
            r[0] for r in box.rows("SELECT slack_id FROM users WHERE slack_id LIKE 'UNEW%'")
        )
        assert not acknowledged - set(found)
        assert set(found.values()) == {1}
        audited = Counter(
            r[0] for r in box.rows("SELECT record_id FROM audit_logs WHERE table_name = 'users'")
        )
        assert len(audited) == len(found)
        assert set(audited.values()) == {1}
        assert Counter(outcomes)["spooled"] > 0
        assert told == ["started", "ended"]
        await engine.dispose()


@pytest.mark.slow
@pytest.mark.timeout(200)
async def test_a_minute_without_the_database_under_traffic(tmp_path: Path) -> None:
    """Four writers do not stop; what each was told is so in the end, and is there once."""
    told: list[str] = []
    with postgres(durable=True) as server:
        url = server.create_database("triage")
        box = repaired(url)
        engine = open_async_engine(url, connections=8)
        await tables.prepare(engine)
        given = sandbox.settings(tmp_path / "spool")
        desk = SafeDesk(engine, given, lambda kind, _reason: told.append(kind))
        stop, kept = asyncio.Event(), list[str]()

        async def writer(number: int) -> None:
            turn = 0
            while not stop.is_set():
                turn += 1
                who = f"UNEW{number}X{turn}"
                person = AddUser(slack_id=who, name="new", discipline="po", position=turn)
                await desk.submit("add_user", person, "boss", f"op:{who}")
                kept.append(who)
                await asyncio.sleep(0.05)

        writers = [asyncio.create_task(writer(n)) for n in range(4)]
        await asyncio.sleep(3)
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(60)
        waiting = desk.depth
        await asyncio.to_thread(server.restart)
        await asyncio.sleep(3)
        stop.set()
        await asyncio.gather(*writers)
        for _ in range(2):
            await desk.replay()
        found = Counter(
            r[0] for r in box.rows("SELECT slack_id FROM users WHERE slack_id LIKE 'UNEW%'")
        )
        assert set(found) == set(kept)
        assert set(found.values()) == {1}
        assert box.value("SELECT count(*) FROM audit_logs WHERE table_name = 'users'") == len(kept)
        assert waiting > 50
        assert told == ["started", "ended"]
        await engine.dispose()


async def test_without_the_database(tmp_path: Path) -> None:
    """Commands are answered from the snapshot, requests wait, administrators are told twice."""
    with postgres() as server:
        url = server.create_database("triage")
        box = repaired(url)
        with sandbox.playing(url, sandbox.settings(tmp_path / "spool")) as slack:
            server.kill()
            opened_now = await modal(slack, ANA, "/triage-override")
            await slack.play.submit(ANA, opened_now.id, form())
            await until(lambda: "This waits and is written" in dms(slack, ANA))
            await until(lambda: "The database is away." in slack.workspace.text(ADMIN_CHANNEL))
            async with httpx.AsyncClient() as http:
                sick = await http.get(f"{slack.bot}/health")
                assert (sick.status_code, sick.json()["spool_depth"]) == (503, 1)
                await slack.play.open_home(ANA)
                shown = await until(lambda: slack.workspace.homes.get(ANA))
                assert "this is as of" in json.dumps(shown)
                server.restart()
                await until(lambda: "The database is back" in slack.workspace.text(ADMIN_CHANNEL))
                await until(lambda: "asks to be replaced" in slack.workspace.text(ADMIN_CHANNEL))
                well = (await http.get(f"{slack.bot}/health")).json()
                metrics = (await http.get(f"{slack.bot}/metrics")).text
        assert box.rows("SELECT status FROM overrides") == [("pending",)]
    assert (well["status"], well["spool_depth"], well["problems"]) == ("ok", 0, [])
    assert 'onerow_spool_events_total{event="started"} 1.0' in metrics
    said = slack.workspace.text(ADMIN_CHANNEL)
    assert (said.count("The database is away."), said.count("The database is back")) == (1, 1)
    assert slack.play.slowest < 3


# -- Slack ---------------------------------------------------------------------------------------


def postman(desk: SafeDesk, workspace: Workspace, address: str, **more: Any) -> Postman:
    client = AsyncWebClient(workspace.token, base_url=f"{address}/api/", timeout=5)
    return Postman(desk, client, desk.settings, lambda *_: None, **more)


async def test_slack_away_for_an_hour(db_url: str, tmp_path: Path) -> None:
    """Notices wait, however often they are tried; when it is back each is there once."""
    box, workspace = repaired(db_url), sandbox.workspace_of()
    with in_thread(make_slack(workspace)) as address:
        async with opened(db_url) as engine:
            desk = SafeDesk(engine, sandbox.settings(tmp_path / "spool"))
            await desk.submit("transition", FIRST, "job")
            post = postman(desk, workspace, address)
            workspace.down = True
            pauses = []
            for _ in range(8):
                assert await post.send_waiting() == 0
                assert post.rests
                pauses.append(post.pause)
                post._until = 0.0  # an hour passes
            assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
            workspace.down = False
            assert await post.send_waiting() == 7
            assert await post.send_waiting() == 0
    assert box.rows("SELECT DISTINCT status FROM notifications") == [("sent",)]
    assert len(workspace.messages[CHANNEL]) == 1
    assert all(len(workspace.messages[direct(slack_id(n))]) == 1 for n in range(5))


async def test_slack_asks_for_time(sqlite_url: str, tmp_path: Path) -> None:
    """429: nothing is sent until Retry-After is over, and nothing is lost."""
    repaired(sqlite_url)
    workspace = sandbox.workspace_of()
    workspace.limits["chat.postMessage"] = (1, 2)
    with in_thread(make_slack(workspace)) as address:
        async with opened(sqlite_url) as engine:
            desk = SafeDesk(engine, sandbox.settings(tmp_path / "spool"))
            await desk.submit("transition", FIRST, "job")
            post = postman(desk, workspace, address)
            assert await post.send_waiting() == 0
            assert 1 < post._until - time.monotonic() <= 2
            calls = len(workspace.calls)
            assert await post.send_waiting() == 0
            assert len(workspace.calls) == calls
            post._until = 0.0
            assert await post.send_waiting() == 7


async def test_a_wrong_token_and_an_unknown_person(sqlite_url: str, tmp_path: Path) -> None:
    """The first is tried again; of the second administrators are told, and the rest is sent."""
    box, workspace = repaired(sqlite_url), sandbox.workspace_of()
    del workspace.people[slack_id(2)]
    told: list[str] = []
    with in_thread(make_slack(workspace)) as address:
        async with opened(sqlite_url) as engine:
            desk = SafeDesk(engine, sandbox.settings(tmp_path / "spool"))
            await desk.submit("transition", FIRST, "job")
            post = postman(desk, workspace, address)
            post.warn = lambda kind, reason: told.append(f"{kind}: {reason}")
            token, workspace.token = workspace.token, "another"
            assert await post.send_waiting() == 0
            workspace.token = token
            post._until = 0.0
            assert await post.send_waiting() == 6
    assert told == [f"undeliverable: joining for {slack_id(2)}: user_not_found"]
    assert box.rows("SELECT failure FROM notifications WHERE status = 'failed'") == [
        ("user_not_found",)
    ]


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from slack_sdk.web.async_client import AsyncWebClient
from systems.shared.address import open_async_engine
from systems.triage_bot import sandbox, tables
from systems.triage_bot.desk import SafeDesk
from systems.triage_bot.outbox import Postman
from systems.triage_bot.records import Transition

url, spool, api, token, when = sys.argv[1:]

class Dies(Postman):
    async def _end(self, row, values):
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    engine = open_async_engine(url, connections=4)
    await tables.prepare(engine)
    desk = SafeDesk(engine, sandbox.settings(Path(spool)))
    await desk.submit("transition", Transition(from_index=-1), "job")
    if when == "committed":
        os.kill(os.getpid(), signal.SIGKILL)
    client = AsyncWebClient(token, base_url=api)
    await Dies(desk, client, desk.settings, print).send_waiting()

asyncio.run(main())
"""


@pytest.mark.parametrize("when", ["committed", "sent"])
async def test_killed_before_it_was_told(db_url: str, tmp_path: Path, when: str) -> None:
    """Between COMMIT and notice, or between the notice and its mark: everybody is told once."""
    box, workspace = repaired(db_url), sandbox.workspace_of()
    with in_thread(make_slack(workspace)) as address:
        words = (db_url, str(tmp_path / "spool"), f"{address}/api/", workspace.token, when)
        died = subprocess.run([sys.executable, "-c", KILLED, *words], check=False, env=os.environ)
        assert died.returncode == -signal.SIGKILL
        assert len(workspace.messages.get(CHANNEL, [])) == (when == "sent")
        async with opened(db_url) as engine:
            desk = SafeDesk(engine, sandbox.settings(tmp_path / "spool"))
            if when == "sent":  # its lease runs out
                box.execute("UPDATE notifications SET claimed_until = '2020-01-01 00:00:00.000000'")
            await desk.submit("transition", FIRST, "job")
            await postman(desk, workspace, address).send_waiting()
    assert box.value("SELECT count(*) FROM notifications WHERE status <> 'sent'") == 0
    assert len(workspace.messages[CHANNEL]) == 1
    assert all(len(workspace.messages[direct(slack_id(n))]) == 1 for n in range(5))


# -- the clock -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("eve", "hours"), [("2026-03-07", 23), ("2026-10-31", 25), ("2026-06-06", 24)]
)
def test_jobs_over_a_change_of_the_clock(eve: str, hours: int) -> None:
    """At eight of the team's every day: 23 hours later in March, 25 in November."""
    jobs = Jobs(None, sandbox.settings(Path("spool")), None, lambda: datetime.now(UTC))  # type: ignore[arg-type]
    first = datetime.fromisoformat(f"{eve}T08:00").replace(tzinfo=ZONE)
    found = jobs.trigger(8).get_next_fire_time(first, first + timedelta(seconds=1))
    assert found.astimezone(UTC) - first.astimezone(UTC) == timedelta(hours=hours)
    assert found.astimezone(ZONE).hour == 8


async def test_the_day_of_a_change(sqlite_url: str, tmp_path: Path) -> None:
    """The evening before it is announced once; at eight, and no minute before, it is entered."""
    box = repaired(sqlite_url)
    start = rotation.Sprint(0, "", *[datetime(2026, 11, 2).date()] * 2).start
    for n in range(10):
        begins = start + timedelta(days=14 * n)
        box.execute(
            f"UPDATE sprints SET start_date = '{begins}', end_date = '{begins + timedelta(days=13)}'"
            f" WHERE sprint_index = {n}"
        )
    now = datetime(2026, 11, 1, 17, tzinfo=ZONE)  # the clock was put back this morning
    async with opened(sqlite_url) as engine:
        desk = SafeDesk(engine, sandbox.settings(tmp_path / "spool"))
        jobs = Jobs(desk, desk.settings, None, lambda: now)
        for _ in range(2):
            await jobs.announce()
        now = datetime(2026, 11, 2, 7, 59, tzinfo=ZONE)
        await jobs.turn()
        assert box.rows("SELECT sprint_index FROM current_state") == [(None,)]
        now = datetime(2026, 11, 2, 8, tzinfo=ZONE)
        for _ in range(2):
            await jobs.turn()
        assert box.rows("SELECT sprint_index FROM current_state") == [(0,)]
        now += timedelta(days=29)  # nobody served for two sprints
        await jobs.catch_up()
    assert box.rows("SELECT sprint_index FROM current_state") == [(2,)]
    kinds = Counter(
        (i, k)
        for i, k in box.rows(
            "SELECT sprint_index, kind FROM notifications WHERE kind <> 'joining' AND kind <> 'leaving'"
        )
    )
    assert kinds == {
        (0, "announced"): 1,
        (0, "started"): 1,
        (0, "group"): 1,
        (2, "started"): 1,
        (2, "group"): 1,
    }


# -- health --------------------------------------------------------------------------------------


async def test_health_tells_what_does_not_fit(sqlite_url: str, tmp_path: Path) -> None:
    """A gap, a role left open, a row that was written past the log."""
    box = repaired(sqlite_url)
    given = sandbox.settings(tmp_path / "spool")
    with sandbox.playing(sqlite_url, given) as slack:
        async with httpx.AsyncClient(base_url=slack.bot) as http:
            assert (await http.get("/health")).json()["consistent"] is True
            await ask(slack)
            fine = (await http.get("/health")).json()
            assert (fine["consistent"], fine["problems"]) == (True, [])
            later = "strftime('%Y-%m-%d %H:%M:%f000', 'now', '+5 seconds')"
            box.execute(
                f"UPDATE overrides SET reason = 'changed past the log', updated_at = {later}",
                "UPDATE current_state SET sprint_index = 0",
                "DELETE FROM sprints WHERE sprint_index = 5",
            )
            told = (await http.get("/health")).json()
    assert told["consistent"] is False
    said = "\n".join(told["problems"])
    assert "1 rows of overrides were written without an audit row" in said
    assert "nobody is on call as po" in said
    assert "there is no sprint 5" in said
    assert fine["last_transition"] is None


def test_settings_that_cannot_be_read() -> None:
    """Each is named, with what it should be."""
    from systems.shared.errors import SystemFailure
    from systems.triage_bot.settings import Settings, Slack

    for name, value, said in (
        ("TRIAGE_TIMEZONE", "Mars/Olympus", "a zone's name"),
        ("TRIAGE_RETRY_ATTEMPTS", "0", "a whole number"),
        ("TRIAGE_RETRY_BASE", "long", "seconds"),
        ("TRIAGE_ENV", "test", "staging or production"),
    ):
        with pytest.raises(SystemFailure, match=f"{name} is '{value}', which is not {said}"):
            Settings.from_environment({name: value})
    with pytest.raises(SystemFailure, match="SLACK_BOT_TOKEN is not set"):
        Slack.from_environment({"SLACK_SIGNING_SECRET": "s"})
    with pytest.raises(SystemFailure, match="SLACK_API_URL"):
        Slack.from_environment(
            {"SLACK_SIGNING_SECRET": "s", "SLACK_BOT_TOKEN": "t", "SLACK_API_URL": "slack"}
        )
    given = Settings.from_environment({"TRIAGE_ENV": "staging", "TRIAGE_ADMINS": "U1, U2"})
    assert (given.suffix, given.admins) == ("-staging", ("U1", "U2"))
    assert given.retry == Retry(attempts=3, base=0.02)
