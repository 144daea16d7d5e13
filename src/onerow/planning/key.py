"""The plan of one Key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from onerow.children import children_of
from onerow.dialects import Dialect, MergeSpec
from onerow.dialects.sqlite.rebuild import with_check, without_unique
from onerow.enforcement import Verdict, null_check, null_checked, verdict
from onerow.errors import RuleError, nearest
from onerow.facts import KeyFacts, MergeFacts
from onerow.keys import BoundKey
from onerow.plan import Blocker, Step
from onerow.planning import blockers, moving, not_null
from onerow.planning.family import folds, merged_columns
from onerow.planning.order import Edit, Phase, RulePlan
from onerow.rules import Rule
from onerow.schema import PARTITIONED, Index, IndexColumn, Snapshot, Table
from onerow.sql import comma, cut, quote
from onerow.steps import (
    add_check,
    attach_constraint,
    create_index,
    drop_constraint,
    drop_guard,
    drop_index,
    guard,
    merge_duplicates,
    swap_constraint,
    validate_check,
    verify,
)
from onerow.steps._objects import enforces, has_leading_index, is_of_key


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPlan:
    steps: tuple[Step, ...] = ()
    edits: tuple[Edit, ...] = ()
    blockers: tuple[Blocker, ...] = ()
    satisfied: str = ""  #: a sentence, when nothing is to be done


def replaced(bound: BoundKey) -> tuple[Index, ...]:
    """The indexes behind the keys that the rule replaces, those that are still there."""
    return tuple(
        i
        for name in bound.key.replaces
        for i in bound.table.indexes
        if name in (i.name, i.constraint) and not _is_successor(i, bound)
    )


def _is_successor(index: Index, bound: BoundKey) -> bool:
    """The index is the key itself: it bears the name of the old one, and has taken its place."""
    if bound.name not in (index.name, index.constraint):
        return False
    # A key that leaves something out enforces it too; the key itself has every element.
    return enforces(index, bound) and is_of_key(index, bound)


def standing_verdict(bound: BoundKey) -> Verdict:
    """How far the catalog enforces the key without the keys that it is to replace.

    A key that leaves out a column enforces more than the new one, and is what must go.
    """
    old = replaced(bound)
    if not old:
        return verdict(bound)
    rest = tuple(i for i in bound.table.indexes if i not in old)
    return verdict(replace(bound, table=replace(bound.table, indexes=rest)))


def merge_spec(
    bound: BoundKey, snapshot: Snapshot, dialect: Dialect, rules: Sequence[Rule] = ()
) -> MergeSpec:
    """All decisions of the key's merge.

    Args:
        rules: all of the rule file, for children that have a key of their own.

    Raises:
        RuleError: a policy does not fit a column, or speaks of a table that is no child.
    """
    children = children_of(bound.table, bound.key, snapshot)
    changes = tuple(merged_columns(bound, dialect, children))
    return MergeSpec(
        bound=bound,
        identity=bound.table.row_identity,
        changes=changes,
        children=children,
        decisions="pg_temp.onerow_decisions"
        if dialect.name == "postgresql"
        else "temp.onerow_decisions",
        folds=folds(bound, children, changes, snapshot, dialect, rules),
    )


def plan_key(
    spec: MergeSpec,
    snapshot: Snapshot,
    dialect: Dialect,
    facts: KeyFacts,
    merge_facts: MergeFacts,
) -> KeyPlan:
    """Steps that take a key from how it stands to enforced, and what stops them."""
    bound = spec.bound
    old = replaced(bound)
    stands = standing_verdict(bound)
    if stands.enforced and not old:
        return KeyPlan(satisfied=f"{bound} is enforced by {stands.reason}: nothing to do.")
    _check_replaces(bound, enforced=stands.enforced)
    steps = (
        ()
        if stands.enforced
        else tuple(_establish(spec, snapshot, dialect, facts, old, merge_facts))
    )
    if steps and bound.key.guard:
        steps = tuple(_guarded(bound, dialect, snapshot, steps))
    found = tuple(_blockers(spec, snapshot, dialect, facts, merge_facts, stands.enforced))
    takes = tuple(_take_away(bound, old, dialect, snapshot))
    proof = verify.plan(bound, dialect)
    edits = tuple(_edits(bound, old)) if dialect.name == "sqlite" else ()
    return KeyPlan(steps=(*steps, proof, *takes), edits=edits, blockers=found)


def placed(plan: KeyPlan, *, late: bool) -> RulePlan:
    """The key's steps among those of other rules.

    The proof comes before anything is taken away; `late`: but after the rebuild, as the rule holds
    by that only.
    """
    proof = Phase.LATE_PROOFS if late else Phase.PROOFS
    special = {
        "guard": Phase.GUARDS,
        "verify": proof,
        "drop_constraint": Phase.DROPS,
        "drop_index": Phase.DROPS,
        "validate_foreign_key": Phase.DROPS,
    }

    def phase(step: Step) -> Phase:
        taking = step.args["taking"]["kind"] if step.kind == "move_foreign_key" else step.kind
        return special.get(taking, Phase.KEYS)

    return RulePlan(
        steps=tuple((phase(s), s) for s in plan.steps),
        edits=plan.edits,
        blockers=plan.blockers,
        satisfied=plan.satisfied,
    )


def with_key(bound: BoundKey, dialect: Dialect) -> Table:
    """The table once the key stands, and what it replaces is still there."""
    index = Index(
        name=bound.name,
        schema=bound.table.schema,
        columns=tuple(
            IndexColumn(expression=p.column.name)
            if p.column and not p.folded
            else IndexColumn(expression=p.sql, is_expression=True)
            for p in bound.parts
        ),
        unique=True,
        predicate=bound.where,
        definition=dialect.create_unique_index(bound, bound.name),
    )
    return replace(bound.table, indexes=(*bound.table.indexes, index))


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
    """The old key whose name the new one takes; SQLite's constraints share no names with it."""
    return next((i for i in old if bound.name in (i.name, i.constraint) and i.definition), None)


