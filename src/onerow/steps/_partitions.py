"""A unique index of a partitioned table, made level by level.

PostgreSQL builds no index of a partitioned table concurrently, and makes no constraint of one that
stands. But an index ON ONLY the parent costs nothing: it is invalid until every partition has
attached one of its own, which can be built concurrently (manual §5.12.2.2, ALTER INDEX … ATTACH
PARTITION). A partition that arrives meanwhile gets its own with the parent's. Where the key can be
a constraint, the parent's index is made as one from the start, and so are the partitions'.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from onerow.dialects import dialect
from onerow.keys import BoundKey
from onerow.schema import PARTITIONED, Index, Snapshot, Table
from onerow.sql import Name, cut, quote
from onerow.steps import Action


def below(table: Table, snapshot: Snapshot) -> Iterator[Table]:
    """Every partition of a table, and theirs."""
    for child in _children(table, snapshot):
        yield child
        yield from below(child, snapshot)


def name_in(partition: Table, name: str) -> str:
    """What a partition's part of an index is called."""
    return cut(f"{partition.name}_{name}")


def due(bound: BoundKey, name: str, snapshot: Snapshot) -> Iterator[Action]:
    """What is left to do until the index stands, as far as the partitions of now tell."""
    if bound.table.index(name) is None:
        yield _made_alone(bound, bound.table, name)
    yield from _due_below(bound, bound.table, name, Name(bound.table.schema, name), snapshot)


def _due_below(
    bound: BoundKey, table: Table, name: str, above: Name, snapshot: Snapshot
) -> Iterator[Action]:
    for child in _children(table, snapshot):
        attached = next((i for i in child.indexes if i.parent == above), None)
        own = attached.name if attached else name_in(child, name)
        here = Name(child.schema, own)
        if child.kind == PARTITIONED:
            if child.index(own) is None:
                yield _made_alone(bound, child, own)
            yield from _due_below(bound, child, name, here, snapshot)
        elif attached is None:
            yield from _due_in_leaf(bound, child, own)
        if attached is None:
            yield Action((f"ALTER INDEX {above.sql} ATTACH PARTITION {here.sql}",))


def _made_alone(bound: BoundKey, table: Table, name: str) -> Action:
    """The index of a table that holds no rows itself; it reaches no partition."""
    create = _index_sql(bound, table, name, online=False)
    if bound.attachable:
        definition = create.partition(f" ON {table.sql} ")[2]
        add = f"ADD CONSTRAINT {quote(name)} UNIQUE {_nulls_first(definition)}"
        return Action((f"ALTER TABLE ONLY {table.sql} {add}",))
    return Action((create.replace(f" ON {table.sql} ", f" ON ONLY {table.sql} ", 1),))


def _nulls_first(definition: str) -> str:
    """`(a, b) NULLS NOT DISTINCT` of an index is `NULLS NOT DISTINCT (a, b)` of a constraint."""
    told = " NULLS NOT DISTINCT"
    return (
        f"{told[1:]} {definition.removesuffix(told)}" if definition.endswith(told) else definition
    )


def _due_in_leaf(bound: BoundKey, leaf: Table, name: str) -> Iterator[Action]:
    there = leaf.index(name)
    drop = f"DROP INDEX CONCURRENTLY IF EXISTS {Name(leaf.schema, name).sql}"
    if there is not None and not there.valid:
        yield Action((drop,), concurrent=True)
    if there is None or not there.valid:
        create = _index_sql(bound, leaf, name, online=True)
        yield Action((create,), concurrent=True, cleanup=(drop,))
    if bound.attachable and not (there and there.constraint):
        add = f"ADD CONSTRAINT {quote(name)} UNIQUE USING INDEX {quote(name)}"
        yield Action((f"ALTER TABLE {leaf.sql} {add}",))


def _index_sql(bound: BoundKey, table: Table, name: str, *, online: bool) -> str:
    here = replace(bound, table=table)
    return dialect(bound.dialect).create_unique_index(here, name, online=online)


def taken_away(table: Table, name: str, snapshot: Snapshot) -> Iterator[Action]:
    """Drops the index with all that is attached, and parts that a cut-off run left unattached."""
    index = table.index(name)
    for child in below(table, snapshot):
        own = child.index(name_in(child, name))
        if own is not None and own.parent is None:
            yield _dropped(child, own)
    if index is not None:
        yield _dropped(table, index)


def _dropped(table: Table, index: Index) -> Action:
    if index.constraint:
        return Action((f"ALTER TABLE {table.sql} DROP CONSTRAINT {quote(index.constraint)}",))
    if table.kind == PARTITIONED:
        return Action((f"DROP INDEX {index.sql}",))
    return Action((f"DROP INDEX CONCURRENTLY {index.sql}",), concurrent=True)


def _children(table: Table, snapshot: Snapshot) -> Iterator[Table]:
    yield from filter(None, map(snapshot.get, table.partitions))
