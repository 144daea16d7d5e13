"""Children on their way to the survivor, and what they would break there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onerow.children import Child
from onerow.dialects.groups import ranked
from onerow.dialects.phrases import element_names, of, same
from onerow.dialects.values import MergeSpec
from onerow.expressions import columns_in
from onerow.schema import Index, IndexColumn, Table
from onerow.sql import comma, conjunction, quote

if TYPE_CHECKING:
    from onerow.dialects.base import Dialect


def movers(spec: MergeSpec, table: Table, index: Index, dialect: str) -> list[Child]:
    """The references of a table whose moving changes what an index of it holds."""
    texts = [e.expression for e in index.columns if e.is_expression]
    read = [
        columns_in(t, dialect) for t in [*texts, *([index.predicate] if index.predicate else [])]
    ]
    used = {e.expression for e in index.columns if not e.is_expression}
    for names in read:
        # Not understood: it may read anything.
        used |= {c.name for c in table.columns} if names is None else names
    folded = {u.casefold() for u in used}
    return [
        c
        for c in spec.children
        if c.table.ident == table.ident and folded & {n.casefold() for n in c.columns}
    ]


def collisions(dialect: Dialect, spec: MergeSpec, table: Table, index: Index) -> str:
    """Counts the groups of rows that would be equal in an index once all references have moved."""
    moving = movers(spec, table, index, dialect.name)
    ranking = f"({ranked(spec, dialect.order(spec))})"
    how = "JOIN" if len(moving) == 1 else "LEFT JOIN"
    joins, moved = "", ""
    values: dict[str, str] = {}
    for n, child in enumerate(moving, 1):
        old = [f"m{n}.old{i}" for i, _ in enumerate(child.columns, 1)]
        test = conjunction([same(of("c", child.columns), old), condition(child)])
        follow = moves(dialect, spec, child, ranking, "b.size > 1")
        joins += f" {how} ({follow}) AS m{n} ON {test}"
        moved += f"{' OR ' if moved else ''}{old[0]} IS NOT NULL"
        for i, column in enumerate(child.columns, 1):
            values[column] = values.get(column, "") + f" WHEN {old[0]} IS NOT NULL THEN m{n}.new{i}"
    columns = comma(
        f"CASE{values[c.name]} ELSE c.{quote(c.name)} END AS {quote(c.name)}"
        if c.name in values
        else f"c.{quote(c.name)}"
        for c in table.columns
    )
    rows = f"SELECT {columns} FROM {table.sql} AS c{joins} WHERE {moved}"
    elements = [_index_element(e, dialect.name) for e in index.columns]
    tests = [] if index.nulls_not_distinct else [f"{e} IS NOT NULL" for e in elements]
    if index.predicate is not None:
        tests.append(f"({index.predicate})")
    return (
        f"SELECT count(*) FROM (SELECT 1 FROM ({rows}) AS r WHERE {conjunction(tests)}"
        f" GROUP BY {comma(elements)} HAVING count(*) > 1) AS g"
    )


def _index_element(element: IndexColumn, dialect: str) -> str:
    sql = f"({element.expression})" if element.is_expression else quote(element.expression)
    foreign = dialect == "sqlite" and element.collation and not element.collation_default
    return f"{sql} COLLATE {quote(element.collation)}" if foreign else sql


def moves(dialect: Dialect, spec: MergeSpec, child: Child, ranking: str, which: str) -> str:
    """(old1, new1, …): what children may refer to, and what they will.

    The value of a reference that only a rule declares is compared in the child's type.
    """
    identity = spec.identity
    p, s = element_names(identity, "p"), element_names(identity, "s")

    def value(alias: str, target: str, column: str) -> str:
        sql = f"{alias}.{quote(target)}"
        return sql if child.declared else dialect.in_type_of(child.table.column(column), sql)

    pairs = comma(
        f"{value('l', t, c)} AS old{i}, {value('k', t, c)} AS new{i}"
        for i, (t, c) in enumerate(zip(child.target_columns, child.columns, strict=True), 1)
    )
    return (
        f"SELECT {pairs} FROM {ranking} AS b"
        f" JOIN {spec.table.sql} AS l ON {same(of('l', identity), [f'b.{n}' for n in p])}"
        f" JOIN {spec.table.sql} AS k ON {same(of('k', identity), [f'b.{n}' for n in s])}"
        f" WHERE {which}"
    )


def followed(dialect: Dialect, spec: MergeSpec, child: Child) -> str:
    """(old1, new1, …) for every row of the batch at work that goes."""
    return moves(dialect, spec, child, dialect.batch, "b.rank > 1")


def condition(child: Child, alias: str = "c") -> str:
    """The declaration's own filter, evaluated where only the child's columns are in sight."""
    if child.where is None:
        return ""
    key = child.table.row_identity
    return (
        f"({comma(of(alias, key))}) IN (SELECT {comma(map(quote, key))}"
        f" FROM {child.table.sql} WHERE {child.where})"
    )


def may_lack_target(spec: MergeSpec, child: Child) -> bool:
    """The child refers by a column that may be empty in the survivor."""
    columns = [spec.table.column(c) for c in child.target_columns]
    return any(c is not None and not c.not_null for c in columns)
