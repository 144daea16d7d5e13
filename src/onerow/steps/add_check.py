"""Add a CHECK that holds for new rows at once; the old ones are looked at later."""

from __future__ import annotations

from onerow.plan import Step
from onerow.schema import Snapshot, Table
from onerow.sql import quote
from onerow.steps import Action
from onerow.steps._objects import taken_away

MODE = "transaction"


def plan(table: Table, rule: str, name: str, expression: str) -> Step:
    return Step(
        kind="add_check",
        table=table.ident,
        rule=rule,
        sentence=f"Add the check {name} for new rows: {expression}.",
        sql=(
            f"ALTER TABLE {table.sql} ADD CONSTRAINT {quote(name)} CHECK ({expression}) NOT VALID",
        ),
        lock="access_exclusive",
        lock_length="a moment",
        rows=0,
        undo=f"Drops the check {name}.",
        args={"name": name, "expression": expression},
    )


def is_done(step: Step, snapshot: Snapshot) -> bool | None:
    table = snapshot.get(step.table)
    return table is not None and table.constraint(step.args["name"]) is not None


def undo(step: Step, snapshot: Snapshot) -> tuple[Action, ...]:
    return taken_away(step.table, step.args["name"], snapshot)


def makes(step: Step) -> tuple[str, ...]:
    return (str(step.args["name"]),)


def takes(step: Step) -> tuple[str, ...]:
    return ()
