"""The original writers, kept to be shown: look, then write, and the ledger afterwards.

They pass every test with one user. The key leaves out the facility; the look-up before an insert
decides nothing; what the database then refuses, nobody has foreseen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from systems.execution_data import refusals
from systems.execution_data import tables as t
from systems.execution_data.claims import Claims
from systems.execution_data.models import QUARTERS, Body, Change
from systems.execution_data.reading import visible
from systems.execution_data.writing import Done, insert, log_removal, update


class Unforeseen(Exception):
    """An error of the database that the original code does not know of."""


@contextmanager
def transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    try:
        with engine.begin() as connection:
            yield connection
    except sa.exc.DBAPIError as error:
        raise Unforeseen from error


@dataclass(frozen=True, slots=True)
class NaiveWriter:
    """Knows of no facility."""

    engine: sa.Engine

    def create(self, body: Body, who: Claims) -> Done:
        values = {**body.changes(), "created_by": who.sub}
        values["cumulative_balance"] = t.total(values)
        with transaction(self.engine) as connection:
            if self._taken(connection, values):
                raise refusals.exists_already(connection, t.OLD_KEY, values, who, column=False)
            self._refuse_unknown(connection, values)
            row = insert(connection, values, column=False)
        amounts = [values[q] for q in QUARTERS]
        with transaction(self.engine) as connection:
            connection.execute(sa.insert(t.LEDGER).values(t.postings(row["id"], amounts)))
        return Done(row, None)

    def change(self, number: int, body: Body | Change, who: Claims) -> Done:
        with transaction(self.engine) as connection:
            row = visible(connection, self._of(number), _ANYONE)
            values = {**{c: row[c] for c in (*t.OLD_KEY, *QUARTERS)}, **body.changes()}
            if self._taken(connection, values, besides=number):
                raise refusals.exists_already(connection, t.OLD_KEY, values, who, column=False)
            self._refuse_unknown(connection, values)
            changed = update(connection, number, values, column=False)
        postings = t.postings(number, [values[q] - row[q] for q in QUARTERS])
        if different := [p for p in postings if p["amount"]]:
            with transaction(self.engine) as connection:
                connection.execute(sa.insert(t.LEDGER).values(different))
        return Done(changed, None)

    def remove(self, number: int, who: Claims) -> None:
        with transaction(self.engine) as connection:
            row = visible(connection, self._of(number), _ANYONE)
            connection.execute(sa.delete(t.REPORTS).where(t.REPORTS.c.id == number))
        log_removal(row, who)

    def _of(self, number: int) -> sa.Select[Any]:
        return t.reports(False).where(t.REPORTS.c.id == number)

    def _taken(
        self, connection: sa.Connection, values: dict[str, object], besides: int = 0
    ) -> bool:
        where = [t.REPORTS.c[c] == values[c] for c in t.OLD_KEY]
        sql = sa.select(t.REPORTS.c.id).where(*where, t.REPORTS.c.id != besides)
        return connection.execute(sql).first() is not None

    def _refuse_unknown(self, connection: sa.Connection, values: dict[str, object]) -> None:
        fault = refusals.unknown(connection, values)
        if fault.details:
            raise fault


_ANYONE = Claims(sub="the original code asks nobody", role="ADMIN", facility_id=1)
