"""An index of a partitioned table, made level by level.

PostgreSQL builds no index of a partitioned table concurrently, and makes no constraint of one that
stands. But an index ON ONLY the parent costs nothing: it is invalid until every partition has
attached one of its own, which can be built concurrently (manual §5.12.2.2, ALTER INDEX … ATTACH
PARTITION). A partition that arrives meanwhile gets its own with the parent's. Where a key can be
a constraint, the parent's index is made as one from the start, and so are the partitions'.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from onerow.dialects import dialect
from onerow.keys import BoundKey
from onerow.schema import PARTITIONED, Index, Snapshot, Table
from onerow.sql import Name, cut, quote
from onerow.steps import Action
from onerow.steps._objects import comments_of, index_facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Parted:
    """An index of a partitioned table, as it is to be.

    Attributes:
        body: what follows `ON table` in CREATE INDEX.
        constraint: what it is as a constraint, `UNIQUE` or `PRIMARY KEY`; empty: it is none.
        elements: what follows that word.
        when: what follows ADD CONSTRAINT … USING INDEX.
        names: what partitions call their part, those that do not call it by `name_in`.
    """

    table: Table
    name: str
    body: str
    unique: bool = True
    constraint: str = ""
    elements: str = ""
    when: str = ""
    names: Mapping[Name, str] = field(default_factory=dict)

    def called(self, partition: Table) -> str:
        return self.names.get(partition.ident) or name_in(partition, self.name)

    def create(self, table: Table, name: str, *, online: bool) -> str:
        what = "UNIQUE INDEX" if self.unique else "INDEX"
        how, where = (" CONCURRENTLY", "") if online else ("", "ONLY ")
        return f"CREATE {what}{how} {quote(name)} ON {where}{table.sql} {self.body}"

    def alone(self, table: Table, name: str) -> Action:
        """The index of a table that holds no rows itself; it reaches no partition."""
        if self.constraint:
            add = f"ADD CONSTRAINT {quote(name)} {self.constraint} {self.elements}"
            return Action((f"ALTER TABLE ONLY {table.sql} {add}",))
        return Action((self.create(table, name, online=False),))


def of_key(bound: BoundKey, name: str) -> Parted:
    body = _body(dialect(bound.dialect).create_unique_index(bound, name), bound.table)
    told = " NULLS NOT DISTINCT"
    # `(a, b) NULLS NOT DISTINCT` of an index is `NULLS NOT DISTINCT (a, b)` of a constraint.
    elements = f"{told[1:]} {body.removesuffix(told)}" if body.endswith(told) else body
    return Parted(
        table=bound.table,
        name=name,
        body=body,
        constraint="UNIQUE" if bound.attachable else "",
        elements=elements,
    )


def of_index(table: Table, name: str, create: str) -> Parted:
    """A plain one, from the statement that would create it on the table."""
    return Parted(table=table, name=name, body=_body(create, table), unique=False)


def _body(create: str, table: Table) -> str:
    return create.partition(f" ON {table.sql} ")[2]


def below(table: Table, snapshot: Snapshot) -> Iterator[Table]:
    """Every partition of a table, and theirs."""
    for child in _children(table, snapshot):
        yield child
        yield from below(child, snapshot)


def name_in(partition: Table, name: str) -> str:
    """What a partition's part of an index is called."""
    return cut(f"{partition.name}_{name}")


def due(made: Parted, snapshot: Snapshot) -> Iterator[Action]:
    """What is left to do until the index stands, as far as the partitions of now tell."""
    if made.table.index(made.name) is None:
        yield made.alone(made.table, made.name)
    yield from _due_below(made, made.table, Name(made.table.schema, made.name), snapshot)


def _due_below(made: Parted, table: Table, above: Name, snapshot: Snapshot) -> Iterator[Action]:
    for child in _children(table, snapshot):
        attached = next((i for i in child.indexes if i.parent == above), None)
        own = attached.name if attached else made.called(child)
        here = Name(child.schema, own)
        if child.kind == PARTITIONED:
            if child.index(own) is None:
                yield made.alone(child, own)
            yield from _due_below(made, child, here, snapshot)
        elif attached is None:
            yield from _due_in_leaf(made, child, own)
        if attached is None:
            yield Action((f"ALTER INDEX {above.sql} ATTACH PARTITION {here.sql}",))


def _due_in_leaf(made: Parted, leaf: Table, name: str) -> Iterator[Action]:
    there = leaf.index(name)
    drop = f"DROP INDEX CONCURRENTLY IF EXISTS {Name(leaf.schema, name).sql}"
    if there is not None and not there.valid:
        yield Action((drop,), concurrent=True)
    if there is None or not there.valid:
        create = made.create(leaf, name, online=True)
        yield Action((create,), concurrent=True, cleanup=(drop,))
    if made.constraint and not (there and there.constraint):
        add = f"ADD CONSTRAINT {quote(name)} {made.constraint} USING INDEX {quote(name)}{made.when}"
        yield Action((f"ALTER TABLE {leaf.sql} {add}",))


# -- away and back -----------------------------------------------------------------------------


def parts_of(index: Index, table: Table, snapshot: Snapshot) -> Iterator[tuple[Table, Index]]:
    """The partitions' parts of an index, and theirs."""
    for child in _children(table, snapshot):
        for own in child.indexes:
            if own.parent == Name(index.schema, index.name):
                yield child, own
                yield from parts_of(own, child, snapshot)


def facts_of_parts(index: Index, table: Table, snapshot: Snapshot) -> list[dict[str, Any]]:
    return [
        {"table": [t.schema, t.name], **index_facts(i, t)}
        for t, i in parts_of(index, table, snapshot)
    ]


def lost_by_undo(index: Index, table: Table, snapshot: Snapshot) -> str:
    """What of an index or of its parts could not be made again as it was; empty if all could."""
    for place, one in ((table, index), *parts_of(index, table, snapshot)):
        if one.clustered or one.statistics or one.tablespace or one.options:
            return f"{one.name} of {place} has parameters, a tablespace or marks of its own"
        if place is not table and one.replica_identity:
            return f"{one.name} is the replica identity of {place}"
    return ""


def made_again(
    step_table: Name, facts: Mapping[str, Any], snapshot: Snapshot
) -> tuple[Action, ...]:
    """Makes an index or a constraint again from its facts and those of its parts."""
    table = snapshot.get(step_table)
    assert table is not None
    parts = {Name(*p["table"]): p for p in facts["parts"]}
    definition = str(facts["constraint_definition"])
    word = "PRIMARY KEY" if definition.startswith("PRIMARY") else "UNIQUE"
    when = " DEFERRABLE" * facts["deferrable"] + " INITIALLY DEFERRED" * facts["deferred"]
    made = Parted(
        table=table,
        name=facts["name"],
        body="USING " + facts["definition"].partition(" USING ")[2],
        constraint=word if facts["constraint"] else "",
        elements=definition.removeprefix(word).strip(),
        when=when,
        names={n: p["name"] for n, p in parts.items()},
    )
    comments = [*comments_of(step_table, dict(facts))]
    for name, part in parts.items():
        if snapshot.get(name) is not None:
            comments += comments_of(name, part)
    actions = tuple(due(made, snapshot))
    return (*actions, Action(tuple(comments))) if comments else actions


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
