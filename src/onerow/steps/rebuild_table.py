"""Make a SQLite table again from an edited text, where ALTER TABLE cannot change it."""

from __future__ import annotations

from collections.abc import Sequence

from onerow.dialects.sqlite.rebuild import rebuild
from onerow.plan import Step
from onerow.schema import Index, Snapshot, Table
from onerow.steps import Action
from onerow.steps._objects import key_facts

MODE = "rebuild"


def plan(
    table: Table,
    text: str,
    why: str,
    *,
    rule: str,
    changes: tuple[str, ...],
    gone: Sequence[Index] = (),
) -> Step:
    """Args:
    changes: names of the constraints that come or go with the new text.
    gone: the keys among those that go.
    """
    return Step(
        kind="rebuild_table",
        table=table.ident,
        rule=rule,
        sentence=f"Make {table} again, {why}: one transaction that copies every row.",
        sql=rebuild(table, text),
        lock="write",
        lock_length="a copy of the table",
        rows=table.estimated_rows,
        undo="Makes the table again from its former text.",
        args={
            "old": table.definition,
            "new": text,
            "changes": list(changes),
            "keys": [key_facts(i) for i in gone],
        },
    )


def is_done(step: Step, snapshot: Snapshot) -> bool | None:
    table = snapshot.get(step.table)
    return table is not None and table.definition == step.args["new"]


def redo(step: Step, snapshot: Snapshot) -> Action:
    """The rebuild of the table as it is now, with the indexes that it has by now."""
    table = snapshot.get(step.table)
    assert table is not None
    return Action(rebuild(table, step.args["new"]), guarded=True)


def undo(step: Step, snapshot: Snapshot) -> tuple[Action, ...]:
    table = snapshot.get(step.table)
    if table is None or table.definition != step.args["new"]:
        return ()
    return (Action(rebuild(table, step.args["old"]), guarded=True),)


def makes(step: Step) -> tuple[str, ...]:
    return tuple(step.args["changes"])


def takes(step: Step) -> tuple[str, ...]:
    return ()
