"""Moving the children of merged rows to the survivor."""

from __future__ import annotations

from onerow.children import Child
from onerow.dialects.base import MergeSpec, Operation, archived_columns, element_names, of, same
from onerow.sql import comma, conjunction, quote

BATCH = "pg_temp.onerow_batch"


def repoint(spec: MergeSpec, child: Child, archive: str, op: int, batch: int) -> Operation:
    """Locks the children, archives them as they were, and points them at the survivors.

    The parents are locked FOR UPDATE by then, so no child can be added to a row that goes, and
    this statement's snapshot sees every child that was added before.
    """
    table, columns = child.table, child.columns
    key = table.row_identity
    mapping = _mapping(spec, child)
    old = [f"m.old{i}" for i, _ in enumerate(columns, 1)]
    mine = conjunction([same(of("c", columns), old), _condition(child)])
    lock = (
        f"SELECT count(*) FROM (SELECT 1 FROM {table.sql} AS c JOIN ({mapping}) AS m ON {mine}"
        f" ORDER BY {comma(of('c', key))} FOR UPDATE OF c) AS locked"
    )
    sets = comma(f"{quote(c)} = m.new{i}" for i, c in enumerate(columns, 1))
    before = comma(f"c.{quote(c.name)}" for c in archived_columns(table))
    names = comma(quote(c.name) for c in archived_columns(table))
    main = (
        f"WITH m AS MATERIALIZED ({mapping}),"
        f" u AS (UPDATE {table.sql} AS c SET {sets} FROM m WHERE {mine}"
        f" RETURNING {comma(f'c.{quote(k)} AS q{i}' for i, k in enumerate(key, 1))},"
        f" ROW({comma(of('c', columns))})::text AS h)"
        f" INSERT INTO {archive} (onerow_op, onerow_batch, onerow_after, {names})"
        f" SELECT {op}, {batch}, u.h, {before} FROM {table.sql} AS c"
        f" JOIN u ON {same(of('c', key), [f'u.q{i}' for i, _ in enumerate(key, 1)])}"
    )
    return Operation(
        table=table.ident,
        action="repointed",
        detail=comma(map(quote, columns)),
        before=(lock,),
        main=main,
    )


def _mapping(spec: MergeSpec, child: Child) -> str:
    """(old1, new1, …) for every row that goes; a declared-only column is compared in its type."""
    identity, targets = spec.identity, child.target_columns
    p, s = element_names(identity, "p"), element_names(identity, "s")
    types = [child.table.column(c) for c in child.columns]
    cast = [f"::{c.type}" if c and not child.declared else "" for c in types]
    pairs = comma(
        f"l.{quote(t)}{cast[i]} AS old{i + 1}, k.{quote(t)}{cast[i]} AS new{i + 1}"
        for i, t in enumerate(targets)
    )
    return (
        f"SELECT {pairs} FROM {BATCH} AS b"
        f" JOIN {spec.table.sql} AS l ON {same(of('l', identity), [f'b.{n}' for n in p])}"
        f" JOIN {spec.table.sql} AS k ON {same(of('k', identity), [f'b.{n}' for n in s])}"
        f" WHERE b.rank > 1"
    )


def _condition(child: Child) -> str:
    """The declaration's own filter, evaluated where only the child's columns are in sight."""
    if child.where is None:
        return ""
    key = child.table.row_identity
    return (
        f"({comma(of('c', key))}) IN (SELECT {comma(map(quote, key))}"
        f" FROM {child.table.sql} WHERE {child.where})"
    )
