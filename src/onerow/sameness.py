"""Whether two definitions mean the same, as far as this is seen: filters, elements, indexes, types.

One-sided: a wrong "the same" would leave undone what a rule asks for.
"""

from __future__ import annotations

from onerow.expressions import Reading
from onerow.schema import Index, IndexColumn, Table


def same_condition(one: str | None, other: str | None, table: Table, dialect: str) -> bool:
    """Two filters or checks mean the same, as far as this is seen."""
    if one is None or other is None:
        return one is other
    return _form(one, table, dialect) == _form(other, table, dialect)


def _form(text: str, table: Table, dialect: str) -> object:
    reading = Reading(dialect, table.columns)
    found = reading.conditions(text)
    if found is None:
        return " ".join(text.split())
    return frozenset(reading.text(c) for c in found)


def same_expression(one: str, other: str, table: Table, dialect: str) -> bool:
    """Two index elements mean the same."""
    reading = Reading(dialect, table.columns)
    trees = reading.tree(one), reading.tree(other)
    if trees[0] is None or trees[1] is None:
        return " ".join(one.split()) == " ".join(other.split())
    return reading.text(trees[0]) == reading.text(trees[1])


def same_index(index: Index, wanted: Index, table: Table, dialect: str) -> bool:
    """An index serves for what another one is wanted for: same elements, same rows."""
    return (
        index.valid
        and index.ready
        and index.method in ("btree", "rowid", "")
        and len(index.columns) == len(wanted.columns)
        and same_condition(index.predicate, wanted.predicate, table, dialect)
        and all(
            _same_element(one, other, table, dialect)
            for one, other in zip(index.columns, wanted.columns, strict=True)
        )
    )


def _same_element(one: IndexColumn, other: IndexColumn, table: Table, dialect: str) -> bool:
    plain = one.collation_default and one.opclass_default and not one.descending
    if not plain or one.is_expression != other.is_expression:
        return False
    if one.is_expression:
        return same_expression(one.expression, other.expression, table, dialect)
    return one.expression == other.expression


#: Other words for types, as PostgreSQL takes them (manual §8, table 8.1).
_TYPES = {
    "int": "integer", "int4": "integer", "int8": "bigint", "int2": "smallint", "bool": "boolean",
    "float8": "double precision", "float4": "real", "decimal": "numeric",
    "varchar": "character varying", "char": "character", "bpchar": "character",
    "timestamptz": "timestamp with time zone", "timestamp": "timestamp without time zone",
    "timetz": "time with time zone", "time": "time without time zone",
}  # fmt: skip


def same_type(one: str, other: str, dialect: str) -> bool:
    return one == other or _type(one, dialect) == _type(other, dialect)


def _type(text: str, dialect: str) -> str:
    head, _, rest = " ".join(text.lower().split()).partition("(")
    name = head.strip()
    if dialect == "postgresql":
        name = _TYPES.get(name, name)
    return f"{name}({rest.replace(' ', '')}" if rest else name
