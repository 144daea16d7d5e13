"""Stand guard over a key that is not enforced yet: a trigger refuses new duplicates.

Those that are there stay as they are, and may be changed in other columns, until they are merged.
"""

from __future__ import annotations

from onerow.dialects import Dialect
from onerow.dialects.guards import MARK, guard_of
from onerow.keys import BoundKey
from onerow.plan import Step
from onerow.schema import Snapshot, Table, Trigger
from onerow.steps import Action

MODE = "transaction"


def plan(bound: BoundKey, dialect: Dialect, search_path: tuple[str, ...], *, scans: bool) -> Step:
    made = guard_of(bound, search_path)
    cost = " No index leads with its columns, so every write of the key looks at all rows."
    return Step(
        kind="guard",
        table=bound.table.ident,
        rule=bound.label,
        sentence=f"Stand guard over {bound}: a trigger refuses new duplicates as {bound.name} will."
        + cost * scans,
        sql=made.create,
        lock="share_row_exclusive" if dialect.name == "postgresql" else "write",
        lock_length="a moment",
        rows=0,
        undo="Takes the guard away.",
        args={"triggers": list(made.triggers), "drop": list(made.drop)},
    )


def guards(table: Table) -> tuple[Trigger, ...]:
    """The guards that stand over a table."""
    return tuple(t for t in table.triggers if t.name.startswith(MARK))


def stands(step: Step, snapshot: Snapshot) -> bool:
    table = snapshot.get(step.table)
    names = {t.name for t in guards(table)} if table else set()
    return names.issuperset(step.args["triggers"])


def is_done(step: Step, snapshot: Snapshot) -> bool | None:
    return stands(step, snapshot)


def undo(step: Step, snapshot: Snapshot) -> tuple[Action, ...]:
    return (Action(tuple(step.args["drop"])),) if stands(step, snapshot) else ()


def makes(step: Step) -> tuple[str, ...]:
    return tuple(step.args["triggers"])


def takes(step: Step) -> tuple[str, ...]:
    return ()
