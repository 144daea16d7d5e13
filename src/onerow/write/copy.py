"""COPY through the drivers that can: psycopg (sync and async), psycopg2, asyncpg."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from onerow.sql import comma, quote


def processed(
    columns: Sequence[sa.Column[Any]], rows: Sequence[tuple[Any, ...]], dialect: Any
) -> Iterable[tuple[Any, ...]]:
    """The values as the driver wants them: what the columns' types do to a bound parameter."""
    processors: list[Callable[[Any], Any] | None] = [
        c.type.dialect_impl(dialect).bind_processor(dialect) for c in columns
    ]
    if not any(processors):
        return rows
    return [
        tuple([p(v) if p is not None else v for p, v in zip(processors, row, strict=True)])
        for row in rows
    ]


def by_driver(
    connection: sa.Connection, table: str, names: Sequence[str], rows: Iterable[tuple[Any, ...]]
) -> bool:
    """Load the rows; False when the driver has no COPY that is known here."""
    raw: Any = connection.connection.driver_connection
    statement = f"COPY {quote(table)} ({comma(map(quote, names))}) FROM STDIN"
    driver = type(raw).__module__.split(".")[0]
    if driver == "psycopg":
        return _psycopg(raw, statement, rows, bool(getattr(connection.dialect, "is_async", False)))
    if driver == "psycopg2":
        return _psycopg2(raw, statement, rows)
    if driver == "asyncpg":
        _await(raw.copy_records_to_table(table, records=list(rows), columns=list(names)))
        return True
    return False


def _await(awaitable: Any) -> Any:
    """Wait inside the greenlet that SQLAlchemy runs the sync code of an async session in."""
    from sqlalchemy.util import await_only

    return await_only(awaitable)


def _psycopg(raw: Any, statement: str, rows: Iterable[tuple[Any, ...]], is_async: bool) -> bool:
    if is_async:
        _await(_psycopg_async(raw, statement, rows))
        return True
    with raw.cursor() as cursor, cursor.copy(statement) as copy:
        write = copy.write_row
        for row in rows:
            write(row)
    return True


async def _psycopg_async(raw: Any, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
    async with raw.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            await copy.write_row(row)


def _psycopg2(raw: Any, statement: str, rows: Iterable[tuple[Any, ...]]) -> bool:
    """psycopg2 wants the text format written out; other types than these go by INSERT."""
    plain = (str, int, float, type(None))
    text = io.StringIO()
    for row in rows:
        if not all(type(v) in plain for v in row):
            return False
        text.write("\t".join(map(_copy_text, row)) + "\n")
    text.seek(0)
    with raw.cursor() as cursor:
        cursor.copy_expert(statement, text)
    return True


def _copy_text(value: Any) -> str:
    """COPY's text format: a backslash and the separators are escaped, NULL is ``\\N``."""
    if value is None:
        return "\\N"
    text = str(value).replace("\\", "\\\\").replace("\t", "\\t")
    return text.replace("\n", "\\n").replace("\r", "\\r")
