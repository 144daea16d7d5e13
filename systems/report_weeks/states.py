"""The states of the database that can be made."""

from __future__ import annotations

from systems.report_weeks import history, schema
from systems.shared.fixtures import State


def before(rows: int, seed: int = 1) -> State:
    """The broken state, with `rows` weeks."""
    return State(schema.before(), history.COLUMNS, history.History(rows, seed))


def after() -> State:
    """The repaired state, with nothing collected yet."""
    return State(schema.after())
