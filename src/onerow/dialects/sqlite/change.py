"""Rows changed where they stand, on SQLite: kept, changed, signed, inside of one transaction."""

from __future__ import annotations

from collections.abc import Mapping

from onerow.dialects.archived import archived_columns
from onerow.dialects.changes import Entry, Place
from onerow.dialects.phrases import of, same
from onerow.dialects.sqlite.repoint import row_text
from onerow.dialects.values import Operation
from onerow.sql import comma, quote


class SQLiteChanges:
    def update(self, place: Place, sets: Mapping[str, str], entry: Entry) -> Operation:
        table, archive = place.table, entry.archive
        values = comma(f"{quote(c)} = {value}" for c, value in sets.items())
        here = same(of("t", table.row_identity), of("a", table.row_identity))
        sign = (
            f"UPDATE {archive} AS a SET onerow_after = (SELECT {row_text('t', tuple(sets))}"
            f" FROM {table.sql} AS t WHERE {here}) WHERE a.onerow_op = {entry.op}"
        )
        return Operation(
            table=table.ident,
            action="repointed",
            detail=comma(map(quote, sets)),
            before=(),
            main=_keep(place, entry),
            after=(f"UPDATE {table.sql} SET {values} WHERE {place.where}", sign),
        )

    def delete(self, place: Place, entry: Entry, action: str = "deleted") -> Operation:
        return Operation(
            table=place.table.ident,
            action=action,
            detail="",
            before=(),
            main=_keep(place, entry),
            after=(f"DELETE FROM {place.table.sql} WHERE {place.where}",),
        )

    def keep(self, place: Place, entry: Entry, action: str, detail: str) -> Operation:
        return Operation(
            table=place.table.ident,
            action=action,
            detail=detail,
            before=(),
            main=_keep(place, entry),
        )


def _keep(place: Place, entry: Entry) -> str:
    columns = comma(quote(c.name) for c in archived_columns(place.table))
    return (
        f"INSERT INTO {entry.archive} (onerow_op, onerow_batch, {columns})"
        f" SELECT {entry.op}, {entry.batch}, {columns} FROM {place.table.sql} WHERE {place.where}"
    )
