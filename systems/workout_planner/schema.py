"""The tables, before and after. What the change adds stands last, as ALTER TABLE puts it."""

from __future__ import annotations

import sqlalchemy as sa

from systems.shared import columns as c


def before() -> sa.MetaData:
    """No key below the selections: two PUTs at once leave two rows."""
    schema = c.metadata()
    _workouts(schema)
    _selections(schema)
    _custom_workouts(schema)
    return schema


def after() -> sa.MetaData:
    """One selection per workout, one workout per title and day of an import."""
    schema = c.metadata()
    workouts = _workouts(schema)
    _selections(
        schema,
        sa.Column("version", sa.Integer, nullable=False, server_default="1"),
        sa.UniqueConstraint("workout_id", name="uq_workout_selections_workout_id"),
    )
    sa.Index(
        "uq_workouts_title_originally_planned_day",
        workouts.c.title,
        workouts.c.originally_planned_day,
        unique=True,
        postgresql_where=sa.text("NOT is_custom"),
        sqlite_where=sa.text("NOT is_custom"),
    )
    _custom_workouts(schema)
    return schema


def _workouts(schema: sa.MetaData) -> sa.Table:
    return c.table(
        "workouts",
        schema,
        c.serial(),
        c.text("title"),
        c.text("workout_type", null=True),
        c.text("workout_description", null=True),
        sa.Column("planned_duration", sa.Float),  # hours
        sa.Column("planned_distance_meters", sa.Float),
        c.day("originally_planned_day"),
        c.text("coach_comments", null=True),
        sa.Column("tss", sa.Float),
        sa.Column("intensity_factor", sa.Float),
        c.yes_no("is_custom", default=False),
        c.created_at(),
    )


def _selections(schema: sa.MetaData, *more: sa.schema.SchemaItem) -> sa.Table:
    selections = c.table(
        "workout_selections",
        schema,
        c.serial(),
        c.refers("workout_id", "workouts.id"),
        c.yes_no("is_selected", default=True),
        c.day("current_plan_day", null=True),
        c.text("time_of_day", null=True),
        c.text("workout_location", null=True),
        c.text("user_notes", null=True),
        c.updated_at(),
        *more,
    )
    sa.Index("ix_workout_selections_workout_id", selections.c.workout_id)
    return selections


def _custom_workouts(schema: sa.MetaData) -> sa.Table:
    return c.table(
        "custom_workouts",
        schema,
        c.serial(),
        c.text("title"),
        c.text("workout_type", null=True),
        c.text("description", null=True),
        c.day("planned_date"),
        sa.Column("planned_duration", sa.Float),
        c.text("time_of_day", null=True),
        c.text("workout_location", null=True),
        c.created_at(),
        c.updated_at(),
    )
