"""What several kinds need to know of indexes and constraints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from onerow.dialects import dialect
from onerow.enforcement import verdict
from onerow.expressions import Reading
from onerow.keys import BoundKey, bind_key
from onerow.plan import Step
from onerow.rules import Key, rule_from_dict
from onerow.schema import Index, Snapshot, Table
from onerow.sql import Name, literal, quote
from onerow.steps import Action


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
    alone = replace(bound, table=replace(bound.table, indexes=(index,)))
    return verdict(alone).enforced


def is_of_key(index: Index, bound: BoundKey) -> bool:
    """The index has the elements and the filter of the key, no more and no less."""
    own = [e.expression if e.is_expression else quote(e.expression) for e in index.columns]
    wanted = dialect(bound.dialect).index_elements(bound)
    filters = _forms([index.predicate or ""], bound) == _forms([bound.where or ""], bound)
    return index.unique and filters and _forms(own, bound) == _forms(wanted, bound)


def has_leading_index(bound: BoundKey) -> bool:
    """Rows with the same key, or with a part of it, can be looked up."""
    wanted = [_forms([p.sql], bound) for p in bound.parts]
    firsts = [i.columns[0] for i in bound.table.indexes if _serves(i, bound)]
    own = [f.expression if f.is_expression else quote(f.expression) for f in firsts]
    # The only row of a singleton needs no index.
    return not wanted or any(_forms([text], bound) in wanted for text in own)


def _serves(index: Index, bound: BoundKey) -> bool:
    filters = _forms([index.predicate or ""], bound) == _forms([bound.where or ""], bound)
    return index.valid and index.method == "btree" and (index.predicate is None or filters)


def _forms(texts: Iterable[str], bound: BoundKey) -> list[str]:
    """Expressions in a form that does not depend on how they are written."""
    reading = Reading(bound.dialect, bound.table.columns)
    trees = [(text, reading.tree(text)) for text in texts]
    return sorted(text if tree is None else reading.text(tree) for text, tree in trees)


def comment_sql(what: str, comment: str | None) -> tuple[str, ...]:
    return (f"COMMENT ON {what} IS {literal(comment)}",) if comment else ()


def constraint_comment(table: Name, name: str, comment: str | None) -> tuple[str, ...]:
    return comment_sql(f"CONSTRAINT {quote(name)} ON {table.sql}", comment)


def taken_away(name: Name, constraint: str, snapshot: Snapshot) -> tuple[Action, ...]:
    """Drops a constraint of a table, if it is there."""
    table = snapshot.get(name)
    if table is None or table.constraint(constraint) is None:
        return ()
    return (Action((f"ALTER TABLE {name.sql} DROP CONSTRAINT {quote(constraint)}",)),)


def index_facts(index: Index, table: Table) -> dict[str, Any]:
    """What it takes to make an index or its constraint again, as JSON."""
    constraint = table.constraint(index.constraint) if index.constraint else None
    return {
        "name": index.name,
        "schema": index.schema,
        "definition": index.definition,
        "comment": index.comment,
        "tablespace": index.tablespace,
        "clustered": index.clustered,
        "statistics": [list(s) for s in index.statistics],
        "constraint": index.constraint,
        "constraint_definition": constraint.definition if constraint else "",
        "constraint_comment": constraint.comment if constraint else None,
        "deferrable": bool(constraint and constraint.deferrable),
        "deferred": bool(constraint and constraint.deferred),
        "key": key_facts(index),
    }


def key_facts(index: Index) -> dict[str, Any] | None:
    """What a unique index keeps apart, as a rule would say it; None where no rule could."""
    if not index.unique or index.without_overlaps:
        return None
    return {
        "name": index.constraint or index.name,
        "elements": [
            f"({e.expression})" if e.is_expression else e.expression for e in index.columns
        ],
        "where": index.predicate,
        "nulls": "equal" if index.nulls_not_distinct else "distinct",
    }


def old_keys(args: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The keys that a step took away, from its arguments; runs of older versions have none."""
    found = [args.get("key"), *args.get("keys", ())]
    yield from (k for k in found if k is not None)
    if isinstance(args.get("old"), Mapping):
        yield from old_keys(args["old"])
    if "taking" in args:
        yield from old_keys(args["taking"]["args"])


