"""A foreign key says nothing of the rows that were there before it.

## What it asks
Is the foreign key marked NOT VALID, or, from PostgreSQL 18, NOT ENFORCED? How many rows refer to
nothing?

## Why it matters
It was added NOT VALID so that the table need not be scanned under a lock, and the second half of
the work was never done. Readers of the schema believe the constraint; the planner does not, and
the old rows break it.

## An example
Long after the migration, a row that seems to have no parent cannot be edited: the update is
refused, because the key checks what is written now and never looked at what was there.

## Fix
Mend the orphans as the rule says, then `ALTER TABLE … VALIDATE CONSTRAINT`, which takes a light
lock only. NOT ENFORCED is undone by `ALTER CONSTRAINT … ENFORCED`.

## When to ignore
While the migration that will validate it is on its way.
"""

from __future__ import annotations

from collections.abc import Iterator

from onerow.checks import questions
from onerow.checks.base import Answers, Applies, Consequence, Context, Probe
from onerow.checks.references import finding_on, reference_rule, unvouched
from onerow.finding import Evidence, Finding, Fix
from onerow.report.words import count
from onerow.schema import ForeignKey, Table
from onerow.sql import quote

ID = "R203-unvalidated-foreign-key"

applies = Applies(dialects=("postgresql",))


def ask(context: Context) -> Iterator[Probe]:
    """The orphans of every such key."""
    for table, fk in unvouched(context):
        probe = questions.orphans(table, fk, context)
        if probe is not None:
            yield probe


def judge(context: Context, answers: Answers) -> Iterator[Finding | Consequence]:
    """A finding for every such key; an error where rows break it."""
    for table, fk in unvouched(context):
        probe = questions.orphans(table, fk, context)
        known = probe is not None and answers[probe].known
        found = questions.read_orphans(probe, fk, answers[probe]) if probe and known else None
        none = Evidence(sql=probe.sql) if probe is not None and known else None
        yield finding_on(
            table,
            fk,
            check=ID,
            severity="error" if found else "warning",
            message=_message(table, fk, found, known=known),
            evidence=found or none,
            fix=Fix(summary=_fix(table, fk, found), rule=reference_rule(table, fk, context)),
        )


def _message(table: Table, fk: ForeignKey, found: Evidence | None, *, known: bool) -> str:
    state = "NOT VALID" if fk.enforced else "NOT ENFORCED"
    what = f"The foreign key {fk.name} of {table} is {state}"
    if found is not None:
        refers = "refers" if found.rows == 1 else "refer"
        return f"{what}, and {count(found.rows, 'row')} {refers} to no row of {fk.target}."
    if known:
        return f"{what}; every row refers to one that is there, so it could be validated now."
    return f"{what}: it vouches for no row that was there before it."


def _fix(table: Table, fk: ForeignKey, found: Evidence | None) -> str:
    way = "VALIDATE CONSTRAINT" if fk.enforced else "ALTER CONSTRAINT"
    tail = "" if fk.enforced else " ENFORCED"
    sql = f"ALTER TABLE {table.sql} {way} {quote(fk.name)}{tail}"
    return f"Mend the orphans, then {sql}." if found else f"{sql}."
