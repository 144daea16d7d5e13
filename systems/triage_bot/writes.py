"""The writes: each within a transaction that is given, with one audit row for each row it changes.

Whoever touches who is on call takes the state's row first: an approval and a transition at the
same time would otherwise not see each other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from onerow import Key, conflict_of
from onerow.aio import advance, bulk_upsert, get_or_create, patch
from systems.triage_bot import messages, reading
from systems.triage_bot import tables as t
from systems.triage_bot.messages import Notice
from systems.triage_bot.rotation import COLUMNS, NONE_YET, Duty, Override, Sprint, Team, turns

Values = Mapping[str, Any]
Result = dict[str, Any]
Write = Callable[[AsyncConnection, Any], Awaitable[Result]]


class Refused(Exception):
    """The write must not be done; the sentence is for who asked."""


# -- people and sprints ----------------------------------------------------------------------------


async def add_user(connection: AsyncConnection, given: Values) -> Result:
    """A person in a discipline, new or changed; without a position at the end of the roster."""
    ident = {n: given[n] for n in ("slack_id", "discipline")}
    values = {n: given[n] for n in ("name", "active")}
    if given["position"] is not None:
        return await _put(
            connection, t.PERSON, ident, {**values, "position": given["position"]}, given["by"]
        )
    last = sa.select(sa.func.coalesce(sa.func.max(t.USERS.c.position) + 1, 0))
    of_role = last.where(t.USERS.c.discipline == ident["discipline"])
    place = (await connection.execute(of_role)).scalar_one()
    return await _put(connection, t.PERSON, ident, values, given["by"], {"position": place})


async def add_sprint(connection: AsyncConnection, given: Values) -> Result:
    """A sprint, new or changed."""
    ident = {"sprint_index": given["sprint_index"]}
    changes = {
        "sprint_name": given["sprint_name"],
        "start_date": date.fromisoformat(given["start_date"]),
        "end_date": date.fromisoformat(given["end_date"]),
    }
    return await _put(connection, t.SPRINT, ident, changes, given["by"])


async def _put(
    connection: AsyncConnection,
    key: Key,
    ident: Values,
    values: Values,
    by: str,
    of_new: Values | None = None,
) -> Result:
    written = await get_or_create(connection, key, ident, defaults={**values, **(of_new or {})})
    if written.outcome == "inserted":
        row = written.row._mapping
        await audit(connection, key, None, row, by)
        return _result("inserted", row)
    old = await _locked(connection, key, ident)
    changes = {n: v for n, v in values.items() if old[n] != v}
    if not changes:
        return _result("unchanged", old)
    changed = (await patch(connection, key, ident, changes)).row._mapping
    await audit(connection, key, old, changed, by)
    return _result("updated", changed)


# -- overrides -------------------------------------------------------------------------------------


async def request_override(connection: AsyncConnection, given: Values) -> Result:
    """A request, or the one that is there already; one that was declined waits again."""
    sprint = await _sprint(connection, given["sprint_index"])
    result, number = await _request(connection, given)
    if number:
        override = reading.override(result["row"])
        await notify(connection, messages.of_request(override, sprint, number))
    return result


async def import_override(connection: AsyncConnection, given: Values) -> Result:
    """A request as a file has it, with the answer that it had; nobody is told."""
    await _sprint(connection, given["sprint_index"])
    result, _ = await _request(connection, given)
    status = given["status"]
    if status == "pending" or result["row"]["status"] == status:
        return result
    answer = {"id": result["row"]["id"], "decision": status, "quiet": True}
    by = given.get("approved_by") or given["by"]
    answered = await answer_override(connection, {**answer, "by": by})
    inserted = result["outcome"] == "inserted"
    return {**answered, "outcome": "inserted" if inserted else answered["outcome"]}


async def _request(connection: AsyncConnection, given: Values) -> tuple[Result, int]:
    """What came of it, and the number of its audit row; 0 where nothing was written."""
    ident = {n: given[n] for n in ("sprint_index", "role", "requested_by", "replacement_slack_id")}
    if given["original_slack_id"] == given["replacement_slack_id"]:
        raise Refused("Somebody cannot stand in for themselves.")
    more = {n: given[n] for n in ("original_slack_id", "replacement_name", "reason")}
    written = await get_or_create(
        connection, t.REQUEST, ident, defaults={**more, "status": "pending"}
    )
    row = written.row._mapping
    if written.outcome == "inserted":
        number = await audit(connection, t.REQUEST, None, row, given["by"])
        return _result("inserted", row), number
    if row["status"] != "declined" or given["status"] == "declined":
        return _result("unchanged", row), 0
    old = await _locked(connection, t.REQUEST, ident)
    again = {"approved_by": None, "approval_timestamp": None, "reason": more["reason"]}
    moved = await advance(
        connection, t.REQUEST, ident, {"status": ("declined", "pending")}, set=again
    )
    row = moved.row._mapping
    if moved.outcome != "updated":
        return _result("unchanged", row), 0
    number = await audit(connection, t.REQUEST, old, row, given["by"], "asked again")
    return _result("updated", row), number


async def answer_override(connection: AsyncConnection, given: Values) -> Result:
    """Approve or decline a request, once; who is on call now changes with it."""
    decision, by = given["decision"], given["by"]
    state = await _state(connection, lock=True)
    old = await _override(connection, given["id"], lock=True)
    if old["status"] == decision:
        return _result("unchanged", old)
    if old["status"] != "pending":
        raise Refused(f"It was {old['status']} by {messages.mention(old['approved_by'])} already.")
    new = await _answer(connection, old, decision, by)
    number = await audit(connection, t.REQUEST, old, new, by)
    override = reading.override(new)
    if decision == "approved" and state["sprint_index"] == new["sprint_index"]:
        await _stand_in(connection, state, override, by)
    if not given.get("quiet"):
        sprint = await _sprint(connection, new["sprint_index"])
        await notify(connection, messages.of_answer(override, sprint, number))
    return _result("updated", new)


async def _answer(connection: AsyncConnection, old: Values, decision: str, by: str) -> Values:
    ident = {c: old[c] for c in ("sprint_index", "role", "requested_by", "replacement_slack_id")}
    answer = {"approved_by": by, "approval_timestamp": datetime.now(UTC)}
    try:
        async with connection.begin_nested():
            moved = await advance(
                connection, t.REQUEST, ident, {"status": ("pending", decision)}, set=answer
            )
    except sa.exc.IntegrityError as error:
        conflict = conflict_of(error)
        if conflict is None or conflict.kind != "unique":
            raise
        raise Refused(await _who_stands(connection, ident)) from error
    row: Values = moved.row._mapping
    return row


async def _who_stands(connection: AsyncConnection, ident: Values) -> str:
    c = t.OVERRIDES.c
    query = sa.select(c.replacement_slack_id, c.approved_by).where(
        c.sprint_index == ident["sprint_index"], c.role == ident["role"], c.status == "approved"
    )
    who, by = (await connection.execute(query)).one()
    return (
        f"{messages.mention(who)} stands in for {ident['role']} in sprint"
        f" {ident['sprint_index']} already, approved by {messages.mention(by)}."
    )


async def _stand_in(
    connection: AsyncConnection, state: Values, override: Override, by: str
) -> None:
    """The sprint runs already: the one who stands in is on call from now on."""
    changes = {COLUMNS[override.role]: override.replacement}
    new = (await patch(connection, t.ONE_STATE, {}, changes)).row._mapping
    number = await audit(connection, t.ONE_STATE, state, new, by, f"override {override.id}")
    group = Notice(override.sprint_index, messages.GROUP, f"group:{number}", {})
    await notify(connection, [group])


# -- the state -------------------------------------------------------------------------------------


async def transition(connection: AsyncConnection, given: Values) -> Result:
    """Enter the next sprint, once: whoever is not the first is told where it is."""
    here = None if given["from_index"] == NONE_YET else given["from_index"]
    state = await _state(connection)
    if state["sprint_index"] == here:
        state = await _state(connection, lock=True)
    if state["sprint_index"] != here:
        return _at("already", state)
    sprint = await _sprint(connection, given["from_index"] + 1)
    duties = await _duties(connection, sprint)
    people = {COLUMNS[d.role]: d.slack_id for d in duties}
    step = {"sprint_index": (here, sprint.index)}
    moved = await advance(connection, t.ONE_STATE, {}, step, set=people)
    new = moved.row._mapping
    await audit(connection, t.ONE_STATE, state, new, given["by"])
    if not given.get("quiet"):
        had = [Duty(role, who) for role, who in reading.holders(state).items()]
        joins, leaves = turns(had, duties)
        await notify(connection, messages.of_transition(sprint, duties, joins, leaves))
    return _at("moved", new)


async def announce(connection: AsyncConnection, given: Values) -> Result:
    """The evening before."""
    sprint = await _sprint(connection, given["sprint_index"])
    duties = await _duties(connection, sprint)
    await notify(connection, messages.of_announcement(sprint, duties))
    return {"outcome": "announced"}


async def _duties(connection: AsyncConnection, sprint: Sprint) -> list[Duty]:
    o = t.OVERRIDES
    approved = sa.select(o).where(o.c.sprint_index == sprint.index, o.c.status == "approved")
    overrides = await reading.rows(connection, approved)
    active = sa.select(t.USERS).where(t.USERS.c.active)
    team = Team(
        tuple(map(reading.person, await reading.rows(connection, active))),
        overrides=tuple(map(reading.override, overrides)),
    )
    return team.duties(sprint.index)


def _at(outcome: str, state: Values) -> Result:
    index = state["sprint_index"]
    row = {"sprint_index": index, **reading.holders(state)}
    return {"outcome": outcome, "at": NONE_YET if index is None else index, "row": row}


# -- rows ------------------------------------------------------------------------------------------


async def _state(connection: AsyncConnection, *, lock: bool = False) -> Values:
    query = sa.select(t.STATE)
    found = await reading.rows(connection, query.with_for_update() if lock else query)
    return found[0]


async def _sprint(connection: AsyncConnection, index: int) -> Sprint:
    found = await reading.rows(
        connection, sa.select(t.SPRINTS).where(t.SPRINTS.c.sprint_index == index)
    )
    if not found:
        raise Refused(f"There is no sprint {index}.")
    return reading.sprint(found[0])


async def _override(connection: AsyncConnection, number: int, *, lock: bool = False) -> Values:
    query = sa.select(t.OVERRIDES).where(t.OVERRIDES.c.id == number)
    found = await reading.rows(connection, query.with_for_update() if lock else query)
    if not found:
        raise Refused(f"There is no request {number}.")
    return found[0]


async def _locked(connection: AsyncConnection, key: Key, ident: Values) -> Values:
    table = t.AFTER.tables[key.table]
    query = sa.select(table).where(*(table.c[n] == v for n, v in ident.items()))
    return (await reading.rows(connection, query.with_for_update()))[0]


def _result(outcome: str, row: Values) -> Result:
    return {"outcome": outcome, "row": plain(row)}


def plain(row: Values) -> dict[str, Any]:
    """As JSON holds it; without the moments, which the triggers may still change."""
    told = {n: v for n, v in row.items() if n not in ("created_at", "updated_at")}
    return {n: v.isoformat() if isinstance(v, date) else v for n, v in told.items()}


# -- beside the row --------------------------------------------------------------------------------


async def audit(
    connection: AsyncConnection,
    key: Key,
    old: Values | None,
    new: Values,
    by: str,
    reason: str | None = None,
) -> int:
    """One row for one change, in its transaction; its number."""
    values = {
        "table_name": key.table,
        "record_id": new["id"],
        "operation": "INSERT" if old is None else "UPDATE",
        "new_values": plain(new),
        "changed_by": by,
        "reason": reason,
    }
    if old is not None:
        values["old_values"] = plain(old)
    insert = sa.insert(t.AUDIT).values(values).returning(t.AUDIT.c.id)
    return int((await connection.execute(insert)).scalar_one())


async def notify(connection: AsyncConnection, notices: Sequence[Notice]) -> None:
    """Into the outbox, in the write's transaction; what is there already is not sent again."""
    rows = [n.row() for n in notices]
    if len(rows) > 1:
        await bulk_upsert(connection, t.NOTICE, rows, update=(), duplicates="first")
        return
    for row in rows:
        message = {"message": row.pop("message")}
        await get_or_create(connection, t.NOTICE, row, defaults=message)


HANDLERS: dict[str, Write] = {
    "add_user": add_user,
    "add_sprint": add_sprint,
    "request_override": request_override,
    "import_override": import_override,
    "answer_override": answer_override,
    "transition": transition,
    "announce": announce,
}
