"""The writes on a database: what each leaves behind, and what it leaves alone."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from onerow.write import Retry
from systems.triage_bot import naive, writes
from systems.triage_bot.desk import NaiveDesk, SafeDesk
from systems.triage_bot.records import (
    AddSprint,
    AddUser,
    Announce,
    AnswerOverride,
    RequestOverride,
    Transition,
)
from systems.triage_bot.settings import Settings
from systems.triage_bot.team import slack_id
from systems.triage_bot.writes import Refused
from tests.support.sandbox import Sandbox
from tests.systems.triage.support import broken, opened, repaired

ANA, BEN, CY = slack_id(2), slack_id(7), slack_id(12)  # of the POs; Ana's turn is sprint 0
AT_ONCE = 32
FIRST = Transition(from_index=-1)


def settings(folder: Path) -> Settings:
    return Settings(folder / "spool", ZoneInfo("America/Los_Angeles"), Retry(attempts=5, budget=20))


@pytest.fixture
def box(db_url: str) -> Sandbox:
    return repaired(db_url)


@pytest.fixture
async def desk(box: Sandbox, tmp_path: Path) -> AsyncIterator[SafeDesk]:
    async with opened(box.url) as engine:
        yield SafeDesk(engine, settings(tmp_path))


def request(who: str = BEN, sprint: int = 0, by: str = ANA, **more: Any) -> RequestOverride:
    given = {"sprint_index": sprint, "role": "po", "requested_by": by, "original_slack_id": by}
    return RequestOverride(**given, replacement_slack_id=who, **more)


def answer(number: int, decision: str = "approved", sprint: int = 0) -> AnswerOverride:
    return AnswerOverride(id=number, decision=decision, sprint_index=sprint, role="po")  # type: ignore[arg-type]


async def requested(desk: SafeDesk, *whom: str, sprint: int = 0) -> list[int]:
    done = [await desk.submit("request_override", request(w, sprint), ANA) for w in whom]
    return [d.result["row"]["id"] for d in done if d.result]


def audits(box: Sandbox, table: str) -> list[str]:
    sql = f"SELECT operation FROM audit_logs WHERE table_name = '{table}' ORDER BY id"
    return [row[0] for row in box.rows(sql)]


# -- people --------------------------------------------------------------------------------------


async def test_a_person_in_two_disciplines(box: Sandbox, desk: SafeDesk) -> None:
    """Is added at the end of the roster, once however often; a change is one audit row."""
    ana = AddUser(slack_id=ANA, name="Ana", discipline="beEng")
    outcomes = [(await desk.submit("add_user", ana, "boss")).result for _ in range(2)]
    assert [r["outcome"] for r in outcomes if r] == ["inserted", "unchanged"]
    assert box.rows(
        f"SELECT discipline, position FROM users WHERE slack_id = '{ANA}' ORDER BY id"
    ) == [("po", 0), ("beEng", 5)]
    away = ana.model_copy(update={"active": False})
    await desk.submit("add_user", away, "boss")
    assert audits(box, "users") == ["INSERT", "UPDATE"]
    ((old, new, by),) = box.rows(
        "SELECT old_values, new_values, changed_by FROM audit_logs WHERE operation = 'UPDATE'"
    )
    assert by == "boss"
    told = [str(v).lower().replace('"', "'") for v in (old, new)]
    assert "'active': true" in told[0]
    assert "'active': false" in told[1]


async def test_before_a_person_in_two_disciplines_is_refused(db_url: str) -> None:
    """`users_slack_id_key`, and it surfaces as a crash."""
    box = broken(db_url)
    async with opened(db_url, naive=True) as engine:
        ana = AddUser(slack_id=ANA, name="Ana", discipline="beEng")
        with pytest.raises(sa.exc.IntegrityError, match=r"users_slack_id_key|users\.slack_id"):
            await NaiveDesk(engine).submit("add_user", ana, "boss")
    assert box.value(f"SELECT count(*) FROM users WHERE slack_id = '{ANA}'") == 1


# -- transitions ---------------------------------------------------------------------------------


async def test_a_transition(box: Sandbox, desk: SafeDesk) -> None:
    """The five roles, one audit row, a notice for the channel, the group and each who joins."""
    moved = (await desk.submit("transition", FIRST, "job")).result
    assert moved is not None
    assert (moved["outcome"], moved["at"]) == ("moved", 0)
    assert (await desk.read()).team.holders == {
        d: slack_id(n) for n, d in enumerate(("account", "producer", "po", "uiEng", "beEng"))
    }
    assert audits(box, "current_state") == ["UPDATE"]
    kinds = Counter(k for (k,) in box.rows("SELECT kind FROM notifications"))
    assert kinds == {"started": 1, "group": 1, "joining": 5}
    await desk.submit("transition", Transition(from_index=0), "job")
    kinds = Counter(k for (k,) in box.rows("SELECT kind FROM notifications WHERE sprint_index = 1"))
    assert kinds == {"started": 1, "group": 1, "joining": 5, "leaving": 5}


async def test_a_transition_to_nowhere(box: Sandbox, desk: SafeDesk) -> None:
    """Is refused: the sprint after the last is not laid."""
    box.execute("DELETE FROM sprints WHERE sprint_index > 0")
    await desk.submit("transition", FIRST, "job")
    with pytest.raises(Refused, match="There is no sprint 1"):
        await desk.submit("transition", Transition(from_index=0), "job")
    assert box.rows("SELECT sprint_index FROM current_state") == [(0,)]


async def test_32_transitions_at_once(box: Sandbox, desk: SafeDesk) -> None:
    """One moves, 31 are told where it is; one set of notices, one audit row."""
    done = await asyncio.gather(
        *(desk.submit("transition", FIRST, f"job {n}") for n in range(AT_ONCE))
    )
    told = Counter((d.result["outcome"], d.result["at"]) for d in done if d.result)
    assert told == {("moved", 0): 1, ("already", 0): AT_ONCE - 1}
    assert audits(box, "current_state") == ["UPDATE"]
    assert box.count("notifications") == 7


async def test_before_transitions_at_once_collide(pg_url: str) -> None:
    """On the state's key, or they leave the state in disorder."""
    box = broken(pg_url)
    (start,) = box.rows("SELECT sprint_index FROM current_state WHERE is_current")[0]
    async with opened(pg_url, naive=True) as engine:
        at_once = (
            naive.transition(engine, {"from_index": start, "by": "job"}) for _ in range(AT_ONCE)
        )
        done = await asyncio.gather(*at_once, return_exceptions=True)
    assert any(isinstance(d, sa.exc.IntegrityError) for d in done)