def _establish(
    spec: MergeSpec,
    snapshot: Snapshot,
    dialect: Dialect,
    facts: KeyFacts,
    old: tuple[Index, ...],
    met: MergeFacts,
) -> Iterator[Step]:
    bound = spec.bound
    if spec.identity:
        yield merge_duplicates.plan(
            spec,
            dialect,
            groups=facts.violations.groups,
            surplus=facts.violations.rows - facts.violations.nulls,
            met=met,
        )
    if bound.key.nulls == "forbidden" and dialect.name == "postgresql":
        yield from _forbid_nulls(bound)
    if bound.table.kind == PARTITIONED:
        yield create_index.plan_partitioned(bound, snapshot, bound.name)
        return
    namesake = _same_name(bound, old)
    if namesake:
        built = cut(f"onerow_new_{bound.name}")
        yield create_index.plan(bound, dialect, built)
        swap = swap_constraint.plan(bound, dialect, namesake, built)
        yield from moving.moved(swap, bound, namesake, moving.leaning(namesake, snapshot))
        return
    yield create_index.plan(bound, dialect, bound.name)
    if bound.attachable and dialect.name == "postgresql":
        yield attach_constraint.plan(bound)


def _guarded(
    bound: BoundKey, dialect: Dialect, snapshot: Snapshot, steps: tuple[Step, ...]
) -> Iterator[Step]:
    """The steps under a guard, which goes as soon as the key stands."""
    yield guard.plan(bound, dialect, snapshot.search_path, scans=not has_leading_index(bound))
    yield from steps
    yield drop_guard.plan(bound, dialect)


def _forbid_nulls(bound: BoundKey) -> Iterator[Step]:
    for part in bound.parts:
        if not part.nullable:
            continue
        label = part.column.name if part.column else "key"
        name = cut(f"{bound.name}_{label}_not_null")
        table, rule = bound.table, bound.label
        if part.column and bound.where is None:
            before, after, _ = not_null.steps(table, rule, part.column.name, name, bound.version)
            yield from (*before, *after)
            continue
        yield add_check.plan(table, rule, name, null_check(part, bound.where))
        yield validate_check.plan(table, rule, name)


def _edits(bound: BoundKey, old: tuple[Index, ...]) -> Iterator[Edit]:
    """SQLite: constraints inside CREATE TABLE come and go only with the whole table."""
    for index in (i for i in old if not i.definition):
        names = tuple(n for n in (index.name, index.constraint) if n)
        change = partial(_without, bound.table, index)
        edit = _edit(bound, f"without {index.constraint or index.name}", names, change)
        yield replace(edit, gone=index)
    if bound.key.nulls != "forbidden":
        return
    for part in (p for p in bound.parts if p.nullable and not null_checked(p, bound)):
        label = part.column.name if part.column else "key"
        name = cut(f"{bound.name}_{label}_not_null")
        change = partial(with_check, name=name, expression=null_check(part, bound.where))
        yield _edit(bound, f"with NULL forbidden in {label}", (name,), change)


def _without(table: Table, index: Index, text: str) -> str:
    # Each edit starts from the text that the one before has made.
    return without_unique(replace(table, definition=text), index)


def _edit(
    bound: BoundKey, reason: str, names: tuple[str, ...], change: Callable[[str], str]
) -> Edit:
    return Edit(
        table=bound.table.ident, rule=bound.label, reason=reason, names=names, change=change
    )


def _take_away(
    bound: BoundKey, old: tuple[Index, ...], dialect: Dialect, snapshot: Snapshot
) -> Iterator[Step]:
    for index in old:
        if dialect.name == "sqlite" and not index.definition:
            continue  # goes with the rebuild
        if index == _same_name(bound, old):
            continue  # swapped
        if index.constraint and dialect.name == "postgresql":
            taking = drop_constraint.plan(bound, index, snapshot)
        else:
            taking = drop_index.plan(bound, index, dialect, snapshot)
        yield from moving.moved(taking, bound, index, moving.leaning(index, snapshot))


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
    yield from blockers.privileges(spec, snapshot)
    yield from blockers.row_security(spec.tables)
    yield from blockers.replacing(bound, old, snapshot, made=not enforced)
    if enforced:
        return
    if bound.key.guard and not has_leading_index(bound):
        yield from blockers.guarding(bound)
    namesakes = {n for i in old for n in (i.name, i.constraint) if n}
    yield from blockers.naming(bound, snapshot, namesakes)
    yield from blockers.partitions(bound, old, snapshot, facts)
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
            f"apart. {_way_to_a_primary_key(bound)}",
        )
    yield from _null_rows(bound, facts)


def _way_to_a_primary_key(bound: BoundKey) -> str:
    if bound.dialect == "sqlite":
        return "Make the table again with an INTEGER PRIMARY KEY, or add a NOT NULL unique key."
    return (
        f"ALTER TABLE {bound.table.sql} ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY"
        " KEY (it rewrites the table), or add any NOT NULL unique key."
    )


def _null_rows(bound: BoundKey, facts: KeyFacts) -> Iterator[Blocker]:
    if facts.violations.nulls:
        nullable = comma(quote(p.label) for p in bound.parts if p.nullable)
        yield Blocker(
            code="unmapped_rows",
            message=f'nulls = "forbidden", and {facts.violations.nulls:,} row(s) of {bound.table} '
            f"hold NULL in {nullable}. Fill them first; nothing is guessed.",
        )
