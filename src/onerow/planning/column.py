"""The plan of a [[column]]: added empty, filled, kept from NULL, referring to what it must."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from onerow.dialects import Dialect
from onerow.dialects.sqlite.rebuild import with_column, with_not_null
from onerow.errors import RuleError
from onerow.expressions import is_one_expression
from onerow.facts import ColumnFacts
from onerow.keys import bind_column, bind_table, check_expression
from onerow.plan import Blocker, Step
from onerow.planning import blockers, not_null
from onerow.planning.binding import may_define, may_write, with_table
from onerow.planning.fill import SOURCES, Source
from onerow.planning.order import Edit, Phase, RulePlan
from onerow.planning.reference import BoundReference
from onerow.rules import Column as ColumnRule
from onerow.sameness import same_expression, same_type
from onerow.schema import Column, Snapshot, Table
from onerow.sql import Name, comma, cut, quote
from onerow.steps import add_column, add_foreign_key, backfill, verify

REWRITE_MOST = 256 * 1024 * 1024
"""Bytes of a table up to which PostgreSQL may write it anew under its lock, for a column that it
generates: a second or two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundColumn:
    rule: ColumnRule
    table: Table
    there: Column | None  #: the column as it stands
    source: Source | None
    dialect: str

    @property
    def label(self) -> str:
        return self.rule.label


def bind_rule(rule: ColumnRule, snapshot: Snapshot) -> BoundColumn:
    """Raises RuleError for what is not there, or for a rule that contradicts itself."""
    table = bind_table(rule.table, snapshot, rule.label)
    fold = str.casefold if snapshot.dialect == "sqlite" else str
    there = next((c for c in table.columns if fold(c.name) == fold(rule.name)), None)
    if rule.generated is not None:
        check_expression(rule.generated, "generated", table, snapshot.dialect, rule.label)
        if rule.backfill or rule.references:
            what = "backfill" if rule.backfill else "references"
            raise RuleError(f"a generated column takes no {what}.", rule=rule.label)
    source = _source(rule, table, snapshot.dialect)
    return BoundColumn(rule=rule, table=table, there=there, source=source, dialect=snapshot.dialect)


def _source(rule: ColumnRule, table: Table, dialect: str) -> Source | None:
    given: Mapping[str, Any] = {k: v for k, v in rule.backfill.items() if v is not None}
    if not given:
        return None
    kinds = [k for k in SOURCES if k in given]
    if len(kinds) != 1 or (("key" in given) != (kinds[0] == "csv")):
        raise RuleError(
            "backfill is one of { value = … }, { sql = … } and { csv = …, key = … }.",
            rule=rule.label,
        )
    if kinds[0] == "sql" and not is_one_expression(str(given["sql"]), dialect):
        raise RuleError(f"backfill is not one SQL expression: {given['sql']!r}.", rule=rule.label)
    keys = tuple(
        bind_column(k.strip(), table, dialect, rule.label).name
        for k in str(given.get("key", "")).split(",")
        if k.strip()
    )
    return Source(kind=kinds[0], given=given[kinds[0]], keys=keys)


def plan_column(
    bound: BoundColumn,
    snapshot: Snapshot,
    dialect: Dialect,
    facts: ColumnFacts,
    reference: BoundReference | None,
) -> RulePlan:
    """`reference`: the foreign key of a column that is to be added; others are planned alone."""
    column = _wanted(bound, facts)
    table = _table_after(bound, column, reference)
    steps = tuple(_steps(bound, table, column, dialect, facts, reference, snapshot.version))
    edits = tuple(_edits(bound, table)) if dialect.name == "sqlite" else ()
    after = with_table(snapshot, _with_not_null(table, column) if bound.rule.not_null else table)
    found = tuple(_blockers(bound, snapshot, facts))
    if not steps and not edits and not found:
        return RulePlan(satisfied=f"{bound.label} is as it should be: nothing to do.", after=after)
    proof = verify.plan_rule(
        table, bound.rule, f"Prove that {bound.label} is as the rule wants it.", ()
    )
    late = Phase.PROOFS if dialect.name == "postgresql" else Phase.LATE_PROOFS
    return RulePlan(steps=(*steps, (late, proof)), edits=edits, blockers=found, after=after)


