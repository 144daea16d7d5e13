"""Drop the index that the key replaces, once its successor stands."""

from __future__ import annotations

from onerow.dialects import Dialect
from onerow.keys import BoundKey
from onerow.plan import Step
from onerow.schema import Index, Snapshot
from onerow.sql import Name
from onerow.steps import Action
from onerow.steps._objects import comment_sql, index_facts, index_of

MODE = "concurrent"


def plan(bound: BoundKey, old: Index, dialect: Dialect) -> Step:
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


def is_done(step: Step, snapshot: Snapshot) -> bool | None:
    return index_of(step, snapshot, step.args["name"]) is None


def undo(step: Step, snapshot: Snapshot) -> tuple[Action, ...]:
    if index_of(step, snapshot, step.args["name"]) is not None:
        return ()
    facts = step.args
    if snapshot.dialect == "sqlite":
        return (Action((facts["definition"],)),)
    create = facts["definition"].replace(" INDEX ", " INDEX CONCURRENTLY ", 1)
    comments = comment_sql(f"INDEX {Name(facts['schema'], facts['name']).sql}", facts["comment"])
    actions = [Action((create,), concurrent=True)]
    return (*actions, Action(comments)) if comments else tuple(actions)


def makes(step: Step) -> tuple[str, ...]:
    return ()


def takes(step: Step) -> tuple[str, ...]:
    return (str(step.args["name"]),)
