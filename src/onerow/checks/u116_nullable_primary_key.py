"""A primary key of SQLite takes NULL.

## What it asks
Has the table a primary key that is not `INTEGER PRIMARY KEY`, with a column that is not NOT NULL,
in a table that is neither STRICT nor WITHOUT ROWID? Are there rows with NULL in it?

## Why it matters
SQLite keeps a mistake of its first versions: there, PRIMARY KEY does not mean NOT NULL
(lang_createtable.html §3.5). Rows with NULL in the key are all different to it, so the key does
not tell them apart, foreign keys cannot reach them, and a move to PostgreSQL fails on them.

## An example
A table keyed by a text code gets rows without one, from an import with an empty column. Each run
adds them again, and the primary key never complains.

## Fix
Fill or remove the rows, then rebuild the table with NOT NULL on the columns of the key.

## When to ignore
When the application never writes such a row and no other program does; NOT NULL would still cost
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from onerow.checks import proposals
from onerow.checks.base import Answers, Applies, Consequence, Context, Probe
from onerow.finding import Evidence, Finding, Fix
from onerow.report.words import count
from onerow.schema import Table
from onerow.sql import comma, quote

ID = "U116-nullable-primary-key"

applies = Applies(dialects=("sqlite",))


def ask(context: Context) -> Iterator[Probe]:
    """Rows without a full key."""
    return (_without(table, columns) for table, columns in _nullable(context))


def judge(context: Context, answers: Answers) -> Iterator[Finding | Consequence]:
    """A finding for every such table; an error where it has such rows."""
    for table, columns in _nullable(context):
        yield _finding(table, columns, _without(table, columns), answers)


def _nullable(context: Context) -> Iterator[tuple[Table, tuple[str, ...]]]:
    for table in context.tables:
        columns = tuple(
            c.name for c in table.columns if c.name in table.primary_key and not c.not_null
        )
        if columns:
            yield table, columns


def _without(table: Table, columns: tuple[str, ...]) -> Probe:
    test = " OR ".join(f"{quote(c)} IS NULL" for c in columns)
    return Probe(
        about=f"rows of {table} with NULL in the primary key",
        sql=f'SELECT count(*) AS "rows" FROM {table.sql} WHERE {test}',
        tables=(table.ident,),
    )


def _finding(table: Table, columns: tuple[str, ...], probe: Probe, answers: Answers) -> Finding:
    rows = int(answers[probe].first.get("rows", 0))
    names = comma(columns)
    what = f"The primary key of {table} takes NULL in {names}"
    has = "has" if rows == 1 else "have"
    return Finding(
        check=ID,
        severity="error" if rows else "warning",
        confidence="proven",
        object=proposals.label(table, table.primary_key),
        message=f"{what}, and {count(rows, 'row')} {has} it: the key does not tell them apart."
        if rows
        else f"{what}: nothing keeps rows without a key out.",
        evidence=Evidence(sql=probe.sql, rows=rows) if answers[probe].known else None,
        fix=Fix(summary=f"Rebuild the table with NOT NULL on {names}"
                f"{', after the rows are filled or removed' if rows else ''}."),
        identity=(str(table), *table.primary_key),
    )  # fmt: skip
