"""Nothing tells the rows of a table apart.

## What it asks
Has the table a primary key, or a unique key without filter whose columns cannot be NULL? If not:
are there rows that agree in every column?

## Why it matters
Of two rows that agree in everything, neither can be changed or deleted alone. Logical replication
refuses UPDATE and DELETE; a foreign key has nothing to point at; and a merge of duplicates cannot
say which rows it took, so onerow refuses to begin one.

## An example
An import that is run twice doubles a table without a key. There is no way to say "the second
one": the rows can be removed by their physical address only.

## Fix
Add an identity column as the primary key (PostgreSQL rewrites the table; SQLite needs a rebuild),
or make the key primary that the application goes by already.

## When to ignore
For a log that is only appended to and read as a whole, and for staging tables.
"""

from __future__ import annotations

from collections.abc import Iterator

from onerow.checks import questions
from onerow.checks.base import SAMPLES, Answers, Applies, Consequence, Context, Probe
from onerow.finding import Evidence, Finding, Fix
from onerow.report.words import count
from onerow.schema import Column, Table
from onerow.sql import comma, quote

ID = "U115-no-row-identity"

applies = Applies()


def ask(context: Context) -> Iterator[Probe]:
    """Rows that agree in every column."""
    return (_identical(table, context) for table in _nameless(context))


def judge(context: Context, answers: Answers) -> Iterator[Finding | Consequence]:
    """A finding for every table; an error where rows agree in everything."""
    for table in _nameless(context):
        yield _finding(table, _identical(table, context), answers)


def _nameless(context: Context) -> Iterator[Table]:
    for table in context.tables:
        if table.columns and not table.row_identity and not _told_apart_with_nulls(table):
            yield table


def _told_apart_with_nulls(table: Table) -> bool:
    """A key that takes NULLs for equal tells rows apart too."""
    return any(
        i.enforcing and i.immediate and i.nulls_not_distinct and i.predicate is None
        for i in table.indexes
    )


def _identical(table: Table, context: Context) -> Probe:
    names = comma(f"{quote(c.name)} AS k{i}" for i, c in enumerate(table.columns, 1))
    values = comma(_comparable(c) for c in table.columns)
    shown = names if all(c.has_equality for c in table.columns) else ""
    groups = (
        f"SELECT {comma(filter(None, [shown, 'count(*) AS n']))} FROM {table.sql}"
        f" GROUP BY {values} HAVING count(*) > 1"
    )
    columns = comma(f"k{i}" for i, _ in enumerate(table.columns, 1)) if shown else "NULL AS k1"
    return Probe(
        about=f"rows of {table} that agree in every column",
        sql=f"SELECT {columns}, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus"
        f" FROM ({groups}) AS g ORDER BY n DESC LIMIT {SAMPLES}",
        tables=(table.ident,),
        pages=context.pages(table),
    )


def _comparable(column: Column) -> str:
    """json, xml and the like know no equality; their texts do."""
    return quote(column.name) if column.has_equality else f"CAST({quote(column.name)} AS text)"


def _finding(table: Table, probe: Probe, answers: Answers) -> Finding:
    answer = answers[probe]
    groups = int(answer.first.get("groups", 0))
    surplus = int(answer.first.get("surplus", 0))
    names = [c.name for c in table.columns] if all(c.has_equality for c in table.columns) else []
    shown = questions.samples(answer, names) if names else ()
    return Finding(
        check=ID,
        severity="error" if groups else "warning",
        confidence="proven",
        object=str(table),
        message=_message(table, surplus),
        evidence=Evidence(sql=probe.sql, groups=groups, rows=surplus, samples=shown)
        if answer.known
        else None,
        fix=Fix(
            summary="Add an identity column as primary key, or make a key primary that the "
            "application goes by."
        ),
        identity=(str(table),),
    )


def _message(table: Table, surplus: int) -> str:
    what = f"{table} has no primary key and no other NOT NULL key"
    if surplus:
        repeat = "repeats" if surplus == 1 else "repeat"
        return (
            f"{what}, and {count(surplus, 'row')} {repeat} another one in every column: neither "
            "can be changed or removed alone."
        )
    return f"{what}: its rows can be told apart only as long as no two agree in every column."
