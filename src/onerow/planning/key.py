"""The plan of one Key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from onerow.children import children_of
from onerow.dialects import Dialect, MergeSpec
from onerow.dialects.base import ColumnChange
from onerow.dialects.sqlite.rebuild import with_check, without_unique
from onerow.enforcement import Verdict, null_check, null_checked, verdict
from onerow.errors import RuleError, nearest
from onerow.facts import KeyFacts, MergeFacts
from onerow.keys import BoundKey
from onerow.plan import Blocker, Step
from onerow.planning import blockers
from onerow.schema import Index, Snapshot
from onerow.sql import comma, cut, quote
from onerow.steps import (
    add_check,
    attach_constraint,
    create_index,
    drop_constraint,
    drop_index,
    merge_duplicates,
    rebuild_table,
    set_not_null,
    swap_constraint,
    validate_check,
    verify,
)

POLICIES_OF_ANY_TYPE = ("keep", "fill")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPlan:
    steps: tuple[Step, ...] = ()
    blockers: tuple[Blocker, ...] = ()
    satisfied: str = ""  #: a sentence, when nothing is to be done


def replaced(bound: BoundKey) -> tuple[Index, ...]:
    """The indexes behind the keys that the rule replaces, those that are still there."""
    return tuple(
        i
        for name in bound.key.replaces
        for i in bound.table.indexes
        if name in (i.name, i.constraint)
    )


def standing_verdict(bound: BoundKey) -> Verdict:
    """How far the catalog enforces the key without the keys that it is to replace.

    A key that leaves out a column enforces more than the new one, and is what must go.
    """
    old = replaced(bound)
    if not old:
        return verdict(bound)
    rest = tuple(i for i in bound.table.indexes if i not in old)
    return verdict(replace(bound, table=replace(bound.table, indexes=rest)))


def merge_spec(bound: BoundKey, snapshot: Snapshot, dialect: Dialect) -> MergeSpec:
    """All decisions of the key's merge. Raises RuleError where a policy does not fit a column."""
    return MergeSpec(
        bound=bound,
        identity=bound.table.row_identity,
        changes=tuple(_changes(bound, dialect)),
        children=children_of(bound.table, bound.key, snapshot),
        decisions="pg_temp.onerow_decisions"
        if dialect.name == "postgresql"
        else "temp.onerow_decisions",
    )


def _changes(bound: BoundKey, dialect: Dialect) -> Iterator[ColumnChange]:
    fixed = {*bound.columns, *bound.table.row_identity, *bound.table.primary_key}
    named = {c.casefold() if bound.dialect == "sqlite" else c for c in bound.key.merge}
    for column in bound.table.columns:
        own = column.name.casefold() if bound.dialect == "sqlite" else column.name
        if not column.writable or column.identity or column.name in fixed:
            if own in named and own != "default":
                raise RuleError(
                    f"column {column.name!r} cannot be merged: it is generated, or part of a key.",
                    rule=bound.label,
                )
            continue
        policy = bound.key.policy(column.name)
        misfit = dialect.policy_misfit(column, policy)
        if misfit and policy not in POLICIES_OF_ANY_TYPE:
            raise RuleError(
                f"policy {policy!r} does not fit {column.name} ({column.type}): {misfit}.",
                rule=bound.label,
                hint="Name a policy for this column under merge.",
            )
        if policy != "keep":
            yield ColumnChange(column=column, policy=policy)


def plan_key(
    bound: BoundKey,
    snapshot: Snapshot,
    dialect: Dialect,
    facts: KeyFacts,
    merge_facts: MergeFacts,
) -> KeyPlan:
    """Steps that take a key from how it stands to enforced, and what stops them."""
    old = replaced(bound)
    stands = standing_verdict(bound)
    if stands.enforced and not old:
        return KeyPlan(satisfied=f"{bound} is enforced by {stands.reason}: nothing to do.")
    _check_replaces(bound, enforced=stands.enforced)
    spec = merge_spec(bound, snapshot, dialect)
    steps = (
        ()
        if stands.enforced
        else tuple(_establish(spec, dialect, facts, old, merge_facts.decisions))
    )
    found = tuple(_blockers(spec, snapshot, dialect, facts, merge_facts, stands.enforced))
    takes = tuple(_take_away(bound, old, dialect))
    proof = verify.plan(bound, dialect)
    if dialect.name == "sqlite":
        again = tuple(_rebuild(bound, old))
        # The proof comes before anything is taken away, unless the rule holds by the rebuild only.
        last = (*again, proof) if bound.key.nulls == "forbidden" else (proof, *again)
        return KeyPlan(steps=(*steps, *last, *takes), blockers=found)
    return KeyPlan(steps=(*steps, proof, *takes), blockers=found)


def _check_replaces(bound: BoundKey, *, enforced: bool) -> None:
    names = {n for i in bound.table.indexes for n in (i.name, i.constraint) if n}
    for name in bound.key.replaces:
        if name not in names and not enforced:
            raise RuleError(
                f"replaces names {name!r}, which {bound.table} does not have.",
                rule=bound.label,
                hint=nearest(name, names),
            )


