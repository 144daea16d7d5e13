"""Statements for PostgreSQL: keys, indexes, and the merge in batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from onerow.dialects.archived import archived_columns, now_names
from onerow.dialects.base import Dialect
from onerow.dialects.folds import Change
from onerow.dialects.groups import keys_more_than_once, members_by_keys, members_by_window, ranked
from onerow.dialects.phrases import element_names, of, same
from onerow.dialects.postgresql import policies
from onerow.dialects.postgresql.content import row_hash
from onerow.dialects.postgresql.repoint import park, repoint
from onerow.dialects.postgresql.restore import restore_changed, restore_deleted
from onerow.dialects.values import Entry, Merged, MergeSpec, Operation, Restore
from onerow.errors import RuleError
from onerow.keys import BoundKey, KeyPart
from onerow.schema import Column, Table
from onerow.sql import Name, comma, conjunction, cut, quote

BATCH = "pg_temp.onerow_batch"
MEMBERS = "pg_temp.onerow_members"
KEYS = "pg_temp.onerow_keys"
CHANGES = "pg_temp.onerow_changes"

#: What stands for NULL in an index before PostgreSQL 15; beside it stands `IS NULL`, so a real
#: value that looks the same is still another one.
_STAND_IN = {"N": "0", "S": "''", "B": "false"}


class PostgreSQL(Dialect):
    name: ClassVar[str] = "postgresql"
    schema: ClassVar[str] = "onerow"
    batch: ClassVar[str] = BATCH
    keys: ClassVar[str] = KEYS
    members: ClassVar[str] = MEMBERS
    typed_batch: ClassVar[bool] = True
    write_lock: ClassVar[str] = "row_exclusive"

    # -- definition --------------------------------------------------------------------------

    def create_unique_index(self, bound: BoundKey, name: str, *, online: bool = True) -> str:
        how = "CONCURRENTLY " if online else ""
        elements = comma(self.index_elements(bound))
        equal = bound.key.nulls == "equal" and _knows_nulls_not_distinct(bound)
        nulls = " NULLS NOT DISTINCT" if equal and any(p.nullable for p in bound.parts) else ""
        where = f" WHERE ({bound.where})" if bound.where is not None else ""
        return (
            f"CREATE UNIQUE INDEX {how}{quote(name)} ON {bound.table.sql}"
            f" ({elements}){nulls}{where}"
        )

    def index_elements(self, bound: BoundKey) -> tuple[str, ...]:
        if not bound.parts:
            return ("(true)",)
        if bound.key.nulls != "equal" or _knows_nulls_not_distinct(bound):
            return tuple(_element(p) for p in bound.parts)
        return tuple(e for p in bound.parts for e in _null_proof(p, bound))

    def drop_index(self, index: Name, *, online: bool = True) -> str:
        return f"DROP INDEX {'CONCURRENTLY ' if online else ''}{index.sql}"

    # -- merge -------------------------------------------------------------------------------

    def policy_misfit(self, column: Column, policy: str) -> str | None:
        return policies.misfit(column, policy)

    def batch_table(self, merged: Merged) -> tuple[str, ...]:
        identity, batch, changes = merged.identity, self.batch_of(merged), _changes(merged)
        p, s = element_names(identity, "p"), element_names(identity, "s")
        columns = [
            f"{quote(c)} AS {name}"
            for names in (p, s)
            for c, name in zip(identity, names, strict=True)
        ]
        values = [f"{quote(c.column.name)} AS v{i}" for i, c in enumerate(merged.changes, 1)]
        index = f"CREATE INDEX {_bare(batch)}_s ON {batch} ({comma(s)})"
        return (
            f"DROP TABLE IF EXISTS {batch}",
            f"CREATE TEMPORARY TABLE {_bare(batch)} ON COMMIT DELETE ROWS AS"
            f" SELECT {comma(columns)}, 0::bigint AS rank, 0::bigint AS size, true AS gives"
            f" FROM {merged.table.sql} LIMIT 0",
            *(() if policies.only_fills(merged.changes) else (index,)),
            f"DROP TABLE IF EXISTS {changes}",
            f"CREATE TEMPORARY TABLE {_bare(changes)} ON COMMIT DELETE ROWS AS"
            f" SELECT {comma([*columns[: len(p)], *values])} FROM {merged.table.sql} LIMIT 0",
        )

    def list_keys(self, spec: MergeSpec) -> tuple[str, ...]:
        drop = f"DROP TABLE IF EXISTS {KEYS}"
        if not spec.bound.parts or _compares_nulls(spec.bound):
            return (drop,)
        # Without statistics on the keys their join is planned as if there were none.
        create = f"CREATE TEMPORARY TABLE onerow_keys AS {keys_more_than_once(spec)}"
        return (drop, create, f"ANALYZE {KEYS}")

    def list_members(self, spec: MergeSpec, *, by_keys: bool) -> tuple[str, ...]:
        rows = members_by_keys(spec, KEYS) if by_keys else members_by_window(spec)
        return (
            f"DROP TABLE IF EXISTS {MEMBERS}",
            f"CREATE TEMPORARY TABLE onerow_members AS {rows}",
            "CREATE INDEX onerow_members_grp ON pg_temp.onerow_members (grp)",
            f"ANALYZE {MEMBERS}",
        )

    def rank(self, spec: MergeSpec, first: int, last: int) -> tuple[str, ...]:
        # A row that was changed while its lock was awaited is returned, and tested against the
        # filter, as it is then (manual §13.2.1), so locking and ranking can be one statement.
        p = comma(element_names(spec.identity, "p"))
        own = comma(map(quote, spec.identity))
        these = f"({own}) IN (SELECT {p} FROM {MEMBERS} WHERE grp BETWEEN {first} AND {last})"
        lock = f" ORDER BY {own} FOR UPDATE"
        # Where rows of the table itself may yet be joined, another one may be the survivor then.
        settled = policies.only_fills(spec.changes) and all(f.number for f in spec.folds)
        holds = policies.holds(spec.changes) if settled else ""
        rows = ranked(spec, self.order(spec), these, lock, holds)
        return (f"INSERT INTO {BATCH} {rows}",)

    def operation(self, change: Change, entry: Entry) -> Operation:
        merged, child = change.merged, change.child
        match change.how:
            case "delete":
                return _delete(self, merged, entry)
            case "update":
                return _update(self, merged, entry)
            case "park":
                assert child is not None
                return park(self, merged, child, entry)
            case "repoint":
                assert child is not None
                return repoint(self, merged, child, entry)

    def lock_rows(self, table: Table, which: str) -> tuple[str, ...]:
        own = comma(map(quote, table.row_identity))
        return (
            f"SELECT count(*) FROM (SELECT 1 FROM {table.sql} WHERE ({own}) IN ({which})"
            f" ORDER BY {own} FOR UPDATE) AS locked",
        )

    def in_type_of(self, column: Column | None, sql: str) -> str:
        return f"{sql}::{column.type}" if column else sql

    def create_archive(self, table: Table, name: str) -> str:
        # The columns' own types: a value comes back through no text, and generated ones stay put.
        columns = [f"{quote(c.name)} {c.type}" for c in archived_columns(table)]
        known_by = [c for n in table.row_identity for c in [table.column(n)] if c]
        now = [f"{n} {c.type}" for n, c in zip(now_names(table), known_by, strict=True)]
        return (
            f"CREATE TABLE {Name(self.schema, name).sql} (onerow_op bigint NOT NULL,"
            f" onerow_batch bigint NOT NULL, onerow_after text, onerow_survivor text,"
            f" {comma([*now, *columns])})"
        )

    def index_archive(self, archive: Name) -> tuple[str, ...]:
        name = quote(cut(f"{archive.name}_op"))
        return (
            f"CREATE INDEX IF NOT EXISTS {name} ON {archive.sql} (onerow_op)",
            f"ANALYZE {archive.sql}",
        )

    def restore(
        self, table: Table, archive: str, action: str, detail: str, op: int, row: str = ""
    ) -> Restore:
        ours = conjunction([f"a.onerow_op = {op}", row])
        if action == "deleted":
            return restore_deleted(table, archive, op, ours)
        return restore_changed(table, archive, detail, op, ours, whole=action == "updated")

    def row_numbers(self, table: Table, archive: str, op: int) -> str:
        names = comma(map(quote, table.row_identity))
        return f"SELECT {names}, format('a.ctid = %L', ctid) FROM {archive} WHERE onerow_op = {op}"


def _knows_nulls_not_distinct(bound: BoundKey) -> bool:
    return bound.version >= (15,)


def _element(part: KeyPart) -> str:
    if part.column and not part.folded:
        return quote(part.column.name)
    return part.sql if part.sql.startswith("(") else f"({part.sql})"


def _null_proof(part: KeyPart, bound: BoundKey) -> tuple[str, ...]:
    if not part.nullable:
        return (_element(part),)
    category = part.column.type_category if part.column else "S"
    stand_in = _STAND_IN.get(category)
    if stand_in is None:
        raise RuleError(
            f"NULLs of {part.label} cannot be made equal on PostgreSQL {bound.version[0]}; "
            "PostgreSQL 15 can (NULLS NOT DISTINCT).",
            rule=bound.label,
        )
    return (f"(coalesce({part.sql}, {stand_in}))", f"(({part.sql}) IS NULL)")


def _compares_nulls(bound: BoundKey) -> bool:
    return bound.key.nulls == "equal" and any(p.nullable for p in bound.parts)


def _archive_into(archive: str, table: Table, *, survivor: bool = False) -> str:
    columns = comma(quote(c.name) for c in archived_columns(table))
    extra = ", onerow_survivor" if survivor else ""
    return f"INSERT INTO {archive} (onerow_op, onerow_batch, onerow_after{extra}, {columns})"


def _bare(name: str) -> str:
    """A session table's name as CREATE TEMPORARY TABLE takes it."""
    return name.partition(".")[2]


