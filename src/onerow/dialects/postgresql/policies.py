"""How each merge policy makes one value of a group's values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from onerow.dialects.base import ColumnChange
from onerow.schema import Column
from onerow.sql import quote


@dataclass(frozen=True, slots=True)
class Group:
    """Where the rows of a survivor's group are read: `o` is a row, `m.rank` its place."""

    source: str
    where: str


@dataclass(frozen=True, slots=True)
class Merged:
    value: str
    changed: Callable[[str, str], str]  #: (old, new) -> condition


def _first(column: str, group: Group, order: str = "m.rank") -> str:
    return (
        f"(SELECT o.{column} FROM {group.source} WHERE {group.where}"
        f" AND o.{column} IS NOT NULL ORDER BY {order} LIMIT 1)"
    )


def _fill(column: str, group: Group) -> str:
    # coalesce looks at the other rows only where the survivor has nothing.
    return f"coalesce(s.{column}, {_first(column, group)})"


def _was_null(old: str, new: str) -> str:
    return f"({old} IS NULL AND {new} IS NOT NULL)"


def _differs(old: str, new: str) -> str:
    return f"{old} IS DISTINCT FROM {new}"


def _differs_as_text(old: str, new: str) -> str:
    return f"{old}::text IS DISTINCT FROM {new}::text"


def _sum(column: str, group: Group) -> str:
    return f"(SELECT sum(o.{column}) FROM {group.source} WHERE {group.where})"


def _concat(column: str, group: Group) -> str:
    return (
        f"(SELECT string_agg(x, E'\\n' ORDER BY r) FROM (SELECT o.{column} AS x, min(m.rank) AS r"
        f" FROM {group.source} WHERE {group.where} AND o.{column} IS NOT NULL"
        f" GROUP BY o.{column}) AS d)"
    )


def _union(column: str, group: Group) -> str:
    return (
        f"coalesce((SELECT array_agg(e ORDER BY r, i) FROM (SELECT DISTINCT ON (e) e, m.rank AS r,"
        f" i FROM {group.source} CROSS JOIN LATERAL unnest(o.{column}) WITH ORDINALITY AS x(e, i)"
        f" WHERE {group.where} ORDER BY e, m.rank, i) AS d), {_fill(column, group)})"
    )


def _json_union(column: str, group: Group, kind: str) -> str:
    fill = _fill(column, group)
    return (
        f"(CASE WHEN jsonb_typeof(({fill})::jsonb) = 'array' THEN"
        f" (SELECT jsonb_agg(e ORDER BY r, i) FROM (SELECT DISTINCT ON (e) e, m.rank AS r, i"
        f" FROM {group.source} CROSS JOIN LATERAL jsonb_array_elements(CASE"
        f" jsonb_typeof(o.{column}::jsonb) WHEN 'array' THEN o.{column}::jsonb ELSE '[]' END)"
        f" WITH ORDINALITY AS x(e, i)"
        f" WHERE {group.where} ORDER BY e, m.rank, i) AS d)::{kind} ELSE {fill} END)"
    )


def _json_objects(column: str, group: Group, kind: str) -> str:
    """Fields of the best row that has them; what is no object is left as it is."""
    fill = _fill(column, group)
    return (
        f"(CASE WHEN jsonb_typeof(({fill})::jsonb) = 'object' THEN"
        f" (SELECT jsonb_object_agg(k, e) FROM (SELECT DISTINCT ON (k) k, e"
        f" FROM {group.source} CROSS JOIN LATERAL jsonb_each(CASE"
        f" jsonb_typeof(o.{column}::jsonb) WHEN 'object' THEN o.{column}::jsonb ELSE '{{}}' END)"
        f" AS x(k, e) WHERE {group.where} ORDER BY k, m.rank) AS d)::{kind}"
        f" ELSE {fill} END)"
    )


def merged(change: ColumnChange, group: Group) -> Merged:
    """The survivor's new value of a column, where `s` is the survivor's row."""
    column, kind = quote(change.column.name), change.column.type_name or change.column.type
    match change.policy:
        case "sum":
            return Merged(_sum(column, group), _differs)
        case "max":
            return Merged(_first(column, group, f"o.{column} DESC, m.rank"), _differs)
        case "min":
            return Merged(_first(column, group, f"o.{column}, m.rank"), _differs)
        case "concat":
            return Merged(_concat(column, group), _differs)
        case "union" if kind in ("json", "jsonb"):
            return Merged(_json_union(column, group, kind), _differs_as_text)
        case "union":
            return Merged(_union(column, group), _differs)
        case "json":
            return Merged(_json_objects(column, group, kind), _differs_as_text)
        case _:
            return Merged(_fill(column, group), _was_null)


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
