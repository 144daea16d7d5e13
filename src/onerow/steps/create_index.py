"""Build an index, of a key or a plain one; on PostgreSQL concurrently, while writers write."""

from __future__ import annotations

from dataclasses import replace

from onerow.dialects import Dialect
from onerow.errors import NameTaken
from onerow.keys import BoundKey
from onerow.plan import Step
from onerow.rules import Rule, rule_to_dict
from onerow.sameness import same_index
from onerow.schema import PARTITIONED, Index, IndexColumn, Snapshot, Table
from onerow.sql import Name, comma, quote
from onerow.steps import Action, _partitions
from onerow.steps._objects import bound_key, enforces, index_of, is_of_key

MODE = "concurrent"


def plan(bound: BoundKey, dialect: Dialect, name: str) -> Step:
    online = dialect.name == "postgresql"
    how = "concurrently, so reads and writes go on" if online else "in one transaction"
    return Step(
        kind="create_index",
        table=bound.table.ident,
        rule=bound.label,
        sentence=f"Build the unique index {name} on {bound}, {how}.",
        sql=(dialect.create_unique_index(bound, name),),
        lock="share_update_exclusive" if online else "write",
        lock_length="the build",
        transactional=not online,
        rows=0,
        undo=f"Drops the index {name}.",
        args={"rule": rule_to_dict(bound.key), "name": name},
    )


def plan_partitioned(bound: BoundKey, snapshot: Snapshot, name: str) -> Step:
    """The key of a partitioned table; its constraint, where it can be one, is made with it."""
    constraint = bound.attachable
    parts = list(_partitions.below(bound.table, snapshot))
    what = "constraint" if constraint else "unique index"
    return Step(
        kind="create_index",
        table=bound.table.ident,
        rule=bound.label,
        sentence=f"Build the {what} {name} on {bound}: concurrently in each of {len(parts)} "
        "partition(s), then attached to the parent's.",
        sql=tuple(q for a in due_of(bound, name, snapshot) for q in a.sql),
        # On the parent for its constraint; on each part's index while it is attached.
        lock="access_exclusive",
        lock_length="a moment on each table; the builds let reads and writes go on",
        transactional=False,
        rows=0,
        undo=f"Drops the {what} {name} with its parts, which stops reads and writes for a moment.",
        args={
            "rule": rule_to_dict(bound.key),
            "name": name,
            "partitioned": True,
            "parts": [_partitions.name_in(t, name) for t in parts],
        },
    )


def due_of(bound: BoundKey, name: str, snapshot: Snapshot) -> tuple[Action, ...]:
    return tuple(_partitions.due(_partitions.of_key(bound, name), snapshot))


def due(step: Step, snapshot: Snapshot) -> tuple[Action, ...]:
    """What is left to do of an index of a partitioned table.

    Raises:
        NameTaken: an index of that name is there and is another one.
    """
    name, there = step.args["name"], index_of(step, snapshot, step.args["name"])
    if there is not None and not _is_ours(step, there, snapshot):
        raise NameTaken(f"An index {name} is there, and it is another one.")
    if "plain" not in step.args:
        return due_of(bound_key(step, snapshot), name, snapshot)
    table = snapshot.get(step.table)
    assert table is not None
    return tuple(_partitions.due(_partitions.of_index(table, name, step.args["create"]), snapshot))


def _is_ours(step: Step, index: Index, snapshot: Snapshot) -> bool:
    """By definition, valid or not yet."""
    if "plain" in step.args:
        return _is_as_planned(step, replace(index, valid=True, ready=True), snapshot)
    return is_of_key(index, bound_key(step, snapshot))


def plan_plain(
    table: Table, rule: Rule, index: Index, dialect: Dialect, snapshot: Snapshot
) -> Step:
    """An index that keeps no duplicates out."""
    if table.kind == PARTITIONED:
        return _plan_plain_partitioned(table, rule, index, snapshot)
    online = dialect.name == "postgresql"
    how = "concurrently, so reads and writes go on" if online else "in one transaction"
    elements = [e.expression if e.is_expression else quote(e.expression) for e in index.columns]
    rows = f" for rows where {index.predicate}" if index.predicate is not None else ""
    return Step(
        kind="create_index",
        table=table.ident,
        rule=rule.label,
        sentence=f"Build the index {index.name} on {table} ({comma(elements)}){rows}, {how}.",
        sql=(plain_sql(table, index, elements, online=online),),
        lock="share_update_exclusive" if online else "write",
        lock_length="the build",
        transactional=not online,
        rows=0,
        undo=f"Drops the index {index.name}.",
        args={
            "plain": [[e.expression, e.is_expression] for e in index.columns],
            "where": index.predicate,
            "name": index.name,
        },
    )


