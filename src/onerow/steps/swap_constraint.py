"""Put the new key in the place of an old one of the same name, in one transaction."""

from __future__ import annotations

from onerow.dialects import Dialect
from onerow.keys import BoundKey
from onerow.plan import Step
from onerow.schema import Index, Snapshot
from onerow.sql import Name, cut, quote
from onerow.steps import Action
from onerow.steps._objects import (
    attached_again,
    built_again,
    comments_again,
    comments_of,
    index_facts,
    index_of,
)

MODE = "transaction"


def plan(bound: BoundKey, dialect: Dialect, old: Index, built: str) -> Step:
    online = dialect.name == "postgresql"
    how = "nothing is scanned" if online else "it is built under its own name, as none can change"
    return Step(
        kind="swap_constraint",
        table=bound.table.ident,
        rule=bound.label,
        sentence=f"Put the new key {bound.name} in the place of the old one; {how}.",
        sql=_swap(bound, old, built) if online else _swap_in_sqlite(bound, dialect, old, built),
        lock="access_exclusive" if online else "write",
        lock_length="a moment" if online else "the build",
        rows=0,
        undo=f"Builds the old {bound.name} again and puts it back.",
        args={
            "built": built,
            "new": bound.name,
            "old": index_facts(old, bound.table),
            "attach": bound.attachable,
        },
    )


def _swap(bound: BoundKey, old: Index, built: str) -> tuple[str, ...]:
    table, new = bound.table.sql, quote(bound.name)
    add = f"ADD CONSTRAINT {new} UNIQUE USING INDEX {quote(built)}"
    rename = f"ALTER INDEX {Name(old.schema, built).sql} RENAME TO {new}"
    if old.constraint and bound.attachable:
        return (f"ALTER TABLE {table} DROP CONSTRAINT {quote(old.constraint)}, {add}",)
    return (_drop(table, old), f"ALTER TABLE {table} {add}" if bound.attachable else rename)


def _swap_in_sqlite(bound: BoundKey, dialect: Dialect, old: Index, built: str) -> tuple[str, ...]:
    return (
        f"DROP INDEX {quote(old.name)}",
        f"DROP INDEX {quote(built)}",
        dialect.create_unique_index(bound, bound.name),
    )


def _drop(table: str, index: Index) -> str:
    if index.constraint:
        return f"ALTER TABLE {table} DROP CONSTRAINT {quote(index.constraint)}"
    return f"DROP INDEX {index.sql}"


def is_done(step: Step, snapshot: Snapshot) -> bool | None:
    """The name that the index was built under is gone, the key's own is there."""
    built = index_of(step, snapshot, step.args["built"])
    return built is None and index_of(step, snapshot, step.args["new"]) is not None


def undo(step: Step, snapshot: Snapshot) -> tuple[Action, ...]:
    old = dict(step.args["old"])
    standing = index_of(step, snapshot, step.args["new"])
    if standing is None:
        return ()
    if _is_old(standing, old, step, snapshot):
        comments = comments_again(step, snapshot, old)
        return (Action(comments),) if comments else ()
    if snapshot.dialect == "sqlite":
        return (Action((f"DROP INDEX {quote(standing.name)}", old["definition"])),)
    again = _again(step)
    restore = (
        attached_again(step.table, old, again)
        if old["constraint"]
        else f"ALTER INDEX {Name(old['schema'], again).sql} RENAME TO {quote(old['name'])}"
    )
    drop = _drop(step.table.sql, standing)
    back = Action((drop, restore, *comments_of(step.table, old)))
    return (*built_again(step, snapshot, old, again), back)


def _is_old(standing: Index, old: dict[str, object], step: Step, snapshot: Snapshot) -> bool:
    table = snapshot.get(step.table)
    facts = index_facts(standing, table) if table else {}
    same = ("definition", "constraint", "deferrable", "deferred")
    return all(facts.get(k) == old[k] for k in same)


def _again(step: Step) -> str:
    return cut(f"{step.args['built']}_undo")


def makes(step: Step) -> tuple[str, ...]:
    return (str(step.args["new"]), str(step.args["built"]), _again(step))


def takes(step: Step) -> tuple[str, ...]:
    return (str(step.args["old"]["name"]),)
