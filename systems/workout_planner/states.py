"""The states of the planner's database that can be made."""

from __future__ import annotations

from systems.shared.fixtures import State
from systems.workout_planner import schema, season


def before(rows: int, seed: int = 1) -> State:
    """The broken state, with `rows` selections."""
    return State(schema.before(), season.COLUMNS, season.before_rows(rows, seed))


def after() -> State:
    """The repaired state: 60 workouts, nothing selected."""
    return State(schema.after(), season.COLUMNS, season.after_rows())
