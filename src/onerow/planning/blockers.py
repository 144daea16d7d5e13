"""Why a key's plan may not run: everything that can be known before anything is touched."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from onerow.dialects import MergeSpec
from onerow.dialects.guards import MARK
from onerow.facts import KeyFacts, MergeFacts
from onerow.keys import BoundKey
from onerow.plan import Blocker
from onerow.planning import moving
from onerow.schema import FOREIGN, PARTITIONED, Column, Index, Snapshot, Table, Trigger
from onerow.sql import comma, quote
from onerow.steps import _partitions

BIG_CHILD = 10_000  #: rows from which a scan of a child for every batch is not bearable


def privileges(spec: MergeSpec, snapshot: Snapshot) -> Iterator[Blocker]:
    """What the role must be allowed to do."""
    table = spec.table
    losing = {m.table.ident for m in spec.merged}
    if snapshot.read_only:
        yield Blocker(
            code="missing_privilege", message=f"{snapshot.database or 'The database'} is read-only."
        )
    if not table.we_own:
        yield _lacks(
            f"Only the owner of {table} ({table.owner}) may build its index; we are "
            f"{snapshot.user}. Connect as {table.owner}, or GRANT {quote(table.owner)} TO "
            f"{quote(snapshot.user)}."
        )
    if not table.may_create:
        yield _lacks(
            f"An index is created in the schema of its table, and {snapshot.user} may not create "
            f"there. GRANT CREATE ON SCHEMA {quote(table.schema)} TO {quote(snapshot.user)}."
        )
    for one, wanted in [
        # The undo inserts.
        (t, ("select", "insert", "update", "delete") if t.ident in losing else ("select", "update"))
        for t in spec.tables
    ]:
        lacking = [p for p in wanted if p not in one.privileges]
        if lacking:
            words = comma(p.upper() for p in lacking)
            yield _lacks(
                f"The role {snapshot.user} may not {words} on {one}."
                f" GRANT {words} ON {one.sql} TO {quote(snapshot.user)}."
            )
    if not snapshot.may_create_schema:
        yield _lacks(
            f"The journal needs a schema onerow, and {snapshot.user} may not make one. GRANT "
            f"CREATE ON DATABASE {quote(snapshot.database)} TO {quote(snapshot.user)}, or CREATE "
            f"SCHEMA onerow AUTHORIZATION {quote(snapshot.user)}."
        )


def _lacks(message: str) -> Blocker:
    return Blocker(code="missing_privilege", message=message)


def row_security(tables: Sequence[Table]) -> Iterator[Blocker]:
    for table in tables:
        if table.row_security_applies:
            yield Blocker(
                code="row_security_hides_rows",
                message=f"Row security on {table} hides rows from us. Connect as a role with "
                "BYPASSRLS, or as the owner where it is not forced.",
            )


def merging(
    spec: MergeSpec, snapshot: Snapshot, facts: MergeFacts, key_facts: KeyFacts
) -> Iterator[Blocker]:
    """What stands in the way of changing rows."""
    yield from writing(spec.tables, snapshot)
    yield from _children(spec, facts, bool(key_facts.violations.groups))
    if facts.undecided:
        yield Blocker(
            code="undecided_groups",
            message=f"keep = {str(spec.bound.key.keep)!r}: of {facts.undecided:,} group(s) of "
            f"{spec.bound} not exactly one row is chosen. Write yes for one row of each.",
        )
    for column, groups in facts.disagreements.items():
        if groups:
            yield Blocker(
                code="undecided_groups",
                message=f'merge = {{ {column} = "error" }}: {groups:,} group(s) of {spec.bound} '
                f"hold different values of {column}. Settle them, or choose another policy.",
            )
    for index, groups in facts.collisions.items():
        if groups:
            yield Blocker(
                code="colliding_children",
                message=f"Re-pointing the children would break {index} for {groups:,} value(s). "
                "Settle these rows first, keep another row of the group, or let the rule say what "
                f'becomes of them: children = {{ {_bare(index)} = "merge" }}, or "keep".',
            )
    yield from _excluded(facts.excluded)


def _excluded(excluded: Mapping[str, int]) -> Iterator[Blocker]:
    for constraint, pairs in excluded.items():
        if pairs:
            yield Blocker(
                code="colliding_children",
                message=f"Re-pointing the children would break {constraint} for {pairs:,} pair(s) "
                "of rows, and no policy decides between rows that exclude each other. Settle these "
                "rows first, or keep another row of the group.",
            )


def _bare(index: str) -> str:
    """The table of `schema.table.index` or `schema.table(column), …`."""
    head, _, rest = index.partition("(")
    return head.rpartition(".")[2] if rest else head.rpartition(".")[0].rpartition(".")[2]


def writing(tables: Sequence[Table], snapshot: Snapshot) -> Iterator[Blocker]:
    """What stands in the way of changing rows of these tables, whatever for."""
    yield from _triggers(tables, snapshot)
    yield from _publications(tables)


def _triggers(tables: Sequence[Table], snapshot: Snapshot) -> Iterator[Blocker]:
    """User triggers would write over what undo must find; they are kept from firing if we may."""
    if snapshot.dialect == "sqlite":
        return
    for table in tables:
        firing = firing_triggers(table)
        stubborn = [t for t in firing if t.enabled in ("always", "replica")]
        if stubborn or (firing and not (snapshot.may_suppress_triggers or table.we_own)):
            names = comma(t.name for t in stubborn or firing)
            yield Blocker(
                code="trigger_not_suppressible",
                message=f"The trigger {names} on {table} would fire while rows are changed, and "
                f"{snapshot.user} may not keep it from that. Connect as a superuser or as "
                f"{table.owner}, or GRANT SET ON PARAMETER session_replication_role.",
            )


def firing_triggers(table: Table) -> list[Trigger]:
    """User triggers that a merge or its undo would set off.

    A guard on PostgreSQL lets us pass by itself.
    """
    events = {"insert", "update", "delete"}
    return [
        t
        for t in table.triggers
        if t.enabled != "disabled"
        and events & set(t.events)
        and not t.function.startswith(f"onerow.{MARK}")
    ]


def _publications(tables: Sequence[Table]) -> Iterator[Blocker]:
    for table in tables:
        writes = any(p.updates or p.deletes for p in table.publications)
        if writes and not _has_replica_identity(table):
            yield Blocker(
                code="publication_without_identity",
                message=f"{table} is published ({comma(p.name for p in table.publications)}) and "
                "has no replica identity, so PostgreSQL refuses UPDATE and DELETE on it. ALTER "
                f"TABLE {table.sql} REPLICA IDENTITY FULL, or give it a primary key.",
            )


def _has_replica_identity(table: Table) -> bool:
    match table.replica_identity:
        case "full":
            return True
        case "index":
            return any(i.replica_identity for i in table.indexes)
        case "default":
            return bool(table.primary_key)
    return False


def _children(spec: MergeSpec, facts: MergeFacts, merges: bool) -> Iterator[Blocker]:
    for name, rows in facts.nameless.items():
        if rows:
            yield Blocker(
                code="no_primary_key",
                message=f"{rows:,} row(s) of {name} hold NULL in the primary key, so they cannot "
                "be told apart (SQLite lets them in). Give them a value first.",
            )
    for child in spec.references:
        rows = facts.child_rows.get(child.label, 0)
        if rows and not child.table.row_identity:
            yield Blocker(
                code="no_primary_key",
                message=f"{child.table} refers to {spec.table} and has no primary key, so its "
                "rows could not be found again by the undo. Give it one (an identity column does).",
            )
        fixed = [c.name for c in child.table.columns if c.name in child.columns and _is_fixed(c)]
        if rows and fixed:
            yield Blocker(
                code="unsupported",
                message=f"{child.label} refers to {spec.table} by {comma(fixed)}, which the "
                "database generates, so it cannot be pointed at another row.",
            )
        if merges and rows > BIG_CHILD and not child.indexed:
            columns = ", ".join(json.dumps(c) for c in child.columns)
            yield Blocker(
                code="unindexed_child",
                message=f"{child.label} has no index and over {BIG_CHILD:,} rows: every deleted "
                "parent would scan it. Let the plan build one first, with this in the rule file: "
                f"[[index]] table = {json.dumps(str(child.table))}, columns = [{columns}].",
            )


def _is_fixed(column: Column) -> bool:
    return not column.writable or column.identity == "always"


def guarding(bound: BoundKey) -> Iterator[Blocker]:
    """A guard without an index to look by, over more rows than a write can look at."""
    if (bound.table.estimated_rows or 0) <= BIG_CHILD:
        return
    columns = comma(f'"{p.label}"' for p in bound.parts)
    yield Blocker(
        code="unindexed_guard",
        message=f"guard = true: no index of {bound.table} leads with a column of the key, so every "
        f"write would look at all of its {bound.table.estimated_rows:,} rows. Add an [[index]] to "
        f'the rules: table = "{bound.key.table}", columns = [{columns}]; or leave the guard out.',
    )


def replacing(
    bound: BoundKey, old: Sequence[Index], snapshot: Snapshot, *, made: bool
) -> Iterator[Blocker]:
    """What leans on a key that is to go; `made`: the plan makes its successor."""
    for index in old:
        for fk in moving.leaning(index, snapshot):
            if why := moving.hindrance(fk, bound, index, snapshot, made=made):
                yield Blocker(
                    code="foreign_key_on_replaced_key",
                    message=f"The foreign key {fk.name} of {fk.table} leans on {index.name}, so "
                    f"that key must stay. {why} Leave {index.constraint or index.name} out of "
                    "replaces, or drop the foreign key first.",
                )
        if index.dependents:
            yield Blocker(
                code="dependent_on_replaced_key",
                message=f"{index.constraint or index.name} of {bound.table} cannot be dropped: "
                f"{comma(index.dependents)} need(s) it. Leave it out of replaces, or change that "
                "first (a view that groups by the primary key can name every column).",
            )
        if index.replica_identity:
            yield Blocker(
                code="replica_identity_on_replaced_key",
                message=f"{index.name} is the replica identity of {bound.table}. ALTER TABLE "
                f"{bound.table.sql} REPLICA IDENTITY to another index or FULL first.",
            )


def naming(bound: BoundKey, snapshot: Snapshot, free: set[str]) -> Iterator[Blocker]:
    """An object that bears our name and is not ours is never touched."""
    for table in snapshot:
        if table.schema != bound.table.schema:
            continue
        if table.name == bound.name:
            yield _taken(bound, f"{table.kind} {table}")
        for index in table.indexes:
            if index.name == bound.name and index.name not in free:
                state = "" if index.valid else ", left invalid by a build that failed"
                yield _taken(bound, f"index of {table}{state}", index)
    for constraint in bound.table.constraints:
        if constraint.name == bound.name and constraint.name not in free and not constraint.index:
            yield _taken(bound, f"{constraint.kind} constraint of {bound.table}")


def _taken(bound: BoundKey, what: str, index: Index | None = None) -> Blocker:
    way = f" If nobody needs it: DROP INDEX {index.sql}." if index and not index.constraint else ""
    return Blocker(
        code="name_taken",
        message=f"The name {bound.name} is taken by another {what}. Give the rule another name."
        f"{way}",
    )


def partitions(
    bound: BoundKey, old: Sequence[Index], snapshot: Snapshot, facts: KeyFacts
) -> Iterator[Blocker]:
    if bound.table.kind != PARTITIONED:
        return
    parts = list(_partitions.below(bound.table, snapshot))
    plain = {p.column.name for p in bound.parts if p.column and not p.folded}
    for table in (bound.table, *parts):
        missing = [c for c in table.partition_columns if c not in plain]
        if missing:
            yield _no_partition_key(bound, table, missing, facts)
    foreign = [t for t in parts if t.kind == FOREIGN]
    if foreign:
        yield Blocker(
            code="unsupported",
            message=f"{comma(map(str, foreign))} of {bound.table} is a foreign table, and no "
            "unique index reaches it. Detach it, or give the other partitions a rule each.",
        )
    for index in old:
        name = index.constraint or index.name
        if why := _partitions.lost_by_undo(index, bound.table, snapshot):
            yield Blocker(
                code="unsupported",
                message=f"{name} of the partitioned table {bound.table} could not be put back as "
                f"it is: {why}. Leave it out of replaces, and drop it yourself afterwards.",
            )
        if bound.name in (index.name, index.constraint):
            yield Blocker(
                code="unsupported",
                message=f"{bound.table} is partitioned, and its new key cannot take the name of "
                f"the old one, {name}. Give the rule another name.",
            )
    for table in parts:
        yield from _part_name_taken(bound, table, snapshot)


def _no_partition_key(
    bound: BoundKey, table: Table, missing: Sequence[str], facts: KeyFacts
) -> Blocker:
    names = comma(c or "an expression" for c in missing)
    found = facts.violations.groups
    across = f" {found:,} group(s) of rows break it now." if found else " No row breaks it now."
    return Blocker(
        code="partition_key_missing",
        message=f"{table} is partitioned by {names}, which the key lacks; PostgreSQL cannot "
        f"enforce it across partitions.{across} Add the column to the key, or keep the key in a "
        "table of its own.",
    )


def _part_name_taken(bound: BoundKey, part: Table, snapshot: Snapshot) -> Iterator[Blocker]:
    """What is attached in a partition has a name that we make up from the key's."""
    name = _partitions.name_in(part, bound.name)
    for table in snapshot:
        names = {table.name, *(i.name for i in table.indexes)}
        if table.schema == part.schema and name in names:
            yield Blocker(
                code="name_taken",
                message=f"The name {name} is taken in {part.schema}; the part of the key in {part} "
                "would bear it. Give the rule another name.",
            )
