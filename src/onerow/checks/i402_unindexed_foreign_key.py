"""No index leads with the columns of a foreign key.

## What it asks
Has the table a valid index without filter whose first columns are those of the foreign key, in
any order? A unique or primary key counts, and so does a partial index that leaves out nothing but
NULL.

## Why it matters
Whenever a row of the parent is deleted, or its key changed, the database looks for rows that
refer to it: without an index it reads the whole child table, for each row, holding a lock. The
same goes for every "all children of this parent", and for a merge that re-points children.

## An example
One tenant is deleted. It has some thousand rows in a table that others refer to, and for each of
them PostgreSQL reads the table of events from end to end.

## Fix
Build an index on the columns, while writers write; the rule in the finding does it.

## When to ignore
For small tables, and where parents are never deleted and children never looked up by their
parent.
"""

from __future__ import annotations

from collections.abc import Iterator

from onerow.checks import proposals
from onerow.checks.base import Answers, Applies, Consequence, Context, Probe
from onerow.expressions import Reading
from onerow.expressions.reading import not_null
from onerow.finding import Finding, Fix, Severity
from onerow.report.words import number
from onerow.rules import Index as IndexRule
from onerow.rules import rule_to_dict
from onerow.schema import ForeignKey, Index, Table
from onerow.sql import comma, quote

ID = "I402-unindexed-foreign-key"
BIG = 10_000  #: rows from which reading the table is not nothing
_ACTS = ("cascade", "set null", "set default")
_FINDS_EQUAL = ("btree", "hash", "rowid")  #: access methods that look up a value

applies = Applies()


def ask(_context: Context) -> Iterator[Probe]:
    """Nothing: the catalog tells."""
    return iter(())


def judge(context: Context, answers: Answers) -> Iterator[Finding | Consequence]:
    """A finding for each set of columns, however many foreign keys are on it."""
    for table in context.tables:
        keys: dict[frozenset[str], ForeignKey] = {}
        for fk in table.foreign_keys:
            if not fk.inherited and not _is_indexed(table, fk, context):
                keys.setdefault(frozenset(fk.columns), fk)
        yield from (_finding(table, fk, context) for fk in keys.values())


def _is_indexed(table: Table, fk: ForeignKey, context: Context) -> bool:
    return any(_serves(index, table, fk, context) for index in table.indexes)


def _serves(index: Index, table: Table, fk: ForeignKey, context: Context) -> bool:
    first = index.columns[: len(fk.columns)]
    leads = {c.expression for c in first if not c.is_expression} == set(fk.columns)
    usable = index.valid and index.ready and index.method in _FINDS_EQUAL
    return leads and usable and _holds_all(index, table, fk, context)


def _holds_all(index: Index, table: Table, fk: ForeignKey, context: Context) -> bool:
    """Whoever looks a value up finds it, also in a partial index that leaves out NULL."""
    reading = Reading(context.snapshot.dialect, table.columns)
    wanted = reading.conditions(index.predicate)
    trees = [reading.tree(quote(c)) for c in fk.columns]
    filled = [not_null(t) for t in trees if t is not None]
    return wanted is not None and all(reading.implied(c, filled) for c in wanted)


def _finding(table: Table, fk: ForeignKey, context: Context) -> Finding:
    columns = comma(fk.columns)
    return Finding(
        check=ID,
        severity=_severity(table, fk),
        confidence="proven",
        object=proposals.label(table, fk.columns),
        message=f"No index leads with {columns}: {_consequence(table, fk)}.",
        fix=Fix(
            summary=f"An index on ({columns}), built while writers write.",
            rule=rule_to_dict(
                IndexRule(table=proposals.written(table, context.snapshot), columns=fk.columns)
            ),
        ),
        identity=(str(table), *sorted(fk.columns)),
    )


def _severity(table: Table, fk: ForeignKey) -> Severity:
    acts = fk.on_delete in _ACTS
    return "warning" if acts or (table.estimated_rows or 0) > BIG else "info"


def _consequence(table: Table, fk: ForeignKey) -> str:
    rows = f" ({number(table.estimated_rows)} rows)" if table.estimated_rows else ""
    what = f"every row that is deleted from {fk.target} reads the whole of {table}{rows}"
    return f"{what}, to {fk.on_delete}" if fk.on_delete in _ACTS else what
