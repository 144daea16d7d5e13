"""A unique key lets rows repeat, because one of its columns is NULL in them.

## What it asks
For every unique index over several columns of which one may be NULL: are there rows that agree in
all columns, NULLs included? To the index they are all different, as NULL equals nothing, not even
NULL. Rows in which the whole key is NULL do not count. Nothing is said where another index closes
the gap: `NULLS NOT DISTINCT`, `coalesce`, a partial one for the rows with NULL, or one over fewer
columns.

## Why it matters
The constraint is there, everybody relies on it, and it holds for some rows only. The duplicates
that it lets in come from exactly the rows that are special: no branch, no owner, no end date yet.

## An example
Measured values are unique by six columns; the user and the account are NULL for whatever a
machine has written. Two workers race, the same value is stored twice, and every job that reads it
dies of two rows where one was promised.

## Fix
Make the NULLs equal: the rule in the finding builds `NULLS NOT DISTINCT` on PostgreSQL 15 or
newer, and `coalesce` with its mark elsewhere. Where NULL means that the row is not deleted, a
partial key over the rows that stand is meant. Where NULL means nothing, NOT NULL is better.

## When to ignore
When NULL says "not set", and such rows may repeat: a `[[key]]` rule with `nulls = "distinct"`
says so, and the finding becomes a note.
"""

from __future__ import annotations

from collections.abc import Iterator

from onerow.checks import proposals, questions
from onerow.checks.base import Answers, Applies, Consequence, Context, Probe
from onerow.enforcement import verdict
from onerow.facts import KeyFacts
from onerow.finding import Confidence, Finding, Fix, Severity
from onerow.keys import BoundKey
from onerow.report.words import count
from onerow.rules import Key
from onerow.schema import Index, Table
from onerow.sql import comma, quote

ID = "U103-nulls-defeat-unique"

applies = Applies()


def ask(context: Context) -> Iterator[Probe]:
    """Rows that such an index takes for different."""
    for _, _, repeated in _leaky(context):
        yield questions.duplicates(repeated, context)


def judge(context: Context, answers: Answers) -> Iterator[Finding | Consequence]:
    """A finding for every such index; an error where rows prove it, or a rule wants more."""
    for table, index, repeated in _leaky(context):
        answer = answers[questions.duplicates(repeated, context)]
        facts = questions.key_facts(repeated, answer) if answer.known else None
        yield _finding(table, index, repeated, facts, context)


def _leaky(context: Context) -> list[tuple[Table, Index, BoundKey]]:
    """Unique indexes over several columns that NULL slips through, with the key of those rows."""
    return context.once(ID, lambda: list(_find_leaky(context)))


def _find_leaky(context: Context) -> Iterator[tuple[Table, Index, BoundKey]]:
    for table in context.tables:
        for index in table.indexes:
            several = len(index.columns) > 1
            if several and index.enforcing and not index.primary and _nullable(table, index):
                meant = proposals.bound(table, _meant(table, index, context), context)
                repeated = _repeated(table, index, context)
                # Another index may close the gap.
                leaks = meant is not None and verdict(meant).gaps == ("nulls",)
                if leaks and repeated is not None:
                    yield table, index, repeated


def _nullable(table: Table, index: Index) -> list[str]:
    found = [table.column(c.expression) for c in index.columns if not c.is_expression]
    return [c.name for c in found if c is not None and not c.not_null]


def _meant(table: Table, index: Index, context: Context) -> Key:
    """The key as people read it: NULL equals NULL."""
    columns = proposals.key_columns(index)
    return proposals.on(table, columns, context, where=index.predicate, nulls="equal")


def _repeated(table: Table, index: Index, context: Context) -> BoundKey | None:
    """That key over the rows with a NULL, but for those that hold nothing else."""
    nullable = [quote(c) for c in _nullable(table, index)]
    some = " OR ".join(f"{c} IS NULL" for c in nullable)
    filled = " OR ".join(f"{c} IS NOT NULL" for c in nullable)
    all_nullable = len(nullable) == len(index.columns)
    key = proposals.on(
        table,
        proposals.key_columns(index),
        context,
        where=proposals.where(index.predicate, some, filled if all_nullable else None),
        nulls="equal",
    )
    return proposals.bound(table, key, context)


def _finding(
    table: Table, index: Index, repeated: BoundKey, facts: KeyFacts | None, context: Context
) -> Finding:
    probe = questions.duplicates(repeated, context)
    severity, confidence = _weight(table, index, facts, context)
    return Finding(
        check=ID,
        severity=severity,
        confidence=confidence,
        object=proposals.label(table, proposals.labels(index)),
        message=_message(table, index, facts),
        verdict="enforced except nulls",
        evidence=questions.evidence(probe, facts) if facts is not None else None,
        fix=_fix(table, index, context),
        identity=(str(table), *proposals.labels(index), index.predicate or ""),
    )


def _weight(
    table: Table, index: Index, facts: KeyFacts | None, context: Context
) -> tuple[Severity, Confidence]:
    declared = {
        b.key.nulls
        for b in context.keys
        if b.table.ident == table.ident and set(b.columns) == set(proposals.labels(index))
    }
    if "equal" in declared:
        return "error", "proven"
    if declared:
        return "info", "proven"
    if facts is not None and facts.violations.groups:
        return "error", "proven"
    return "warning", "likely"


def _message(table: Table, index: Index, facts: KeyFacts | None) -> str:
    names = comma(_nullable(table, index))
    what = f"{index.name} does not keep rows apart whose {names} is NULL"
    if facts is None or not facts.violations.groups:
        return f"{what}: nobody has written the same twice yet, and nothing would stop it."
    found = facts.violations
    values = count(found.groups, "value")
    repeat = "repeats" if found.groups == 1 else "repeat"
    return f"{what}: {values} of the key {repeat}, {count(found.rows, 'row')} too many."


def _fix(table: Table, index: Index, context: Context) -> Fix:
    gone = [n for n in _nullable(table, index) if n.casefold() in proposals.SOFT_DELETE]
    if gone == _nullable(table, index) and len(gone) == 1:
        rest = [c for c in proposals.key_columns(index) if c != gone[0]]
        name = gone[0] if gone[0].islower() else quote(gone[0])
        standing = proposals.where(index.predicate, f"{name} IS NULL")
        key = proposals.on(table, rest, context, where=standing, nulls="equal",
                           replaces=_replaces(table, index, context))  # fmt: skip
        return Fix(summary=f"A key over the rows that stand ({gone[0]} IS NULL), without "
                   f"{gone[0]} in it.", rule=proposals.rule(key))  # fmt: skip
    old = _replaces(table, index, context)
    columns = proposals.key_columns(index)
    key = proposals.on(table, columns, context, where=index.predicate, nulls="equal", replaces=old)
    knows = context.snapshot.dialect == "postgresql" and context.snapshot.version >= (15,)
    how = "NULLS NOT DISTINCT" if knows else "coalesce() in the index"
    return Fix(
        summary=f"The same key with NULL equal to NULL ({how}); NOT NULL where NULL means nothing.",
        rule=proposals.rule(key),
    )


def _replaces(table: Table, index: Index, context: Context) -> list[str]:
    return [index.name] if proposals.replaceable(index, table, context) else []
