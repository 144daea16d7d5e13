"""How each merge policy makes one value of a group's values."""

from __future__ import annotations

from dataclasses import dataclass

from onerow.dialects.values import ColumnChange
from onerow.schema import Column
from onerow.sql import quote


@dataclass(frozen=True, slots=True)
class Group:
    """Where the rows of a survivor's group are read: `o` is a row, `m.rank` its place."""

    source: str
    where: str


def _first(column: str, group: Group, order: str = "m.rank") -> str:
    return (
        f"(SELECT o.{column} FROM {group.source} WHERE {group.where}"
        f" AND o.{column} IS NOT NULL ORDER BY {order} LIMIT 1)"
    )


def _fill(column: str, group: Group) -> str:
    return f"coalesce(s.{column}, {_first(column, group)})"


def _sum(column: str, group: Group) -> str:
    return f"(SELECT sum(o.{column}) FROM {group.source} WHERE {group.where})"


def _concat(column: str, group: Group) -> str:
    return (
        f"(SELECT group_concat(x, char(10)) FROM (SELECT o.{column} AS x, min(m.rank) AS r"
        f" FROM {group.source} WHERE {group.where} AND o.{column} IS NOT NULL"
        f" GROUP BY o.{column} COLLATE BINARY ORDER BY r))"
    )


#: The JSON text of an element: json_each hands out objects and arrays as text already.
_JSON = (
    "CASE e.type WHEN 'object' THEN e.value WHEN 'array' THEN e.value WHEN 'true' THEN 'true'"
    " WHEN 'false' THEN 'false' WHEN 'null' THEN 'null' ELSE json_quote(e.value) END"
)


def _is_json(column: str, group: Group, kind: str) -> str:
    fill = _fill(column, group)
    return f"CASE WHEN json_valid({fill}) THEN json_type({fill}) END = '{kind}'"


def _each(column: str, group: Group, kind: str, empty: str) -> str:
    safe = (
        f"CASE WHEN json_valid(o.{column}) THEN CASE json_type(o.{column}) WHEN '{kind}'"
        f" THEN o.{column} ELSE '{empty}' END ELSE '{empty}' END"
    )
    return f"{group.source} JOIN json_each({safe}) AS e WHERE {group.where}"


def _union(column: str, group: Group) -> str:
    elements = (
        f"SELECT {_JSON} AS j, min(m.rank * 1000000 + e.key) AS r"
        f" FROM {_each(column, group, 'array', '[]')} GROUP BY 1 ORDER BY r"
    )
    return (
        f"(CASE WHEN {_is_json(column, group, 'array')} THEN"
        f" (SELECT json_group_array(json(j)) FROM ({elements})) ELSE {_fill(column, group)} END)"
    )


def _json_objects(column: str, group: Group) -> str:
    """Fields of the best row that has them; what is no object is left as it is."""
    members = (
        f"SELECT e.key AS k, {_JSON} AS j, min(m.rank) AS r"
        f" FROM {_each(column, group, 'object', '{}')} GROUP BY e.key ORDER BY r, e.id"
    )
    return (
        f"(CASE WHEN {_is_json(column, group, 'object')} THEN"
        f" (SELECT json_group_object(k, json(j)) FROM ({members})) ELSE {_fill(column, group)} END)"
    )


def merged(change: ColumnChange, group: Group) -> str:
    """The survivor's new value of a column, where `s` is the survivor's row."""
    column = quote(change.column.name)
    match change.policy:
        case "sum":
            return _sum(column, group)
        case "max":
            return _first(column, group, f"o.{column} DESC, m.rank")
        case "min":
            return _first(column, group, f"o.{column}, m.rank")
        case "concat":
            return _concat(column, group)
        case "union":
            return _union(column, group)
        case "json":
            return _json_objects(column, group)
        case _:
            return _fill(column, group)


def changed(change: ColumnChange, old: str, new: str) -> str:
    """Whether the survivor's value is another one now; what is equal stays as it is written."""
    each = f"FROM json_each({old}) AS e"
    if change.policy == "union":
        old = _rewritten(old, "array", f"(SELECT json_group_array(json({_JSON})) {each})")
    elif change.policy == "json":
        old = _rewritten(old, "object", f"(SELECT json_group_object(e.key, json({_JSON})) {each})")
    return f"{new} IS NOT {old}"


def _rewritten(column: str, kind: str, again: str) -> str:
    """JSON as the merge would write it; anything else as it is."""
    is_kind = f"CASE WHEN json_valid({column}) THEN json_type({column}) END = '{kind}'"
    return f"CASE WHEN {is_kind} THEN {again} ELSE {column} END"


def misfit(column: Column, policy: str) -> str | None:
    """Why a policy cannot serve a column; SQLite's types bind little, so its affinity decides."""
    affinity = column.type_category.upper()
    if policy == "sum" and affinity in ("TEXT", "BLOB") and column.type:
        return "sum needs a number"
    if policy in ("concat", "union", "json") and affinity in ("INTEGER", "REAL"):
        return f"{policy} needs text"
    return None
