"""Children on their way to the survivor, and what they would break there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from onerow.children import Child
from onerow.dialects.groups import ranked
from onerow.dialects.phrases import element_names, of, same
from onerow.dialects.values import Merged, MergeSpec
from onerow.expressions import columns_in
from onerow.schema import Index, IndexColumn, Table
from onerow.sql import comma, conjunction, quote

if TYPE_CHECKING:
    from onerow.dialects.base import Dialect


def movers(references: Iterable[Child], index: Index, table: Table, dialect: str) -> list[Child]:
    """The references of a table whose moving changes what an index of it holds."""
    used = indexed_columns(index, table, dialect)
    return [
        c
        for c in references
        if c.table.ident == table.ident and used & {n.casefold() for n in c.columns}
    ]


def spelled_out(index: Index, table: Table) -> Index:
    """The index with generated columns as the expressions that they are: they move, too."""
    columns = []
    for element in index.columns:
        column = None if element.is_expression else table.column(element.expression)
        made = column.generation if column else None
        columns.append(IndexColumn(expression=made, is_expression=True) if made else element)
    return replace(index, columns=tuple(columns))


def indexed_columns(index: Index, table: Table, dialect: str) -> set[str]:
    """The columns that an index reads, in lower case."""
    texts = [e.expression for e in index.columns if e.is_expression]
    read = [
        columns_in(t, dialect) for t in [*texts, *([index.predicate] if index.predicate else [])]
    ]
    used = {e.expression for e in index.columns if not e.is_expression}
    for names in read:
        # Not understood: it may read anything.
        used |= {c.name for c in table.columns} if names is None else names
    return {u.casefold() for u in used}


def collisions(dialect: Dialect, spec: MergeSpec, table: Table, index: Index) -> str:
    """Counts the groups of rows that would be equal in an index once all references have moved."""
    ranking = f"({ranked(spec, dialect.order(spec))})"
    moving = [
        (child, moves(dialect, spec, child, ranking, "b.size > 1"))
        for child in movers(spec.children, index, table, dialect.name)
    ]
    elements, tests = index_terms(index, dialect.name)
    return (
        f"SELECT count(*) FROM (SELECT 1 FROM ({moved_rows(table, moving)}) AS r"
        f" WHERE {conjunction(tests)} GROUP BY {comma(elements)} HAVING count(*) > 1) AS g"
    )


def moved_rows(table: Table, moving: Sequence[tuple[Child, str]], extra: Sequence[str] = ()) -> str:
    """Rows that refer to members of groups, as they will be when every reference has moved.

    Args:
        moving: references, and where each one's rows are going (see `moves`; `m1`, `m2`, …).
        extra: more of each row, the row as it is being `c`.
    """
    how = "JOIN" if len(moving) == 1 else "LEFT JOIN"
    joins = ""
    values: dict[str, str] = {}
    for n, (child, follow) in enumerate(moving, 1):
        old = [f"m{n}.old{i}" for i, _ in enumerate(child.columns, 1)]
        joins += (
            f" {how} ({follow}) AS m{n}"
            f" ON {conjunction([same(of('c', child.columns), old), condition(child)])}"
        )
        for i, column in enumerate(child.columns, 1):
            values[column] = values.get(column, "") + f" WHEN {old[0]} IS NOT NULL THEN m{n}.new{i}"
    columns = [
        f"CASE{values[c.name]} ELSE c.{quote(c.name)} END AS {quote(c.name)}"
        if c.name in values
        else f"c.{quote(c.name)}"
        for c in table.columns
    ]
    moved = " OR ".join(f"m{n}.old1 IS NOT NULL" for n, _ in enumerate(moving, 1))
    return f"SELECT {comma([*columns, *extra])} FROM {table.sql} AS c{joins} WHERE ({moved})"


def index_terms(index: Index, dialect: str) -> tuple[list[str], list[str]]:
    """The elements of an index, and which rows it compares."""
    elements = [_index_element(e, dialect) for e in index.columns]
    tests = [] if index.nulls_not_distinct else [f"{e} IS NOT NULL" for e in elements]
    if index.predicate is not None:
        tests.append(f"({index.predicate})")
    return elements, tests


def _index_element(element: IndexColumn, dialect: str) -> str:
    sql = f"({element.expression})" if element.is_expression else quote(element.expression)
    foreign = dialect == "sqlite" and element.collation and not element.collation_default
    return f"{sql} COLLATE {quote(element.collation)}" if foreign else sql


def moves(dialect: Dialect, merged: Merged, child: Child, ranking: str, which: str) -> str:
    """(old1, new1, …, place): what children may refer to, what they will, and its rank.

    The value of a reference that only a rule declares is compared in the child's type.
    """
    identity = merged.identity
    p, s = element_names(identity, "p"), element_names(identity, "s")

    # What a row is known by stands in the ranking: then nobody looks the row up.
    known = dialect.typed_batch and set(child.target_columns) <= set(identity)
    olds, news = (dict(zip(identity, names, strict=True)) for names in (p, s))

    def value(alias: str, names: dict[str, str], target: str, column: str) -> str:
        sql = f"b.{names[target]}" if known else f"{alias}.{quote(target)}"
        return sql if child.declared else dialect.in_type_of(child.table.column(column), sql)

    pairs = comma(
        f"{value('l', olds, t, c)} AS old{i}, {value('k', news, t, c)} AS new{i}"
        for i, (t, c) in enumerate(zip(child.target_columns, child.columns, strict=True), 1)
    )
    joins = "".join(
        f" JOIN {merged.table.sql} AS {a} ON {same(of(a, identity), [f'b.{n}' for n in names])}"
        for a, names in (("l", p), ("k", s))
    )
    return (
        f"SELECT {pairs}, b.rank AS place FROM {ranking} AS b{'' if known else joins} WHERE {which}"
    )


def followed(dialect: Dialect, merged: Merged, child: Child) -> str:
    """(old1, new1, …) for every row of the batch at work that goes."""
    return moves(dialect, merged, child, dialect.batch_of(merged), "b.rank > 1")


def condition(child: Child, alias: str = "c") -> str:
    """The declaration's own filter, evaluated where only the child's columns are in sight."""
    if child.where is None:
        return ""
    key = child.table.row_identity
    return (
        f"({comma(of(alias, key))}) IN (SELECT {comma(map(quote, key))}"
        f" FROM {child.table.sql} WHERE {child.where})"
    )


def may_lack_target(merged: Merged, child: Child) -> bool:
    """The child refers by a column that may be empty in the survivor."""
    columns = [merged.table.column(c) for c in child.target_columns]
    return any(c is not None and not c.not_null for c in columns)
