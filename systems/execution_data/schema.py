"""The tables, before and after. What the change adds stands last, as ALTER TABLE puts it."""

from __future__ import annotations

import sqlalchemy as sa

from systems.shared import columns as c

OLD_KEY = "execution_data_reporting_period_id_activity_id_key"
NEW_KEY = "execution_data_reporting_period_id_activity_id_facility_id_key"


def before() -> sa.MetaData:
    """The key leaves out the facility: one facility in the country can save an activity."""
    schema = _around()
    key = sa.UniqueConstraint("reporting_period_id", "activity_id", name=OLD_KEY)
    _execution(schema, key)
    return schema


def after() -> sa.MetaData:
    """Every facility has its own row."""
    schema = _around()
    key = sa.UniqueConstraint("reporting_period_id", "activity_id", "facility_id", name=NEW_KEY)
    _execution(schema, c.refers("facility_id", "facilities.id", on_delete="CASCADE"), key)
    return schema


def during() -> sa.MetaData:
    """The column is there and may be NULL, and so are both keys."""
    schema = _around()
    old = sa.UniqueConstraint("reporting_period_id", "activity_id", name=OLD_KEY)
    new = sa.UniqueConstraint("reporting_period_id", "activity_id", "facility_id", name=NEW_KEY)
    facility = c.refers("facility_id", "facilities.id", null=True, on_delete="CASCADE")
    _execution(schema, facility, old, new)
    return schema


def column() -> sa.MetaData:
    """What serving with a facility needs, whatever keys there are."""
    schema = _around()
    _execution(schema, c.refers("facility_id", "facilities.id", on_delete="CASCADE"))
    return schema


def least() -> sa.MetaData:
    """What serving needs at least: neither facility nor key."""
    schema = _around()
    _execution(schema)
    return schema


def _around() -> sa.MetaData:
    schema = c.metadata()
    c.table(
        "reporting_periods",
        schema,
        c.serial(),
        c.integer("year"),
        c.text("period_type"),
        c.day("start_date"),
        c.day("end_date"),
        c.text("status"),
    )
    c.table(
        "activities",
        schema,
        c.serial(),
        c.text("category"),
        c.text("name"),
        c.yes_no("is_total_row", default=False),
        c.integer("display_order"),
    )
    c.table(
        "facilities",
        schema,
        c.serial(),
        c.text("name"),
        c.text("facility_type"),
        c.text("district"),
        sa.CheckConstraint(
            "facility_type IN ('hospital', 'health_center')", name="facilities_facility_type_check"
        ),
    )
    return schema


def _execution(schema: sa.MetaData, *more: sa.schema.SchemaItem) -> None:
    c.table(
        "execution_data",
        schema,
        c.serial(),
        c.refers("reporting_period_id", "reporting_periods.id"),
        c.refers("activity_id", "activities.id"),
        *(_amount(f"q{n}_amount") for n in (1, 2, 3, 4)),
        _amount("cumulative_balance"),
        c.text("comment", null=True),
        c.text("created_by", null=True),
        c.created_at(),
        c.updated_at(),
        *more,
    )
    ledger = c.table(
        "execution_ledger",
        schema,
        c.serial(),
        c.refers("execution_data_id", "execution_data.id", on_delete="CASCADE"),
        c.integer("quarter"),
        sa.Column("amount", c.Money(), nullable=False),
        sa.Column("posted_at", c.moment(), nullable=False, server_default=c.now()),
        sa.CheckConstraint("quarter BETWEEN 1 AND 4", name="execution_ledger_quarter_check"),
    )
    sa.Index("ix_execution_ledger_execution_data_id", ledger.c.execution_data_id)


def _amount(name: str) -> sa.Column[object]:
    return sa.Column(name, c.Money(), nullable=False, server_default="0")
