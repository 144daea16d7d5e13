"""What several kinds need to know of indexes and constraints."""

from __future__ import annotations

from typing import Any

from onerow.enforcement import verdict
from onerow.keys import BoundKey, bind_key
from onerow.plan import Step
from onerow.rules import Key, rule_from_dict
from onerow.schema import Index, Snapshot, Table
from onerow.sql import Name, literal, quote


def table_of(step: Step, snapshot: Snapshot) -> Table | None:
    return snapshot.get(step.table)


def index_of(step: Step, snapshot: Snapshot, name: str) -> Index | None:
    table = table_of(step, snapshot)
    return table.index(name) if table else None


def bound_key(step: Step, snapshot: Snapshot) -> BoundKey:
    rule = rule_from_dict(step.args["rule"])
    assert isinstance(rule, Key)
    return bind_key(rule, snapshot)


def enforces(index: Index, bound: BoundKey) -> bool:
    """The index alone enforces the key whole."""
    from dataclasses import replace

    alone = replace(bound, table=replace(bound.table, indexes=(index,)))
    return verdict(alone).enforced


def comment_sql(what: str, comment: str | None) -> tuple[str, ...]:
    return (f"COMMENT ON {what} IS {literal(comment)}",) if comment else ()


def constraint_comment(table: Name, name: str, comment: str | None) -> tuple[str, ...]:
    return comment_sql(f"CONSTRAINT {quote(name)} ON {table.sql}", comment)


def index_facts(index: Index, table: Table) -> dict[str, Any]:
    """What it takes to make an index or its constraint again, as JSON."""
    constraint = table.constraint(index.constraint) if index.constraint else None
    return {
        "name": index.name,
        "schema": index.schema,
        "definition": index.definition,
        "comment": index.comment,
        "constraint": index.constraint,
        "constraint_definition": constraint.definition if constraint else "",
        "constraint_comment": constraint.comment if constraint else None,
        "deferrable": bool(constraint and constraint.deferrable),
        "deferred": bool(constraint and constraint.deferred),
    }
