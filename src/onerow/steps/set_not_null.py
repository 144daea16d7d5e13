"""Mark a column NOT NULL without a scan under the exclusive lock.

PostgreSQL before 18: a validated CHECK saves the scan. It is dropped by a statement of its own: in
one ALTER TABLE the drop is applied first, and the whole table is scanned under ACCESS EXCLUSIVE
after all (measured on 12 to 18). From 18 on NOT NULL is a constraint, added NOT VALID: it holds for
new rows at once, and VALIDATE CONSTRAINT looks at the old ones while others read and write.
"""

from __future__ import annotations

from onerow.plan import Step
from onerow.schema import Constraint, Snapshot, Table
from onerow.sql import quote
from onerow.steps import Action
from onerow.steps._objects import constraint_comment, taken_away

MODE = "transaction"
NATIVE = (18,)  #: from this version on NOT NULL may be NOT VALID


def plan(table: Table, rule: str, column: str, check: str) -> Step:
    return Step(
        kind="set_not_null",
        table=table.ident,
        rule=rule,
        sentence=f"Mark {column} NOT NULL; the check {check} proves it, so nothing is scanned.",
        sql=(
            f"ALTER TABLE {table.sql} ALTER COLUMN {quote(column)} SET NOT NULL",
            f"ALTER TABLE {table.sql} DROP CONSTRAINT {quote(check)}",
        ),
        lock="access_exclusive",
        lock_length="a moment",
        rows=0,
        undo=f"Lets {column} be NULL again.",
        args={"column": column, "check": check},
    )


def plan_native(table: Table, rule: str, column: str, name: str) -> Step:
    """For new rows; the old ones are validated by a step of its own."""
    constraint = f"ADD CONSTRAINT {quote(name)} NOT NULL {quote(column)} NOT VALID"
    return Step(
        kind="set_not_null",
        table=table.ident,
        rule=rule,
        sentence=f"Mark {column} NOT NULL for new rows, by the constraint {name}; nothing is "
        "scanned.",
        sql=(f"ALTER TABLE {table.sql} {constraint}",),
        lock="access_exclusive",
        lock_length="a moment",
        rows=0,
        undo=f"Lets {column} be NULL again.",
        args={"column": column, "constraint": name},
    )


def plan_standing(table: Table, rule: str, column: str, was: Constraint) -> Step:
    """NOT VALID stands already. On the way back it is made again when its rows are as they were."""
    return Step(
        kind="set_not_null",
        table=table.ident,
        rule=rule,
        sentence=f"Rely on {was.name}, which keeps {column} NOT NULL in new rows; it is NOT VALID.",
        sql=(),
        lock="none",
        lock_length="",
        rows=0,
        undo=f"Makes {was.name} again, NOT VALID.",
        args={
            "column": column,
            "constraint": was.name,
            "was": [was.definition, was.comment],
        },
    )


def is_done(step: Step, snapshot: Snapshot) -> bool | None:
    table = snapshot.get(step.table)
    if "constraint" in step.args:
        return table is not None and table.constraint(step.args["constraint"]) is not None
    column = table.column(step.args["column"]) if table else None
    gone = table is not None and table.constraint(step.args["check"]) is None
    return column is not None and column.not_null_declared and gone


def undo(step: Step, snapshot: Snapshot) -> tuple[Action, ...]:
    table = snapshot.get(step.table)
    if "was" in step.args:
        return () if is_done(step, snapshot) else (_standing_again(step),)
    if "constraint" in step.args:
        return taken_away(step.table, step.args["constraint"], snapshot)
    column = table.column(step.args["column"]) if table else None
    if column is None or not column.not_null_declared:
        return ()
    name = quote(step.args["column"])
    return (Action((f"ALTER TABLE {step.table.sql} ALTER COLUMN {name} DROP NOT NULL",)),)


def _standing_again(step: Step) -> Action:
    name, (definition, comment) = step.args["constraint"], step.args["was"]
    add = f"ALTER TABLE {step.table.sql} ADD CONSTRAINT {quote(name)} {definition}"
    return Action((add, *constraint_comment(step.table, name, comment)))


def makes(step: Step) -> tuple[str, ...]:
    name = step.args["constraint"] if "constraint" in step.args else step.args["check"]
    return (str(name), f"not null {step.args['column']}")


def takes(step: Step) -> tuple[str, ...]:
    return ()
