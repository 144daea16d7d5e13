"""The plan of a [[reference]]: a foreign key, and what is done with rows that refer to nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from onerow.dialects import Dialect
from onerow.dialects.sqlite.rebuild import with_foreign_key
from onerow.errors import RuleError, nearest
from onerow.facts import OrphanFacts
from onerow.keys import bind_column, bind_table
from onerow.plan import Blocker, Step
from onerow.planning import blockers
from onerow.planning.binding import made_up, may_define, may_write, name_taken, with_table
from onerow.planning.index import free_name, parts_named
from onerow.planning.order import Edit, Phase, RulePlan
from onerow.rules import Column as ColumnRule
from onerow.rules import Index as IndexRule
from onerow.rules import Reference
from onerow.schema import PARTITIONED, ForeignKey, Index, IndexColumn, Snapshot, Table
from onerow.sql import comma, cut, quote, quote_all, split_identifier
from onerow.steps import (
    add_foreign_key,
    archive_orphans,
    create_index,
    validate_foreign_key,
    verify,
)

ACTIONS = ("no action", "restrict", "cascade", "set null", "set default")
_TARGET = re.compile(r"^\s*(?P<table>[^()]+?)\s*(?:\(\s*(?P<columns>[^()]+?)\s*\))?\s*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundReference:
    rule: Reference | ColumnRule
    table: Table
    target: Table
    key: ForeignKey  #: as it should be
    orphans: str
    index: bool = False

    @property
    def label(self) -> str:
        return self.rule.label


def bind_reference(rule: Reference, snapshot: Snapshot) -> BoundReference:
    """Raises RuleError for tables, columns or actions that are not there."""
    bound = _bind(rule, rule.table, rule.columns, rule.to, rule.name, rule.on_delete, snapshot)
    return replace(bound, orphans=rule.orphans, index=rule.index)


def bind_column_reference(rule: ColumnRule, snapshot: Snapshot) -> BoundReference:
    """The foreign key that a [[column]] asks for; orphans stop it."""
    return _bind(
        rule, rule.table, (rule.name,), rule.references or "", None, rule.on_delete, snapshot
    )


def _bind(
    rule: Reference | ColumnRule,
    table_name: str,
    column_names: Sequence[str],
    to: str,
    name: str | None,
    on_delete: str,
    snapshot: Snapshot,
) -> BoundReference:
    table = bind_table(table_name, snapshot, rule.label)
    names = [bind_column(c, table, snapshot.dialect, rule.label).name for c in column_names]
    target, target_names = _bind_target(to, snapshot, rule.label)
    if not names or len(names) != len(target_names):
        raise RuleError(
            f"{comma(names) or 'no column'} cannot refer to {target}({comma(target_names)}).",
            rule=rule.label,
            hint="Name as many columns on either side.",
        )
    action = on_delete.lower()
    if action not in ACTIONS:
        raise RuleError(
            f"unknown on_delete {on_delete!r}; known are {comma(ACTIONS)}.",
            rule=rule.label,
            hint=nearest(on_delete, ACTIONS),
        )
    key = ForeignKey(
        name=cut(name) if name else made_up("", table, names, "fkey"),
        table=table.ident,
        columns=tuple(names),
        target=target.ident,
        target_columns=target_names,
        on_delete=action,
    )
    return BoundReference(rule=rule, table=table, target=target, key=key, orphans="report")


def _bind_target(text: str, snapshot: Snapshot, rule: str) -> tuple[Table, tuple[str, ...]]:
    match = _TARGET.match(text)
    if match is None:
        raise RuleError(f"{text!r} should read 'table(column)'.", rule=rule)
    target = bind_table(match["table"], snapshot, rule)
    if match["columns"] is None:
        return target, target.primary_key
    parts = [n for p in match["columns"].split(",") for n in split_identifier(p.strip())]
    return target, tuple(bind_column(n, target, snapshot.dialect, rule).name for n in parts)


def standing(bound: BoundReference) -> ForeignKey | None:
    """A foreign key of the table between the same columns; a valid one before one that is not."""
    wanted = set(zip(bound.key.columns, bound.key.target_columns, strict=True))
    fitting = [
        k
        for k in bound.table.foreign_keys
        if k.target == bound.key.target
        and k.enforced
        and set(zip(k.columns, k.target_columns, strict=False)) == wanted
    ]
    return min(fitting, key=lambda k: not k.validated, default=None)


def has_target_key(key: ForeignKey, target: Table) -> bool:
    """The target has a unique key that a foreign key may lean on."""
    return any(
        i.enforcing
        and i.immediate
        and i.predicate is None
        and all(not c.is_expression for c in i.columns)
        and {c.expression for c in i.columns} == set(key.target_columns)
        for i in target.indexes
    )


def plan_reference(
    bound: BoundReference,
    snapshot: Snapshot,
    dialect: Dialect,
    facts: OrphanFacts,
    *,
    late: bool = False,
) -> RulePlan:
    """`late`: the key that it leans on is made by the plan itself."""
    there = standing(bound)
    helper = tuple(_helping_index(bound, snapshot, dialect))
    proven = there is not None and there.validated and not facts.orphans.rows
    if proven and there is not None and there.on_delete == bound.key.on_delete and not helper:
        return RulePlan(satisfied=f"{bound.label} is kept by {there.name}: nothing to do.")
    key = there or bound.key
    steps = [(Phase.FOREIGN_KEYS, s) for s in helper]
    if not proven:
        steps += _mending(bound, key, there, dialect, facts, late=late)
    found = tuple(_blockers(bound, there, snapshot, facts, late=late))
    made = bound.table if there else _with_key(bound)
    return RulePlan(
        steps=tuple(steps),
        edits=() if there or dialect.name != "sqlite" else (_edit(bound),),
        blockers=(*found, *(b for s in helper for b in _free(s, bound, snapshot))),
        after=with_table(snapshot, made),
    )


def _with_key(bound: BoundReference) -> Table:
    return replace(bound.table, foreign_keys=(*bound.table.foreign_keys, bound.key))


def _mending(
    bound: BoundReference,
    key: ForeignKey,
    there: ForeignKey | None,
    dialect: Dialect,
    facts: OrphanFacts,
    *,
    late: bool,
) -> Iterator[tuple[Phase, Step]]:
    """New rows are checked first, then the old ones are mended, then looked at."""
    online = dialect.name == "postgresql"
    known = there.definition if there else ""
    if online:
        first = Phase.LATE_FOREIGN_KEYS if late else Phase.FOREIGN_KEYS
        yield first, add_foreign_key.plan(key, bound.label, definition=known)
    if bound.orphans != "report":
        yield (
            Phase.LATE_REPAIR if late else Phase.REPAIR,
            archive_orphans.plan(
                key,
                bound.label,
                policy=bound.orphans,
                emptied=emptied(bound),
                rows=facts.orphans.rows,
                lock=dialect.write_lock,
            ),
        )
    if online:
        yield Phase.VALIDATE, validate_foreign_key.plan(key, bound.label, definition=known)
    if isinstance(bound.rule, Reference):
        yield (Phase.PROOFS if online else Phase.LATE_PROOFS), _proof(bound)


def emptied(bound: BoundReference) -> tuple[str, ...]:
    """Columns that can be set NULL. One NULL is enough for a row to refer to nothing at all."""
    columns = [bound.table.column(c) for c in bound.key.columns]
    return tuple(c.name for c in columns if c and not c.not_null)


def _proof(bound: BoundReference) -> Step:
    count = orphan_count(bound.key, bound.table)
    return verify.plan_rule(
        bound.table,
        bound.rule,
        f"Prove that every row of {bound.table} refers to one of {bound.target}.",
        (count,),
    )


def orphan_count(key: ForeignKey, table: Table) -> str:
    tests = " AND ".join(archive_orphans.orphaned(key, table.sql))
    return f"SELECT count(*) FROM {table.sql} WHERE {tests}"


def _edit(bound: BoundReference) -> Edit:
    key = bound.key
    return Edit(
        table=bound.table.ident,
        rule=bound.label,
        reason=f"with the foreign key {key.name}",
        names=(key.name,),
        change=lambda text: with_foreign_key(text, key.name, add_foreign_key.clause(key)),
    )


def _helping_index(bound: BoundReference, snapshot: Snapshot, dialect: Dialect) -> Iterator[Step]:
    """The server looks for children by these columns whenever a parent goes."""
    wanted = set(bound.key.columns)
    leading = (
        {c.expression for c in i.columns[: len(wanted)]} == wanted
        for i in bound.table.indexes
        if i.valid and i.predicate is None
    )
    if not bound.index or any(leading):
        return
    name = made_up("ix", bound.table, bound.key.columns)
    columns = tuple(IndexColumn(expression=c) for c in bound.key.columns)
    index = Index(name=name, schema=bound.table.schema, columns=columns)
    rule = IndexRule(table=bound.rule.table, columns=bound.key.columns, name=name)
    step = create_index.plan_plain(bound.table, rule, index, dialect, snapshot)
    yield replace(step, rule=bound.label)


def _free(step: Step, bound: BoundReference, snapshot: Snapshot) -> Iterator[Blocker]:
    yield from free_name(step.args["name"], bound.table, snapshot)
    yield from parts_named(bound.table, step.args["name"], snapshot)


# -- what stands in the way ------------------------------------------------------------------


def _blockers(
    bound: BoundReference,
    there: ForeignKey | None,
    snapshot: Snapshot,
    facts: OrphanFacts,
    *,
    late: bool,
) -> Iterator[Blocker]:
    yield from may_define(bound.table, snapshot, "add a foreign key")
    if "references" not in bound.target.privileges and snapshot.dialect == "postgresql":
        yield Blocker(
            code="missing_privilege",
            message=f"The role {snapshot.user} may not refer to {bound.target}. GRANT REFERENCES "
            f"ON {bound.target.sql} TO {quote(snapshot.user)}.",
        )
    if there is None:
        yield from _naming(bound)
        yield from _target(bound, late=late)
        yield from _partitions(bound, snapshot)
    elif there.on_delete != bound.key.on_delete:
        yield Blocker(
            code="name_taken",
            message=f"{there.name} is there with ON DELETE {there.on_delete.upper()}; the rule "
            f"wants {bound.key.on_delete.upper()}. Drop it first: ALTER TABLE {bound.table.sql} "
            f"DROP CONSTRAINT {quote(there.name)}.",
        )
    if facts.orphans.rows:
        yield from _orphans(bound, snapshot, facts)


def _naming(bound: BoundReference) -> Iterator[Blocker]:
    name = bound.key.name
    taken = [c.kind for c in bound.table.constraints if c.name == name]
    taken += ["foreign key" for k in bound.table.foreign_keys if k.name == name]
    if taken:
        yield name_taken(name, f"{taken[0]} constraint of {bound.table}")


def _target(bound: BoundReference, *, late: bool) -> Iterator[Blocker]:
    if late or has_target_key(bound.key, bound.target):
        return
    columns = set(bound.key.target_columns)
    deferred = [
        i.name
        for i in bound.target.indexes
        if i.unique and not i.immediate and {c.expression for c in i.columns} == columns
    ]
    if deferred:
        yield Blocker(
            code="deferrable_foreign_key_target",
            message=f"{deferred[0]} of {bound.target} is deferrable, and no foreign key can lean "
            "on such a key. Make it one that is not.",
        )
        return
    yield Blocker(
        code="unsupported",
        message=f"{bound.target} has no unique key on ({quote_all(bound.key.target_columns)}), so "
        "nothing can refer to it by them. Write a [[key]] rule for it.",
    )


def _partitions(bound: BoundReference, snapshot: Snapshot) -> Iterator[Blocker]:
    # Before 18 a partitioned table takes no foreign key NOT VALID (measured on 12 to 18).
    if bound.table.kind == PARTITIONED and snapshot.version < (18,):
        yield Blocker(
            code="unsupported",
            message=f"{bound.table} is partitioned, and PostgreSQL before 18 adds a foreign key to "
            "it only with both tables locked for a whole scan. Give the partitions a rule each.",
        )


def _orphans(bound: BoundReference, snapshot: Snapshot, facts: OrphanFacts) -> Iterator[Blocker]:
    found = facts.orphans
    told = (
        f"{found.rows:,} row(s) of {bound.table} refer by {comma(bound.key.columns)} to nothing in "
        f"{bound.target}: {found.shown}."
    )
    if bound.orphans == "report":
        way = ' Mend them, or write orphans = "null" or "archive".'
        plain = isinstance(bound.rule, Reference)
        yield Blocker(code="orphans", message=told + (way if plain else " Mend them first."))
        return
    needed = ("select", "update") if bound.orphans == "null" else ("select", "update", "delete")
    yield from may_write(bound.table, snapshot, needed)
    yield from blockers.writing([bound.table], snapshot)
    if not bound.table.row_identity:
        yield Blocker(
            code="no_primary_key",
            message=f"{told} {bound.table} has no primary key, so they could not be put back.",
        )
    if bound.orphans == "null" and not emptied(bound):
        yield Blocker(
            code="orphans",
            message=f"{told} {comma(bound.key.columns)} is NOT NULL, so it cannot be emptied."
            ' Write orphans = "archive".',
        )
    for name, rows in facts.children.items():
        if rows and bound.orphans == "archive":
            yield Blocker(
                code="orphans",
                message=f"{told} Of these rows, {rows:,} of {name} refer to them in turn; they "
                "would be lost. Mend them first.",
            )
