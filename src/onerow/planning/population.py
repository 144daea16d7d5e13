"""A [[population]]: a column that must be filled, measured and proven, never changed."""

from __future__ import annotations

from dataclasses import dataclass

from onerow.errors import RuleError
from onerow.facts import PopulationFacts
from onerow.keys import bind_column, bind_table, check_expression
from onerow.planning.order import Phase, RulePlan
from onerow.rules import Population
from onerow.schema import Column, Snapshot, Table
from onerow.sql import conjunction, literal, quote
from onerow.steps import verify


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundPopulation:
    rule: Population
    table: Table
    column: Column
    by: Column | None = None

    @property
    def label(self) -> str:
        return self.rule.label

    @property
    def sql(self) -> str:
        """Counts all rows that the rule speaks of, and those that hold a value."""
        tests = [f"({self.rule.where})"] if self.rule.where is not None else []
        if self.by is not None and self.rule.since is not None:
            tests.append(f"{quote(self.by.name)} >= {literal(self.rule.since)}")
        return (
            f"SELECT count(*), count({quote(self.column.name)}) FROM {self.table.sql}"
            f" WHERE {conjunction(tests)}"
        )


def bind_population(rule: Population, snapshot: Snapshot) -> BoundPopulation:
    """Raises RuleError for what is not there, or for a rule that contradicts itself."""
    table = bind_table(rule.table, snapshot, rule.label)
    if rule.where is not None:
        check_expression(rule.where, "where", table, snapshot.dialect, rule.label)
    if (rule.since is None) != (rule.by is None):
        raise RuleError(
            "since and by go together: a time, and the column that is compared with it.",
            rule=rule.label,
        )
    if not 0 <= rule.rate <= 1:
        raise RuleError(f"rate = {rule.rate:g} should be from 0 to 1.", rule=rule.label)
    by = bind_column(rule.by, table, snapshot.dialect, rule.label) if rule.by else None
    column = bind_column(rule.column, table, snapshot.dialect, rule.label)
    return BoundPopulation(rule=rule, table=table, column=column, by=by)


def plan_population(bound: BoundPopulation, facts: PopulationFacts | None) -> RulePlan:
    """`facts` None: the column is not there yet, so it is measured at the end."""
    wanted = f"{bound.rule.rate:.0%} wanted"
    now = f": {facts} now, {wanted}" if facts is not None else f", {wanted}"
    met = facts is not None and facts.meets(bound.rule.rate)
    step = verify.plan_rule(
        bound.table,
        bound.rule,
        f"Measure how far {bound.column.name} of {bound.table} is filled{now}.",
        (bound.sql,),
    )
    return RulePlan(
        steps=((Phase.LATE_PROOFS, step),),
        satisfied=f"{bound.label} is met{now}." if met else "",
        notes=() if met or facts is None else (f"{bound.label} is not met{now}.",),
    )
