"""Look whether the rows that were there before satisfy a CHECK; nobody is blocked."""

from __future__ import annotations

from onerow.keys import BoundKey
from onerow.plan import Step
from onerow.schema import Snapshot
from onerow.sql import quote
from onerow.steps import Action

MODE = "transaction"


def plan(bound: BoundKey, name: str) -> Step:
    return Step(
        kind="validate_check",
        table=bound.table.ident,
        rule=bound.label,
        sentence=f"Validate the check {name}: one scan, reads and writes go on.",
        sql=(f"ALTER TABLE {bound.table.sql} VALIDATE CONSTRAINT {quote(name)}",),
        lock="share_update_exclusive",
        lock_length="a scan",
        rows=0,
        undo="Nothing to take back.",
        args={"name": name},
    )


def is_done(step: Step, snapshot: Snapshot) -> bool | None:
    table = snapshot.get(step.table)
    check = table.constraint(step.args["name"]) if table else None
    # Gone means that a later step has made use of it and dropped it.
    return check is None or check.validated


def undo(step: Step, snapshot: Snapshot) -> tuple[Action, ...]:
    return ()


def makes(step: Step) -> tuple[str, ...]:
    return (str(step.args["name"]),)


def takes(step: Step) -> tuple[str, ...]:
    return ()
