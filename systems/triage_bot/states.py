"""The states of the database that can be made."""

from __future__ import annotations

from datetime import date

from systems.shared.fixtures import State
from systems.triage_bot import schema, team


def before(rows: int, seed: int = 1, *, today: date | None = None) -> State:
    """The broken state, with `rows` overrides; today falls into its current sprint."""
    past = team.Past(rows, seed, today or date.today())
    return State(schema.before(), team.BEFORE_COLUMNS, past, schema.triggers())


def after(*, today: date | None = None) -> State:
    """The repaired state: 25 people, sprints 0 to 9 from this week on, no sprint entered yet."""
    rows = team.after_rows(team.monday_of(today or date.today()))
    held, kept = schema.one_row(), schema.triggers()
    finish = {dialect: [*held[dialect], *kept[dialect]] for dialect in held}
    return State(schema.after(), team.AFTER_COLUMNS, rows, finish)
