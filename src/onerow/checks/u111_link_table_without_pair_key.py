"""A table that links two others lets the same pair in twice.

## What it asks
Is there a table with exactly two foreign keys and nothing besides but a number of its own and
times, and no unique key over the pair? Are there pairs that stand in it twice? Without a model
that says what the table is for this is a guess, so it is a hint and never fails a run.

## Why it matters
Every join through the table counts the pair twice: members of a group, totals of an invoice.
Removing the link removes one of the two rows, and the link is still there.

## An example
A double click on "add member" adds the member twice. The list shows the member once, as it is
made distinct; the invoice does not.

## Fix
The rule in the finding keeps one row of each pair and makes the pair unique.

## When to ignore
When the table is a history, in which the same pair may come again.
"""

from __future__ import annotations

from collections.abc import Iterator

from onerow.checks import proposals, questions
from onerow.checks.base import Answers, Applies, Consequence, Context, Probe
from onerow.checks.links import links
from onerow.facts import KeyFacts
from onerow.finding import Finding, Fix
from onerow.keys import BoundKey
from onerow.report.words import count

ID = "U111-link-table-without-pair-key"

applies = Applies()


def ask(context: Context) -> Iterator[Probe]:
    """Pairs that stand in a link table twice."""
    return (questions.duplicates(bound, context) for bound in _open(context))


def judge(context: Context, answers: Answers) -> Iterator[Finding | Consequence]:
    """A hint for every link table without a key on its pair."""
    for bound in _open(context):
        answer = answers[questions.duplicates(bound, context)]
        facts = questions.key_facts(bound, answer) if answer.known else None
        yield _finding(bound, facts, context)


def _open(context: Context) -> list[BoundKey]:
    return context.once(ID, lambda: list(_find(context)))


def _find(context: Context) -> Iterator[BoundKey]:
    for table, pair in links(context):
        if not proposals.is_enforced(table, pair, context):
            bound = proposals.bound(table, proposals.on(table, pair, context), context)
            if bound is not None:
                yield bound


def _finding(bound: BoundKey, facts: KeyFacts | None, context: Context) -> Finding:
    twice = facts is not None and bool(facts.violations.groups)
    probe = questions.duplicates(bound, context)
    return Finding(
        check=ID,
        severity="warning" if twice else "info",
        confidence="hint",
        object=str(bound),
        message=_message(bound, facts if twice else None),
        verdict="not enforced",
        evidence=questions.evidence(probe, facts) if facts is not None else None,
        fix=Fix(
            summary="Keep one row of each pair, and make the pair unique.",
            rule=proposals.rule(bound.key),
        ),
        identity=(str(bound.table), *bound.columns),
    )


def _message(bound: BoundKey, facts: KeyFacts | None) -> str:
    what = f"{bound.table} links two tables, and no key keeps a pair from standing in it twice"
    if facts is None:
        return f"{what}."
    found = facts.violations
    stand = "stands" if found.groups == 1 else "stand"
    pairs = f"{count(found.groups, 'pair')} {stand} in it more than once"
    return f"{what}: {pairs}, {count(found.rows, 'row')} too many."
