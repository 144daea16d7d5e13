"""Statements for SQLite: keys, indexes, and the merge in batches.

A batch is one BEGIN IMMEDIATE transaction, so nothing moves between its statements and no row
locks are needed. What PostgreSQL does in one statement is done here in three: keep, change, sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from onerow.dialects.archived import (
    NOT_BACK,
    archived_columns,
    found_again,
    now_names,
    referred_to,
    restored_columns,
)
from onerow.dialects.base import Dialect
from onerow.dialects.folds import Change
from onerow.dialects.groups import keys_more_than_once, members_by_keys, members_by_window, ranked
from onerow.dialects.phrases import element_names, key_aliases, of, quoted_names, same, unquote
from onerow.dialects.sqlite import policies
from onerow.dialects.sqlite.repoint import park, repoint, row_text, sign
from onerow.dialects.values import Entry, Merged, MergeSpec, Operation, Restore
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
    typed_batch: ClassVar[bool] = False
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

    def batch_table(self, merged: Merged) -> tuple[str, ...]:
        batch, changes = self.batch_of(merged), _changes(merged)
        p, s = element_names(merged.identity, "p"), element_names(merged.identity, "s")
        values = [f"v{i}" for i, _ in enumerate(merged.changes, 1)]
        bare = batch.partition(".")[2]
        return (
            f"DROP TABLE IF EXISTS {batch}",
            f"CREATE TABLE {batch} ({comma([*p, *s])}, rank INTEGER, size INTEGER)",
            f"CREATE INDEX {batch}_p ON {bare} ({comma(p)})",
            f"CREATE INDEX {batch}_s ON {bare} ({comma(s)}, rank)",
            f"DROP TABLE IF EXISTS {changes}",
            f"CREATE TABLE {changes} ({comma([*p, *values])})",
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

    def operation(self, change: Change, entry: Entry) -> Operation:
        merged, child = change.merged, change.child
        match change.how:
            case "delete":
                return _delete(self, merged, entry)
            case "update":
                return _update(merged, entry)
            case "park":
                assert child is not None
                return park(self, merged, child, entry)
            case "repoint":
                assert child is not None
                return repoint(self, merged, child, entry)

    def lock_rows(self, table: Table, which: str) -> tuple[str, ...]:
        return ()

    def in_type_of(self, column: Column | None, sql: str) -> str:
        # Compared with a number, '02' would be 2.
        text = column is not None and column.type_category.upper() == "TEXT"
        return f"CAST({sql} AS TEXT)" if text else sql

    def create_archive(self, table: Table, name: str) -> str:
        # No declared types: no affinity, so every value keeps its storage class (datatype3 §3).
        columns = comma([*now_names(table), *(quote(c.name) for c in archived_columns(table))])
        return (
            f"CREATE TABLE {quote(name)} (onerow_op INTEGER NOT NULL,"
            f" onerow_batch INTEGER NOT NULL, onerow_after TEXT, onerow_survivor TEXT, {columns})"
        )

    def index_archive(self, archive: Name) -> tuple[str, ...]:
        name = Name("main", f"{archive.name}_op").sql
        return (f"CREATE INDEX IF NOT EXISTS {name} ON {quote(archive.name)} (onerow_op)",)

    def restore(
        self, table: Table, archive: str, action: str, detail: str, op: int, row: str = ""
    ) -> Restore:
        ours = conjunction([f"a.onerow_op = {op}", row])
        if action == "deleted":
            return _restore_deleted(table, archive, op, ours)
        return _restore_changed(table, archive, detail, op, ours, whole=action == "updated")

    def row_numbers(self, table: Table, archive: str, op: int) -> str:
        names = comma(map(quote, table.row_identity))
        return f"SELECT {names}, 'a.rowid = ' || rowid FROM {archive} WHERE onerow_op = {op}"


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


def _whole(alias: str, table: Table) -> str:
    return row_text(alias, [c.name for c in restored_columns(table)])


def _archive_into(archive: str, table: Table, *, survivor: bool = False) -> str:
    columns = comma(quote(c.name) for c in archived_columns(table))
    extra = ", onerow_survivor" if survivor else ""
    return f"INSERT INTO {archive} (onerow_op, onerow_batch{extra}, {columns})"


def _changes(merged: Merged) -> str:
    return f"{CHANGES}_{merged.number}" if merged.number else CHANGES


def _collect(dialect: Dialect, merged: Merged) -> str:
    """Works out what the survivors will hold, while the rows that go are still there."""
    table, identity, batch = merged.table, merged.identity, dialect.batch_of(merged)
    changes = merged.changes
    p = element_names(identity, "p")
    group = policies.Group(
        source=f"{batch} AS m JOIN {table.sql} AS o ON "
        + same(of("o", identity), [f"m.{n}" for n in p]),
        where=same([f"m.s{i}" for i, _ in enumerate(identity, 1)], [f"b.{n}" for n in p]),
    )
    values = comma(f"{policies.merged(c, group)} AS v{i}" for i, c in enumerate(changes, 1))
    olds = comma(f"s.{quote(c.column.name)} AS w{i}" for i, c in enumerate(changes, 1))
    differ = " OR ".join(policies.changed(c, f"w{i}", f"v{i}") for i, c in enumerate(changes, 1))
    wanted = comma([*p, *(f"v{i}" for i, _ in enumerate(changes, 1))])
    return (
        f"INSERT INTO {_changes(merged)} SELECT {wanted} FROM (SELECT"
        f" {comma(f'b.{n}' for n in p)}, {values}, {olds} FROM {batch} AS b JOIN {table.sql} AS s"
        f" ON {same(of('s', identity), [f'b.{n}' for n in p])}"
        f" WHERE b.rank = 1 AND b.size > 1) WHERE {differ}"
    )


def _update(merged: Merged, entry: Entry) -> Operation:
    """Gives the survivors what was worked out.

    Last of all: a value may be unique, and is free only when the row that had it is gone.
    """
    table, identity, changes = merged.table, merged.identity, _changes(merged)
    p = element_names(identity, "p")
    here = same(of("s", identity), [f"v.{n}" for n in p])
    old = comma(f"s.{quote(c.name)}" for c in archived_columns(table))
    sets = comma(f"{quote(c.column.name)} = v.v{i}" for i, c in enumerate(merged.changes, 1))
    update = (
        f"UPDATE {table.sql} AS t SET {sets} FROM {changes} AS v"
        f" WHERE {same(of('t', identity), [f'v.{n}' for n in p])}"
    )
    return Operation(
        table=table.ident,
        action="updated",
        detail=comma(quote(c.column.name) for c in merged.changes),
        before=(),
        main=f"{_archive_into(entry.archive, table)} SELECT {entry.op}, {entry.batch}, {old}"
        f" FROM {table.sql} AS s JOIN {changes} AS v ON {here}",
        after=(update, sign(entry, table, (), _whole("t", table))),
    )


def _delete(dialect: Dialect, merged: Merged, entry: Entry) -> Operation:
    table, identity, batch = merged.table, merged.identity, dialect.batch_of(merged)
    p, s = element_names(identity, "p"), element_names(identity, "s")
    survivor = " || ',' || ".join(f"quote(b.{n})" for n in s)
    old = comma(f"t.{quote(c.name)}" for c in archived_columns(table))
    keep = (
        f"{_archive_into(entry.archive, table, survivor=True)}"
        f" SELECT {entry.op}, {entry.batch}, {survivor}, {old} FROM {batch} AS b"
        f" JOIN {table.sql} AS t"
        f" ON {same(of('t', identity), [f'b.{n}' for n in p])} WHERE b.rank > 1"
    )
    delete = (
        f"DELETE FROM {table.sql} WHERE ({comma(map(quote, identity))}) IN"
        f" (SELECT {comma(p)} FROM {batch} WHERE rank > 1)"
    )
    before = (f"DELETE FROM {_changes(merged)}", _collect(dialect, merged))
    return Operation(
        table=table.ident,
        action="deleted",
        detail="",
        before=before if merged.changes else (),
        main=keep,
        after=(delete,),
    )


# -- the way back ------------------------------------------------------------------------------


def _insert(table: Table, archive: str, tests: Sequence[str]) -> str:
    columns = [c.name for c in restored_columns(table)]
    return (
        f"INSERT INTO {table.sql} ({comma(map(quote, columns))})"
        f" SELECT {comma(of('a', columns))} FROM {archive} AS a WHERE {conjunction(tests)}"
        f" ON CONFLICT DO NOTHING"
    )


def _restore_deleted(table: Table, archive: str, op: int, ours: str) -> Restore:
    identity = table.row_identity
    here = same(of("t", identity), of("a", identity))
    there = f"EXISTS (SELECT 1 FROM {table.sql} AS t WHERE {here})"
    equal = f"{_whole('t', table)} = {_whole('a', table)}"
    back = f"EXISTS (SELECT 1 FROM {table.sql} AS t WHERE {here} AND {equal})"
    tests = [ours, *referred_to(table, archive, op)]
    insert = _insert(table, archive, [*tests, f"NOT {there}"])
    columns = [c for c in restored_columns(table) if c.name not in identity]
    sets = comma(f"{quote(c.name)} = a.{quote(c.name)}" for c in columns)
    overwrite = (
        f"UPDATE {table.sql} AS t SET {sets} FROM {archive} AS a"
        f" WHERE {conjunction([*tests, here])}"
    )
    keys = comma(of("a", identity))
    return Restore(
        lock=None,
        changed=f"SELECT {keys}, 'a row with this key is there now' FROM {archive} AS a"
        f" WHERE {ours} AND {there}",
        statement=insert,
        forced=((overwrite, insert) if sets else (insert,)),
        missing=f"SELECT {keys}, '{NOT_BACK}' FROM {archive} AS a WHERE {ours} AND NOT {back}",
    )


def _restore_changed(
    table: Table, archive: str, detail: str, op: int, ours: str, *, whole: bool
) -> Restore:
    identity, quoted = table.row_identity, quoted_names(detail)
    columns = [unquote(c) for c in quoted]
    now = _whole("t", table) if whole else row_text("t", columns)
    here = same(of("t", identity), found_again(table, columns))
    gone = f"t.{quote(identity[0])} IS NULL"
    differs = f"{now} IS NOT a.onerow_after"
    fit = conjunction(referred_to(table, archive, op, columns))
    sets = comma(f"{c} = a.{c}" for c in quoted)
    update = (
        f"UPDATE {table.sql} AS t SET {sets} FROM {archive} AS a WHERE {ours} AND {here} AND {fit}"
    )
    keys, own = comma(of("a", identity)), same(of("t", identity), of("a", identity))
    unequal = f"{row_text('t', columns)} IS NOT {row_text('a', columns)}"
    return Restore(
        lock=None,
        changed=f"SELECT {keys}, CASE WHEN {gone} THEN 'deleted since' WHEN {differs}"
        f" THEN 'changed since' ELSE 'a row that it referred to is gone' END"
        f" FROM {archive} AS a LEFT JOIN {table.sql} AS t ON {here}"
        f" WHERE {ours} AND ({gone} OR {differs} OR NOT ({fit}))",
        statement=f"{update} AND NOT ({differs})",
        forced=(update, _insert(table, archive, [ours, *referred_to(table, archive, op)])),
        missing=f"SELECT {keys}, '{NOT_BACK}' FROM {archive} AS a"
        f" LEFT JOIN {table.sql} AS t ON {own} WHERE {ours} AND ({gone} OR {unequal})",
    )
