"""Nothing in the database enforces a key that the rules declare.

## What it asks
For every `[[key]]` rule: does a unique index, unique constraint, primary key or exclusion
constraint let in at most one row for each value of the key? A stricter one counts, one over fewer
columns. One that is invalid, partial where the key is not, that tells case apart where the key
does not, or lets NULLs in where the key takes them for equal, does not; the finding says which of
these it is.

## Why it matters
Code that looks first and inserts then is right for one user at a time. Two at once both look,
both find nothing, and both insert. Only the database can refuse the second row.

## An example
A job asks for the week of a report, does not find it and inserts it. The scheduler starts it
twice, half a second apart. From then on every job that expects one row dies of
`MultipleResultsFound`.

## Fix
`onerow plan` shows the steps: duplicates are merged first, then the unique index is built while
writers write, and attached as a constraint where it can be one.

## When to ignore
When the key is enforced elsewhere: in a table that this one is made from, or by a lock that every
writer takes. Then the rule is better left out.
"""

from __future__ import annotations

from collections.abc import Iterator

from onerow.checks import proposals, questions
from onerow.checks.base import Answers, Applies, Consequence, Context, Probe
from onerow.checks.causes import causes_of
from onerow.checks.u101_duplicate_key_rows import ask as ask_rows
from onerow.checks.u101_duplicate_key_rows import facts_of, identity
from onerow.finding import Finding, Fix
from onerow.keys import BoundKey
from onerow.report.words import count
from onerow.sql import comma

ID = "U102-missing-unique"

applies = Applies(declared_keys=True)


def ask(context: Context) -> Iterator[Probe]:
    """How many rows would stand in the way of the index."""
    return ask_rows(context)


def judge(context: Context, answers: Answers) -> Iterator[Finding | Consequence]:
    """A finding for every key that the catalog does not enforce."""
    for bound in context.keys:
        if not context.standing(bound).enforced:
            yield causes_of(_finding(bound, context, answers), bound, context)


def _finding(bound: BoundKey, context: Context, answers: Answers) -> Finding:
    facts = facts_of(bound, context, answers)
    found = context.standing(bound)
    what = comma(p.label for p in bound.parts)
    second = f"a second row with the same ({what})" if what else "a second row"
    in_the_way = facts is not None and bool(facts.violations)
    return Finding(
        check=ID,
        severity="error",
        confidence="proven",
        object=str(bound),
        message=f"Nothing keeps {second} out of {bound.table}: {found.reason}.",
        verdict=str(found),
        evidence=questions.evidence(questions.duplicates(bound, context), facts)
        if facts is not None
        else None,
        fix=Fix(summary=_fix(facts.violations.rows if in_the_way and facts else 0),
                rule=proposals.rule(bound.key)),
        identity=identity(bound),
    )  # fmt: skip


def _fix(rows: int) -> str:
    if rows:
        return f"`onerow plan`: {count(rows, 'row')} to mend first, then a unique index."
    return "`onerow plan`: a unique index, built while writers write."
