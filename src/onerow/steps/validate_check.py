"""Look whether old rows satisfy a CHECK, or a NOT NULL of new ones; nobody is blocked."""

from __future__ import annotations

from onerow.plan import Step
from onerow.schema import Constraint, Snapshot, Table
from onerow.sql import quote
from onerow.steps import Action
from onerow.steps._objects import constraint_comment

MODE = "validate"


def plan(
    table: Table, rule: str, name: str, *, was: Constraint | None = None, column: str = ""
) -> Step:
    """Args:
    was: the constraint as it was before, NOT VALID, and is again after an undo.
    column: that is NOT NULL by it; else it is a check.
    """
    what = f"NOT NULL of {column}, by the constraint" if column else "the check"
    return Step(
        kind="validate_check",
        table=table.ident,
        rule=rule,
        sentence=f"Validate {what} {name}: one scan, reads and writes go on.",
        sql=(f"ALTER TABLE {table.sql} VALIDATE CONSTRAINT {quote(name)}",),
        lock="share_update_exclusive",
        lock_length="a scan",
        rows=0,
        undo=f"Makes {name} NOT VALID again." if was else "Nothing to take back.",
        args={
            "name": name,
            "definition": was.definition if was else "",
            "comment": was.comment if was else None,
            "column": column,
        },
    )


def is_done(step: Step, snapshot: Snapshot) -> bool | None:
    table = snapshot.get(step.table)
    check = table.constraint(step.args["name"]) if table else None
    # Gone means that a later step has made use of it and dropped it.
    return check is None or check.validated


def undo(step: Step, snapshot: Snapshot) -> tuple[Action, ...]:
    facts, table = step.args, snapshot.get(step.table)
    check = table.constraint(facts["name"]) if table else None
    if not facts["definition"] or check is None or not check.validated:
        return ()
    name = quote(facts["name"])
    return (
        Action(
            (
                f"ALTER TABLE {step.table.sql} DROP CONSTRAINT {name}",
                f"ALTER TABLE {step.table.sql} ADD CONSTRAINT {name} {facts['definition']}",
                *constraint_comment(step.table, facts["name"], facts["comment"]),
            )
        ),
    )


def makes(step: Step) -> tuple[str, ...]:
    column = step.args.get("column")
    return (str(step.args["name"]), *([f"not null {column}"] if column else []))


def takes(step: Step) -> tuple[str, ...]:
    return ()