def built_again(
    step: Step, snapshot: Snapshot, facts: dict[str, Any], name: str
) -> tuple[Action, ...]:
    """Builds an index from its facts under a name, online, unless it stands.

    A build that was killed has left an invalid one, which may refuse rows already: it goes first.
    """
    index = index_of(step, snapshot, name)
    marks = tuple(Action((sql,), concurrent=True) for sql in _marks(step, facts, name, index))
    if index is not None and index.valid:
        return marks
    drop = f"DROP INDEX CONCURRENTLY IF EXISTS {Name(facts['schema'], name).sql}"
    create = facts["definition"].replace(" INDEX ", " INDEX CONCURRENTLY ", 1)
    # As it is printed: quoted only where it must be.
    own = f" {quote(facts['name'])} ON "
    if own not in create:
        own = f" {facts['name']} ON "
    create = create.replace(own, f" {quote(name)} ON ", 1)
    # The definition that PostgreSQL prints does not name the tablespace.
    space = facts.get("tablespace")
    there, back = f"SET default_tablespace = {literal(space or '')}", "RESET default_tablespace"
    build = Action((there, create, back), concurrent=True, cleanup=(drop, back))
    if index is None:
        return (build, *marks)
    return (Action((drop,), concurrent=True), build, *marks)


def _marks(step: Step, facts: dict[str, Any], name: str, index: Index | None) -> tuple[str, ...]:
    """What no definition says: statistics targets, and that CLUSTER goes by it; what is lacking."""
    there = index if index is not None and index.valid else None
    table, own = step.table.sql, Name(facts["schema"], name).sql
    marks = [
        f"ALTER INDEX {own} ALTER COLUMN {place} SET STATISTICS {target}"
        for place, target in facts.get("statistics", ())
        if there is None or (place, target) not in there.statistics
    ]
    if facts.get("clustered") and not (there and there.clustered):
        marks.append(f"ALTER TABLE {table} CLUSTER ON {quote(name)}")
    return tuple(marks)


def attached_again(table: Name, facts: dict[str, Any], index: str) -> str:
    """Makes the constraint of an index again."""
    when = " DEFERRABLE" * facts["deferrable"] + " INITIALLY DEFERRED" * facts["deferred"]
    what = "PRIMARY KEY" if facts["constraint_definition"].startswith("PRIMARY") else "UNIQUE"
    return (
        f"ALTER TABLE {table.sql} ADD CONSTRAINT {quote(facts['constraint'])} {what}"
        f" USING INDEX {quote(index)}{when}"
    )


def comments_again(step: Step, snapshot: Snapshot, facts: dict[str, Any]) -> tuple[str, ...]:
    """Comments of an index and its constraint, those that do not stand."""
    name = facts["constraint"] or facts["name"]
    table, index = table_of(step, snapshot), index_of(step, snapshot, name)
    constraint = table.constraint(name) if table else None
    stands = facts["constraint"] is None or (
        constraint is not None and constraint.comment == facts["constraint_comment"]
    )
    if stands and index is not None and index.comment == facts["comment"]:
        return ()
    return comments_of(step.table, facts)


def comments_of(table: Name, facts: dict[str, Any]) -> tuple[str, ...]:
    """Comments of an index and its constraint, to be made when both are there again."""
    name = facts["constraint"] or facts["name"]
    own = constraint_comment(
        table, name, facts["constraint_comment"] if facts["constraint"] else ""
    )
    return (*own, *comment_sql(f"INDEX {Name(facts['schema'], name).sql}", facts["comment"]))
