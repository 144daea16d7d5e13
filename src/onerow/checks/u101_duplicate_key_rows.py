"""Several rows have the same value of a key that the rules declare.

## What it asks
For every `[[key]]` rule that the catalog does not enforce: are there groups of rows with the same
key? They are counted as the key itself compares: with its filter, its way with NULL, its case and
collation. For `nulls = "forbidden"`, rows with a NULL are counted too.

## Why it matters
Code that looks up "the" row gets one of several, and not always the same one; what is written to
one is not seen in the other. `scalar_one()` and its likes raise. And the unique index that would
keep more from coming cannot be built while they are there.

## An example
A workout planner keeps one selection a workout. A card that is dragged to another day and another
hour sends two requests at once; both find no selection, both insert one. From then on, which of
the two the calendar shows is luck.

## Fix
`onerow plan` shows how the groups are merged: which row is kept (`keep`), what it takes from the
others (`merge`), what becomes of rows that refer to them (`children`). `onerow apply` does it,
keeps every removed row in an archive, and builds the unique index.

## When to ignore
Never for long: either the rows are wrong, or the rule is. If the repetition is meant, narrow the
rule with `where`, or remove it.
"""

from __future__ import annotations

from collections.abc import Iterator

from onerow.checks import proposals, questions
from onerow.checks.base import Answers, Applies, Consequence, Context, Probe
from onerow.checks.causes import causes_of
from onerow.facts import KeyFacts
from onerow.finding import Finding, Fix
from onerow.keys import BoundKey
from onerow.report.words import count
from onerow.sql import comma

ID = "U101-duplicate-key-rows"

applies = Applies(declared_keys=True)


def ask(context: Context) -> Iterator[Probe]:
    """The rows of every key that they could break."""
    for bound in context.keys:
        if not context.standing(bound).enforced:
            yield questions.duplicates(bound, context)
            nulls = questions.forbidden_nulls(bound, context)
            if nulls is not None:
                yield nulls


def judge(context: Context, answers: Answers) -> Iterator[Finding | Consequence]:
    """A finding for every key that rows break."""
    for bound in context.keys:
        if context.standing(bound).enforced:
            continue
        facts = facts_of(bound, context, answers)
        if facts is not None and facts.violations:
            yield causes_of(_finding(bound, facts, context), bound, context)


def facts_of(bound: BoundKey, context: Context, answers: Answers) -> KeyFacts | None:
    """What the rows say of a key; None where they were not seen."""
    answer = answers[questions.duplicates(bound, context)]
    asked = questions.forbidden_nulls(bound, context)
    nulls = answers[asked] if asked is not None else None
    if not answer.known or (nulls is not None and not nulls.known):
        return None
    return questions.key_facts(bound, answer, nulls)


def _finding(bound: BoundKey, facts: KeyFacts, context: Context) -> Finding:
    probe = questions.duplicates(bound, context)
    return Finding(
        check=ID,
        severity="error",
        confidence="proven",
        object=str(bound),
        message=_message(bound, facts),
        verdict=str(context.standing(bound)),
        evidence=questions.evidence(probe, facts),
        fix=Fix(summary=_fix(facts), rule=proposals.rule(bound.key)),
        identity=identity(bound),
    )


def identity(bound: BoundKey) -> tuple[str, ...]:
    """What makes it the same key again."""
    key = bound.key
    return (str(bound), key.where or "", key.nulls, comma(sorted(key.ignore_case)))


def _message(bound: BoundKey, facts: KeyFacts) -> str:
    found = facts.violations
    parts = []
    if found.groups:
        surplus = count(found.rows - found.nulls, "row")
        values = count(found.groups, "value") if bound.parts else "The table"
        what = f"of ({comma(p.label for p in bound.parts)}) " if bound.parts else ""
        has = "has" if found.groups == 1 else "have"
        parts.append(f"{values} {what}{has} more than one row, {surplus} too many: which of them a "
                     "reader gets is luck.")  # fmt: skip
    if found.nulls:
        holds = "holds" if found.nulls == 1 else "hold"
        parts.append(f"{count(found.nulls, 'row')} {holds} NULL in a key that forbids it.")
    return " ".join(parts)


def _fix(facts: KeyFacts) -> str:
    if not facts.violations.groups:
        return "Fill the NULLs; `onerow plan` forbids them then."
    return "`onerow plan` shows how the rows are merged; `onerow undo` would bring them all back."
