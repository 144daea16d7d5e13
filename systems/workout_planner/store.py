"""The planner's database, and the writer that keeps its keys."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, date, datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from onerow import bulk_upsert, conflict_of, transactional, upsert
from systems.workout_planner import reading
from systems.workout_planner.stage import CUSTOM_WORKOUTS, IMPORTED, Stage, has_moved, look

T = TypeVar("T")
Row = dict[str, Any]
Values = Mapping[str, Any]

LOOKS = 4  #: how often a write may meet a schema that has just been changed


class UnknownWorkout(LookupError):
    """There is no such workout."""


def utc_now() -> datetime:
    """The moment of a write."""
    return datetime.now(UTC)


class Store:
    """All that the application asks and writes."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._complete: Stage | None = None
        # SQLite lets writers in one by one, and has them poll for their turn; here they queue.
        sqlite = engine.dialect.name == "sqlite"
        self._turn: Any = threading.Lock() if sqlite else nullcontext()

    def run(self, work: Callable[[sa.Connection, Stage], T], *, writes: bool = False) -> T:
        """Do some work in a transaction, again when the schema has moved under it."""

        def within(connection: sa.Connection) -> T:
            return work(connection, self._stage(connection))

        attempt = transactional(self.engine, name=_name(work), read_only=not writes)(within)
        for _ in range(LOOKS):
            try:
                with self._turn if writes else nullcontext():
                    return attempt()
            except sa.exc.DBAPIError as error:
                if not has_moved(error):
                    raise
                self._complete = None
        return attempt()

    def _stage(self, connection: sa.Connection) -> Stage:
        if self._complete is not None:
            return self._complete
        stage = look(connection)
        if stage.complete:
            self._complete = stage
        return stage

    # -- reading ------------------------------------------------------------------------------

    def workouts(self, *, limit: int, offset: int, **which: Any) -> tuple[list[Row], int]:
        """A part of the workouts, and how many there are in all."""

        def read(connection: sa.Connection, stage: Stage) -> tuple[list[Row], int]:
            query = reading.workouts(stage, **which)
            total = sa.select(sa.func.count()).select_from(query.order_by(None).subquery())
            rows = _rows(connection, query.limit(limit).offset(offset))
            return [reading.split(r) for r in rows], connection.scalar(total) or 0

        return self.run(read)

    def scheduled(self, start: date | None, end: date | None) -> tuple[list[Row], list[Row]]:
        """What is on the calendar: of the plan, and of the athlete's own."""

        def read(connection: sa.Connection, stage: Stage) -> tuple[list[Row], list[Row]]:
            planned = reading.workouts(stage, start=start, end=end, scheduled=True)
            own = reading.custom_workouts(start=start, end=end)
            rows = [reading.split(r) for r in _rows(connection, planned)]
            return rows, _rows(connection, own)

        return self.run(read)

    def workout(self, workout_id: int) -> Row:
        """One workout.

        Raises:
            UnknownWorkout: there is none.
        """

        def read(connection: sa.Connection, stage: Stage) -> Row:
            return reading.split(
                _one(_rows(connection, reading.workouts(stage, workout_id=workout_id)))
            )

        return self.run(read)

    def where_to_begin(self, today: date) -> date:
        """The day to show first: one with something on it, today when there is nothing."""

        def read(connection: sa.Connection, _stage: Stage) -> date:
            coming, last = connection.execute(reading.nearest(today)).one()
            return coming or last or today

        return self.run(read)

    def stats(self) -> Row:
        """How many there are."""
        return self.run(lambda connection, stage: _rows(connection, reading.stats(stage))[0])

    # -- selections ---------------------------------------------------------------------------

    def save(self, workout_id: int, changes: Values) -> Row:
        """Write the fields that are named, and no other.

        Raises:
            UnknownWorkout: there is no such workout.
        """

        def put_selection(connection: sa.Connection, stage: Stage) -> Row:
            return save_selection(connection, stage, workout_id, changes)

        try:
            return self.run(put_selection, writes=True)
        except sa.exc.IntegrityError as error:
            raise _unknown(error) from error

    def reset(self, workout_id: int) -> None:
        """Forget what the athlete said of a workout.

        Raises:
            UnknownWorkout: there is no such workout.
        """

        def delete_selection(connection: sa.Connection, stage: Stage) -> None:
            table = stage.table
            gone = connection.execute(sa.delete(table).where(table.c.workout_id == workout_id))
            there = sa.select(sa.exists(reading.workouts(stage, workout_id=workout_id)))
            if not gone.rowcount and not connection.scalar(there):
                raise UnknownWorkout

        self.run(delete_selection, writes=True)

    # -- the plan -----------------------------------------------------------------------------

    def add_plan(self, rows: Sequence[Values]) -> int:
        """Insert the workouts that are not there yet; how many these were."""

        def import_plan(connection: sa.Connection, _stage: Stage) -> int:
            written = bulk_upsert(connection, IMPORTED, rows, update=(), duplicates="first")
            return written.inserted

        return self.run(import_plan, writes=True)

    # -- custom workouts ----------------------------------------------------------------------

    def custom_workouts(self, start: date | None, end: date | None) -> list[Row]:
        """Those of the athlete's own."""
        query = reading.custom_workouts(start=start, end=end)
        return self.run(lambda connection, _stage: _rows(connection, query))

    def custom_workout(self, custom_id: int) -> Row:
        """One of them.

        Raises:
            UnknownWorkout: there is none.
        """
        query = reading.custom_workouts(custom_id=custom_id)
        return _one(self.run(lambda connection, _stage: _rows(connection, query)))

    def add_custom(self, values: Values) -> Row:
        """A new one."""
        return self._change(sa.insert(CUSTOM_WORKOUTS).values(**values))

    def change_custom(self, custom_id: int, changes: Values) -> Row:
        """Write the fields that are named.

        Raises:
            UnknownWorkout: there is none.
        """
        named = {**changes, "updated_at": utc_now()}
        which = CUSTOM_WORKOUTS.c.id == custom_id
        return self._change(sa.update(CUSTOM_WORKOUTS).where(which).values(**named))

    def remove_custom(self, custom_id: int) -> None:
        """Delete one.

        Raises:
            UnknownWorkout: there is none.
        """
        self._change(sa.delete(CUSTOM_WORKOUTS).where(CUSTOM_WORKOUTS.c.id == custom_id))

    def _change(self, statement: Any) -> Row:
        def write_custom(connection: sa.Connection, _stage: Stage) -> list[Row]:
            return _rows(connection, statement.returning(CUSTOM_WORKOUTS))

        return _one(self.run(write_custom, writes=True))


