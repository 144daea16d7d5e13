"""Statements for SQLite: keys, indexes, and the merge in batches.

A batch is one BEGIN IMMEDIATE transaction, so nothing moves between its statements and no row
locks are needed. What PostgreSQL does in one statement is done here in three: keep, change, sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from onerow.children import Child
from onerow.dialects.base import (
    Dialect,
    MergeSpec,
    Operation,
    Restore,
    archived_columns,
    element_names,
    key_aliases,
    keys_more_than_once,
    members_by_keys,
    members_by_window,
    of,
    ranked,
    restored_columns,
    same,
)
from onerow.dialects.sqlite import policies
from onerow.keys import BoundKey, KeyPart
from onerow.schema import Column, Table
from onerow.sql import Name, comma, conjunction, quote

BATCH = "temp.onerow_batch"
MEMBERS = "temp.onerow_members"
CHANGES = "temp.onerow_changes"
KEYS = "temp.onerow_keys"


class SQLite(Dialect):
    name: ClassVar[str] = "sqlite"
    schema: ClassVar[str] = "main"
    batch: ClassVar[str] = BATCH
    keys: ClassVar[str] = KEYS
    members: ClassVar[str] = MEMBERS
    write_lock: ClassVar[str] = "write"

    # -- definition --------------------------------------------------------------------------

    def create_unique_index(self, bound: BoundKey, name: str, *, online: bool = True) -> str:
        elements = comma(self.index_elements(bound))
        where = f" WHERE ({bound.where})" if bound.where is not None else ""
        return f"CREATE UNIQUE INDEX {quote(name)} ON {quote(bound.table.name)} ({elements}){where}"

    def index_elements(self, bound: BoundKey) -> tuple[str, ...]:
        if not bound.parts:
            return ("(1)",)
        if bound.key.nulls != "equal":
            return tuple(p.sql for p in bound.parts)
        return tuple(e for p in bound.parts for e in _null_proof(p))

    def drop_index(self, index: Name, *, online: bool = True) -> str:
        return f"DROP INDEX {quote(index.name)}"

    # -- merge -------------------------------------------------------------------------------

    def policy_misfit(self, column: Column, policy: str) -> str | None:
        return policies.misfit(column, policy)

    def batch_table(self, spec: MergeSpec) -> tuple[str, ...]:
        p, s = element_names(spec.identity, "p"), element_names(spec.identity, "s")
        values = comma(f"v{i}" for i, _ in enumerate(spec.changes, 1))
        changes = comma([*p, *([values] if values else [])])
        return (
            f"DROP TABLE IF EXISTS {BATCH}",
            f"CREATE TABLE {BATCH} ({comma([*p, *s])}, rank INTEGER, size INTEGER)",
            f"CREATE INDEX temp.onerow_batch_p ON onerow_batch ({comma(p)})",
            f"CREATE INDEX temp.onerow_batch_s ON onerow_batch ({comma(s)}, rank)",
            f"DROP TABLE IF EXISTS {CHANGES}",
            f"CREATE TABLE {CHANGES} ({changes})",
        )

    def list_keys(self, spec: MergeSpec) -> tuple[str, ...]:
        drop = f"DROP TABLE IF EXISTS {KEYS}"
        if not spec.bound.parts or not _findable(spec.bound):
            return (drop,)
        names = comma(key_aliases(spec.bound))
        return (
            drop,
            f"CREATE TABLE {KEYS} AS {keys_more_than_once(spec)}",
            f"CREATE INDEX temp.onerow_keys_k ON onerow_keys ({names})",
        )

    def list_members(self, spec: MergeSpec, *, by_keys: bool) -> tuple[str, ...]:
        rows = members_by_keys(spec, KEYS) if by_keys else members_by_window(spec)
        return (
            f"DROP TABLE IF EXISTS {MEMBERS}",
            f"CREATE TABLE {MEMBERS} AS {rows}",
            "CREATE INDEX temp.onerow_members_grp ON onerow_members (grp)",
        )

    def rank(self, spec: MergeSpec, first: int, last: int) -> tuple[str, ...]:
        p = comma(element_names(spec.identity, "p"))
        these = (
            f"({comma(map(quote, spec.identity))}) IN"
            f" (SELECT {p} FROM {MEMBERS} WHERE grp BETWEEN {first} AND {last})"
        )
        return (
            f"DELETE FROM {BATCH}",
            f"INSERT INTO {BATCH} {ranked(spec, self.order(spec), these)}",
        )

    def operations(
        self, spec: MergeSpec, archives: dict[Name, str], op: int, batch: int
    ) -> tuple[Operation, ...]:
        out: list[Operation] = []
        if spec.changes:
            out.append(_merge_columns(spec, archives[spec.table.ident], op, batch))
        for child in spec.children:
            number = op + len(out)
            out.append(_repoint(spec, child, archives[child.table.ident], number, batch))
        out.append(_delete(spec, archives[spec.table.ident], op + len(out), batch))
        return tuple(out)

    def create_archive(self, table: Table, name: str) -> str:
        # No declared types: no affinity, so every value keeps its storage class (datatype3 §3).
        columns = comma(quote(c.name) for c in archived_columns(table))
        return (
            f"CREATE TABLE {quote(name)} (onerow_op INTEGER NOT NULL,"
            f" onerow_batch INTEGER NOT NULL, onerow_after TEXT, onerow_survivor TEXT, {columns})"
        )

    def index_archive(self, archive: Name) -> tuple[str, ...]:
        name = Name("main", f"{archive.name}_op").sql
        return (f"CREATE INDEX IF NOT EXISTS {name} ON {quote(archive.name)} (onerow_op)",)

    def restore(self, table: Table, archive: str, action: str, detail: str, op: int) -> Restore:
        if action == "deleted":
            return _restore_deleted(table, archive, op)
        return _restore_changed(table, archive, detail, op, whole=action == "updated")


def _null_proof(part: KeyPart) -> tuple[str, ...]:
    if not part.nullable:
        return (part.sql,)
    # A function's result has no collation (datatype3 §7.1), so the column's is named again.
    collation = part.column.collation if part.column else ""
    collate = f" COLLATE {quote(collation)}" if collation and not part.folded else ""
    return (f"coalesce({part.sql}, 0){collate}", f"{part.sql} IS NULL")


def _findable(bound: BoundKey) -> bool:
    """Rows can be found by a list of keys: it keeps neither NULLs' equality nor collations."""
    nulls = bound.key.nulls == "equal" and any(p.nullable for p in bound.parts)
    return not nulls and all(p.column is None or not p.column.collation for p in bound.parts)


