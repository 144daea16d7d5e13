"""How the bot is: the database, the spool, the last transition, what does not fit."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI
from starlette.responses import JSONResponse

from onerow.aio import transactional
from systems.shared.web.measures import HEALTH, Health
from systems.triage_bot import reading, rotation
from systems.triage_bot import tables as t
from systems.triage_bot.desk import READ, Desk, SafeDesk, away
from systems.triage_bot.outbox import waiting

PATIENCE = 5.0  #: seconds until a database that says nothing is away
AUDITED = ("users", "sprints", "overrides", "current_state")

#: The table of `onerow.write.operation` (docs/writes/operation.md).
OPERATIONS = sa.table("onerow_operations", sa.column("created_at", sa.DateTime(timezone=True)))


def install(app: FastAPI, desk: Desk) -> None:
    """GET /health."""

    async def health() -> JSONResponse:
        """200 when the database is reachable, else 503; the spool's depth either way."""
        found = await look(desk)
        return JSONResponse(found, 200 if found["status"] == "ok" else 503)

    told: dict[int | str, dict[str, Any]] = {
        200: {"model": Health},
        503: {"model": Health, "description": "The database cannot be reached."},
    }
    app.add_api_route(
        HEALTH, health, response_class=JSONResponse, responses=told, tags=["operation"]
    )


async def look(desk: Desk) -> dict[str, Any]:
    """Everything that can be told."""
    spool = {"spool_depth": desk.depth}
    if isinstance(desk, SafeDesk):
        spool["spool_failed"] = len(desk.spool.failed)
    read = transactional(desk.engine, read_only=True, retry=READ, name="health")(_facts)
    try:
        facts = await asyncio.wait_for(read(desk.is_naive), PATIENCE)
    except TimeoutError:
        return {"status": "unavailable", **spool}
    except Exception as error:
        if not away(error):
            raise
        return {"status": "unavailable", **spool}
    return {"status": "ok", **spool, **facts}


async def _facts(connection: Any, naive: bool) -> dict[str, Any]:
    team = await reading.team(connection, naive=naive)
    moved = await connection.scalar(
        sa.select(sa.func.max(t.AUDIT.c.changed_at)).where(
            t.AUDIT.c.table_name == t.STATE.name, t.AUDIT.c.operation == "UPDATE"
        )
    )
    problems = [*rotation.flaws(team), *await _rows(connection, naive)]
    return {
        "sprint": team.current,
        "last_transition": moved.isoformat() if moved else None,
        "notices_waiting": 0 if naive else await waiting(connection),
        "consistent": not problems,
        "problems": problems,
    }


async def _rows(connection: Any, naive: bool) -> list[str]:
    problems = []
    states = await connection.scalar(sa.select(sa.func.count()).select_from(t.STATE))
    if states != 1:
        problems.append(f"there are {states} states")
    return [*problems, *await _twice_approved(connection, naive), *await _silent(connection, naive)]


async def _twice_approved(connection: Any, naive: bool) -> list[str]:
    o = (reading.BEFORE if naive else t.AFTER).tables["overrides"]
    approved = o.c.approved if naive else o.c.status == "approved"
    several = (
        sa.select(o.c.sprint_index, o.c.role)
        .where(approved)
        .group_by(o.c.sprint_index, o.c.role)
        .having(sa.func.count() > 1)
    )
    found = (await connection.execute(several.limit(10))).all()
    return [f"several overrides are approved for {role} in sprint {n}" for n, role in found]


async def _silent(connection: Any, naive: bool) -> list[str]:
    """Rows that were written since our first operation, and of which no audit row tells."""
    if naive:
        return []
    since = await connection.scalar(sa.select(sa.func.min(OPERATIONS.c.created_at)))
    if since is None:
        return []
    if connection.dialect.name == "sqlite":
        since = since + timedelta(seconds=1)  # SQLite's clock has no parts of a second
    found = [(n, await connection.scalar(_unaudited(t.AFTER.tables[n], since))) for n in AUDITED]
    return [
        f"{many} rows of {name} were written without an audit row" for name, many in found if many
    ]


def _unaudited(table: sa.Table, since: datetime) -> Any:
    told = sa.exists().where(
        t.AUDIT.c.table_name == table.name,
        t.AUDIT.c.record_id == table.c.id,
        t.AUDIT.c.changed_at >= table.c.updated_at,
    )
    rows = sa.select(sa.func.count()).select_from(table)
    return rows.where(table.c.updated_at >= since, sa.not_(told))