def _changes(merged: Merged) -> str:
    return f"{CHANGES}_{merged.number}" if merged.number else CHANGES


def _collect(dialect: Dialect, merged: Merged) -> str:
    """Works out what the survivors will hold, while the rows that go are still there."""
    if policies.only_fills(merged.changes):
        return _collect_fills(dialect, merged)
    table, identity, batch = merged.table, merged.identity, dialect.batch_of(merged)
    p = element_names(identity, "p")
    group = policies.Group(
        source=f"{batch} AS m JOIN {table.sql} AS o ON "
        + same(of("o", identity), [f"m.{n}" for n in p]),
        where=same([f"m.s{i}" for i, _ in enumerate(identity, 1)], [f"b.{n}" for n in p]),
    )
    values = comma(policies.merged(change, group) for change in merged.changes)
    return (
        f"INSERT INTO {_changes(merged)} SELECT {comma(f'b.{n}' for n in p)}, {values}"
        f" FROM {batch} AS b"
        f" JOIN {table.sql} AS s ON {same(of('s', identity), [f'b.{n}' for n in p])}"
        f" WHERE b.rank = 1 AND b.size > 1"
    )


def _collect_fills(dialect: Dialect, merged: Merged) -> str:
    """The same where survivors are only filled: rows that have nothing to give cost one look."""
    table, identity = merged.table, merged.identity
    s = [f"m.{n}" for n in element_names(identity, "s")]
    values = comma(policies.filler(c) for c in merged.changes)
    useful = " OR ".join(policies.fills(c, "s", "o") for c in merged.changes)
    return (
        f"INSERT INTO {_changes(merged)} SELECT {comma(s)}, {values}"
        f" FROM {dialect.batch_of(merged)} AS m JOIN {table.sql} AS o"
        f" ON {same(of('o', identity), [f'm.{n}' for n in element_names(identity, 'p')])}"
        f" JOIN {table.sql} AS s ON {same(of('s', identity), s)}"
        f" WHERE m.rank > 1 AND m.gives IS NOT FALSE AND ({useful}) GROUP BY {comma(s)}"
    )


