"""Archived rows on their way back into the table, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from onerow.dialects.archived import NOT_BACK, found_again, referred_to, restored_columns
from onerow.dialects.phrases import of, quoted_names, same, unquote
from onerow.dialects.postgresql.content import row_hash, row_text
from onerow.dialects.values import Restore
from onerow.schema import Table
from onerow.sql import comma, conjunction, quote


def _insert(table: Table, archive: str, tests: Sequence[str]) -> str:
    columns = [c.name for c in restored_columns(table)]
    # ON CONFLICT is refused where any unique key is deferrable.
    immediate = all(i.immediate for i in table.indexes)
    return (
        f"INSERT INTO {table.sql} ({comma(map(quote, columns))}) OVERRIDING SYSTEM VALUE"
        f" SELECT {comma(of('a', columns))} FROM {archive} AS a WHERE {conjunction(tests)}"
        f"{' ON CONFLICT DO NOTHING' if immediate else ''}"
    )


def _hold_archived(
    table: Table, archive: str, ours: str, columns: Sequence[str]
) -> tuple[str, ...]:
    """Locks the rows that archived rows refer to by these columns."""
    return tuple(
        f"SELECT count(*) FROM (SELECT 1 FROM {archive} AS a JOIN {fk.target.sql} AS q"
        f" ON {same(of('q', fk.target_columns), of('a', fk.columns))} WHERE {ours}"
        f" FOR KEY SHARE OF q) AS locked"
        for fk in table.foreign_keys
        if set(columns) & set(fk.columns)
    )


def restore_deleted(table: Table, archive: str, op: int, ours: str) -> Restore:
    columns = [c.name for c in restored_columns(table)]
    identity = table.row_identity
    here = same(of("t", identity), of("a", identity))
    equal = f"{row_text('t', columns)} = {row_text('a', columns)}"
    there = f"EXISTS (SELECT 1 FROM {table.sql} AS t WHERE {here})"
    back = f"EXISTS (SELECT 1 FROM {table.sql} AS t WHERE {here} AND {equal})"
    tests = [ours, *referred_to(table, archive, op)]
    insert = _insert(table, archive, [*tests, f"NOT {there}"])
    keys = comma(of("a", identity))
    return Restore(
        lock=None,
        changed=f"SELECT {keys}, 'a row with this key is there now' FROM {archive} AS a"
        f" WHERE {ours} AND {there}",
        statement=insert,
        forced=(*_overwrite(table, archive, conjunction([*tests, here])), insert),
        missing=f"SELECT {keys}, '{NOT_BACK}' FROM {archive} AS a WHERE {ours} AND NOT {back}",
        guards=_hold_archived(table, archive, ours, columns),
    )


def _overwrite(table: Table, archive: str, where: str) -> tuple[str, ...]:
    columns = [c for c in restored_columns(table) if c.name not in table.row_identity]
    sets = comma(f"{quote(c.name)} = a.{quote(c.name)}" for c in columns if c.identity != "always")
    update = f"UPDATE {table.sql} AS t SET {sets} FROM {archive} AS a WHERE {where}"
    return (update,) if sets else ()


def restore_changed(
    table: Table, archive: str, detail: str, op: int, ours: str, *, whole: bool
) -> Restore:
    identity, quoted = table.row_identity, quoted_names(detail)
    columns = [unquote(c) for c in quoted]
    now = row_hash("t", table) if whole else row_text("t", columns)
    here = same(of("t", identity), found_again(table, columns))
    gone = f"t.{quote(identity[0])} IS NULL"
    differs = f"{now} IS DISTINCT FROM a.onerow_after"
    fit = conjunction(referred_to(table, archive, op, columns))
    sets = comma(f"{c} = a.{c}" for c in quoted)
    update = (
        f"UPDATE {table.sql} AS t SET {sets} FROM {archive} AS a WHERE {ours} AND {here} AND {fit}"
    )
    keys, own = comma(of("a", identity)), same(of("t", identity), of("a", identity))
    unequal = f"{row_text('t', columns)} IS DISTINCT FROM {row_text('a', columns)}"
    return Restore(
        lock=f"SELECT count(*) FROM (SELECT 1 FROM {table.sql} AS t JOIN {archive} AS a ON {here}"
        f" WHERE {ours} ORDER BY {comma(of('t', identity))} FOR UPDATE OF t) AS locked",
        changed=f"SELECT {keys}, CASE WHEN {gone} THEN 'deleted since' WHEN {differs}"
        f" THEN 'changed since' ELSE 'a row that it referred to is gone' END"
        f" FROM {archive} AS a LEFT JOIN {table.sql} AS t ON {here}"
        f" WHERE {ours} AND ({gone} OR {differs} OR NOT ({fit}))",
        statement=f"{update} AND NOT ({differs})",
        forced=(update, _insert(table, archive, [ours, *referred_to(table, archive, op)])),
        missing=f"SELECT {keys}, '{NOT_BACK}' FROM {archive} AS a"
        f" LEFT JOIN {table.sql} AS t ON {own} WHERE {ours} AND ({gone} OR {unequal})",
        guards=_hold_archived(table, archive, ours, columns),
    )
