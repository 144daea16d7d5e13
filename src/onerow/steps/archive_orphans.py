"""Mend rows that refer to nothing: the reference is emptied, or the row goes; both archived."""

from __future__ import annotations

from onerow.plan import Step
from onerow.schema import ForeignKey, Snapshot
from onerow.sql import comma, conjunction, quote
from onerow.steps import Action

MODE = "orphans"


def plan(
    key: ForeignKey,
    rule: str,
    *,
    policy: str,
    emptied: tuple[str, ...],
    rows: int,
    lock: str,
) -> Step:
    """`emptied`: the columns that are set NULL, where that is the policy."""
    where = f"{comma(key.columns)} of {key.table}"
    what = "empty the reference" if policy == "null" else "remove the row"
    many = f"{rows:,} row{'s' * (rows != 1)}" if rows else "No row now"
    verb = "refer" if rows != 1 else "refers"
    test = conjunction(orphaned(key, key.table.sql))
    sets = comma(f"{quote(c)} = NULL" for c in emptied)
    change = (
        f"UPDATE {key.table.sql} SET {sets}" if policy == "null" else f"DELETE FROM {key.table.sql}"
    )
    return Step(
        kind="archive_orphans",
        table=key.table,
        rule=rule,
        sentence=f"{many} by {where} {verb} to nothing in {key.target}: {what}, each archived.",
        sql=(f"{change} WHERE {test}",),
        lock=lock,
        lock_length="each batch",
        rows=rows,
        undo="Puts the archived rows back as they were.",
        args={
            "policy": policy,
            "emptied": list(emptied),
            "columns": list(key.columns),
            "target": [key.target.schema, key.target.name],
            "target_columns": list(key.target_columns),
            "foreign_key": key.name,
        },
    )


def orphaned(key: ForeignKey, table: str) -> tuple[str, ...]:
    """The tests of a row that refers to nothing; a row with a NULL in the reference refers not."""
    own = [f"{table}.{quote(c)}" for c in key.columns]
    there = conjunction(f"q.{quote(t)} = {c}" for t, c in zip(key.target_columns, own, strict=True))
    found = f"NOT EXISTS (SELECT 1 FROM {key.target.sql} AS q WHERE {there})"
    return (*(f"{c} IS NOT NULL" for c in own), found)


def is_done(step: Step, snapshot: Snapshot) -> bool | None:
    return None  # rows tell, not the catalog


def undo(step: Step, snapshot: Snapshot) -> tuple[Action, ...]:
    """The foreign key goes first: it would not let the old rows in again."""
    table, name = snapshot.get(step.table), step.args["foreign_key"]
    keys = table.foreign_keys if table else ()
    if snapshot.dialect == "sqlite" or all(k.name != name for k in keys):
        return ()
    return (Action((f"ALTER TABLE {step.table.sql} DROP CONSTRAINT {quote(name)}",)),)


def makes(step: Step) -> tuple[str, ...]:
    return ()


def takes(step: Step) -> tuple[str, ...]:
    return ()
