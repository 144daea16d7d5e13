"""A backfill's CSV file, read into the session's own table: one value a key, typed as the column.

The file names rows by columns of the table and gives the value of the column to be filled. An
empty value covers nothing.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from onerow.database import driver_text, run
from onerow.errors import RuleError, nearest
from onerow.planning.fill import MAPPING, Source
from onerow.schema import Table
from onerow.sql import comma, conjunction, quote

CHUNK = 5_000  #: rows of a file that are held at once


@dataclass(frozen=True, slots=True)
class Mapping:
    """A file that was read."""

    table: Table
    source: Source
    rows: int
    name: str  #: of the session's table

    def refuse_unknown(self, connection: Connection, rule: str) -> None:
        """Raises RuleError for keys that no row has."""
        found = self.unknown(connection)
        if found:
            raise RuleError(
                f"{self.source.given!r} names rows that {self.table} does not have: "
                f"{_shown(self.source.keys, found)}.",
                rule=rule,
            )

    def unknown(self, connection: Connection, limit: int = 6) -> list[tuple[object, ...]]:
        keys = [f"m.onerow_k{i}" for i, _ in enumerate(self.source.keys, 1)]
        same = conjunction(
            f"t.{quote(c)} = {k}" for c, k in zip(self.source.keys, keys, strict=True)
        )
        sql = (
            f"SELECT {comma(keys)} FROM {self.name} AS m WHERE NOT EXISTS"
            f" (SELECT 1 FROM {self.table.sql} AS t WHERE {same}) LIMIT {limit}"
        )
        return [tuple(row) for row in run(connection, sql)]


def load(
    connection: Connection, table: Table, column: str, type_: str, source: Source, base: str
) -> Mapping:
    """Read the file anew, in the caller's transaction.

    Args:
        type_: of the column, as SQL.
        base: folder that a relative path starts from, if the file is there; else the current one.

    Raises:
        RuleError: the file is not there, or holds what cannot be used.
    """
    name = MAPPING[connection.dialect.name]
    keys = [f"onerow_k{i}" for i, _ in enumerate(source.keys, 1)]
    types = [c.type for k in source.keys for c in [table.column(k)] if c]
    _make(connection, name, dict(zip([*keys, "onerow_value"], [*types, type_], strict=True)))
    path = Path(base) / str(source.given)
    path = path if path.is_file() else Path(str(source.given))
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = _write(connection, name, _rows(file, [*source.keys, column], str(source.given)))
    except OSError:
        raise RuleError(f"the backfill file {source.given!r} cannot be read.") from None
    except UnicodeDecodeError as error:
        raise RuleError(f"{source.given!r} is not UTF-8: {error}.") from error
    _refuse_doubles(connection, name, keys, source)
    return Mapping(table=table, source=source, rows=rows, name=name)


def _make(connection: Connection, name: str, columns: dict[str, str]) -> None:
    bare = name.partition(".")[2]
    typed = comma(f"{n} {t}" for n, t in columns.items())
    run(connection, f"DROP TABLE IF EXISTS {name}")
    run(connection, f"CREATE TEMPORARY TABLE {bare} ({typed})")


def _rows(file: IO[str], wanted: Sequence[str], name: str) -> Iterator[tuple[int, list[str]]]:
    """(line, key columns and value) of every row that gives a value."""
    reader = csv.reader(file)
    header = [h.strip() for h in next(reader, [])]
    _check_header(header, wanted, name)
    places = [header.index(w) for w in wanted]
    for row in reader:
        if not row:
            continue
        if len(row) != len(header):
            raise RuleError(
                f"{name!r}, line {reader.line_num}: {len(row)} values, and the header names "
                f"{len(header)}."
            )
        values = [row[p].strip() for p in places]
        if not all(values[:-1]):
            raise RuleError(f"{name!r}, line {reader.line_num}: the key is empty.")
        if values[-1]:
            yield reader.line_num, values


def _check_header(header: Sequence[str], wanted: Sequence[str], name: str) -> None:
    for column in wanted:
        if column not in header:
            raise RuleError(
                f"{name!r} lacks the column {column!r}; its header is {comma(header) or 'empty'}.",
                hint=nearest(column, header),
            )
    for column in header:
        if column not in wanted:
            raise RuleError(
                f"{name!r} has an unknown column {column!r}; known are {comma(wanted)}.",
                hint=nearest(column, wanted),
            )
    if len(set(header)) < len(header):
        raise RuleError(f"{name!r} names a column twice.")


def _write(connection: Connection, name: str, rows: Iterator[tuple[int, list[str]]]) -> int:
    count = 0
    while chunk := list(islice(rows, CHUNK)):
        count += len(chunk)
        values = [v for _, v in chunk]
        if connection.dialect.name == "postgresql":
            _copy(connection, name, chunk, values)
        else:
            _insert(connection, name, chunk, values)
    return count


def _copy(
    connection: Connection, name: str, chunk: list[tuple[int, list[str]]], values: list[list[str]]
) -> None:
    cursor = connection.connection.cursor()
    try:
        with cursor.copy(f"COPY {name} FROM STDIN") as copy:
            for row in values:
                copy.write_row(row)
    except Exception as error:
        if getattr(error, "sqlstate", None) is None:
            raise
        raise RuleError(f"lines {chunk[0][0]} to {chunk[-1][0]}: {_told(error)}.") from error
    finally:
        cursor.close()


def _told(error: Exception) -> str:
    """With the server's word on the place: `COPY onerow_mapping, line 3, column …: "abc"`."""
    context = getattr(getattr(error, "diag", None), "context", None) or ""
    place = context.partition(", column ")[2]
    return driver_text(error) + (f" (column {place})" if place else "")


