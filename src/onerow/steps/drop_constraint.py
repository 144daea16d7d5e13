"""Drop the constraint that the key replaces, once its successor stands."""

from __future__ import annotations

from onerow.keys import BoundKey
from onerow.plan import Step
from onerow.schema import Index, Snapshot
from onerow.sql import quote
from onerow.steps import Action
from onerow.steps._objects import attached_again, built_again, comments_again, index_facts

MODE = "transaction"


def plan(bound: BoundKey, old: Index) -> Step:
    assert old.constraint
    return Step(
        kind="drop_constraint",
        table=bound.table.ident,
        rule=bound.label,
        sentence=f"Drop the constraint {old.constraint}, which {bound.name} replaces.",
        sql=(f"ALTER TABLE {bound.table.sql} DROP CONSTRAINT {quote(old.constraint)}",),
        lock="access_exclusive",
        lock_length="a moment",
        rows=0,
        undo=f"Builds the constraint {old.constraint} again, concurrently.",
        args=index_facts(old, bound.table),
    )


def is_done(step: Step, snapshot: Snapshot) -> bool | None:
    table = snapshot.get(step.table)
    return table is None or all(i.constraint != step.args["constraint"] for i in table.indexes)


def undo(step: Step, snapshot: Snapshot) -> tuple[Action, ...]:
    """The index first, online, and then the constraint of it."""
    facts = dict(step.args)
    comments = comments_again(step, snapshot, facts)
    if not is_done(step, snapshot):
        return (Action(comments),) if comments else ()
    attach = attached_again(step.table, facts, facts["name"])
    return (*built_again(step, snapshot, facts, facts["name"]), Action((attach, *comments)))


def makes(step: Step) -> tuple[str, ...]:
    return ()


def takes(step: Step) -> tuple[str, ...]:
    return (str(step.args["name"]), str(step.args["constraint"]))
