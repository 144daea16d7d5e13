"""Link tables: two foreign keys and nothing else of weight."""

from __future__ import annotations

from collections.abc import Iterator

from onerow.checks import proposals
from onerow.checks.base import Context
from onerow.schema import Column, Table


def links(context: Context) -> Iterator[tuple[Table, tuple[str, ...]]]:
    """Link tables with the columns of their pair, in the order of the table."""
    for table in context.tables:
        pair = _pair(table)
        if pair:
            yield table, pair


def _pair(table: Table) -> tuple[str, ...]:
    sides = {frozenset(fk.columns) for fk in table.foreign_keys if not fk.inherited}
    if len(sides) != 2:
        return ()
    one, other = sides
    rest = [c for c in table.columns if c.name not in one | other]
    if one & other or not all(_is_bookkeeping(c, table) for c in rest):
        return ()
    return tuple(c.name for c in table.columns if c.name in one | other)


def _is_bookkeeping(column: Column, table: Table) -> bool:
    """A surrogate key, or when the row was made: two rows that differ in it say the same."""
    return table.primary_key == (column.name,) or proposals.is_time(column)
