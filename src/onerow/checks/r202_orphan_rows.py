"""Rows refer to rows that are not there.

## What it asks
For every foreign key that the database does not vouch for: are there values that no row of the
target has? On SQLite that is every foreign key, as it checks them only for connections that ask
for it, and its own `foreign_key_check` is asked. On PostgreSQL it is those that are not validated
or not enforced.

## Why it matters
An inner join drops these rows silently; an outer join shows a parent without a name. Totals
differ from report to report, and the constraint cannot be validated.

## An example
Weeks of a report refer to executions. A clean-up removes the executions of a test through a
connection that has foreign keys off, and the weeks point at nothing.

## Fix
Set the reference to NULL, move the rows to the archive, or make the missing rows again: the
`[[reference]]` rule in the finding says which.

## When to ignore
When the reference is to history that is thrown away on purpose; then drop the foreign key, which
promises something else.
"""

from __future__ import annotations

from collections.abc import Iterator

from onerow.checks import questions
from onerow.checks.base import Answers, Applies, Consequence, Context, Probe
from onerow.checks.references import finding_on, reference_rule, unvouched
from onerow.finding import Evidence, Finding, Fix
from onerow.report.words import count
from onerow.schema import ForeignKey, Table

ID = "R202-orphan-rows"
UNVALIDATED = "R203-unvalidated-foreign-key"

applies = Applies()


def ask(context: Context) -> Iterator[Probe]:
    """On SQLite a question a table, on PostgreSQL one a key."""
    if context.snapshot.dialect == "sqlite":
        yield from (questions.foreign_key_check(t) for t in _with_keys(context))
        return
    for table, fk in unvouched(context):
        probe = questions.orphans(table, fk, context)
        if probe is not None:
            yield probe


def judge(context: Context, answers: Answers) -> Iterator[Finding | Consequence]:
    """A finding for every key with orphans."""
    for table, fk, found in _evidence(context, answers):
        finding = finding_on(
            table,
            fk,
            check=ID,
            severity="error",
            message=_message(table, fk, found),
            evidence=found,
            fix=Fix(
                summary="Set the reference to NULL, archive the rows, or make the missing rows.",
                rule=reference_rule(table, fk, context),
            ),
        )
        yield Consequence(finding, ((UNVALIDATED, finding.object),))


def _with_keys(context: Context) -> Iterator[Table]:
    return (t for t in context.tables if t.foreign_keys)


def _evidence(context: Context, answers: Answers) -> Iterator[tuple[Table, ForeignKey, Evidence]]:
    sqlite = context.snapshot.dialect == "sqlite"
    for table, fk in context.foreign_keys if sqlite else unvouched(context):
        if sqlite:
            probe = questions.foreign_key_check(table)
            found = questions.read_foreign_key_check(probe, fk, answers[probe])
        else:
            asked = questions.orphans(table, fk, context)
            found = questions.read_orphans(asked, fk, answers[asked]) if asked else None
        if found is not None:
            yield table, fk, found


def _message(table: Table, fk: ForeignKey, found: Evidence) -> str:
    refers = "refers" if found.rows == 1 else "refer"
    text = (
        f"{count(found.rows, 'row')} of {table} {refers} to a row of {fk.target} that is not there:"
        " joins drop them without a word."
    )
    stand_ins = [s for s in found.samples if len(s) == 1 and set(s.values()) <= {0, -1, "", "0"}]
    if stand_ins:
        value = next(iter(stand_ins[0].values()))
        text += f" The value {value!r} among them looks like a stand-in for NULL."
    return text
