"""The write paths of plans: the safe one, and the one that there was. Nothing else differs.

Each works in the caller's transaction, on rows that the caller may change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.orm import Session

from onerow import Written, advance, patch
from systems.membership_plans import names
from systems.membership_plans.store import Row
from systems.membership_plans.tables import FOLDED, Tables, fold

Values = Mapping[str, Any]


class NameTaken(Exception):
    """Another active plan of the scope has the name."""


class Writer(Protocol):
    """What both can do. A name that is taken raises NameTaken, or the database's own error."""

    @property
    def tables(self) -> Tables: ...
    def create(self, session: Session, values: Values) -> Row: ...
    def change(self, session: Session, row: Row, changes: Values) -> Row: ...
    def archive(self, session: Session, row: Row, now: datetime) -> Row: ...
    def restore(self, session: Session, row: Row, now: datetime) -> Row | None: ...


@dataclass(frozen=True, slots=True)
class Safe:
    """The database decides, in the statement that writes."""

    tables: Tables

    def create(self, session: Session, values: Values) -> Row:
        return _insert(session, self.tables.plans, self._with_folded(values))

    def change(self, session: Session, row: Row, changes: Values) -> Row:
        key, values = self.tables.by_id, self._with_folded(changes)
        written: Written[Row] = patch(session, key, {"id": row.id}, values)
        return written.row

    def archive(self, session: Session, row: Row, now: datetime) -> Row:
        """Whoever comes second leaves the row alone."""
        return self._moved(session, row, ("ACTIVE", "ARCHIVED"), now).row

    def restore(self, session: Session, row: Row, now: datetime) -> Row | None:
        """None: somebody else has restored it."""
        written = self._moved(session, row, ("ARCHIVED", "ACTIVE"), now)
        return written.row if written.changed else None

    def _moved(
        self, session: Session, row: Row, move: tuple[str, str], now: datetime
    ) -> Written[Row]:
        key, at = self.tables.by_id, {"updated_at": now}
        return advance(session, key, {"id": row.id}, {"status": move}, set=at)

    def _with_folded(self, values: Values) -> Values:
        if not self.tables.folds or "name" not in values:
            return values
        return {**values, FOLDED: names.folded(values["name"])}


@dataclass(frozen=True, slots=True)
class Naive:
    """Look whether the name is free; then write, in a transaction of its own."""

    tables: Tables

    def create(self, session: Session, values: Values) -> Row:
        self._look(session, values)
        return _insert(session, self.tables.plans, values)

    def change(self, session: Session, row: Row, changes: Values) -> Row:
        if "name" in changes and row.status == "ACTIVE":
            self._look(session, {**row._mapping, **changes}, but=row.id)
        return self._update(session, row, changes)

    def archive(self, session: Session, row: Row, now: datetime) -> Row:
        if row.status == "ARCHIVED":
            return row
        session.commit()
        return self._update(session, row, {"status": "ARCHIVED", "updated_at": now})

    def restore(self, session: Session, row: Row, now: datetime) -> Row | None:
        self._look(session, row._mapping)
        return self._update(session, row, {"status": "ACTIVE", "updated_at": now})

    def _look(self, session: Session, values: Mapping[Any, Any], but: str = "") -> None:
        c = self.tables.plans.c
        same = (
            c.tenant_id == values["tenant_id"],
            c.scope == values["scope"],
            c.branch_id.is_not_distinct_from(values["branch_id"]),
            fold(c.name) == names.folded(values["name"]),
            c.status == "ACTIVE",
            c.id != but,
        )
        if session.execute(sa.select(c.id).where(*same).limit(1)).first():
            raise NameTaken
        session.commit()

    def _update(self, session: Session, row: Row, changes: Values) -> Row:
        plans = self.tables.plans
        update = sa.update(plans).where(plans.c.id == row.id).values(changes).returning(*plans.c)
        return session.execute(update).one()


def _insert(session: Session, table: sa.Table, values: Values) -> Row:
    return session.execute(sa.insert(table).values(values).returning(*table.c)).one()