# -- requests ------------------------------------------------------------------------------------


async def test_32_requests_at_once(box: Sandbox, desk: SafeDesk) -> None:
    """One row, 32 equal answers, the administrators are asked once."""
    done = await asyncio.gather(
        *(desk.submit("request_override", request(), ANA) for _ in range(AT_ONCE))
    )
    rows = [d.result["row"] for d in done if d.result]
    assert len(rows) == AT_ONCE
    assert all(row == rows[0] for row in rows)
    assert (box.count("overrides"), audits(box, "overrides")) == (1, ["INSERT"])
    assert box.rows("SELECT recipient FROM notifications") == [("#admins",)]


async def test_before_requests_at_once_are_several(pg_url: str) -> None:
    """Each finds none, and inserts one."""
    box = broken(pg_url)
    async with opened(pg_url, naive=True) as engine:
        desk = NaiveDesk(engine)
        await asyncio.gather(
            *(desk.submit("request_override", request(), ANA) for _ in range(AT_ONCE))
        )
    assert box.count("overrides") > 1


async def test_a_delivery_that_comes_twice(box: Sandbox, desk: SafeDesk) -> None:
    """Is answered as the first time and does nothing, even when the request was declined since."""
    first = await desk.submit("request_override", request(), ANA, "view:V1")
    number = first.result["row"]["id"] if first.result else 0
    await desk.submit("answer_override", answer(number, "declined"), "UADMIN1")
    again = await desk.submit("request_override", request(), ANA, "view:V1")
    assert (again.repeated, again.result) == (True, first.result)
    assert box.rows("SELECT status FROM overrides") == [("declined",)]
    assert audits(box, "overrides") == ["INSERT", "UPDATE"]


async def test_a_declined_request_can_be_made_again(box: Sandbox, desk: SafeDesk) -> None:
    """It is the same row, pending, without the old answer; that is audited, and asked anew."""
    (number,) = await requested(desk, BEN)
    await desk.submit("answer_override", answer(number, "declined"), "UADMIN1")
    done = await desk.submit("request_override", request(reason="please"), ANA)
    assert done.result is not None
    assert (done.result["outcome"], done.result["row"]["id"]) == ("updated", number)
    row = box.rows("SELECT status, approved_by, approval_timestamp, reason FROM overrides")
    assert row == [("pending", None, None, "please")]
    assert audits(box, "overrides") == ["INSERT", "UPDATE", "UPDATE"]
    assert box.value("SELECT count(*) FROM notifications WHERE recipient = '#admins'") == 2


async def test_nonsense_is_refused(box: Sandbox, desk: SafeDesk) -> None:
    """A sprint that is not there, oneself as a replacement, an unknown request."""
    with pytest.raises(Refused, match="no sprint 99"):
        await desk.submit("request_override", request(sprint=99), ANA)
    with pytest.raises(Refused, match="for themselves"):
        await desk.submit("request_override", request(ANA), ANA)
    with pytest.raises(Refused, match="no request 7"):
        await desk.submit("answer_override", answer(7), "UADMIN1")
    assert box.count("overrides") == box.count("audit_logs") == 0


# -- answers -------------------------------------------------------------------------------------


