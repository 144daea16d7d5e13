"""Take the guard of a key away, once its index stands."""

from __future__ import annotations

from onerow.dialects import Dialect
from onerow.dialects.guards import guard_of
from onerow.keys import BoundKey
from onerow.plan import Step
from onerow.schema import Snapshot
from onerow.steps import Action
from onerow.steps.guard import stands

MODE = "transaction"


def plan(bound: BoundKey, dialect: Dialect) -> Step:
    made = guard_of(bound)
    return Step(
        kind="drop_guard",
        table=bound.table.ident,
        rule=bound.label,
        sentence=f"Take the guard of {bound} away: {bound.name} stands.",
        sql=made.drop,
        lock="access_exclusive" if dialect.name == "postgresql" else "write",
        lock_length="a moment",
        rows=0,
        undo="Nothing to take back: the duplicates that come back would not pass a guard.",
        args={"triggers": list(made.triggers)},
    )


def is_done(step: Step, snapshot: Snapshot) -> bool | None:
    return not stands(step, snapshot)


def undo(step: Step, snapshot: Snapshot) -> tuple[Action, ...]:
    return ()


def makes(step: Step) -> tuple[str, ...]:
    return ()


def takes(step: Step) -> tuple[str, ...]:
    return tuple(step.args["triggers"])
