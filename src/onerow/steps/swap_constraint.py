"""Put the new key in the place of an old one of the same name, in one statement."""

from __future__ import annotations

from onerow.keys import BoundKey
from onerow.plan import Step
from onerow.schema import Index, Snapshot
from onerow.sql import Name, quote
from onerow.steps import Action
from onerow.steps._objects import comment_sql, constraint_comment, index_facts, index_of

MODE = "transaction"


def plan(bound: BoundKey, old: Index, built: str) -> Step:
    return Step(
        kind="swap_constraint",
        table=bound.table.ident,
        rule=bound.label,
        sentence=f"Put the new key {bound.name} in the place of the old one; nothing is scanned.",
        sql=_swap(bound.table.ident, old, built, bound.name, attach=bound.attachable),
        lock="access_exclusive",
        lock_length="a moment",
        rows=0,
        undo=f"Builds the old {bound.name} again and puts it back.",
        args={
            "built": built,
            "new": bound.name,
            "old": index_facts(old, bound.table),
            "attach": bound.attachable,
        },
    )


def _swap(table: Name, old: Index, built: str, new: str, *, attach: bool) -> tuple[str, ...]:
    add = f"ADD CONSTRAINT {quote(new)} UNIQUE USING INDEX {quote(built)}"
    rename = f"ALTER INDEX {Name(old.schema, built).sql} RENAME TO {quote(new)}"
    if old.constraint and attach:
        return (f"ALTER TABLE {table.sql} DROP CONSTRAINT {quote(old.constraint)}, {add}",)
    drop = (
        f"ALTER TABLE {table.sql} DROP CONSTRAINT {quote(old.constraint)}"
        if old.constraint
        else f"DROP INDEX {old.sql}"
    )
    return (drop, f"ALTER TABLE {table.sql} {add}" if attach else rename)


def is_done(step: Step, snapshot: Snapshot) -> bool | None:
    """The name that the index was built under is gone, the key's own is there."""
    built = index_of(step, snapshot, step.args["built"])
    return built is None and index_of(step, snapshot, step.args["new"]) is not None


def undo(step: Step, snapshot: Snapshot) -> tuple[Action, ...]:
    old, new, built = step.args["old"], step.args["new"], step.args["built"]
    again = built + "_undo"
    standing = index_of(step, snapshot, new)
    if standing is None or standing.definition == old["definition"]:
        return ()
    create = old["definition"].replace(" INDEX ", " INDEX CONCURRENTLY ", 1)
    create = create.replace(f" {_as_printed(old['name'])} ON ", f" {quote(again)} ON ", 1)
    table = step.table.sql
    drop = (
        f"ALTER TABLE {table} DROP CONSTRAINT {quote(new)}"
        if standing.constraint
        else f"DROP INDEX {standing.sql}"
    )
    when = " DEFERRABLE" * old["deferrable"] + " INITIALLY DEFERRED" * old["deferred"]
    restore = (
        f"ALTER TABLE {table} ADD CONSTRAINT {quote(old['constraint'])} UNIQUE"
        f" USING INDEX {quote(again)}{when}"
        if old["constraint"]
        else f"ALTER INDEX {Name(old['schema'], again).sql} RENAME TO {quote(old['name'])}"
    )
    comments = (
        *constraint_comment(step.table, old["constraint"] or "", old["constraint_comment"]),
        *comment_sql(f"INDEX {Name(old['schema'], old['name']).sql}", old["comment"]),
    )
    build = () if index_of(step, snapshot, again) else (Action((create,), concurrent=True),)
    return (*build, Action((drop, restore, *comments)))


def _as_printed(name: str) -> str:
    """An identifier as pg_get_indexdef writes it: quoted only where it must be."""
    plain = name.isascii() and name.replace("_", "a").isalnum() and name == name.lower()
    return name if plain and not name[:1].isdigit() else quote(name)


def makes(step: Step) -> tuple[str, ...]:
    built = str(step.args["built"])
    return (str(step.args["new"]), built, built + "_undo")


def takes(step: Step) -> tuple[str, ...]:
    return (str(step.args["old"]["name"]),)
