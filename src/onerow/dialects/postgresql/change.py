"""Rows changed where they stand, on PostgreSQL: locked, then changed and archived at once."""

from __future__ import annotations

from collections.abc import Mapping

from onerow.dialects.archived import archived_columns
from onerow.dialects.changes import Entry, Place
from onerow.dialects.phrases import of, same
from onerow.dialects.values import Operation
from onerow.schema import Table
from onerow.sql import comma, quote


class PostgreSQLChanges:
    def update(self, place: Place, sets: Mapping[str, str], entry: Entry) -> Operation:
        bare, key = quote(place.leaf.name), place.table.row_identity
        known = comma(f"{bare}.{quote(k)} AS q{i}" for i, k in enumerate(key, 1))
        change = (
            f"UPDATE ONLY {place.leaf.sql} SET {assignments(sets)} WHERE {place.where}"
            f" RETURNING {known}, ROW({comma(of(bare, tuple(sets)))})::text AS h"
        )
        old = comma(of("s", [c.name for c in archived_columns(place.table)]))
        found = same(of("s", key), [f"u.q{i}" for i, _ in enumerate(key, 1)])
        return Operation(
            table=place.table.ident,
            action="repointed",
            detail=comma(map(quote, sets)),
            before=(_lock(place),),
            main=f"WITH u AS ({change}) {_into(entry, place.table)}"
            f" SELECT {entry.op}, {entry.batch}, u.h, {old}"
            f" FROM ONLY {place.leaf.sql} AS s JOIN u ON {found}",
        )

    def delete(self, place: Place, entry: Entry, action: str = "deleted") -> Operation:
        names = [c.name for c in archived_columns(place.table)]
        gone = comma(quote(n) for n in names)
        return Operation(
            table=place.table.ident,
            action=action,
            detail="",
            before=(_lock(place),),
            main=f"WITH d AS (DELETE FROM ONLY {place.leaf.sql} WHERE {place.where}"
            f" RETURNING {gone}) {_into(entry, place.table)}"
            f" SELECT {entry.op}, {entry.batch}, NULL, {gone} FROM d",
        )

    def keep(self, place: Place, entry: Entry, action: str, detail: str) -> Operation:
        kept = comma(quote(c.name) for c in archived_columns(place.table))
        return Operation(
            table=place.table.ident,
            action=action,
            detail=detail,
            before=(),
            main=f"{_into(entry, place.table)} SELECT {entry.op}, {entry.batch}, NULL, {kept}"
            f" FROM {place.leaf.sql} WHERE {place.where}",
        )


def assignments(sets: Mapping[str, str]) -> str:
    return comma(f"{quote(c)} = {value}" for c, value in sets.items())


def _lock(place: Place) -> str:
    """A statement of its own: the change that follows sees what was committed until then."""
    return (
        f"SELECT count(*) FROM (SELECT 1 FROM ONLY {place.leaf.sql} WHERE {place.where}"
        " FOR UPDATE) AS locked"
    )


def _into(entry: Entry, table: Table) -> str:
    columns = comma(quote(c.name) for c in archived_columns(table))
    return f"INSERT INTO {entry.archive} (onerow_op, onerow_batch, onerow_after, {columns})"
