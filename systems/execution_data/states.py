"""The states of the database that can be made."""

from __future__ import annotations

from systems.execution_data import reports, schema
from systems.shared.fixtures import State


def before(rows: int, seed: int = 1, *, unmapped: int = 0) -> State:
    """The broken state, with `rows` reports; of `unmapped` of them nobody knows the facility."""
    size = reports.Size(rows, unmapped)
    return State(schema.before(), reports.COLUMNS, reports.before_rows(size, seed))


def after() -> State:
    """The repaired state: periods 1 to 4, activities 1 to 40, facilities 1 to 20, no reports."""
    return State(schema.after(), reports.COLUMNS, reports.around(reports.Size(0)))