def _wanted(bound: BoundColumn, facts: ColumnFacts) -> Column:
    rule = bound.rule
    if bound.there is not None:
        return bound.there
    stored = "stored" if bound.dialect == "postgresql" else "virtual"
    return Column(
        name=rule.name,
        type=facts.type or rule.type,
        type_category=facts.type_category,
        type_name=facts.type_name,
        position=len(bound.table.columns) + 1,
        generated=stored if rule.generated is not None else "",
        generation=rule.generated,
    )


def _table_after(bound: BoundColumn, column: Column, reference: BoundReference | None) -> Table:
    """The table once the column is added."""
    table = bound.table
    if bound.there is not None:
        return table
    table = replace(table, columns=(*table.columns, column))
    if reference is not None:
        table = replace(table, foreign_keys=(*table.foreign_keys, reference.key))
    if bound.dialect == "sqlite":
        text = f"{quote(column.name)} {_definition(bound, reference)}"
        table = replace(table, definition=with_column(table.definition, text))
    return table


def _with_not_null(table: Table, column: Column) -> Table:
    columns = tuple(
        replace(c, not_null=True, not_null_declared=True) if c.name == column.name else c
        for c in table.columns
    )
    return replace(table, columns=columns)


def _definition(bound: BoundColumn, reference: BoundReference | None) -> str:
    rule = bound.rule
    not_null = " NOT NULL" if rule.not_null else ""
    if rule.generated is not None:
        how = "STORED" if bound.dialect == "postgresql" else "VIRTUAL"
        return f"{rule.type} GENERATED ALWAYS AS ({rule.generated}) {how}{not_null}"
    if reference is not None and bound.dialect == "sqlite":
        name = quote(reference.key.name)
        return f"{rule.type} CONSTRAINT {name} {add_foreign_key.references(reference.key)}"
    return rule.type


# -- steps -----------------------------------------------------------------------------------


def _steps(
    bound: BoundColumn,
    table: Table,
    column: Column,
    dialect: Dialect,
    facts: ColumnFacts,
    reference: BoundReference | None,
    version: tuple[int, ...],
) -> Iterator[tuple[Phase, Step]]:
    online = dialect.name == "postgresql"
    if bound.there is None:
        named = reference.key.name if reference is not None and not online else ""
        text = _definition(bound, reference)
        yield (
            Phase.ADD_COLUMNS,
            add_column.plan(bound.table, bound.rule, text, online=online, foreign_key=named),
        )
    if bound.rule.generated is not None:
        return
    first = _backfill(bound, table, column, dialect, facts)
    must = bound.rule.not_null and not column.not_null_declared
    if must and online:
        yield from _not_null(bound, table, column, first, version)
    elif first is not None:
        yield Phase.BACKFILL, first
        if must:
            yield Phase.LATE_REPAIR, backfill.last_pass(first)


def _backfill(
    bound: BoundColumn, table: Table, column: Column, dialect: Dialect, facts: ColumnFacts
) -> Step | None:
    if bound.source is None or not _is_needed(bound, column, facts):
        return None
    return backfill.plan(
        table,
        bound.label,
        column,
        bound.source.to_dict(),
        told=bound.source.told,
        value=bound.source.value(table.name, bound.dialect),
        rows=facts.rows - facts.uncovered.rows,
        archived=bound.there is not None,
        not_null=bound.rule.not_null,
        references=bound.source.references,
        lock=dialect.write_lock,
    )


def _is_needed(bound: BoundColumn, column: Column, facts: ColumnFacts) -> bool:
    """Something is there to fill, or it must be said that nothing fills it."""
    must = bound.rule.not_null and not column.not_null_declared
    fills = facts.rows > facts.uncovered.rows
    return bound.there is None or fills or (must and facts.rows > 0)