def _update(dialect: Dialect, merged: Merged, entry: Entry) -> Operation:
    """Gives the survivors what was worked out.

    Last of all: a value may be unique, and is free only when the row that had it is gone.
    """
    table, identity = merged.table, merged.identity
    p = element_names(identity, "p")
    fills = policies.only_fills(merged.changes)
    sets = comma(
        f"{c} = coalesce(t.{c}, v.v{i})" if fills else f"{c} = v.v{i}"
        for i, c in enumerate((quote(c.column.name) for c in merged.changes), 1)
    )
    changed = " OR ".join(
        policies.changed(c, f"t.{quote(c.column.name)}", f"v.v{i}")
        for i, c in enumerate(merged.changes, 1)
    )
    here = same(of("t", identity), [f"v.{n}" for n in p])
    old = comma(f"s.{quote(c.name)}" for c in archived_columns(table))
    main = (
        f"WITH u AS (UPDATE {table.sql} AS t SET {sets} FROM {_changes(merged)} AS v"
        f" WHERE {here} AND ({changed})"
        f" RETURNING {comma(f'v.{n}' for n in p)}, {row_hash('t', table)} AS h)"
        f" {_archive_into(entry.archive, table)} SELECT {entry.op}, {entry.batch}, u.h, {old}"
        f" FROM {table.sql} AS s JOIN u ON {same(of('s', identity), [f'u.{n}' for n in p])}"
    )
    return Operation(
        table=table.ident,
        action="updated",
        detail=comma(quote(c.column.name) for c in merged.changes),
        before=(),
        main=main,
        guards=tuple(_hold_references(merged)),
    )


