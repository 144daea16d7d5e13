"""Reads, each in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from systems.execution_data import tables as t
from systems.execution_data.claims import Claims
from systems.execution_data.scope import FacilityScope, outside
from systems.shared.web.errors import Fault

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reader:
    """Of one setting of the switch."""

    scope: FacilityScope

    def has_facility(self, connection: sa.Connection, *, writing: bool = False) -> bool:
        """Under `required` it was seen when the server started, and NOT NULL keeps it."""
        if self.scope is FacilityScope.REQUIRED:
            return True
        return t.has_facility(connection, writing=writing)

    def one(self, connection: sa.Connection, number: int, who: Claims) -> Row:
        """Raises Fault: 404 or 403."""
        return visible(connection, _of(number, self.has_facility(connection)), who)

    def locked(self, connection: sa.Connection, number: int, who: Claims, *, column: bool) -> Row:
        """The same, for a write: nobody else changes it until the transaction ends."""
        return visible(connection, _of(number, column).with_for_update(), who)

    def by_key(
        self,
        connection: sa.Connection,
        who: Claims,
        *,
        period: int,
        activity: int,
        facility: int | None,
    ) -> Row | None:
        """The row that a POST of this key would run into.

        Raises:
            Fault: 400 or 403 for the facility.
        """
        column = self.has_facility(connection)
        self.scope.check(facility, who, column=column)
        sql = t.reports(column).where(
            t.REPORTS.c.reporting_period_id == period, t.REPORTS.c.activity_id == activity
        )
        if self.scope.counts(column=column):
            sql = sql.where(self._belongs(facility or who.facility_id))
        # Under the old key there is one; a moment with both may show a row without a facility, too.
        return first(connection, sql.order_by(t.REPORTS.c.id).limit(1))

    def listed(
        self,
        connection: sa.Connection,
        who: Claims,
        *,
        period: int | None,
        facility: int | None,
        limit: int,
        offset: int,
    ) -> tuple[list[Row], int]:
        """A page of rows, newest update first, and how many there are in all."""
        column = self.has_facility(connection)
        where = [] if period is None else [t.REPORTS.c.reporting_period_id == period]
        where += self._within(facility, who, column)
        r = t.REPORTS.c
        newest = t.reports(column).where(*where).order_by(r.updated_at.desc(), r.id.desc())
        rows = connection.execute(newest.limit(limit).offset(offset)).mappings()
        count = sa.select(sa.func.count()).select_from(t.REPORTS).where(*where)
        return [dict(r) for r in rows], connection.execute(count).scalar_one()

    def of_grid(
        self, connection: sa.Connection, period: int, facility: int, activities: Sequence[int]
    ) -> dict[int, Row]:
        """The rows of some activities, by activity; where the old key rules, whoever's they are."""
        column = self.has_facility(connection)
        r = t.REPORTS.c
        sql = t.reports(column).where(
            r.reporting_period_id == period, r.activity_id.in_(activities)
        )
        if column:
            sql = sql.where(self._belongs(facility))
        return {row["activity_id"]: dict(row) for row in connection.execute(sql).mappings()}

    def _within(
        self, facility: int | None, who: Claims, column: bool
    ) -> list[sa.ColumnElement[bool]]:
        if not column:
            return []
        if self.scope.counts(column=column) and facility is not None:
            if not who.may_see(facility):
                raise outside()
            return [self._belongs(facility)]
        return [] if who.is_admin else [self._belongs(who.facility_id)]

    def _belongs(self, facility: int) -> sa.ColumnElement[bool]:
        column = t.REPORTS.c.facility_id
        if self.scope is FacilityScope.REQUIRED:
            return column == facility
        return sa.or_(column == facility, column.is_(None))


def _of(number: int, column: bool) -> sa.Select[Any]:
    return t.reports(column).where(t.REPORTS.c.id == number)


def first(connection: sa.Connection, sql: sa.Executable) -> Row | None:
    """The first row, by names."""
    row = connection.execute(sql).mappings().first()
    return None if row is None else dict(row)


def visible(connection: sa.Connection, sql: sa.Executable, who: Claims) -> Row:
    """Raises Fault: 404 where there is no row, 403 for one of another facility."""
    return permitted(first(connection, sql), who)


def permitted(row: Row | None, who: Claims) -> Row:
    """Raises Fault, as `visible` does."""
    if row is None:
        raise Fault(404, "There is no such execution data.")
    if not who.may_see(row["facility_id"]):
        raise outside()
    return row