def _insert(
    connection: Connection, name: str, chunk: list[tuple[int, list[str]]], values: list[list[str]]
) -> None:
    names = [f"p{i}" for i, _ in enumerate(values[0])]
    sql = sa.text(f"INSERT INTO {name} VALUES ({comma(f':{n}' for n in names)})")
    try:
        connection.execute(sql, [dict(zip(names, row, strict=True)) for row in values])
    except DBAPIError as error:
        where = f"lines {chunk[0][0]} to {chunk[-1][0]}"
        raise RuleError(f"{where}: {driver_text(error)}.") from error


def _refuse_doubles(connection: Connection, name: str, keys: Sequence[str], source: Source) -> None:
    """One value a key; the same one twice is no contradiction. SQLite's types are looked at."""
    by = comma(keys)
    if connection.dialect.name == "sqlite":
        _refuse_mistyped(connection, name, keys, source)
    found = run(
        connection,
        f"SELECT {by} FROM {name} GROUP BY {by} HAVING count(DISTINCT onerow_value) > 1 LIMIT 6",
    )
    doubled = [tuple(row) for row in found]
    if doubled:
        raise RuleError(f"{source.given!r} gives two values for {_shown(source.keys, doubled)}.")
    bare = name.partition(".")[2]
    run(connection, f"CREATE TEMPORARY TABLE {bare}_once AS SELECT DISTINCT * FROM {name}")
    run(connection, f"DROP TABLE {name}")
    run(connection, f"ALTER TABLE {name}_once RENAME TO {bare}")
    if connection.dialect.name == "sqlite":
        run(connection, f"CREATE INDEX temp.{bare}_k ON {bare} ({by}, onerow_value)")
    else:
        run(connection, f"CREATE INDEX {bare}_k ON {name} ({by})")
        run(connection, f"ANALYZE {name}")


def _refuse_mistyped(
    connection: Connection, name: str, keys: Sequence[str], source: Source
) -> None:
    """SQLite keeps a text in a column for numbers; a mapping must not bring that about."""
    declared = run(connection, f"PRAGMA temp.table_info({quote(name.partition('.')[2])})")
    for row in declared.all():
        kind = row[2].upper()
        if not any(word in kind for word in ("INT", "REAL", "FLOA", "DOUB", "NUM", "DEC")):
            continue
        found = run(
            connection,
            f"SELECT {comma(keys)}, {quote(row[1])} FROM {name}"
            f" WHERE typeof({quote(row[1])}) = 'text' LIMIT 1",
        ).first()
        if found is not None:
            raise RuleError(f"{source.given!r}: {found[-1]!r} is no {row[2].lower()}.")


def _shown(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    each = [", ".join(f"{n} = {v}" for n, v in zip(names, row, strict=True)) for row in rows[:5]]
    return "; ".join([*each, "…"] if len(rows) > 5 else each)
