"""A foreign key looks like one to one, and nothing keeps a second row out.

## What it asks
Is a foreign key nearly unique: has almost every row a parent of its own? Without a model that
says so this is a guess, so it is a hint and never fails a run. Foreign keys that are part of a
wider unique key are left out (they are meant to repeat), and so are those to the own table.

## Why it matters
Code that goes from a user to "the" profile takes the first row that comes. The few parents with
two rows are mostly the mark of two requests at the same time, not of a rule that allows it.

## An example
The model of a workout planner says one selection a workout (`uselist=False`); the table below it
knows nothing of that. Three of sixty workouts have two.

## Fix
The rule in the finding merges the doubles and makes the column unique.

## When to ignore
When one parent may well have several, and has had only one so far.
"""

from __future__ import annotations

from collections.abc import Iterator

from onerow.checks import proposals, questions
from onerow.checks.base import Answers, Applies, Consequence, Context, Probe
from onerow.checks.links import links
from onerow.checks.questions import Spread
from onerow.finding import Evidence, Finding, Fix
from onerow.keys import BoundKey
from onerow.report.words import count, number
from onerow.schema import ForeignKey, Table
from onerow.sql import comma

ID = "U110-one-to-one-without-unique"
FEWEST = 20  #: rows from which a share means something
FEWEST_NAMED = 5  #: the same where the table is named after its parent: workout_selections
MOST_SURPLUS = 0.1  #: share of rows too many in what still looks like one to one
MOST_SURPLUS_NAMED = 0.3
LEAST_ESTIMATED = 0.5  #: share of distinct values, by the statistics, from which rows are looked at

applies = Applies()


def ask(context: Context) -> Iterator[Probe]:
    """How many rows share a parent, where the statistics do not say no already."""
    for _table, _fk, bound in _candidates(context):
        yield questions.spread(bound, context)


def judge(context: Context, answers: Answers) -> Iterator[Finding | Consequence]:
    """A hint for every foreign key that is nearly unique."""
    for table, fk, bound in _candidates(context):
        probe = questions.spread(bound, context)
        found = questions.read_spread(bound, answers[probe])
        if _looks_single(table, fk, found):
            yield _finding(table, fk, bound, probe, found)


def _candidates(context: Context) -> list[tuple[Table, ForeignKey, BoundKey]]:
    return context.once(ID, lambda: list(_find(context)))


def _find(context: Context) -> Iterator[tuple[Table, ForeignKey, BoundKey]]:
    linking = {table.ident for table, _ in links(context)}
    seen: set[tuple[object, ...]] = set()
    for table, fk in context.foreign_keys:
        place = (table.ident, frozenset(fk.columns))
        if place in seen or table.ident in linking or fk.target == table.ident:
            continue
        seen.add(place)
        if _is_open(table, fk, context):
            bound = proposals.bound(table, proposals.on(table, fk.columns, context), context)
            if bound is not None:
                yield table, fk, bound


def _is_open(table: Table, fk: ForeignKey, context: Context) -> bool:
    if proposals.is_enforced(table, fk.columns, context) or _is_meant_to_repeat(table, fk):
        return False
    shares = [context.distinct_share(table, c) for c in fk.columns]
    known = [s for s in shares if s is not None]
    return len(known) < len(shares) or max(known) >= LEAST_ESTIMATED


def _is_meant_to_repeat(table: Table, fk: ForeignKey) -> bool:
    """A unique key that needs another column besides says that the parent has several rows."""
    own = set(fk.columns)
    identity = set(table.primary_key)
    for index in table.indexes:
        elements = {c.expression for c in index.columns}
        if index.unique and own < elements and not (identity and identity <= elements - own):
            return True
    return _says_who(fk)


def _says_who(fk: ForeignKey) -> bool:
    """created_by, updated_by_id: the same person does many things."""
    return len(fk.columns) == 1 and fk.columns[0].casefold().removesuffix("_id").endswith("_by")


def _looks_single(table: Table, fk: ForeignKey, found: Spread) -> bool:
    named = _is_named_after(table, fk)
    enough = found.rows >= (FEWEST_NAMED if named else FEWEST)
    few = found.share <= (MOST_SURPLUS_NAMED if named else MOST_SURPLUS)
    return enough and few


def _is_named_after(table: Table, fk: ForeignKey) -> bool:
    """`workout_selections` of `workouts`, `user_profile` of `users`."""
    parent = fk.target.name.casefold()
    single = parent[:-3] + "y" if parent.endswith("ies") else parent.removesuffix("s")
    return table.name.casefold().startswith(f"{single}_")


def _finding(table: Table, fk: ForeignKey, bound: BoundKey, probe: Probe, found: Spread) -> Finding:
    return Finding(
        check=ID,
        severity="warning" if found.groups else "info",
        confidence="hint",
        object=proposals.label(table, fk.columns),
        message=_message(fk, found),
        verdict="not enforced",
        evidence=Evidence(
            sql=probe.sql, groups=found.groups, rows=found.surplus, samples=found.samples
        ),
        fix=Fix(
            summary="If one row is meant for each: merge the doubles, and make the column unique."
            if found.groups
            else "If one row is meant for each: make the column unique.",
            rule=proposals.rule(bound.key),
        ),
        identity=(str(table), *fk.columns),
    )


def _message(fk: ForeignKey, found: Spread) -> str:
    columns = comma(fk.columns)
    if not found.groups:
        return (
            f"Each of {number(found.rows)} rows has its own row of {fk.target} by {columns}, as in "
            "one to one; nothing keeps a second one out."
        )
    have = "has" if found.groups == 1 else "have"
    return (
        f"{number(found.values - found.groups)} rows of {fk.target} have one row here by {columns},"
        f" and {number(found.groups)} {have} more ({count(found.surplus, 'row')} too many), as if"
        " two had written at once."
    )
