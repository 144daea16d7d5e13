"""Build the unique index of a key; on PostgreSQL concurrently, while writers write."""

from __future__ import annotations

from onerow.dialects import Dialect
from onerow.keys import BoundKey
from onerow.plan import Step
from onerow.rules import rule_to_dict
from onerow.schema import Snapshot
from onerow.sql import Name
from onerow.steps import Action
from onerow.steps._objects import bound_key, enforces, index_of

MODE = "concurrent"


def plan(bound: BoundKey, dialect: Dialect, name: str) -> Step:
    online = dialect.name == "postgresql"
    how = "concurrently, so reads and writes go on" if online else "in one transaction"
    return Step(
        kind="create_index",
        table=bound.table.ident,
        rule=bound.label,
        sentence=f"Build the unique index {name} on {bound}, {how}.",
        sql=(dialect.create_unique_index(bound, name),),
        lock="share_update_exclusive" if online else "write",
        lock_length="the build",
        transactional=not online,
        rows=0,
        undo=f"Drops the index {name}.",
        args={"rule": rule_to_dict(bound.key), "name": name},
    )


def is_done(step: Step, snapshot: Snapshot) -> bool | None:
    index = index_of(step, snapshot, step.args["name"])
    if index is None:
        return False
    return enforces(index, bound_key(step, snapshot))


def undo(step: Step, snapshot: Snapshot) -> tuple[Action, ...]:
    index = index_of(step, snapshot, step.args["name"])
    if index is None:
        return ()
    if snapshot.dialect == "sqlite":
        return (Action((f"DROP INDEX {Name('main', index.name).sql}",)),)
    return (Action((f"DROP INDEX CONCURRENTLY {index.sql}",), concurrent=True),)


def makes(step: Step) -> tuple[str, ...]:
    return (str(step.args["name"]),)


def takes(step: Step) -> tuple[str, ...]:
    return ()
