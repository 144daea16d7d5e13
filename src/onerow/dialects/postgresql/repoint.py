"""Moving the children of merged rows to the survivor."""

from __future__ import annotations

from onerow.children import Child
from onerow.dialects.archived import archived_columns, now_names, renamed
from onerow.dialects.base import Dialect
from onerow.dialects.collisions import followed
from onerow.dialects.folds import emptied
from onerow.dialects.phrases import element_names, of, same
from onerow.dialects.values import Entry, Merged, Operation
from onerow.schema import Table
from onerow.sql import comma, conjunction, quote


def repoint(dialect: Dialect, merged: Merged, child: Child, entry: Entry) -> Operation:
    """Locks the children, archives them as they were, and points them at the survivors.

    The parents are locked FOR UPDATE by then, so no child can be added to a row that goes, and
    this statement's snapshot sees every child that was added before.
    """
    table, columns = child.table, child.columns
    mapping = followed(dialect, merged, child)
    mine = same(of("c", columns), [f"m.old{i}" for i, _ in enumerate(columns, 1)])
    # In sight of nothing but the child, and pulled up by the planner, so that an index serves it.
    rows = table.sql if child.where is None else f"(SELECT * FROM {table.sql} WHERE {child.where})"
    source = f"{rows} AS c JOIN ({mapping}) AS m ON {mine}"
    return _change(table, columns, source, [f"m.new{i}" for i, _ in enumerate(columns, 1)], entry)


def park(dialect: Dialect, merged: Merged, child: Child, entry: Entry) -> Operation:
    """Empties a reference in the rows of its own table that go, so that it holds no place."""
    table, columns = child.table, emptied(child)
    p = element_names(merged.identity, "b.p")
    mine = conjunction(
        [
            same(of("c", merged.identity), p),
            "b.rank > 1",
            *(f"{c} IS NOT NULL" for c in of("c", child.columns)),
        ]
    )
    source = f"{table.sql} AS c JOIN {dialect.batch_of(merged)} AS b ON {mine}"
    types = [c.type for n in columns for c in [table.column(n)] if c]
    return _change(table, columns, source, [f"NULL::{t}" for t in types], entry)


def _change(
    table: Table, columns: tuple[str, ...], source: str, values: list[str], entry: Entry
) -> Operation:
    """Gives rows `c` of a source other values, and keeps them as they were."""
    key = table.row_identity
    new = comma(f"{v} AS onerow_new{i}" for i, v in enumerate(values, 1))
    sets = comma(f"{quote(c)} = n.onerow_new{i}" for i, c in enumerate(columns, 1))
    kept = archived_columns(table)
    names = [*(now_names(table) if renamed(table, columns) else ()), *(quote(c.name) for c in kept)]
    after = of("t", key) if renamed(table, columns) else []
    before = comma(f"n.{quote(c.name)}" for c in kept)
    # The row is joined to itself, for what it was: its own key may change with the reference.
    # A row that was changed while its lock was awaited is returned, and updated, as it is then
    # (manual §13.2.1), so locking, keeping and moving can be one statement.
    main = (
        f"WITH n AS MATERIALIZED (SELECT {new}, c.* FROM {source}"
        f" ORDER BY {comma(of('c', key))} FOR UPDATE OF c),"
        f" u AS (UPDATE {table.sql} AS t SET {sets} FROM n WHERE {same(of('t', key), of('n', key))}"
        f" RETURNING ROW({comma(of('t', columns))})::text, {comma([*after, before])})"
        f" INSERT INTO {entry.archive} (onerow_op, onerow_batch, onerow_after, {comma(names)})"
        f" SELECT {entry.op}, {entry.batch}, u.* FROM u"
    )
    return Operation(
        table=table.ident,
        action="repointed",
        detail=comma(map(quote, columns)),
        before=(),
        main=main,
    )
