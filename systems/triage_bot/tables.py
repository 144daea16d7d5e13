"""The tables that the application works with, their keys, and what it adds of its own."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from onerow import Key
from onerow.aio import create_tables
from systems.shared import columns as c
from systems.shared.errors import SystemRefusal
from systems.shared.web.schema import lacking
from systems.triage_bot import schema

AFTER = schema.after()
USERS, SPRINTS = AFTER.tables["users"], AFTER.tables["sprints"]
STATE, OVERRIDES = AFTER.tables["current_state"], AFTER.tables["overrides"]
AUDIT = AFTER.tables["audit_logs"]

PERSON = Key(USERS, "slack_id", "discipline")
SPRINT = Key(SPRINTS, "sprint_index")
ONE_STATE = Key(STATE)
REQUEST = Key(OVERRIDES, "sprint_index", "role", "requested_by", "replacement_slack_id")
ONE_APPROVED = "overrides_one_approved"

OWN = c.metadata()
#: What is to be sent, once for each sprint, person and kind; sent by whoever claims it.
OUTBOX = c.table(
    "notifications",
    OWN,
    c.serial(),
    c.integer("sprint_index"),
    c.text("recipient"),
    c.text("kind"),
    sa.Column("message", c.json(), nullable=False),
    c.text("status", default="waiting"),
    c.text("failure", null=True),
    c.created_at(),
    c.text("claimed_by", null=True),
    sa.Column("claimed_until", c.moment()),
    c.integer("claim_token", null=True),
    sa.CheckConstraint(
        "status IN ('waiting', 'sent', 'failed')", name="notifications_status_check"
    ),
    sa.UniqueConstraint("sprint_index", "recipient", "kind", name="notifications_once"),
)
sa.Index("notifications_waiting", OUTBOX.c.status, OUTBOX.c.id)
NOTICE = Key(OUTBOX, "sprint_index", "recipient", "kind")


async def prepare(engine: AsyncEngine) -> None:
    """Make the application's own tables where they are not there."""
    await create_tables(engine)
    async with engine.execution_options(begin="IMMEDIATE").begin() as connection:
        if connection.dialect.name == "postgresql":
            # CREATE TABLE IF NOT EXISTS of two at once breaks on the catalog's own key.
            await connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('triage_bot'))")
        await connection.run_sync(OWN.create_all)


def check_schema(engine: sa.Engine, *, naive: bool) -> None:
    """Refuse a database that this writer is not for."""
    missing = lacking(engine, schema.before() if naive else schema.required())
    if not missing:
        return
    told = ", ".join(missing)
    if naive:
        raise SystemRefusal(
            f"--naive knows only the old keys, and the database lacks {told}. Serve without it."
        )
    raise SystemRefusal(
        f"The database lacks {told}. `onerow apply` with `rules` makes what is needed;"
        " --naive serves the old keys."
    )