def row_text(alias: str, columns: Sequence[str]) -> str:
    """The text that stands for a row's content; quote() writes every storage class apart."""
    return " || ',' || ".join(f"quote({c})" for c in of(alias, columns)) or "''"


def _whole(alias: str, table: Table) -> str:
    return row_text(alias, [c.name for c in restored_columns(table)])


def _archive_into(archive: str, table: Table, *, survivor: bool = False) -> str:
    columns = comma(quote(c.name) for c in archived_columns(table))
    extra = ", onerow_survivor" if survivor else ""
    return f"INSERT INTO {archive} (onerow_op, onerow_batch{extra}, {columns})"


def _sign(archive: str, table: Table, op: int, text: str) -> str:
    """Writes down what the changed rows look like now, to know later if others changed them."""
    here = same(of("t", table.row_identity), of("a", table.row_identity))
    return (
        f"UPDATE {archive} AS a SET onerow_after = (SELECT {text} FROM {table.sql} AS t"
        f" WHERE {here}) WHERE a.onerow_op = {op}"
    )


def _merge_columns(spec: MergeSpec, archive: str, op: int, batch: int) -> Operation:
    table, identity = spec.table, spec.identity
    p = element_names(identity, "p")
    group = policies.Group(
        source=f"{BATCH} AS m JOIN {table.sql} AS o ON "
        + same(of("o", identity), [f"m.{n}" for n in p]),
        where=same([f"m.s{i}" for i, _ in enumerate(identity, 1)], [f"b.{n}" for n in p]),
    )
    values = comma(f"{policies.merged(c, group)} AS v{i}" for i, c in enumerate(spec.changes, 1))
    olds = comma(f"s.{quote(c.column.name)} AS w{i}" for i, c in enumerate(spec.changes, 1))
    differ = " OR ".join(f"v{i} IS NOT w{i}" for i, _ in enumerate(spec.changes, 1))
    wanted = comma([*p, *(f"v{i}" for i, _ in enumerate(spec.changes, 1))])
    collect = (
        f"INSERT INTO {CHANGES} SELECT {wanted} FROM (SELECT {comma(f'b.{n}' for n in p)},"
        f" {values}, {olds} FROM {BATCH} AS b JOIN {table.sql} AS s"
        f" ON {same(of('s', identity), [f'b.{n}' for n in p])}"
        f" WHERE b.rank = 1 AND b.size > 1) WHERE {differ}"
    )
    here = same(of("s", identity), [f"v.{n}" for n in p])
    old = comma(f"s.{quote(c.name)}" for c in archived_columns(table))
    sets = comma(f"{quote(c.column.name)} = v.v{i}" for i, c in enumerate(spec.changes, 1))
    update = (
        f"UPDATE {table.sql} AS t SET {sets} FROM {CHANGES} AS v"
        f" WHERE {same(of('t', identity), [f'v.{n}' for n in p])}"
    )
    return Operation(
        table=table.ident,
        action="updated",
        detail=comma(quote(c.column.name) for c in spec.changes),
        before=(f"DELETE FROM {CHANGES}", collect),
        main=f"{_archive_into(archive, table)} SELECT {op}, {batch}, {old}"
        f" FROM {table.sql} AS s JOIN {CHANGES} AS v ON {here}",
        after=(update, _sign(archive, table, op, _whole("t", table))),
    )