def _same_name(bound: BoundKey, old: tuple[Index, ...]) -> Index | None:
    return next((i for i in old if bound.name in (i.name, i.constraint)), None)


def _establish(
    spec: MergeSpec,
    dialect: Dialect,
    facts: KeyFacts,
    old: tuple[Index, ...],
    decisions: str,
) -> Iterator[Step]:
    bound = spec.bound
    if spec.identity:
        yield merge_duplicates.plan(
            spec,
            dialect,
            groups=facts.violations.groups,
            surplus=facts.violations.rows - facts.violations.nulls,
            decisions=decisions,
        )
    if bound.key.nulls == "forbidden" and dialect.name == "postgresql":
        yield from _forbid_nulls(bound)
    namesake = _same_name(bound, old)
    if namesake and dialect.name == "postgresql":
        built = cut(f"onerow_new_{bound.name}")
        yield create_index.plan(bound, dialect, built)
        yield swap_constraint.plan(bound, namesake, built)
        return
    yield create_index.plan(bound, dialect, bound.name)
    if bound.attachable and dialect.name == "postgresql":
        yield attach_constraint.plan(bound)


def _forbid_nulls(bound: BoundKey) -> Iterator[Step]:
    for part in bound.parts:
        if not part.nullable:
            continue
        label = part.column.name if part.column else "key"
        name = cut(f"{bound.name}_{label}_not_null")
        yield add_check.plan(bound, name, null_check(part, bound.where))
        yield validate_check.plan(bound, name)
        if part.column and bound.where is None:
            yield set_not_null.plan(bound, part.column.name, name)


def _rebuild(bound: BoundKey, old: tuple[Index, ...]) -> Iterator[Step]:
    """SQLite: constraints inside CREATE TABLE come and go only with the whole table."""
    inside = [i for i in old if not i.definition]
    text, names = bound.table.definition, [n for i in inside for n in (i.name, i.constraint) if n]
    reasons = [f"without {i.constraint or i.name}" for i in inside]
    for index in inside:
        # Each edit starts from the text that the one before has made.
        text = without_unique(replace(bound.table, definition=text), index)
    if bound.key.nulls == "forbidden":
        for part in (p for p in bound.parts if p.nullable and not null_checked(p, bound)):
            label = part.column.name if part.column else "key"
            name = cut(f"{bound.name}_{label}_not_null")
            text = with_check(text, name, null_check(part, bound.where))
            names.append(name)
            reasons.append(f"with NULL forbidden in {label}")
    if text != bound.table.definition:
        # The automatic indexes of the constraints that stay are numbered anew.
        automatic = [i.name for i in bound.table.indexes if not i.definition and not i.primary]
        yield rebuild_table.plan(
            bound, text, comma(reasons), changes=tuple(dict.fromkeys([*names, *automatic]))
        )


def _take_away(bound: BoundKey, old: tuple[Index, ...], dialect: Dialect) -> Iterator[Step]:
    for index in old:
        if dialect.name == "sqlite" and not index.definition:
            continue  # goes with the rebuild
        if dialect.name == "postgresql" and bound.name in (index.name, index.constraint):
            continue  # swapped
        if index.constraint and dialect.name == "postgresql":
            yield drop_constraint.plan(bound, index)
        else:
            yield drop_index.plan(bound, index, dialect)


def _blockers(
    spec: MergeSpec,
    snapshot: Snapshot,
    dialect: Dialect,
    facts: KeyFacts,
    merge_facts: MergeFacts,
    enforced: bool,
) -> Iterator[Blocker]:
    bound = spec.bound
    old = replaced(bound)
    yield from blockers.privileges(bound, spec.children, snapshot)
    yield from blockers.row_security([bound.table, *(c.table for c in spec.children)])
    yield from blockers.replacing(bound, old, snapshot)
    if enforced:
        return
    namesakes = {n for i in old for n in (i.name, i.constraint) if n}
    yield from blockers.naming(bound, snapshot, namesakes)
    yield from blockers.partitions(bound, dialect)
    if bound.table.inherited_by:
        yield Blocker(
            code="unsupported",
            message=f"{comma(map(str, bound.table.inherited_by))} inherit from {bound.table}; no "
            "index reaches them. Use declarative partitions.",
        )
    if spec.identity:
        yield from blockers.merging(spec, snapshot, merge_facts, facts)
    elif facts.violations.groups:
        yield Blocker(
            code="no_primary_key",
            message=f"{bound.table} has duplicates and no primary key, so its rows cannot be told "
            f"apart. ALTER TABLE {bound.table.sql} ADD COLUMN id bigint GENERATED ALWAYS AS "
            "IDENTITY PRIMARY KEY (it rewrites the table), or any NOT NULL unique key.",
        )
    yield from _null_rows(bound, facts)


def _null_rows(bound: BoundKey, facts: KeyFacts) -> Iterator[Blocker]:
    if facts.violations.nulls:
        nullable = comma(quote(p.label) for p in bound.parts if p.nullable)
        yield Blocker(
            code="unmapped_rows",
            message=f'nulls = "forbidden", and {facts.violations.nulls:,} row(s) of {bound.table} '
            f"hold NULL in {nullable}. Fill them first; nothing is guessed.",
        )
