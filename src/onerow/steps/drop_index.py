"""Drop the index that the key replaces, once its successor stands."""

from __future__ import annotations

from onerow.dialects import Dialect
from onerow.keys import BoundKey
from onerow.plan import Step
from onerow.schema import PARTITIONED, Index, Snapshot
from onerow.sql import Name
from onerow.steps import Action
from onerow.steps._objects import built_again, comments_again, index_facts, index_of
from onerow.steps._partitions import facts_of_parts, made_again

MODE = "concurrent"


def plan(bound: BoundKey, old: Index, dialect: Dialect, snapshot: Snapshot) -> Step:
    if bound.table.kind == PARTITIONED:
        return _plan_partitioned(bound, old, snapshot)
    online = dialect.name == "postgresql"
    return Step(
        kind="drop_index",
        table=bound.table.ident,
        rule=bound.label,
        sentence=f"Drop the index {old.name}, which {bound.name} replaces.",
        sql=(dialect.drop_index(Name(old.schema, old.name)),),
        lock="share_update_exclusive" if online else "write",
        lock_length="a moment",
        transactional=not online,
        rows=0,
        undo=f"Builds the index {old.name} again.",
        args=index_facts(old, bound.table),
    )


def _plan_partitioned(bound: BoundKey, old: Index, snapshot: Snapshot) -> Step:
    """No index of a partitioned table is dropped concurrently."""
    parts = facts_of_parts(old, bound.table, snapshot)
    return Step(
        kind="drop_index",
        table=bound.table.ident,
        rule=bound.label,
        sentence=f"Drop the index {old.name} with its parts, which {bound.name} replaces.",
        sql=(f"DROP INDEX {old.sql}",),
        lock="access_exclusive",
        lock_length="a moment, on each partition",
        rows=0,
        undo=f"Builds the index {old.name} again, concurrently.",
        args={**index_facts(old, bound.table), "parts": parts},
    )


def is_done(step: Step, snapshot: Snapshot) -> bool | None:
    return index_of(step, snapshot, step.args["name"]) is None


def undo(step: Step, snapshot: Snapshot) -> tuple[Action, ...]:
    facts = dict(step.args)
    if snapshot.dialect == "sqlite":
        return (Action((facts["definition"],)),) if is_done(step, snapshot) else ()
    if "parts" in facts:
        return made_again(step.table, facts, snapshot)
    comments = comments_again(step, snapshot, facts)
    build = built_again(step, snapshot, facts, facts["name"])
    return (*build, Action(comments)) if comments else build


def makes(step: Step) -> tuple[str, ...]:
    return ()


def takes(step: Step) -> tuple[str, ...]:
    return (str(step.args["name"]), *(str(p["name"]) for p in step.args.get("parts", ())))
