"""Writes: the row and its ledger in one transaction, the key left to the database to keep."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa

from onerow import conflict_of, transactional
from systems.execution_data import refusals
from systems.execution_data import tables as t
from systems.execution_data.claims import Claims
from systems.execution_data.models import QUARTERS, Body, Change
from systems.execution_data.reading import Reader, Row, first
from systems.shared.columns import now
from systems.shared.web.errors import Fault

audit = logging.getLogger("systems.execution_data.audit")


@dataclass(frozen=True, slots=True)
class Done:
    """A row as it is now, and whether a facility that was sent was ignored."""

    row: Row
    warning: str | None


class Writer(Protocol):
    """Both writers, the safe and the naive one."""

    def create(self, body: Body, who: Claims) -> Done: ...
    def change(self, number: int, body: Body | Change, who: Claims) -> Done: ...
    def remove(self, number: int, who: Claims) -> None: ...


@dataclass(frozen=True, slots=True)
class SafeWriter:
    """Each call is one transaction, run again when it fails for something that passes."""

    engine: sa.Engine
    reader: Reader

    def create(self, body: Body, who: Claims) -> Done:
        """A new row, and one posting per quarter.

        Raises:
            Fault: 400, 403, 409.
        """
        given = _Given(self, body.changes(), who)
        return given.run("create", self._create, body)

    def _create(self, connection: sa.Connection, given: _Given, body: Body) -> Done:
        scope, who = self.reader.scope, given.who
        given.column = column = self.reader.has_facility(connection, writing=True)
        scope.check(body.facility_id, who, column=column)
        values = {**given.values, "cumulative_balance": t.total(given.values)}
        if column:
            values["facility_id"] = scope.of_new(body.facility_id, who)
        given.values = values
        row = insert(connection, {**values, "created_by": who.sub}, column)
        connection.execute(t.POST_EACH, {"report": row["id"], **{q: values[q] for q in QUARTERS}})
        return Done(row, scope.warning(body.facility_id, column=column))

    def change(self, number: int, body: Body | Change, who: Claims) -> Done:
        """A row as the body says, and the differences as postings.

        Raises:
            Fault: 400, 403, 404, 409.
        """
        given = _Given(self, body.changes(), who)
        return given.run("change", self._change, number, body)

    def _change(
        self, connection: sa.Connection, given: _Given, number: int, body: Body | Change
    ) -> Done:
        scope, who = self.reader.scope, given.who
        given.column = column = self.reader.has_facility(connection, writing=True)
        scope.check(body.facility_id, who, column=column)
        row = self.reader.locked(connection, number, who, column=column)
        values = {**{c: row[c] for c in (*t.OLD_KEY, *QUARTERS)}, **body.changes()}
        if column:
            values["facility_id"] = scope.of_changed(body.facility_id, row["facility_id"], who)
        given.values = values
        changed = update(connection, number, values, column)
        differences = [values[q] - row[q] for q in QUARTERS]
        postings = [p for p in t.postings(number, differences) if p["amount"]]
        if postings:
            connection.execute(sa.insert(t.LEDGER), postings)
        return Done(changed, scope.warning(body.facility_id, column=column))

    def remove(self, number: int, who: Claims) -> None:
        """Without the row and, by cascade, its postings; the log keeps who and what.

        Raises:
            Fault: 403, 404.
        """
        row = transactional(self.engine, name="remove")(self._remove)(number, who)
        log_removal(row, who)

    def _remove(self, connection: sa.Connection, number: int, who: Claims) -> Row:
        column = self.reader.has_facility(connection, writing=True)
        row = self.reader.locked(connection, number, who, column=column)
        connection.execute(sa.delete(t.REPORTS).where(t.REPORTS.c.id == number))
        return row


class _Given:
    """What a write was asked for, kept for the answer if the database refuses it."""

    def __init__(self, writer: SafeWriter, values: dict[str, Any], who: Claims) -> None:
        self.writer, self.values, self.who, self.column = writer, values, who, False

    def run(self, name: str, write: Any, *args: Any) -> Done:
        engine = self.writer.engine
        try:
            done: Done = transactional(engine, name=name)(write)(self, *args)
        except sa.exc.IntegrityError as error:
            refused = conflict_of(error, metadata=t.METADATA)
            # What is there is read by a transaction of its own: that of the write is over.
            with engine.connect() as connection:
                if refused is not None and refusals.is_key(refused):
                    # Who knows of no facility is told of none: SQLite may name either of two keys.
                    counts = self.writer.reader.scope.counts(column=self.column)
                    key = refused.columns if counts else t.OLD_KEY
                    raise refusals.exists_already(
                        connection, key, self.values, self.who, column=self.column
                    ) from None
                if refused is not None and refused.kind == "foreign_key":
                    raise refusals.unknown(connection, self.values) from None
            raise
        return done


def insert(connection: sa.Connection, values: Mapping[str, Any], column: bool) -> Row:
    """A new row; the database has the last word."""
    made = connection.execute(t.NEW_REPORT, values).mappings().one()
    return {**{c.name: values.get(c.name) for c in t.shown(column)}, **made}


def update(connection: sa.Connection, number: int, values: dict[str, Any], column: bool) -> Row:
    """A row with these values, its sum and its moment."""
    more = {"cumulative_balance": t.total(values), "updated_at": now()}
    sql = sa.update(t.REPORTS).where(t.REPORTS.c.id == number).values({**values, **more})
    row = first(connection, sql.returning(*t.shown(column)))
    if row is None:
        raise Fault(404, "There is no such execution data.")
    return row


def log_removal(row: Row, who: Claims) -> None:
    """The one trace of a row that is gone; `%r` keeps a name to its line."""
    audit.info(
        "removed %s: period %s, activity %s, facility %s, balance %s, by %r (%s)",
        *(row[c] for c in ("id", *t.NEW_KEY, "cumulative_balance")),
        who.sub,
        who.role,
    )