def save_selection(
    connection: sa.Connection, stage: Stage, workout_id: int, changes: Values
) -> Row:
    """Change the fields of the one selection of a workout, or make it.

    `updated_at` is never the same twice, so every write raises the version. While the key is not
    there yet there may be several rows: then the fields go into all of them and their order stays,
    so that a merge keeps the one that is shown.
    """
    values = {"workout_id": workout_id, **changes}
    moment = {"updated_at": utc_now()}
    counter: dict[str, Any] = {"version": "version"} if stage.counted else {}
    first = {"version": 1} if stage.counted else {}
    if stage.keyed:
        written = upsert(connection, stage.key, {**values, **moment}, defaults=first, **counter)
        return selection_of(written.row._mapping)
    new = {**first, **moment}
    upsert(connection, stage.key, values, update=tuple(changes), defaults=new, **counter)
    return selection_of(_one(_rows(connection, reading.selection(stage, workout_id))))


def selection_of(row: Mapping[str, Any]) -> Row:
    """A row as it is told; a selection has no id of its own."""
    return {"version": None, **{n: v for n, v in row.items() if n != "id"}}


def _unknown(error: sa.exc.IntegrityError) -> Exception:
    conflict = conflict_of(error)
    return UnknownWorkout() if conflict and conflict.kind == "foreign_key" else error


def _rows(connection: sa.Connection, query: Any) -> list[Row]:
    return [dict(row) for row in connection.execute(query).mappings()]


def _one(rows: Sequence[Row]) -> Row:
    if not rows:
        raise UnknownWorkout
    return rows[0]


def _name(work: Callable[..., Any]) -> str:
    return work.__name__.strip("<>")
