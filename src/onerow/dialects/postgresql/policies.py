"""How each merge policy makes one value of a group's values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onerow.dialects.values import ColumnChange
from onerow.schema import Column
from onerow.sql import quote

BITS = 62  #: of a bigint that are of use


@dataclass(frozen=True, slots=True)
class Group:
    """Where the rows of a survivor's group are read: `o` is a row, `m.rank` its place."""

    source: str
    where: str


def _first(column: str, group: Group, order: str = "m.rank") -> str:
    # IS NOT NULL would pass over a composite value with an empty field in it.
    return (
        f"(SELECT o.{column} FROM {group.source} WHERE {group.where}"
        f" AND o.{column} IS DISTINCT FROM NULL ORDER BY {order} LIMIT 1)"
    )


def _fill(column: str, group: Group) -> str:
    # coalesce looks at the other rows only where the survivor has nothing.
    return f"coalesce(s.{column}, {_first(column, group)})"


def _sum(column: str, group: Group) -> str:
    return f"(SELECT sum(o.{column}) FROM {group.source} WHERE {group.where})"


def _concat(column: str, group: Group) -> str:
    # Texts that a collation or citext holds equal are two texts all the same.
    text = f'o.{column}::text COLLATE "C"'
    return (
        f"(SELECT string_agg(x, E'\\n' ORDER BY r) FROM (SELECT {text} AS x, min(m.rank) AS r"
        f" FROM {group.source} WHERE {group.where} AND o.{column} IS NOT NULL"
        f" GROUP BY {text}) AS d)"
    )


def _union(column: str, group: Group) -> str:
    """All elements, the best row's first; arrays of arrays would fall apart and are filled."""
    fill = _fill(column, group)
    return (
        f"(CASE WHEN EXISTS (SELECT 1 FROM {group.source} WHERE {group.where}"
        f" AND array_ndims(o.{column}) > 1) THEN {fill} ELSE"
        f" coalesce((SELECT array_agg(e ORDER BY r, i) FROM (SELECT DISTINCT ON (x.e) x.e,"
        f" m.rank AS r, x.i FROM {group.source}"
        f" CROSS JOIN LATERAL unnest(o.{column}) WITH ORDINALITY AS x(e, i)"
        f" WHERE {group.where} ORDER BY x.e, m.rank, x.i) AS d), {fill}) END)"
    )


def _json_union(column: str, group: Group, kind: str) -> str:
    fill = _fill(column, group)
    return (
        f"(CASE WHEN jsonb_typeof(({fill})::jsonb) = 'array' THEN"
        f" coalesce((SELECT jsonb_agg(e ORDER BY r, i) FROM (SELECT DISTINCT ON (x.e) x.e,"
        f" m.rank AS r, x.i"
        f" FROM {group.source} CROSS JOIN LATERAL jsonb_array_elements(CASE"
        f" jsonb_typeof(o.{column}::jsonb) WHEN 'array' THEN o.{column}::jsonb ELSE '[]' END)"
        f" WITH ORDINALITY AS x(e, i)"
        f" WHERE {group.where} ORDER BY x.e, m.rank, x.i) AS d)::{kind}, {fill}) ELSE {fill} END)"
    )


def _json_objects(column: str, group: Group, kind: str) -> str:
    """Fields of the best row that has them; what is no object is left as it is."""
    fill = _fill(column, group)
    return (
        f"(CASE WHEN jsonb_typeof(({fill})::jsonb) = 'object' THEN"
        f" coalesce((SELECT jsonb_object_agg(k, e) FROM (SELECT DISTINCT ON (x.k) x.k, x.e"
        f" FROM {group.source} CROSS JOIN LATERAL jsonb_each(CASE"
        f" jsonb_typeof(o.{column}::jsonb) WHEN 'object' THEN o.{column}::jsonb ELSE '{{}}' END)"
        f" AS x(k, e) WHERE {group.where} ORDER BY x.k, m.rank) AS d)::{kind}, {fill})"
        f" ELSE {fill} END)"
    )


def only_fills(changes: Sequence[ColumnChange]) -> bool:
    """Nothing but NULLs of the survivor is changed, in types of which there are arrays."""
    return all(c.policy in ("fill", "error") and c.column.type_category != "A" for c in changes)


def filler(change: ColumnChange) -> str:
    """What the survivor takes where it holds NULL: the best row's, over rows `o` that go."""
    column = f"o.{quote(change.column.name)}"
    return f"(array_agg({column} ORDER BY m.rank) FILTER (WHERE {column} IS DISTINCT FROM NULL))[1]"


def fills(change: ColumnChange, survivor: str, other: str) -> str:
    """Whether a row has what the survivor lacks."""
    column = quote(change.column.name)
    return (
        f"({survivor}.{column} IS NOT DISTINCT FROM NULL"
        f" AND {other}.{column} IS DISTINCT FROM NULL)"
    )


def holds(changes: Sequence[ColumnChange]) -> str:
    """Bits of the columns that hold something in a row; as many as a bigint has."""
    columns = [quote(c.column.name) for c in changes]
    bits = [
        f"CASE WHEN {c} IS DISTINCT FROM NULL THEN {1 << i} ELSE 0 END"
        for i, c in enumerate(columns)
    ]
    return f"({' + '.join(bits)})::bigint" if 0 < len(bits) <= BITS else ""


def merged(change: ColumnChange, group: Group) -> str:
    """The survivor's new value of a column, where `s` is the survivor's row."""
    column, kind = quote(change.column.name), _kind(change.column)
    match change.policy:
        case "sum":
            return _sum(column, group)
        case "max":
            return _first(column, group, f"o.{column} DESC, m.rank")
        case "min":
            return _first(column, group, f"o.{column}, m.rank")
        case "concat":
            return _concat(column, group)
        case "union" if kind in ("json", "jsonb"):
            return _json_union(column, group, kind)
        case "union":
            return _union(column, group)
        case "json":
            return _json_objects(column, group, kind)
        case _:
            return _fill(column, group)


def changed(change: ColumnChange, old: str, new: str) -> str:
    """Whether the survivor's value is another one now; what is equal stays as it is written."""
    if change.policy in ("fill", "error"):
        return f"({old} IS NOT DISTINCT FROM NULL AND {new} IS DISTINCT FROM NULL)"
    if _kind(change.column) in ("json", "jsonb"):
        return f"{old}::jsonb IS DISTINCT FROM {new}::jsonb"
    return f"{old} IS DISTINCT FROM {new}"


def _kind(column: Column) -> str:
    return column.type_name or column.type


def misfit(column: Column, policy: str) -> str | None:
    """Why a policy cannot serve a column's type."""
    category, kind = column.type_category, column.type_name or column.type
    match policy:
        case "sum" if category not in ("N", "T"):
            return "sum needs a number or an interval"
        case "max" | "min" if not column.has_equality:
            return f"{policy} needs a type that has an order"
        case "error" if not column.has_equality:
            return "error needs a type that knows equality"
        case "union" if category != "A" and kind not in ("json", "jsonb"):
            return "union needs an array or JSON"
        case "union" if category == "A" and not column.has_equality:
            return "union needs elements that know equality"
        case "concat" if category != "S":
            return "concat needs text"
        case "json" if kind not in ("json", "jsonb"):
            return "json needs a json or jsonb column"
    return None
