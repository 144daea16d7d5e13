"""Moving the children of merged rows to the survivor."""

from __future__ import annotations

from onerow.children import Child
from onerow.dialects.archived import archived_columns, now_names, renamed
from onerow.dialects.base import Dialect
from onerow.dialects.collisions import followed
from onerow.dialects.phrases import of, same
from onerow.dialects.values import MergeSpec, Operation
from onerow.sql import comma, quote


def repoint(
    dialect: Dialect, spec: MergeSpec, child: Child, archive: str, op: int, batch: int
) -> Operation:
    """Locks the children, archives them as they were, and points them at the survivors.

    The parents are locked FOR UPDATE by then, so no child can be added to a row that goes, and
    this statement's snapshot sees every child that was added before.
    """
    table, columns = child.table, child.columns
    key = table.row_identity
    mapping = followed(dialect, spec, child)
    old = [f"m.old{i}" for i, _ in enumerate(columns, 1)]
    mine = same(of("c", columns), old)
    # In sight of nothing but the child, and pulled up by the planner, so that an index serves it.
    rows = table.sql if child.where is None else f"(SELECT * FROM {table.sql} WHERE {child.where})"
    lock = (
        f"SELECT count(*) FROM (SELECT 1 FROM {rows} AS c JOIN ({mapping}) AS m ON {mine}"
        f" ORDER BY {comma(of('c', key))} FOR UPDATE OF c) AS locked"
    )
    new = comma(f"m.new{i} AS onerow_new{i}" for i, _ in enumerate(columns, 1))
    sets = comma(f"{quote(c)} = n.onerow_new{i}" for i, c in enumerate(columns, 1))
    kept = archived_columns(table)
    names = [*(now_names(table) if renamed(table, columns) else ()), *(quote(c.name) for c in kept)]
    after = of("t", key) if renamed(table, columns) else []
    before = comma(f"n.{quote(c.name)}" for c in kept)
    # The row is joined to itself, for what it was: its own key may change with the reference.
    main = (
        f"WITH n AS MATERIALIZED (SELECT {new}, c.* FROM {rows} AS c"
        f" JOIN ({mapping}) AS m ON {mine}),"
        f" u AS (UPDATE {table.sql} AS t SET {sets} FROM n WHERE {same(of('t', key), of('n', key))}"
        f" RETURNING ROW({comma(of('t', columns))})::text, {comma([*after, before])})"
        f" INSERT INTO {archive} (onerow_op, onerow_batch, onerow_after, {comma(names)})"
        f" SELECT {op}, {batch}, u.* FROM u"
    )
    return Operation(
        table=table.ident,
        action="repointed",
        detail=comma(map(quote, columns)),
        before=(lock,),
        main=main,
    )