async def test_an_approval_twice(box: Sandbox, desk: SafeDesk) -> None:
    """The second changes nothing; who asked and who stands in are told once."""
    (number,) = await requested(desk, BEN, sprint=5)
    for admin in ("UADMIN1", "UADMIN2"):
        done = await desk.submit("answer_override", answer(number, sprint=5), admin)
        assert done.result is not None
        assert done.result["row"]["approved_by"] == "UADMIN1"
    assert audits(box, "overrides") == ["INSERT", "UPDATE"]
    told = box.rows("SELECT recipient FROM notifications WHERE recipient LIKE 'U%' ORDER BY 1")
    assert told == [(ANA,), (BEN,)]
    with pytest.raises(Refused, match="approved by <@UADMIN1> already"):
        await desk.submit("answer_override", answer(number, "declined", 5), "UADMIN2")


async def test_a_second_approved_one_is_refused(box: Sandbox, desk: SafeDesk) -> None:
    """By the name of the first, also when both come at once."""
    numbers = await requested(desk, BEN, CY)
    answers = (
        desk.submit("answer_override", answer(n), f"UADMIN{place}")
        for place, n in enumerate(numbers)
    )
    done = await asyncio.gather(*answers, return_exceptions=True)
    (refused,) = (d for d in done if isinstance(d, Refused))
    ((who, by),) = box.rows(
        "SELECT replacement_slack_id, approved_by FROM overrides WHERE status = 'approved'"
    )
    assert f"<@{who}> stands in for po in sprint 0 already, approved by <@{by}>" in str(refused)
    assert audits(box, "overrides") == ["INSERT", "INSERT", "UPDATE"]


async def test_an_approval_in_the_running_sprint(box: Sandbox, desk: SafeDesk) -> None:
    """Changes who is on call now: two rows, two audit rows, the group again."""
    await desk.submit("transition", FIRST, "job")
    (number,) = await requested(desk, BEN)
    await desk.submit("answer_override", answer(number), "UADMIN1")
    assert box.rows("SELECT po_slack_id FROM current_state") == [(BEN,)]
    assert audits(box, "current_state") == ["UPDATE", "UPDATE"]
    assert box.value("SELECT count(*) FROM notifications WHERE recipient = '#group'") == 2


async def test_an_override_while_the_sprint_turns(box: Sandbox, desk: SafeDesk) -> None:
    """Whichever is first, who stands in is on call afterwards."""
    (number,) = await requested(desk, BEN)
    await asyncio.gather(
        desk.submit("answer_override", answer(number), "UADMIN1"),
        desk.submit("transition", FIRST, "job"),
        desk.submit("request_override", request(CY), ANA),
    )
    assert box.rows("SELECT sprint_index, po_slack_id FROM current_state") == [(0, BEN)]


# -- the rest ------------------------------------------------------------------------------------


async def test_sprints(box: Sandbox, desk: SafeDesk) -> None:
    """A new one, the same again, another end: one row, and an audit row for each change."""
    ten = AddSprint.model_validate(
        {
            "sprint_index": 10,
            "sprint_name": "Ten",
            "start_date": "2030-01-07",
            "end_date": "2030-01-20",
        }
    )
    later = ten.model_copy(update={"end_date": ten.start_date})
    for sprint in (ten, ten, later):
        await desk.submit("add_sprint", sprint, "boss")
    assert box.rows("SELECT end_date FROM sprints WHERE sprint_index = 10")[0][0] in (
        "2030-01-07",
        ten.start_date,
    )
    assert audits(box, "sprints") == ["INSERT", "UPDATE"]


async def test_before_imports_at_once_fail(pg_url: str) -> None:
    """On `sprints_sprint_index_key`: each looks, finds none, and inserts."""
    box = broken(pg_url)
    box.execute("DELETE FROM current_state", "DELETE FROM sprints")
    given = {"sprint_name": "S", "start_date": "2031-01-01", "end_date": "2031-01-14", "by": "i"}
    async with opened(pg_url, naive=True) as engine:
        at_once = (naive.add_sprint(engine, {**given, "sprint_index": n // 8}) for n in range(64))
        done = await asyncio.gather(*at_once, return_exceptions=True)
    assert any(
        isinstance(d, sa.exc.IntegrityError) and "sprints_sprint_index_key" in str(d) for d in done
    )


async def test_an_announcement_is_made_once(box: Sandbox, desk: SafeDesk) -> None:
    """However many jobs say it."""
    for _ in range(3):
        await desk.submit("announce", Announce(sprint_index=1), "job")
    assert box.rows("SELECT sprint_index, recipient, kind FROM notifications") == [
        (1, "#channel", "announced")
    ]


async def test_what_is_retried_is_audited_once(
    pg_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deadlock in the middle of a write: it is done again, and leaves one audit row."""
    box = repaired(pg_url)
    audit, failed = writes.audit, []

    async def deadlocked(connection: Any, *args: Any) -> int:
        number = await audit(connection, *args)
        if not failed:
            failed.append(number)
            await connection.exec_driver_sql(
                "DO $$ BEGIN RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01'; END $$"
            )
        return number

    monkeypatch.setattr(writes, "audit", deadlocked)
    async with opened(pg_url) as engine:
        await SafeDesk(engine, settings(tmp_path)).submit("transition", FIRST, "job")
    assert len(failed) == 1
    assert audits(box, "current_state") == ["UPDATE"]
