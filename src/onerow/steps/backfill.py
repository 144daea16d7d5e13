"""Fill a column where it holds nothing, in short batches along the table; nothing is guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from onerow.plan import Step
from onerow.schema import Column, Snapshot, Table
from onerow.sql import quote
from onerow.steps import Action
from onerow.steps._objects import taken_away

MODE = "backfill"


def plan(
    table: Table,
    rule: str,
    column: Column,
    source: Mapping[str, Any],
    *,
    told: str,
    value: str,
    rows: int,
    archived: bool,
    not_null: bool,
    references: tuple[str, str] | None,
    lock: str,
) -> Step:
    """Args:
    source: what the values come from, as the rule says.
    told: the same in words.
    value: an expression over the row.
    archived: the column was there before, so rows are kept as they were.
    references: table and column that the values must be in, as SQL.
    """
    guard = f"{quote(column.name)} IS NULL AND ({value}) IS NOT NULL"
    kept = ", each row archived first" if archived else ""
    undo = (
        f"Empties {column.name} again where it still holds what was put there."
        if archived
        else f"Goes with the column {column.name}."
    )
    return Step(
        kind="backfill",
        table=table.ident,
        rule=rule,
        sentence=f"Fill {column.name} of {table} {told}, batch by batch{kept}.",
        sql=(f"UPDATE {table.sql} SET {quote(column.name)} = ({value}) WHERE {guard}",),
        lock=lock,
        lock_length="each batch",
        rows=rows,
        undo=undo,
        args={
            "column": column.name,
            "type": column.type,
            "source": dict(source),
            "archived": archived,
            "not_null": not_null,
            "references": list(references) if references else None,
            "last": False,
        },
    )


def last_pass(first: Step, barrier: str = "") -> Step:
    """The same again, for rows written between the walk and what keeps NULL out.

    `barrier`: the constraint that does; it must go before these rows can be empty again.
    """
    column = first.args["column"]
    return Step(
        kind="backfill",
        table=first.table,
        rule=first.rule,
        sentence=f"Fill {column} of the rows of {first.table} that were written meanwhile.",
        sql=first.sql,
        lock=first.lock,
        lock_length=first.lock_length,
        rows=0,
        undo=first.undo,
        args={**first.args, "last": True, "barrier": barrier},
    )


def behind(first: Step, barrier: str) -> Step:
    """The same, where a constraint that keeps NULL out of new rows stands already."""
    return replace(first, args={**first.args, "barrier": barrier})


def is_done(step: Step, snapshot: Snapshot) -> bool | None:
    return None  # rows tell, not the catalog


def undo(step: Step, snapshot: Snapshot) -> tuple[Action, ...]:
    """Rows come from the archive, or go with the column."""
    barrier = step.args.get("barrier")
    return taken_away(step.table, barrier, snapshot) if barrier else ()


def makes(step: Step) -> tuple[str, ...]:
    return ()


def takes(step: Step) -> tuple[str, ...]:
    return ()