def _not_null(
    bound: BoundColumn,
    table: Table,
    column: Column,
    first: Step | None,
    version: tuple[int, ...],
) -> Iterator[tuple[Phase, Step]]:
    """NULL is kept out of new rows, then out of all; the scan locks nobody out."""
    name = cut(f"{table.name}_{column.name}_not_null")
    before, after, barrier = not_null.steps(table, bound.label, column.name, name, version)
    filling = [*before]
    if first is not None and table.constraint(barrier) is not None:
        filling = [*before, backfill.behind(first, barrier)]
    elif first is not None:
        filling = [first, *before, backfill.last_pass(first, barrier)]
    for step in filling:
        yield Phase.BACKFILL, step
    for step in after:
        yield Phase.VALIDATE, step


def _edits(bound: BoundColumn, table: Table) -> Iterator[Edit]:
    rule, there = bound.rule, bound.there
    if not rule.not_null or rule.generated is not None or (there and there.not_null):
        return
    name = there.name if there else rule.name
    yield Edit(
        table=table.ident,
        rule=bound.label,
        reason=f"with NULL forbidden in {name}",
        names=(f"not null {name}",),
        change=lambda text: with_not_null(text, name),
    )


# -- what stands in the way ------------------------------------------------------------------


def _blockers(bound: BoundColumn, snapshot: Snapshot, facts: ColumnFacts) -> Iterator[Blocker]:
    table, rule = bound.table, bound.rule
    yield from may_define(table, snapshot, "alter it")
    yield from _other_definition(bound, facts)
    if bound.there is None and rule.generated is not None:
        yield from _rewrite(bound)
    if bound.source is not None:
        yield from may_write(table, snapshot)
        yield from blockers.writing([table], snapshot)
    kept = bound.source is not None and bound.there is not None and facts.rows > 0
    if kept and not table.row_identity:
        yield Blocker(
            code="no_primary_key",
            message=f"{table} has no primary key, so a backfill of {rule.name}, which is there "
            "already, could not be taken back.",
        )
    if rule.not_null and facts.uncovered.rows:
        source = bound.source
        none = "the rule has no backfill" if source is None else "its backfill covers none of them"
        yield Blocker(
            code="unmapped_rows",
            message=f"{facts.uncovered.rows:,} row(s) of {table} hold nothing in {rule.name}"
            f" ({facts.uncovered.shown}), and {none}. Nothing is guessed.",
        )
    if facts.misfits.rows:
        yield Blocker(
            code="violating_rows",
            message=f"The backfill would let {facts.misfits.rows:,} row(s) of {table} refer by "
            f"{rule.name} to nothing in {rule.references}: {facts.misfits.shown}.",
        )


def _other_definition(bound: BoundColumn, facts: ColumnFacts) -> Iterator[Blocker]:
    there, rule = bound.there, bound.rule
    if there is None:
        return
    differs = []
    if not same_type(there.type, facts.type or rule.type, bound.dialect):
        differs.append(f"of type {there.type}, and the rule wants {facts.type or rule.type}")
    if rule.generated is not None and not (
        there.generation
        and same_expression(there.generation, rule.generated, bound.table, bound.dialect)
    ):
        differs.append(f"not generated as {rule.generated}")
    if rule.generated is None and there.generated and rule.backfill:
        differs.append("generated by the database, and cannot be filled")
    if differs:
        yield Blocker(
            code="name_taken",
            message=f"{bound.table} has a column {there.name}, and it is {comma(differs)}. Rename "
            "one of them.",
        )


def _rewrite(bound: BoundColumn) -> Iterator[Blocker]:
    size = bound.table.size or 0
    if bound.dialect == "postgresql" and size > REWRITE_MOST:
        yield Blocker(
            code="unsupported",
            message=f"A generated column writes {bound.table} ({size / 2**20:,.0f} MB) anew while "
            f"nobody can read it; up to {REWRITE_MOST // 2**20} MB that is bearable. Add a plain "
            "column, fill it with a backfill, and keep it by a trigger.",
        )


def referred(reference: BoundReference) -> tuple[str, str]:
    """Table and column that values must be in, as SQL."""
    return Name(reference.target.schema, reference.target.name).sql, quote(
        reference.key.target_columns[0]
    )
