"""The plan of an [[index]]: built concurrently, or there already."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from onerow.dialects import Dialect
from onerow.errors import RuleError
from onerow.keys import bind_table, check_expression
from onerow.plan import Blocker
from onerow.planning.binding import bind_element, made_up, may_define, name_taken, with_table
from onerow.planning.order import Phase, RulePlan
from onerow.rules import Index as IndexRule
from onerow.sameness import same_index
from onerow.schema import FOREIGN, Index, Snapshot, Table
from onerow.sql import comma, cut, quote
from onerow.steps import _partitions, create_index


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundIndex:
    rule: IndexRule
    table: Table
    index: Index  #: as it should be

    @property
    def label(self) -> str:
        return self.rule.label


def bind_index(rule: IndexRule, snapshot: Snapshot) -> BoundIndex:
    """Raises RuleError for a table, column or expression that is not there."""
    table = bind_table(rule.table, snapshot, rule.label)
    if not rule.columns:
        raise RuleError("an index needs a column.", rule=rule.label)
    if rule.where is not None:
        check_expression(rule.where, "where", table, snapshot.dialect, rule.label)
    columns = tuple(bind_element(c, table, snapshot.dialect, rule.label) for c in rule.columns)
    suffix = "where" if rule.where is not None else ""
    name = rule.name or made_up("ix", table, rule.columns, suffix)
    return BoundIndex(
        rule=rule,
        table=table,
        index=Index(name=cut(name), schema=table.schema, columns=columns, predicate=rule.where),
    )


def standing(bound: BoundIndex, dialect: str) -> Index | None:
    """An index of the table that is the one wanted, whatever its name."""
    fitting = [i for i in bound.table.indexes if same_index(i, bound.index, bound.table, dialect)]
    return min(fitting, key=lambda i: i.name != bound.index.name, default=None)


def plan_index(bound: BoundIndex, snapshot: Snapshot, dialect: Dialect) -> RulePlan:
    there = standing(bound, snapshot.dialect)
    if there is not None:
        return RulePlan(satisfied=f"{bound.label} is there as {there.name}: nothing to do.")
    step = create_index.plan_plain(bound.table, bound.rule, bound.index, dialect, snapshot)
    made = replace(bound.index, definition=step.sql[0])
    after = replace(bound.table, indexes=(*bound.table.indexes, made))
    return RulePlan(
        steps=((Phase.INDEXES, step),),
        blockers=tuple(_blockers(bound, snapshot)),
        after=with_table(snapshot, after),
    )


def trial(bound: BoundIndex) -> str:
    """The same index on `{copy}`, to see whether the server takes it."""
    elements = comma(
        e.expression if e.is_expression else quote(e.expression) for e in bound.index.columns
    )
    where = f" WHERE ({bound.rule.where})" if bound.rule.where is not None else ""
    return f"CREATE INDEX {{place}}onerow_rehearsal_index ON {{copy}} ({elements}){where}"


def _blockers(bound: BoundIndex, snapshot: Snapshot) -> Iterator[Blocker]:
    yield from may_define(bound.table, snapshot, "build its index")
    yield from free_name(bound.index.name, bound.table, snapshot)
    yield from parts_named(bound.table, bound.index.name, snapshot)


def parts_named(table: Table, name: str, snapshot: Snapshot) -> Iterator[Blocker]:
    """What keeps a partitioned table's index from having its part in every partition."""
    for part in _partitions.below(table, snapshot):
        if part.kind == FOREIGN:
            yield Blocker(
                code="unsupported",
                message=f"{part} of {table} is a foreign table, and no index reaches it. Give the "
                "other partitions a rule each.",
            )
        yield from free_name(_partitions.name_in(part, name), part, snapshot)


def free_name(name: str, table: Table, snapshot: Snapshot) -> Iterator[Blocker]:
    """Indexes and tables of a schema share one space of names."""
    for other in snapshot:
        if other.schema != table.schema:
            continue
        if other.name == name:
            yield name_taken(name, f"{other.kind} {other}")
        for index in other.indexes:
            if index.name == name:
                state = "" if index.valid else ", left invalid by a build that failed"
                yield name_taken(name, f"index of {other}{state}")
