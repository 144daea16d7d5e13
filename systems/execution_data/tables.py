"""The tables as statements see them, and what of them is there at the moment."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import sqlalchemy as sa

from systems.execution_data import schema
from systems.execution_data.models import QUARTERS, ZERO
from systems.shared.columns import Money

#: With the old key and the new one: whichever the database has, a conflict is told by columns.
METADATA = schema.during()
REPORTS = METADATA.tables["execution_data"]
LEDGER = METADATA.tables["execution_ledger"]
PERIODS = METADATA.tables["reporting_periods"]
ACTIVITIES = METADATA.tables["activities"]
FACILITIES = METADATA.tables["facilities"]

OLD_KEY = ("reporting_period_id", "activity_id")
NEW_KEY = (*OLD_KEY, "facility_id")

_LOOK = {
    "postgresql": """
        SELECT count(*) FROM pg_attribute WHERE attrelid = 'execution_data'::regclass
        AND attname = 'facility_id' AND NOT attisdropped""",
    # It tells of the connection's copy of the schema, which any use of the table brings up to date.
    "sqlite": "SELECT count(*) FROM pragma_table_info('execution_data') WHERE name = 'facility_id'",
}


def has_facility(connection: sa.Connection, *, writing: bool) -> bool:
    """Whether the column is there; it stays so until the transaction ends.

    With a lock that a statement of the transaction would take anyway, and ALTER TABLE waits for.
    """
    name = connection.dialect.name
    mode = "ROW EXCLUSIVE" if writing else "ACCESS SHARE"
    lock = f"LOCK TABLE execution_data IN {mode} MODE" if name == "postgresql" else _TOUCH
    connection.exec_driver_sql(lock)
    return bool(connection.exec_driver_sql(_LOOK[name]).scalar())


_TOUCH = "SELECT 1 FROM execution_data LIMIT 0"


#: Made once: what SQLAlchemy does to render a statement costs more than the statement.
NEW_REPORT = sa.insert(REPORTS).returning(REPORTS.c.id, REPORTS.c.created_at, REPORTS.c.updated_at)
POST_EACH = sa.text(
    "INSERT INTO execution_ledger (execution_data_id, quarter, amount) VALUES"
    " (:report, 1, :q1_amount), (:report, 2, :q2_amount),"
    " (:report, 3, :q3_amount), (:report, 4, :q4_amount)"
).bindparams(*(sa.bindparam(q, type_=Money()) for q in QUARTERS))


@cache
def shown(column: bool) -> tuple[sa.ColumnElement[Any], ...]:
    """What an answer is made of."""
    facility: sa.ColumnElement[Any] = REPORTS.c.facility_id
    if not column:
        facility = sa.null().label("facility_id")
    rest = (c for c in REPORTS.c if c.name not in ("facility_id", "created_by"))
    return (*rest, facility)


@cache
def reports(column: bool) -> sa.Select[Any]:
    return sa.select(*shown(column))


def total(values: dict[str, Any]) -> Any:
    """The cumulative balance of a row."""
    return sum((values[q] for q in QUARTERS), ZERO)


def postings(report: int, amounts: Iterable[Any]) -> list[dict[str, Any]]:
    """One posting per quarter."""
    return [
        {"execution_data_id": report, "quarter": quarter, "amount": amount}
        for quarter, amount in enumerate(amounts, 1)
    ]
