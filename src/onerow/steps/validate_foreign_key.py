"""Look whether the rows that were there before obey a foreign key; nobody is blocked."""

from __future__ import annotations

from onerow.plan import Step
from onerow.schema import ForeignKey, Snapshot
from onerow.sql import quote
from onerow.steps import Action
from onerow.steps._objects import constraint_comment

MODE = "validate"


def plan(key: ForeignKey, rule: str, *, definition: str = "") -> Step:
    """`definition`: of a key that was there before, NOT VALID, and is so again after an undo."""
    return Step(
        kind="validate_foreign_key",
        table=key.table,
        rule=rule,
        sentence=f"Validate the foreign key {key.name}: one scan, reads and writes go on.",
        sql=(f"ALTER TABLE {key.table.sql} VALIDATE CONSTRAINT {quote(key.name)}",),
        lock="share_update_exclusive",
        lock_length="a scan",
        rows=0,
        undo=f"Makes {key.name} NOT VALID again." if definition else "Nothing to take back.",
        args={
            "name": key.name,
            "definition": definition,
            "comment": key.comment if definition else None,
        },
    )


def is_done(step: Step, snapshot: Snapshot) -> bool | None:
    table = snapshot.get(step.table)
    keys = table.foreign_keys if table else ()
    return any(k.name == step.args["name"] and k.validated for k in keys)


def undo(step: Step, snapshot: Snapshot) -> tuple[Action, ...]:
    facts = step.args
    if not facts["definition"] or not is_done(step, snapshot):
        return ()
    table, name = step.table.sql, quote(facts["name"])
    return (
        Action(
            (
                f"ALTER TABLE {table} DROP CONSTRAINT {name}",
                f"ALTER TABLE {table} ADD CONSTRAINT {name} {facts['definition']}",
                *constraint_comment(step.table, facts["name"], facts["comment"]),
            )
        ),
    )


def makes(step: Step) -> tuple[str, ...]:
    return (str(step.args["name"]),)


def takes(step: Step) -> tuple[str, ...]:
    return ()