def _mapping(spec: MergeSpec, child: Child) -> str:
    identity = spec.identity
    p, s = element_names(identity, "p"), element_names(identity, "s")
    pairs = comma(
        f"l.{quote(t)} AS old{i}, k.{quote(t)} AS new{i}"
        for i, t in enumerate(child.target_columns, 1)
    )
    return (
        f"SELECT {pairs} FROM {BATCH} AS b"
        f" JOIN {spec.table.sql} AS l ON {same(of('l', identity), [f'b.{n}' for n in p])}"
        f" JOIN {spec.table.sql} AS k ON {same(of('k', identity), [f'b.{n}' for n in s])}"
        f" WHERE b.rank > 1"
    )


def _repoint(spec: MergeSpec, child: Child, archive: str, op: int, batch: int) -> Operation:
    table, columns = child.table, child.columns
    old = [f"m.old{i}" for i, _ in enumerate(columns, 1)]
    mapping = _mapping(spec, child)
    where = _condition(child)
    archived = comma(f"c.{quote(c.name)}" for c in archived_columns(table))
    keep = (
        f"{_archive_into(archive, table)} SELECT {op}, {batch}, {archived}"
        f" FROM ({mapping}) AS m JOIN {table.sql} AS c"
        f" ON {conjunction([same(of('c', columns), old), where])}"
    )
    sets = comma(f"{quote(c)} = m.new{i}" for i, c in enumerate(columns, 1))
    update = (
        f"UPDATE {table.sql} AS c SET {sets} FROM ({mapping}) AS m"
        f" WHERE {conjunction([same(of('c', columns), old), where])}"
    )
    return Operation(
        table=table.ident,
        action="repointed",
        detail=comma(map(quote, columns)),
        before=(),
        main=keep,
        after=(update, _sign(archive, table, op, row_text("t", columns))),
    )


def _condition(child: Child) -> str:
    if child.where is None:
        return ""
    key = child.table.row_identity
    return (
        f"({comma(of('c', key))}) IN (SELECT {comma(map(quote, key))}"
        f" FROM {child.table.sql} WHERE {child.where})"
    )


