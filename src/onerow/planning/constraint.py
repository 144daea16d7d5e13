"""The plan of a [[constraint]]: a CHECK, for new rows first and then for all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from onerow.dialects import Dialect
from onerow.dialects.sqlite.rebuild import with_check
from onerow.facts import RowFacts
from onerow.keys import bind_table, check_expression
from onerow.plan import Blocker, Step
from onerow.planning.binding import may_define, name_taken, with_table
from onerow.planning.order import Edit, Phase, RulePlan
from onerow.rules import Constraint as ConstraintRule
from onerow.sameness import same_expression
from onerow.schema import Constraint, Snapshot, Table
from onerow.sql import cut
from onerow.steps import add_check, validate_check, verify


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundConstraint:
    rule: ConstraintRule
    table: Table
    name: str

    @property
    def label(self) -> str:
        return self.rule.label

    @property
    def violated(self) -> str:
        """The condition of rows that break it. A CHECK that is unknown counts as passed."""
        return f"NOT ({self.rule.check})"


def bind_constraint(rule: ConstraintRule, snapshot: Snapshot) -> BoundConstraint:
    """Raises RuleError for a table or column that is not there."""
    table = bind_table(rule.table, snapshot, rule.label)
    check_expression(rule.check, "check", table, snapshot.dialect, rule.label)
    return BoundConstraint(rule=rule, table=table, name=cut(rule.name))


def standing(bound: BoundConstraint, dialect: str) -> Constraint | None:
    """A check of the table that means the same; a valid one before one that is not."""
    fitting = [
        c
        for c in bound.table.constraints
        if c.kind == "check"
        and c.enforced
        and not c.no_inherit
        and same_expression(c.expression, bound.rule.check, bound.table, dialect)
    ]
    return min(fitting, key=lambda c: (not c.validated, c.name != bound.name), default=None)


def plan_constraint(
    bound: BoundConstraint, snapshot: Snapshot, dialect: Dialect, facts: RowFacts
) -> RulePlan:
    there = standing(bound, snapshot.dialect)
    if there is not None and there.validated:
        return RulePlan(satisfied=f"{bound.label} is there as {there.name}: nothing to do.")
    found = tuple(_blockers(bound, there, snapshot, facts))
    made = Constraint(name=bound.name, kind="check", expression=bound.rule.check)
    after = with_table(snapshot, replace(bound.table, constraints=(*bound.table.constraints, made)))
    if dialect.name == "sqlite":
        return RulePlan(
            edits=(_edit(bound),),
            steps=((Phase.LATE_PROOFS, _proof(bound)),),
            blockers=found,
            after=after,
        )
    table, label, name = bound.table, bound.label, bound.name
    steps = [
        (
            Phase.CONSTRAINTS,
            validate_check.plan(table, label, there.name if there else name, was=there),
        )
    ]
    if there is None:
        steps.insert(0, (Phase.CONSTRAINTS, add_check.plan(table, label, name, bound.rule.check)))
    return RulePlan(steps=(*steps, (Phase.PROOFS, _proof(bound))), blockers=found, after=after)


def _proof(bound: BoundConstraint) -> Step:
    count = f"SELECT count(*) FROM {bound.table.sql} WHERE {bound.violated}"
    return verify.plan_rule(
        bound.table, bound.rule, f"Prove that every row of {bound.table} passes it.", (count,)
    )


def _edit(bound: BoundConstraint) -> Edit:
    return Edit(
        table=bound.table.ident,
        rule=bound.label,
        reason=f"with the check {bound.name}",
        names=(bound.name,),
        change=lambda text: with_check(text, bound.name, bound.rule.check),
    )


def _blockers(
    bound: BoundConstraint, there: Constraint | None, snapshot: Snapshot, facts: RowFacts
) -> Iterator[Blocker]:
    yield from may_define(bound.table, snapshot, "add a constraint")
    namesake = bound.table.constraint(bound.name)
    named = {k.name for k in bound.table.foreign_keys}
    if there is None and (namesake is not None or bound.name in named):
        yield name_taken(
            bound.name,
            f"{namesake.kind if namesake else 'foreign key'} constraint of {bound.table}",
        )
    if facts.rows:
        yield Blocker(
            code="violating_rows",
            message=f"{facts.rows:,} row(s) of {bound.table} do not pass {bound.rule.check}:"
            f" {facts.shown}. Mend them first; nothing is guessed.",
        )
