"""A unique index is not in force, because its build has failed.

## What it asks
Is there a unique index that PostgreSQL marks invalid, and that nobody is building just now? How
many rows break its key? Indexes of partitioned tables are left out: they are invalid until every
partition has one, which is another story.

## Why it matters
`CREATE UNIQUE INDEX CONCURRENTLY` that meets duplicates leaves such an index behind. It looks
like a key in every listing and vouches for nothing: the duplicates that made it fail are still
there, no query uses it, and every write pays for it.

## An example
A migration builds the index before the clean-up that it needs, fails on a few rows, and is marked
as done by hand. The index has its name; the next release upserts on it and meets `no unique or
exclusion constraint matching the ON CONFLICT specification`.

## Fix
Merge the duplicates and build the key anew; the rule in the finding does both and drops the
invalid one. By hand: mend the rows, then `REINDEX INDEX CONCURRENTLY`, or drop it.

## When to ignore
Never: if nobody needs the key, drop the index.
"""

from __future__ import annotations

from collections.abc import Iterator

from onerow.checks import proposals, questions
from onerow.checks.base import Answers, Applies, Consequence, Context, Probe
from onerow.facts import KeyFacts
from onerow.finding import Finding, Fix
from onerow.report.words import count
from onerow.rules import rule_to_dict
from onerow.schema import PARTITIONED, Index, Table

ID = "U112-invalid-unique-index"

applies = Applies(dialects=("postgresql",))

#: The view of builds shows strangers the process alone (manual §28.4); its locks name the table.
_BUILDING = Probe(
    about="which indexes are being built",
    sql="SELECT DISTINCT l.relation::bigint AS relation FROM pg_stat_progress_create_index AS p"
    " JOIN pg_locks AS l ON l.pid = p.pid WHERE l.locktype = 'relation' AND l.database ="
    " (SELECT oid FROM pg_database WHERE datname = current_database())",
)


def ask(context: Context) -> Iterator[Probe]:
    """Who builds, and the rows that break the key."""
    found = list(_invalid(context))
    if found:
        yield _BUILDING
    for table, index in found:
        bound = proposals.of_index(index, table, context)
        if bound is not None:
            yield questions.duplicates(bound, context)


def judge(context: Context, answers: Answers) -> Iterator[Finding | Consequence]:
    """A finding for every index that was left behind."""
    at_work = {int(row["relation"]) for row in answers[_BUILDING].rows}
    for table, index in _invalid(context):
        if table.oid not in at_work:
            yield _finding(table, index, context, answers)


def _invalid(context: Context) -> Iterator[tuple[Table, Index]]:
    for table in context.tables:
        for index in table.indexes:
            if index.unique and not index.enforcing and table.kind != PARTITIONED:
                yield table, index


def _finding(table: Table, index: Index, context: Context, answers: Answers) -> Finding:
    bound = proposals.of_index(index, table, context)
    probe = questions.duplicates(bound, context) if bound is not None else None
    answer = answers[probe] if probe is not None else None
    facts = (
        questions.key_facts(bound, answer)
        if bound is not None and answer is not None and answer.known
        else None
    )
    return Finding(
        check=ID,
        severity="error",
        confidence="proven",
        object=proposals.label(table, proposals.labels(index)),
        message=_message(index, facts),
        verdict="not enforced",
        evidence=questions.evidence(probe, facts) if probe and facts else None,
        fix=Fix(
            summary=_fix(facts),
            rule=_rule(table, index, context) if bound is not None else None,
            drop=index.name,
        ),
        identity=(str(table), *proposals.labels(index), index.predicate or ""),
    )


def _message(index: Index, facts: KeyFacts | None) -> str:
    what = f"The unique index {index.name} is invalid, so it vouches for nothing"
    if facts is None:
        return f"{what}."
    found = facts.violations
    if not found.groups:
        return f"{what}; no row breaks its key now."
    values = count(found.groups, "value")
    repeat = "repeats" if found.groups == 1 else "repeat"
    return f"{what}: {values} of its key {repeat}, {count(found.rows, 'row')} too many."


def _fix(facts: KeyFacts | None) -> str:
    if facts is not None and not facts.violations.groups:
        return "REINDEX INDEX CONCURRENTLY makes it valid; or let the rule build the key anew."
    return "The rule merges the duplicates, builds the key anew and drops this index."


def _rule(table: Table, index: Index, context: Context) -> dict[str, object]:
    nulls = "equal" if index.nulls_not_distinct else "distinct"
    key = proposals.on(
        table,
        proposals.key_columns(index),
        context,
        where=index.predicate,
        nulls=nulls,
        replaces=[index.name],
    )
    return rule_to_dict(key)
