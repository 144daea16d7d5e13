"""Reads the whole team at once; of the before-schema, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from systems.triage_bot import schema
from systems.triage_bot.rotation import COLUMNS, Override, Person, Sprint, Team
from systems.triage_bot.tables import AFTER

BEFORE = schema.before()
PAST = 2  #: sprints before the current one that are still looked at


async def team(connection: AsyncConnection, *, naive: bool = False) -> Team:
    """People, sprints, the overrides from lately on, the state."""
    tables = (BEFORE if naive else AFTER).tables
    state = await _state(connection, tables["current_state"], naive)
    overrides = tables["overrides"]
    recent = overrides.c.sprint_index >= (state.get("sprint_index") or 0) - PAST
    return Team(
        tuple(person(r) for r in await rows(connection, _ordered(tables["users"]))),
        tuple(sprint(r) for r in await rows(connection, _ordered(tables["sprints"]))),
        tuple(override(r) for r in await rows(connection, _ordered(overrides).where(recent))),
        state.get("sprint_index"),
        holders(state),
    )


async def _state(connection: AsyncConnection, table: sa.Table, naive: bool) -> Mapping[str, Any]:
    query = sa.select(table)
    if naive:
        query = query.where(table.c.is_current).order_by(table.c.id.desc())
    found = await rows(connection, query)
    return found[0] if found else {}


def _ordered(table: sa.Table) -> sa.Select[Any]:
    return sa.select(table).order_by(table.c.id)


async def rows(connection: AsyncConnection, query: sa.Select[Any]) -> list[Mapping[str, Any]]:
    """The rows of a query, by the names of its columns."""
    return [dict(row) for row in (await connection.execute(query)).mappings()]


def person(row: Mapping[str, Any]) -> Person:
    # Without a position, people take turns in the order in which they were entered.
    position = row.get("position", row["id"])
    return Person(
        row["slack_id"], row["name"], row["discipline"], position, row.get("active", True)
    )


def sprint(row: Mapping[str, Any]) -> Sprint:
    return Sprint(row["sprint_index"], row["sprint_name"], row["start_date"], row["end_date"])


def override(row: Mapping[str, Any]) -> Override:
    return Override(
        row["id"],
        row["sprint_index"],
        row["role"],
        row["requested_by"],
        row["replacement_slack_id"],
        row["replacement_name"],
        row["original_slack_id"],
        row["status"] if "status" in row else _status(row),
        row["reason"],
        row["approved_by"],
    )


def _status(row: Mapping[str, Any]) -> str:
    if row["approved"]:
        return "approved"
    return "declined" if row["approved_by"] else "pending"


def holders(row: Mapping[str, Any]) -> dict[str, str | None]:
    """Who is on call by a row of the state, by role."""
    return {role: row.get(column) for role, column in COLUMNS.items()}