def _hold_references(merged: Merged) -> Iterator[str]:
    """Locks the rows that survivors will refer to."""
    table, identity = merged.table, merged.identity
    fills = policies.only_fills(merged.changes)
    place = {
        c.column.name: f"coalesce(s.{quote(c.column.name)}, v.v{i})" if fills else f"v.v{i}"
        for i, c in enumerate(merged.changes, 1)
    }
    here = same(of("s", identity), [f"v.{n}" for n in element_names(identity, "p")])
    for fk in table.foreign_keys:
        if set(fk.columns) & set(place):
            own = [place.get(c, f"s.{quote(c)}") for c in fk.columns]
            yield (
                f"SELECT count(*) FROM (SELECT 1 FROM {_changes(merged)} AS v"
                f" JOIN {table.sql} AS s ON {here}"
                f" JOIN {fk.target.sql} AS q ON {same(of('q', fk.target_columns), own)}"
                f" FOR KEY SHARE OF q) AS locked"
            )


def _delete(dialect: Dialect, merged: Merged, entry: Entry) -> Operation:
    table, identity = merged.table, merged.identity
    p = element_names(identity, "p")
    s = comma(f"b.{n}" for n in element_names(identity, "s"))
    columns = archived_columns(table)
    gone = comma(f"t.{quote(c.name)} AS c{i}" for i, c in enumerate(columns, 1))
    main = (
        f"WITH d AS (DELETE FROM {table.sql} AS t USING {dialect.batch_of(merged)} AS b"
        f" WHERE {same(of('t', identity), [f'b.{n}' for n in p])} AND b.rank > 1"
        f" RETURNING ROW({s})::text AS survivor, {gone})"
        f" {_archive_into(entry.archive, table, survivor=True)}"
        f" SELECT {entry.op}, {entry.batch}, NULL, survivor,"
        f" {comma(f'c{i}' for i, _ in enumerate(columns, 1))} FROM d"
    )
    return Operation(
        table=table.ident,
        action="deleted",
        detail="",
        before=(_collect(dialect, merged),) if merged.changes else (),
        main=main,
    )
