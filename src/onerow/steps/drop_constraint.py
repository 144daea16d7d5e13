"""Drop the constraint that the key replaces, once its successor stands."""

from __future__ import annotations

from onerow.keys import BoundKey
from onerow.plan import Step
from onerow.schema import Index, Snapshot
from onerow.sql import Name, quote
from onerow.steps import Action
from onerow.steps._objects import comment_sql, constraint_comment, index_facts, index_of

MODE = "transaction"


def plan(bound: BoundKey, old: Index) -> Step:
    assert old.constraint
    return Step(
        kind="drop_constraint",
        table=bound.table.ident,
        rule=bound.label,
        sentence=f"Drop the constraint {old.constraint}, which {bound.name} replaces.",
        sql=(f"ALTER TABLE {bound.table.sql} DROP CONSTRAINT {quote(old.constraint)}",),
        lock="access_exclusive",
        lock_length="a moment",
        rows=0,
        undo=f"Builds the constraint {old.constraint} again, concurrently.",
        args=index_facts(old, bound.table),
    )


def is_done(step: Step, snapshot: Snapshot) -> bool | None:
    table = snapshot.get(step.table)
    return table is None or all(i.constraint != step.args["constraint"] for i in table.indexes)


def undo(step: Step, snapshot: Snapshot) -> tuple[Action, ...]:
    """The index first, online, and then the constraint of it."""
    facts = step.args
    index = index_of(step, snapshot, facts["name"])
    actions: list[Action] = []
    if index is None:
        create = facts["definition"].replace(" INDEX ", " INDEX CONCURRENTLY ", 1)
        actions.append(Action((create,), concurrent=True))
    if index is None or index.constraint is None:
        when = " DEFERRABLE" * facts["deferrable"] + " INITIALLY DEFERRED" * facts["deferred"]
        what = "PRIMARY KEY" if facts["constraint_definition"].startswith("PRIMARY") else "UNIQUE"
        name = quote(facts["constraint"])
        attach = (
            f"ALTER TABLE {step.table.sql} ADD CONSTRAINT {name} {what}"
            f" USING INDEX {quote(facts['name'])}{when}"
        )
        comments = (
            *constraint_comment(step.table, facts["constraint"], facts["constraint_comment"]),
            *comment_sql(
                f"INDEX {Name(facts['schema'], facts['constraint']).sql}", facts["comment"]
            ),
        )
        actions.append(Action((attach, *comments)))
    return tuple(actions)


def makes(step: Step) -> tuple[str, ...]:
    return ()


def takes(step: Step) -> tuple[str, ...]:
    return (str(step.args["name"]), str(step.args["constraint"]))
