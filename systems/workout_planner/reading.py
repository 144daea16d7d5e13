"""What is asked of the database. Statements only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import sqlalchemy as sa

from systems.workout_planner.stage import CUSTOM_WORKOUTS, WORKOUTS, Stage

Condition = sa.ColumnElement[bool]
_PREFIX = "selection_"


def latest(stage: Stage) -> sa.FromClause:
    """One selection per workout: of several the one that a merge will keep."""
    table = stage.table
    if stage.keyed:
        return table
    later = table.alias("later")
    tied = sa.and_(later.c.updated_at == table.c.updated_at, later.c.id < table.c.id)
    behind = sa.exists().where(
        later.c.workout_id == table.c.workout_id,
        sa.or_(later.c.updated_at > table.c.updated_at, tied),
    )
    return sa.select(table).where(~behind).subquery("latest")


def selection(stage: Stage, workout_id: int) -> sa.Select[Any]:
    """The selection of a workout; of several the same one."""
    table = stage.table
    query = sa.select(table).where(table.c.workout_id == workout_id)
    return query if stage.keyed else query.order_by(table.c.updated_at.desc(), table.c.id).limit(1)


def is_scheduled(one: sa.FromClause) -> Condition:
    """Whether a workout is on the calendar."""
    return sa.and_(one.c.id.is_not(None), one.c.is_selected)


def day_of(one: sa.FromClause) -> sa.ColumnElement[date]:
    """Where it is on the calendar, or was planned to be."""
    moved = sa.case((is_scheduled(one), one.c.current_plan_day), else_=None)
    return sa.func.coalesce(moved, WORKOUTS.c.originally_planned_day)


def workouts(
    stage: Stage,
    *,
    workout_id: int | None = None,
    start: date | None = None,
    end: date | None = None,
    scheduled: bool | None = None,
) -> sa.Select[Any]:
    """Workouts with their selections, in the order of their days."""
    one = latest(stage)
    joined = WORKOUTS.outerjoin(one, one.c.workout_id == WORKOUTS.c.id)
    columns = [*WORKOUTS.c, *(c.label(_PREFIX + c.name) for c in one.c)]
    query = sa.select(*columns).select_from(joined).order_by(day_of(one), WORKOUTS.c.id)
    for condition in _conditions(one, workout_id, start, end, scheduled):
        query = query.where(condition)
    return query


def _conditions(
    one: sa.FromClause,
    workout_id: int | None,
    start: date | None,
    end: date | None,
    scheduled: bool | None,
) -> list[Condition]:
    found: list[Condition] = []
    if workout_id is not None:
        found.append(WORKOUTS.c.id == workout_id)
    if start is not None:
        found.append(day_of(one) >= start)
    if end is not None:
        found.append(day_of(one) <= end)
    if scheduled is not None:
        on = sa.func.coalesce(is_scheduled(one), sa.false())
        found.append(on if scheduled else sa.not_(on))
    return found


def custom_workouts(
    *, custom_id: int | None = None, start: date | None = None, end: date | None = None
) -> sa.Select[Any]:
    """Workouts of the athlete's own, in the order of their days."""
    table = CUSTOM_WORKOUTS
    query = sa.select(table).order_by(table.c.planned_date, table.c.id)
    if custom_id is not None:
        query = query.where(table.c.id == custom_id)
    if start is not None:
        query = query.where(table.c.planned_date >= start)
    if end is not None:
        query = query.where(table.c.planned_date <= end)
    return query


def nearest(today: date) -> sa.Select[Any]:
    """The day of the next workout from today on, and of the last one."""
    day = WORKOUTS.c.originally_planned_day
    return sa.select(sa.func.min(day).filter(day >= today), sa.func.max(day))


def stats(stage: Stage) -> sa.Select[Any]:
    """The three numbers."""
    one = latest(stage)
    selected = sa.select(sa.func.count()).select_from(one).where(one.c.is_selected)
    return sa.select(
        sa.select(sa.func.count()).select_from(WORKOUTS).scalar_subquery().label("total_workouts"),
        selected.scalar_subquery().label("selected_workouts"),
        sa.select(sa.func.count())
        .select_from(CUSTOM_WORKOUTS)
        .scalar_subquery()
        .label("custom_workouts"),
    )


def split(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `workouts` with its selection as a part of it."""
    own = {n: v for n, v in row.items() if not n.startswith(_PREFIX)}
    part = {n.removeprefix(_PREFIX): v for n, v in row.items() if n.startswith(_PREFIX)}
    there = part.pop("id") is not None
    return {**own, "selection": {"version": None, **part} if there else None}
