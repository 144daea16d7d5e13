"""Children that an exclusion constraint would keep from following the survivor (PostgreSQL)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from onerow.dialects.collisions import index_terms, moved_rows, movers, moves, spelled_out
from onerow.dialects.groups import ranked
from onerow.dialects.values import MergeSpec
from onerow.schema import Index, Table
from onerow.sql import comma, conjunction

if TYPE_CHECKING:
    from onerow.dialects.base import Dialect

#: As pg_get_constraintdef writes what follows an element.
_OPERATOR = re.compile(r" WITH (OPERATOR\([^()]+\)|[^\s,()]+)")


def exclusions(dialect: Dialect, spec: MergeSpec) -> Iterator[tuple[str, str]]:
    """(constraint, SQL that counts the pairs of children which it would not let stand together).

    Rows that a policy would merge or put away first are counted, too.
    """
    tables = {c.table.ident: c.table for c in spec.children}
    for table in tables.values():
        for index in (spelled_out(i, table) for i in table.indexes):
            if excludes(index) and movers(spec.children, index, table, dialect.name):
                yield (
                    f"{table}.{index.constraint or index.name}",
                    _pairs(dialect, spec, table, index),
                )


def excludes(index: Index) -> bool:
    """By more than equality."""
    return index.constraint_kind == "exclusion" or index.without_overlaps


def _pairs(dialect: Dialect, spec: MergeSpec, table: Table, index: Index) -> str:
    ranking = f"({ranked(spec, dialect.order(spec))})"
    moving = [
        (child, moves(dialect, spec, child, ranking, "b.size > 1"))
        for child in movers(spec.children, index, table, dialect.name)
    ]
    elements, tests = index_terms(index, dialect.name)
    named = comma(f"{e} AS e{i}" for i, e in enumerate(elements, 1))
    rows = (
        f"SELECT {named}, row_number() OVER () AS n FROM ({moved_rows(table, moving)}) AS r"
        f" WHERE {conjunction(tests)}"
    )
    operators = _operators(table, index)
    if len(operators) != len(elements):
        return f"SELECT count(*) FROM ({rows}) AS a"  # not understood: any two of them may collide
    alike = conjunction(f"a.e{i} {o} b.e{i}" for i, o in enumerate(operators, 1))
    return f"WITH r AS ({rows}) SELECT count(*) FROM r AS a JOIN r AS b ON a.n < b.n AND {alike}"


def _operators(table: Table, index: Index) -> list[str]:
    if index.without_overlaps:
        return [*("=" for _ in index.columns[1:]), "&&"]
    constraint = table.constraint(index.constraint or "")
    return _OPERATOR.findall(constraint.definition) if constraint else []
