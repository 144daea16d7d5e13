"""Clearing the tracking of weeks since a day, kept in a table of its own, and the way back."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa

from onerow import transactional
from systems.report_weeks.tables import EXECUTIONS, WEEKS
from systems.shared import columns
from systems.shared.errors import SystemRefusal

_SCHEMA = columns.metadata()
CLEARED = columns.table(
    "report_data_weeks_cleared",
    _SCHEMA,
    sa.Column("run", columns.uuid(), primary_key=True),
    sa.Column("week_id", columns.uuid(), primary_key=True),
    sa.Column("execution_id", columns.uuid(), nullable=False),
    sa.Column("old_updated_at", columns.moment(), nullable=False),
    sa.Column("new_updated_at", columns.moment()),
    sa.Column("cleared_at", columns.moment(), nullable=False, server_default=columns.now()),
)


@dataclass(frozen=True, slots=True)
class Cleared:
    """What a run has cleared; it is undone by its name."""

    run: str
    rows: int


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back.

    Attributes:
        left_alone: weeks that were written since, are gone, or whose execution is gone.
    """

    rows: int
    left_alone: tuple[str, ...]


def clear(engine: sa.Engine, since: date) -> Cleared:
    """Set the execution of all weeks created since a day to NULL, and keep what it was."""
    _SCHEMA.create_all(engine)
    run = str(uuid.uuid4())
    return Cleared(run, transactional(engine)(_clear)(run, since))


def _clear(connection: sa.Connection, run: str, since: date) -> int:
    w = WEEKS.c
    of = (sa.literal(run, columns.uuid()), w.id, w.execution_id, w.updated_at)
    pick = sa.select(*of).where(w.created_at >= _midnight(connection, since))
    pick = pick.where(w.execution_id.is_not(None)).with_for_update()
    names = ("run", "week_id", "execution_id", "old_updated_at")
    connection.execute(sa.insert(CLEARED).from_select(names, pick))
    update = sa.update(WEEKS).where(w.id.in_(_weeks_of(run)))
    count = connection.execute(update.values(execution_id=None, updated_at=columns.now())).rowcount
    written = sa.select(w.updated_at).where(w.id == CLEARED.c.week_id).scalar_subquery()
    note = sa.update(CLEARED).where(CLEARED.c.run == run)
    connection.execute(note.values(new_updated_at=written))
    return count


def undo(engine: sa.Engine, run: str) -> Restored:
    """Bring back what a run has cleared.

    Raises:
        SystemRefusal: there is no such run, or it was undone.
    """
    if not sa.inspect(engine).has_table(CLEARED.name):
        raise SystemRefusal("Nothing was ever cleared here.")
    return transactional(engine)(_undo)(run)


def _undo(connection: sa.Connection, run: str) -> Restored:
    k, w = CLEARED.c, WEEKS.c
    text = sa.cast(k.run, sa.Text)
    if not connection.scalar(sa.select(sa.func.count()).where(text == run)):
        raise SystemRefusal(f"There is no run {run!r}, or it was undone.")
    there = sa.exists().where(EXECUTIONS.c.id == k.execution_id)
    same = sa.and_(w.id == k.week_id, w.execution_id.is_(None), w.updated_at == k.new_updated_at)
    good = sa.and_(there, sa.exists().where(same))
    left = sa.select(k.week_id).where(k.run == run, sa.not_(good)).order_by(k.week_id)
    left_alone = tuple(str(week) for week in connection.scalars(left))
    rows = _restore(connection, run, sa.select(k.week_id).where(k.run == run, good))
    connection.execute(sa.delete(CLEARED).where(k.run == run))
    return Restored(rows, left_alone)


def _restore(connection: sa.Connection, run: str, weeks: sa.Select[Any]) -> int:
    k, w = CLEARED.c, WEEKS.c

    def kept(column: sa.Column[Any]) -> Any:
        return sa.select(column).where(k.run == run, k.week_id == w.id).scalar_subquery()

    values = {"execution_id": kept(k.execution_id), "updated_at": kept(k.old_updated_at)}
    # Picked first: an update that looks at its own table row by row might see what it has changed.
    picked = weeks.cte("picked")
    update = sa.update(WEEKS).where(w.id.in_(sa.select(picked.c.week_id)))
    return len(connection.execute(update.values(**values).returning(w.id)).all())


def _weeks_of(run: str) -> sa.Select[Any]:
    return sa.select(CLEARED.c.week_id).where(CLEARED.c.run == run)


def _midnight(connection: sa.Connection, since: date) -> Any:
    """Of the day in UTC; SQLite compares texts."""
    if connection.dialect.name == "sqlite":
        return sa.literal(since.isoformat(), sa.Text)
    return sa.cast(sa.literal(since, sa.Date), columns.moment())
