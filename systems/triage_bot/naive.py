"""The original writers, kept to be shown: look, then write, and the log afterwards.

Each step is a transaction of its own. One person at a time, they do what is asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from systems.triage_bot import reading
from systems.triage_bot.reading import BEFORE
from systems.triage_bot.rotation import COLUMNS, NONE_YET
from systems.triage_bot.writes import Refused, Result, plain

USERS, SPRINTS = BEFORE.tables["users"], BEFORE.tables["sprints"]
STATE, OVERRIDES = BEFORE.tables["current_state"], BEFORE.tables["overrides"]
AUDIT = BEFORE.tables["audit_logs"]

Values = Mapping[str, Any]
Naive = Callable[[AsyncEngine, Values], Awaitable[Result]]


async def add_user(engine: AsyncEngine, given: Values) -> Result:
    values = {n: given[n] for n in ("slack_id", "name", "discipline")}
    same = {n: given[n] for n in ("slack_id", "discipline")}
    return await _put(engine, USERS, same, values, given["by"])


async def add_sprint(engine: AsyncEngine, given: Values) -> Result:
    values = {n: given[n] for n in ("sprint_index", "sprint_name")}
    days = {n: date.fromisoformat(given[n]) for n in ("start_date", "end_date")}
    same = {"sprint_index": given["sprint_index"]}
    return await _put(engine, SPRINTS, same, {**values, **days}, given["by"])


async def request_override(engine: AsyncEngine, given: Values) -> Result:
    names = ("sprint_index", "role", "requested_by", "replacement_slack_id")
    more = ("original_slack_id", "replacement_name", "reason")
    same = {n: given[n] for n in names}
    values = {n: given[n] for n in (*names, *more)}
    return await _put(engine, OVERRIDES, same, values, given["by"])


async def answer_override(engine: AsyncEngine, given: Values) -> Result:
    old = await _first(engine, OVERRIDES, {"id": given["id"]})
    if old is None:
        raise Refused(f"There is no request {given['id']}.")
    role = {n: old[n] for n in ("sprint_index", "role")}
    approved = given["decision"] == "approved"
    if approved and await _first(engine, OVERRIDES, {**role, "approved": True}):
        raise Refused("Another override of this role is approved already.")
    answer = {"approved": approved, "approved_by": given["by"]}
    new = await _update(engine, OVERRIDES, old["id"], {**answer, "approval_timestamp": _now()})
    await _audit(engine, OVERRIDES, old, new, given["by"])
    return {"outcome": "updated", "row": plain(new)}


async def transition(engine: AsyncEngine, given: Values) -> Result:
    """Mark the old state, insert the new one, delete the old one."""
    async with engine.connect() as connection:
        team = await reading.team(connection, naive=True)
    here = NONE_YET if team.current is None else team.current
    if here != given["from_index"]:
        return {"outcome": "already", "at": here}
    if team.sprint(here + 1) is None:
        raise Refused(f"There is no sprint {here + 1}.")
    old = await _first(engine, STATE, {"is_current": True})
    if old is not None:
        await _update(engine, STATE, old["id"], {"is_current": None})
    people = {COLUMNS[d.role]: d.slack_id for d in team.duties(here + 1)}
    new = await _insert(engine, STATE, {"sprint_index": here + 1, "is_current": True, **people})
    if old is not None:
        async with engine.begin() as connection:
            await connection.execute(sa.delete(STATE).where(STATE.c.id == old["id"]))
    await _audit(engine, STATE, old, new, given["by"])
    return {"outcome": "moved", "at": here + 1}


async def announce(_engine: AsyncEngine, _given: Values) -> Result:
    return {"outcome": "announced"}


# -- steps -----------------------------------------------------------------------------------------


async def _put(
    engine: AsyncEngine, table: sa.Table, same: Values, values: Values, by: str
) -> Result:
    old = await _first(engine, table, same)
    if old is None:
        new, outcome = await _insert(engine, table, values), "inserted"
    elif all(old[n] == v for n, v in values.items()):
        return {"outcome": "unchanged", "row": plain(old)}
    else:
        new, outcome = await _update(engine, table, old["id"], values), "updated"
    await _audit(engine, table, old, new, by)
    return {"outcome": outcome, "row": plain(new)}


async def _first(engine: AsyncEngine, table: sa.Table, same: Values) -> Values | None:
    query = sa.select(table).where(*(table.c[n] == v for n, v in same.items()))
    async with engine.connect() as connection:
        found = await reading.rows(connection, query.order_by(table.c.id))
    return found[0] if found else None


async def _insert(engine: AsyncEngine, table: sa.Table, values: Values) -> Values:
    async with engine.begin() as connection:
        insert = sa.insert(table).values(**values).returning(table)
        return dict((await connection.execute(insert)).mappings().one())


async def _update(engine: AsyncEngine, table: sa.Table, number: int, values: Values) -> Values:
    async with engine.begin() as connection:
        update = sa.update(table).where(table.c.id == number).values(**values)
        return dict((await connection.execute(update.returning(table))).mappings().one())


async def _audit(
    engine: AsyncEngine, table: sa.Table, old: Values | None, new: Values, by: str
) -> None:
    values = {
        "table_name": table.name,
        "record_id": new["id"],
        "operation": "INSERT" if old is None else "UPDATE",
        "new_values": plain(new),
        "changed_by": by,
    }
    if old is not None:
        values["old_values"] = plain(old)
    await _insert(engine, AUDIT, values)


def _now() -> datetime:
    return datetime.now(UTC)


HANDLERS: dict[str, Naive] = {
    "add_user": add_user,
    "add_sprint": add_sprint,
    "request_override": request_override,
    "import_override": request_override,
    "answer_override": answer_override,
    "transition": transition,
    "announce": announce,
}