def _delete(spec: MergeSpec, archive: str, op: int, batch: int) -> Operation:
    table, identity = spec.table, spec.identity
    p, s = element_names(identity, "p"), element_names(identity, "s")
    survivor = " || ',' || ".join(f"quote(b.{n})" for n in s)
    old = comma(f"t.{quote(c.name)}" for c in archived_columns(table))
    keep = (
        f"{_archive_into(archive, table, survivor=True)}"
        f" SELECT {op}, {batch}, {survivor}, {old} FROM {BATCH} AS b JOIN {table.sql} AS t"
        f" ON {same(of('t', identity), [f'b.{n}' for n in p])} WHERE b.rank > 1"
    )
    delete = (
        f"DELETE FROM {table.sql} WHERE ({comma(map(quote, identity))}) IN"
        f" (SELECT {comma(p)} FROM {BATCH} WHERE rank > 1)"
    )
    return Operation(
        table=table.ident, action="deleted", detail="", before=(), main=keep, after=(delete,)
    )


def _parents(table: Table, archive: str, op: int) -> list[str]:
    """Tests that every row which an archived row refers to is there, or comes back with it."""
    tests = []
    for fk in table.foreign_keys:
        nulls = [f"a.{quote(c)} IS NULL" for c in fk.columns]
        match = same(of("q", fk.target_columns), of("a", fk.columns))
        found = [f"EXISTS (SELECT 1 FROM {fk.target.sql} AS q WHERE {match})"]
        if fk.target == table.ident:
            found.append(
                f"EXISTS (SELECT 1 FROM {archive} AS q WHERE q.onerow_op = {op} AND {match})"
            )
        tests.append(f"({' OR '.join([*nulls, *found])})")
    return tests


def _insert(table: Table, archive: str, tests: list[str]) -> str:
    columns = [c.name for c in restored_columns(table)]
    return (
        f"INSERT INTO {table.sql} ({comma(map(quote, columns))})"
        f" SELECT {comma(of('a', columns))} FROM {archive} AS a WHERE {conjunction(tests)}"
        f" ON CONFLICT DO NOTHING"
    )


def _restore_deleted(table: Table, archive: str, op: int) -> Restore:
    identity = table.row_identity
    ours = f"a.onerow_op = {op}"
    here = same(of("t", identity), of("a", identity))
    there = f"EXISTS (SELECT 1 FROM {table.sql} AS t WHERE {here})"
    insert = _insert(table, archive, [ours, f"NOT {there}", *_parents(table, archive, op)])
    columns = [c for c in restored_columns(table) if c.name not in identity]
    sets = comma(f"{quote(c.name)} = a.{quote(c.name)}" for c in columns)
    overwrite = f"UPDATE {table.sql} AS t SET {sets} FROM {archive} AS a WHERE {ours} AND {here}"
    keys = comma(of("a", identity))
    return Restore(
        lock=None,
        changed=f"SELECT {keys}, 'a row with this key is there now' FROM {archive} AS a"
        f" WHERE {ours} AND {there}",
        statement=insert,
        forced=((overwrite, insert) if sets else (insert,)),
        missing=f"SELECT {keys}, 'a row that it refers to is gone, or its place in a unique key is"
        f" taken' FROM {archive} AS a WHERE {ours} AND NOT {there}",
    )


def _restore_changed(table: Table, archive: str, detail: str, op: int, *, whole: bool) -> Restore:
    identity = table.row_identity
    columns = detail.split(", ") if detail else []
    text = " || ',' || ".join(f"quote(t.{c})" for c in columns)
    now = _whole("t", table) if whole else text
    here = same(of("t", identity), of("a", identity))
    gone = f"t.{quote(identity[0])} IS NULL"
    sets = comma(f"{c} = a.{c}" for c in columns)
    update = (
        f"UPDATE {table.sql} AS t SET {sets} FROM {archive} AS a"
        f" WHERE a.onerow_op = {op} AND {here}"
    )
    insert = _insert(table, archive, [f"a.onerow_op = {op}", *_parents(table, archive, op)])
    return Restore(
        lock=None,
        changed=f"SELECT {comma(of('a', identity))}, CASE WHEN {gone} THEN 'deleted since'"
        f" ELSE 'changed since' END FROM {archive} AS a LEFT JOIN {table.sql} AS t ON {here}"
        f" WHERE a.onerow_op = {op} AND ({gone} OR {now} IS NOT a.onerow_after)",
        statement=f"{update} AND {now} IS a.onerow_after",
        forced=(update, insert),
    )
