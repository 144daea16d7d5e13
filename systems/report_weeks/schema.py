"""The tables, before and after. What the change adds stands last, as ALTER TABLE puts it."""

from __future__ import annotations

import sqlalchemy as sa

from systems.shared import columns as c
from systems.shared.errors import SystemRefusal

REQUEST = ("name", "workflow_id", "instance_id", "start_date", "end_date")
LINKED = "execution_id IS NOT NULL"


def before() -> sa.MetaData:
    """No key on the weeks, and an execution that nothing refers to."""
    schema = c.metadata()
    _executions(schema)
    _collections(schema)
    _weeks(schema, sa.Column("execution_id", c.uuid()))
    return schema


def after() -> sa.MetaData:
    """One row per week of a collection, each linked to the execution that made it."""
    schema = c.metadata()
    _executions(schema)
    _collections(schema, sa.UniqueConstraint(*REQUEST, name="report_data_collections_request_key"))
    weeks = _weeks(
        schema,
        c.refers("execution_id", "workflow_executions.id", null=True, on_delete="SET NULL"),
        c.text("claimed_by", null=True),
        sa.Column("claimed_until", c.moment()),
        sa.Column("claim_token", sa.BigInteger),
        sa.UniqueConstraint("collection_id", "week_start_date"),
    )
    for name, columns in (
        ("idx_report_data_weeks_execution_id", [weeks.c.execution_id]),
        (
            "idx_report_data_weeks_collection_execution",
            [weeks.c.collection_id, weeks.c.execution_id],
        ),
    ):
        linked = sa.text(LINKED)
        sa.Index(name, *columns, postgresql_where=linked, sqlite_where=linked)
    return schema


def refuse_after(engine: sa.Engine) -> None:
    """The writers of before would meet a key, and weeks that others have claimed.

    Raises:
        SystemRefusal: the database has been changed already, or is just being changed.
    """
    there = {c["name"] for c in sa.inspect(engine).get_columns("report_data_weeks")}
    if "claim_token" in there:
        raise SystemRefusal(
            "The database has been changed already; the naive writers are for the one before."
            " `python -m systems.report_weeks before --url URL` makes it."
        )


def _executions(schema: sa.MetaData) -> None:
    c.table(
        "workflow_executions",
        schema,
        _id(),
        sa.Column("execution_id", sa.Text, nullable=False, unique=True),
        c.text("amc_execution_id", null=True),
        sa.Column("workflow_id", c.uuid()),
        c.text("status", default="pending"),
        c.integer("progress", default="0"),
        c.integer("row_count", null=True),
        c.text("error_message", null=True),
        sa.Column("started_at", c.moment()),
        sa.Column("completed_at", c.moment()),
        c.created_at(),
    )


def _collections(schema: sa.MetaData, *more: sa.schema.SchemaItem) -> None:
    c.table(
        "report_data_collections",
        schema,
        _id(),
        c.text("name"),
        sa.Column("workflow_id", c.uuid(), nullable=False),
        c.text("instance_id"),
        c.text("collection_type", default="backfill"),
        c.integer("target_weeks", default="52"),
        c.day("start_date"),
        c.day("end_date"),
        c.text("status", default="pending"),
        c.integer("progress_percentage", default="0"),
        c.integer("weeks_completed", default="0"),
        sa.Column("configuration", c.json()),
        c.created_at(),
        c.updated_at(),
        *more,
    )


def _weeks(schema: sa.MetaData, execution: sa.Column[str], *more: sa.schema.SchemaItem) -> sa.Table:
    weeks = c.table(
        "report_data_weeks",
        schema,
        _id(),
        c.refers("collection_id", "report_data_collections.id", on_delete="CASCADE"),
        c.day("week_start_date"),
        c.day("week_end_date"),
        sa.Column("status", sa.String(50), nullable=False, server_default="pending"),
        execution,
        sa.Column("data", c.json()),
        c.created_at(),
        c.updated_at(),
        c.text("error_message", null=True),
        *more,
    )
    sa.Index("idx_report_data_weeks_collection_id", weeks.c.collection_id)
    return weeks


def _id() -> sa.Column[str]:
    return sa.Column("id", c.uuid(), primary_key=True, server_default=c.new_uuid())
