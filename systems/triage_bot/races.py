"""What people do at once, for `onerow.race`: each a pair of workers and what must hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from onerow.aio import transactional
from onerow.race import Result, explore
from systems.triage_bot import naive as original
from systems.triage_bot import writes
from systems.triage_bot.records import AnswerOverride, Record, RequestOverride, Transition
from systems.triage_bot.rotation import COLUMNS, NONE_YET
from systems.triage_bot.team import slack_id

SPRINT = 0
ROLE: Final = "po"
TURN, FIRST, SECOND = slack_id(2), slack_id(7), slack_id(12)  #: people of the role
Worker = Callable[[Any], Awaitable[None]]
Do = Callable[[AsyncEngine, str, Record, str], Awaitable[None]]


async def safe(engine: AsyncEngine, name: str, record: Record, by: str) -> None:
    """One write in its transaction, as the spool applies it."""
    write = transactional(engine, name=name)(writes.HANDLERS[name])
    await write(record.payload(by))


async def naive(engine: AsyncEngine, name: str, record: Record, by: str) -> None:
    await original.HANDLERS[name](engine, record.payload(by))


def two_transitions(engine: AsyncEngine, do: Do, **limits: Any) -> Result:
    """Two enter the first sprint: it is entered once, with one audit row."""
    workers = [_worker(do, "transition", Transition(from_index=NONE_YET), "job")] * 2
    return explore(engine, workers, setup=_no_sprint, invariant=_entered_once, **limits)


def two_requests(engine: AsyncEngine, do: Do, **limits: Any) -> Result:
    """One request sent twice: one row, one audit row."""
    workers = [_worker(do, "request_override", _request(FIRST), TURN)] * 2
    return explore(engine, workers, setup=_no_sprint, invariant=_one_request, **limits)


def two_approvals(engine: AsyncEngine, do: Do, **limits: Any) -> Result:
    """Two administrators each approve another one for one role: one of them stands."""
    workers = [_approves(do, 1, "UADMIN1"), _approves(do, 2, "UADMIN2")]
    return explore(engine, workers, setup=_two_waiting, invariant=_one_stands, **limits)


def approval_and_transition(engine: AsyncEngine, do: Do, **limits: Any) -> Result:
    """An override is approved while its sprint begins: who stands in is on call."""
    turns = _worker(do, "transition", Transition(from_index=NONE_YET), "job")
    workers = [_approves(do, 1, "UADMIN1"), turns]
    return explore(engine, workers, setup=_two_waiting, invariant=_stands_in, **limits)


RACES = {
    "transition and transition": two_transitions,
    "request and request": two_requests,
    "approve and approve": two_approvals,
    "approve and transition": approval_and_transition,
}


def _worker(do: Do, name: str, record: Record, by: str) -> Worker:
    async def work(sessions: Any) -> None:
        with suppress(writes.Refused):
            await do(sessions.kw["bind"], name, record, by)

    work.__name__ = name
    return work


def _approves(do: Do, number: int, by: str) -> Worker:
    answer = AnswerOverride(id=number, decision="approved", sprint_index=SPRINT, role=ROLE)
    return _worker(do, "answer_override", answer, by)


def _request(replacement: str) -> RequestOverride:
    return RequestOverride(
        sprint_index=SPRINT,
        role=ROLE,
        requested_by=TURN,
        original_slack_id=TURN,
        replacement_slack_id=replacement,
    )


def _no_sprint(connection: sa.Connection) -> None:
    run = connection.exec_driver_sql
    for table in ("overrides", "audit_logs", "current_state"):
        run(f"DELETE FROM {table}")
    run("INSERT INTO current_state (sprint_index) VALUES (NULL)")
    if sa.inspect(connection).has_table("notifications"):
        run("DELETE FROM notifications")


def _two_waiting(connection: sa.Connection) -> None:
    _no_sprint(connection)
    columns = "id, sprint_index, role, requested_by, original_slack_id, replacement_slack_id"
    for number, who in enumerate((FIRST, SECOND), 1):
        values = f"{number}, {SPRINT}, '{ROLE}', '{TURN}', '{TURN}', '{who}'"
        system = " OVERRIDING SYSTEM VALUE" if connection.dialect.name == "postgresql" else ""
        connection.exec_driver_sql(f"INSERT INTO overrides ({columns}){system} VALUES ({values})")


def _all(connection: sa.Connection, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.exec_driver_sql(sql)]


def _audited(connection: sa.Connection, table: str) -> int:
    sql = f"SELECT count(*) FROM audit_logs WHERE table_name = '{table}'"
    return int(_all(connection, sql)[0][0])


def _entered_once(connection: sa.Connection) -> bool:
    states = _all(connection, "SELECT sprint_index FROM current_state")
    return states == [(0,)] and _audited(connection, "current_state") == 1


def _one_request(connection: sa.Connection) -> bool:
    return (
        len(_all(connection, "SELECT id FROM overrides")) == _audited(connection, "overrides") == 1
    )


def _approved(connection: sa.Connection) -> list[tuple[Any, ...]]:
    sql = "SELECT replacement_slack_id, approved_by FROM overrides WHERE approved_by IS NOT NULL"
    return _all(connection, sql)


def _one_stands(connection: sa.Connection) -> bool:
    """And the log tells of the same answer."""
    return len(_approved(connection)) == _audited(connection, "overrides") == 1


def _stands_in(connection: sa.Connection) -> bool:
    sql = f"SELECT sprint_index, {COLUMNS[ROLE]} FROM current_state"
    granted = _approved(connection) == [(FIRST, "UADMIN1")]
    return granted and _all(connection, sql) == [(SPRINT, FIRST)]