def _plan_plain_partitioned(table: Table, rule: Rule, index: Index, snapshot: Snapshot) -> Step:
    parts = list(_partitions.below(table, snapshot))
    elements = [e.expression if e.is_expression else quote(e.expression) for e in index.columns]
    create = plain_sql(table, index, elements, online=True).replace("CONCURRENTLY ", "", 1)
    due = _partitions.due(_partitions.of_index(table, index.name, create), snapshot)
    rows = f" for rows where {index.predicate}" if index.predicate is not None else ""
    return Step(
        kind="create_index",
        table=table.ident,
        rule=rule.label,
        sentence=f"Build the index {index.name} on {table} ({comma(elements)}){rows}: concurrently "
        f"in each of {len(parts)} partition(s), then attached to the parent's.",
        sql=tuple(q for a in due for q in a.sql),
        # On each part's index while it is attached; the parent keeps out writers for its own.
        lock="access_exclusive",
        lock_length="a moment on each part's index; the builds let reads and writes go on",
        transactional=False,
        rows=0,
        undo=f"Drops the index {index.name} with its parts, which stops reads and writes for a "
        "moment.",
        args={
            "plain": [[e.expression, e.is_expression] for e in index.columns],
            "where": index.predicate,
            "name": index.name,
            "create": create,
            "partitioned": True,
            "parts": [_partitions.name_in(t, index.name) for t in parts],
        },
    )


def plain_sql(table: Table, index: Index, elements: list[str], *, online: bool) -> str:
    on = table.sql if online else quote(table.name)
    where = f" WHERE ({index.predicate})" if index.predicate is not None else ""
    how = "CONCURRENTLY " if online else ""
    return f"CREATE INDEX {how}{quote(index.name)} ON {on} ({comma(elements)}){where}"


def is_done(step: Step, snapshot: Snapshot) -> bool | None:
    index = index_of(step, snapshot, step.args["name"])
    if index is None:
        return False
    if "plain" in step.args:
        return _is_as_planned(step, index, snapshot)
    bound = bound_key(step, snapshot)
    # Where NULL is forbidden by a rebuild yet to come, the index alone is not enough.
    late = snapshot.dialect == "sqlite" and bound.key.nulls == "forbidden"
    return enforces(index, bound) or (late and is_of_key(index, bound))


def _is_as_planned(step: Step, index: Index, snapshot: Snapshot) -> bool:
    """By definition, not by name: a namesake with other columns is somebody else's."""
    table = snapshot.get(step.table)
    columns = tuple(IndexColumn(expression=e, is_expression=x) for e, x in step.args["plain"])
    wanted = Index(
        name=index.name, schema=index.schema, columns=columns, predicate=step.args["where"]
    )
    return table is not None and same_index(index, wanted, table, snapshot.dialect)


def undo(step: Step, snapshot: Snapshot) -> tuple[Action, ...]:
    if step.args.get("partitioned"):
        return _undo_partitioned(step, snapshot)
    index = index_of(step, snapshot, step.args["name"])
    # A whole one of another definition is somebody else's.
    if index is None or (index.valid and not is_done(step, snapshot)):
        return ()
    if snapshot.dialect == "sqlite":
        return (Action((f"DROP INDEX {Name('main', index.name).sql}",)),)
    return (Action((f"DROP INDEX CONCURRENTLY {index.sql}",), concurrent=True),)


def _undo_partitioned(step: Step, snapshot: Snapshot) -> tuple[Action, ...]:
    table, name = snapshot.get(step.table), step.args["name"]
    index = table.index(name) if table else None
    if table is None or (index is not None and not _is_ours(step, index, snapshot)):
        return ()
    return tuple(_partitions.taken_away(table, name, snapshot))


def makes(step: Step) -> tuple[str, ...]:
    return (str(step.args["name"]), *step.args.get("parts", ()))


def takes(step: Step) -> tuple[str, ...]:
    return ()
