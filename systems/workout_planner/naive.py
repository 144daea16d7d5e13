"""The original writers: look, then write the whole row. For one user at a time they are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from systems.workout_planner import reading
from systems.workout_planner.stage import BEFORE, UNCOUNTED, WORKOUTS
from systems.workout_planner.store import Row, Store, UnknownWorkout, Values, selection_of, utc_now


class NaiveStore(Store):
    """The same application with the writers that it had."""

    def save(self, workout_id: int, changes: Values) -> Row:
        """Look for the selection; insert one, or write all of its fields."""
        with self.engine.connect() as connection:
            if connection.scalar(_workout(workout_id)) is None:
                raise UnknownWorkout
            found = connection.execute(reading.selection(BEFORE, workout_id)).mappings().first()
        with self.engine.begin() as connection:
            if found is None:
                new = {"workout_id": workout_id, **changes, "updated_at": utc_now()}
                written = _insert(connection, UNCOUNTED, new)
            else:
                row = {**found, **changes, "updated_at": utc_now()}
                table = UNCOUNTED
                update = sa.update(table).where(table.c.id == found["id"]).values(**row)
                written = dict(connection.execute(update.returning(table)).mappings().one())
        return selection_of(written)

    def add_plan(self, rows: Sequence[Values]) -> int:
        """Look for each workout; insert it where there is none."""
        return sum(self._add(row) for row in rows)

    def _add(self, row: Values) -> bool:
        table = WORKOUTS
        same = sa.and_(
            table.c.title == row["title"],
            table.c.originally_planned_day == row["originally_planned_day"],
            sa.not_(table.c.is_custom),
        )
        with self.engine.connect() as connection:
            if connection.scalar(sa.select(sa.exists().where(same))):
                return False
        with self.engine.begin() as connection:
            _insert(connection, table, row)
        return True


def _workout(workout_id: int) -> sa.Select[Any]:
    return sa.select(WORKOUTS.c.id).where(WORKOUTS.c.id == workout_id)


def _insert(connection: sa.Connection, table: sa.Table, row: Values) -> Row:
    insert = sa.insert(table).values(**row).returning(table)
    return dict(connection.execute(insert).mappings().one())
