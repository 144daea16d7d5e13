"""What the database refused, as an answer. Recognised by columns, never by an index's name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from onerow import Conflict
from systems.execution_data import tables as t
from systems.execution_data.claims import Claims
from systems.execution_data.models import Report, ReportKey
from systems.shared.web.errors import Detail, Fault

OLD = "Execution data already exists for this reporting period and activity"
NEW = "Execution data already exists for this reporting period, activity and facility"


def exists_already(
    connection: sa.Connection,
    columns: tuple[str, ...],
    values: Mapping[str, Any],
    who: Claims,
    *,
    column: bool,
) -> Fault:
    """409 with the key, and with what is stored, if that may be seen."""
    of_facility = "facility_id" in columns
    found = {c: values[c] for c in (t.NEW_KEY if of_facility else t.OLD_KEY)}
    more: dict[str, Any] = {"key": ReportKey(**found).model_dump(by_alias=True, exclude_none=True)}
    where = [t.REPORTS.c[c] == v for c, v in found.items()]
    row = connection.execute(t.reports(column).where(*where)).mappings().one_or_none()
    if row is not None and who.may_see(row["facility_id"]):
        more["stored"] = Report(**row).model_dump(mode="json", by_alias=True)
    return Fault(409, NEW if of_facility else OLD, more=more)


def is_key(conflict: Conflict) -> bool:
    """A row with this key is there already, whichever of the two keys says so."""
    return conflict.on(*t.OLD_KEY) or conflict.on(*t.NEW_KEY)


def unknown(connection: sa.Connection, values: Mapping[str, Any]) -> Fault:
    """400 with the references that lead nowhere; SQLite does not tell which."""
    details = [
        Detail(field=field, message=f"There is no {what} {number}")
        for field, what, number in _unknown(connection, values)
    ]
    told = ". ".join(d.message for d in details) or "A row that was referred to is gone"
    return Fault(400, f"{told}.", code="UNKNOWN_REFERENCE", details=details)


def _unknown(
    connection: sa.Connection, values: Mapping[str, Any]
) -> Iterator[tuple[str, str, int]]:
    for column, field, what, table in (
        ("reporting_period_id", "reportingPeriodId", "reporting period", t.PERIODS),
        ("activity_id", "activityId", "activity", t.ACTIVITIES),
        ("facility_id", "facilityId", "facility", t.FACILITIES),
    ):
        number = values.get(column)
        sql = sa.select(table.c.id).where(table.c.id == number)
        if number is not None and connection.execute(sql).first() is None:
            yield field, what, number
