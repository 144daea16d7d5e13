"""Drop the constraint that the key replaces, once its successor stands."""

from __future__ import annotations

from onerow.keys import BoundKey
from onerow.plan import Step
from onerow.schema import PARTITIONED, Index, Snapshot
from onerow.sql import quote
from onerow.steps import Action
from onerow.steps._objects import attached_again, built_again, comments_again, index_facts
from onerow.steps._partitions import facts_of_parts, made_again

MODE = "transaction"


def plan(bound: BoundKey, old: Index, snapshot: Snapshot) -> Step:
    assert old.constraint
    facts, parted = index_facts(old, bound.table), bound.table.kind == PARTITIONED
    if parted:
        facts["parts"] = facts_of_parts(old, bound.table, snapshot)
    return Step(
        kind="drop_constraint",
        table=bound.table.ident,
        rule=bound.label,
        sentence=f"Drop the constraint {old.constraint}, which {bound.name} replaces.",
        sql=(f"ALTER TABLE {bound.table.sql} DROP CONSTRAINT {quote(old.constraint)}",),
        lock="access_exclusive",
        lock_length="a moment, on each partition" if parted else "a moment",
        rows=0,
        undo=f"Builds the constraint {old.constraint} again, concurrently.",
        args=facts,
    )


def is_done(step: Step, snapshot: Snapshot) -> bool | None:
    table = snapshot.get(step.table)
    return table is None or all(i.constraint != step.args["constraint"] for i in table.indexes)


def undo(step: Step, snapshot: Snapshot) -> tuple[Action, ...]:
    """The index first, online, and then the constraint of it."""
    facts = dict(step.args)
    if "parts" in facts:
        return made_again(step.table, facts, snapshot)
    comments = comments_again(step, snapshot, facts)
    if not is_done(step, snapshot):
        return (Action(comments),) if comments else ()
    attach = attached_again(step.table, facts, facts["name"])
    return (*built_again(step, snapshot, facts, facts["name"]), Action((attach, *comments)))


def makes(step: Step) -> tuple[str, ...]:
    return ()


def takes(step: Step) -> tuple[str, ...]:
    parts = [str(p["name"]) for p in step.args.get("parts", ())]
    return (str(step.args["name"]), str(step.args["constraint"]), *parts)
