"""What ties a plan to the rules and definitions that it was made for.

Statistics, sizes, oids and comments are left out: they change without changing what a plan means.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from onerow.schema import Column, Constraint, ForeignKey, Index, Snapshot, Table, Trigger
from onerow.sql import Name


def fingerprint(
    rules: Iterable[Mapping[str, Any]], snapshot: Snapshot, tables: Collection[Name]
) -> str:
    """Of the rules and the whole definitions of the tables that they touch."""
    return _hash(list(rules), _tables(snapshot, tables, frozenset()))


def invariant(
    rules: Iterable[Mapping[str, Any]],
    snapshot: Snapshot,
    tables: Collection[Name],
    changed: frozenset[str],
) -> str:
    """The same without the objects in `changed`, those that the plan itself makes and takes.

    It is the same before, during and after the run, so a run in progress can be told from one
    whose tables somebody else has altered meanwhile.
    """
    return _hash(list(rules), _tables(snapshot, tables, changed))


def _hash(*parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _tables(
    snapshot: Snapshot, names: Collection[Name], changed: frozenset[str]
) -> list[dict[str, Any]]:
    found = (snapshot.get(n) for n in sorted(names, key=str))
    return [_table(t, changed) for t in found if t is not None]


def _table(table: Table, changed: frozenset[str]) -> dict[str, Any]:
    return {
        "name": str(table),
        "kind": table.kind,
        "columns": [
            _column(c, changed) for c in table.columns if f"column {c.name}" not in changed
        ],
        "indexes": sorted(
            (_index(i) for i in table.indexes if not {i.name, i.constraint} & changed), key=str
        ),
        "constraints": sorted(
            # NOT NULL is told by the columns; PostgreSQL 18 has a constraint for it besides.
            (
                _constraint(c)
                for c in table.constraints
                if c.name not in changed and c.kind != "not null"
            ),
            key=str,
        ),
        "foreign_keys": sorted(
            (_foreign_key(f) for f in table.foreign_keys if f.name not in changed), key=str
        ),
        "triggers": sorted((_trigger(t) for t in table.triggers if t.name not in changed), key=str),
        "partition_of": str(table.partition_of),
        "partition_columns": table.partition_columns,
    }


def _column(column: Column, changed: frozenset[str]) -> dict[str, Any]:
    keep = ("name", "type", "default", "identity", "generated", "collation")
    out = {k: getattr(column, k) for k in keep}
    if f"not null {column.name}" not in changed:
        out["not_null"] = column.not_null_declared
    return out


def _index(index: Index) -> dict[str, Any]:
    keep = (
        "name",
        "unique",
        "predicate",
        "include",
        "constraint",
        "immediate",
        "nulls_not_distinct",
    )
    return {k: getattr(index, k) for k in keep} | {"columns": [asdict(c) for c in index.columns]}


def _constraint(constraint: Constraint) -> dict[str, Any]:
    return {k: getattr(constraint, k) for k in ("name", "kind", "definition", "columns")}


def _foreign_key(fk: ForeignKey) -> dict[str, Any]:
    keep = ("name", "columns", "target_columns", "on_delete", "on_update", "match")
    return {k: getattr(fk, k) for k in keep} | {"target": str(fk.target)}


def _trigger(trigger: Trigger) -> dict[str, Any]:
    return {k: getattr(trigger, k) for k in ("name", "timing", "events", "enabled", "definition")}
