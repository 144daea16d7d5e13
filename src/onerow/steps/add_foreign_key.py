"""Add a foreign key that new rows must obey at once; the old ones are looked at later."""

from __future__ import annotations

from onerow.plan import Step
from onerow.schema import ForeignKey, Snapshot
from onerow.sql import Name, comma, quote, quote_all
from onerow.steps import Action

MODE = "transaction"


def plan(key: ForeignKey, rule: str, *, definition: str = "") -> Step:
    """`definition`: of a key that is there already, NOT VALID; only the undo makes it again."""
    there = bool(definition)
    body = definition or clause(key) + " NOT VALID"
    return Step(
        kind="add_foreign_key",
        table=key.table,
        rule=rule,
        sentence=f"Keep the foreign key {key.name}, which new rows obey already."
        if there
        else f"Add the foreign key {key.name} of {key.table} ({comma(key.columns)}) to {key.target}"
        " for new rows; the old ones are not looked at yet.",
        sql=(f"ALTER TABLE {key.table.sql} ADD CONSTRAINT {quote(key.name)} {body}",),
        lock="share_row_exclusive",
        lock_length="a moment",
        rows=0,
        undo=f"Leaves {key.name} as it was." if there else f"Drops the foreign key {key.name}.",
        args={
            "name": key.name,
            "there": there,
            "target": [key.target.schema, key.target.name],
            "comment": key.comment if there else None,
        },
    )


def clause(key: ForeignKey) -> str:
    """`FOREIGN KEY (…) REFERENCES …`, as both engines write it."""
    columns = f"FOREIGN KEY ({quote_all(key.columns)})"
    return f"{columns} {references(key)}"


def references(key: ForeignKey) -> str:
    """`REFERENCES …` alone, as in a column's definition. SQLite's tables have no schema there."""
    target = quote(key.target.name) if key.target.schema == "main" else key.target.sql
    action = "" if key.on_delete == "no action" else f" ON DELETE {key.on_delete.upper()}"
    return f"REFERENCES {target} ({quote_all(key.target_columns)}){action}"


def is_done(step: Step, snapshot: Snapshot) -> bool | None:
    return _stands(step, snapshot)


def _stands(step: Step, snapshot: Snapshot) -> bool:
    table = snapshot.get(step.table)
    return table is not None and any(k.name == step.args["name"] for k in table.foreign_keys)


def undo(step: Step, snapshot: Snapshot) -> tuple[Action, ...]:
    there, name = _stands(step, snapshot), quote(step.args["name"])
    if not step.args["there"]:
        return (Action((f"ALTER TABLE {step.table.sql} DROP CONSTRAINT {name}",)),) if there else ()
    if there:
        return ()
    from onerow.steps._objects import constraint_comment

    comment = constraint_comment(step.table, step.args["name"], step.args["comment"])
    return (Action((*step.sql, *comment)),)


def target(step: Step) -> Name:
    return Name(*step.args["target"])


def makes(step: Step) -> tuple[str, ...]:
    return (str(step.args["name"]),)


def takes(step: Step) -> tuple[str, ...]:
    return ()
