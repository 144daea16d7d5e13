"""Make a constraint of the unique index: a change of the catalog only, no scan."""

from __future__ import annotations

from onerow.keys import BoundKey
from onerow.plan import Step
from onerow.schema import Snapshot
from onerow.sql import quote
from onerow.steps import Action
from onerow.steps._objects import index_of

MODE = "transaction"


def plan(bound: BoundKey) -> Step:
    name = quote(bound.name)
    return Step(
        kind="attach_constraint",
        table=bound.table.ident,
        rule=bound.label,
        sentence=f"Make the constraint {bound.name} of the index; nothing is scanned.",
        sql=(f"ALTER TABLE {bound.table.sql} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}",),
        lock="access_exclusive",
        lock_length="a moment",
        rows=0,
        undo=f"Drops the constraint {bound.name}, and its index with it.",
        args={"name": bound.name},
    )


def is_done(step: Step, snapshot: Snapshot) -> bool | None:
    index = index_of(step, snapshot, step.args["name"])
    return index is not None and index.constraint == step.args["name"]


def undo(step: Step, snapshot: Snapshot) -> tuple[Action, ...]:
    if not is_done(step, snapshot):
        return ()
    name = quote(step.args["name"])
    return (Action((f"ALTER TABLE {step.table.sql} DROP CONSTRAINT {name}",)),)


def makes(step: Step) -> tuple[str, ...]:
    return (str(step.args["name"]),)


def takes(step: Step) -> tuple[str, ...]:
    return ()
