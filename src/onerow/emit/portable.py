"""A plan in the steps that every version of its engine knows: a revision is run on many servers.

From PostgreSQL 18 on NOT NULL is planned as a constraint NOT VALID. A revision speaks of it as of
a check, a proof and a mark, and does on each server what is best there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from onerow.plan import Plan, Step
from onerow.schema import Table
from onerow.sql import quote
from onerow.steps import add_check, set_not_null, validate_check


def portable(plan: Plan) -> Plan:
    made = {s.args["constraint"] for s in plan.steps if _is_native(s)}
    return replace(plan, steps=tuple(s for step in plan.steps for s in _steps(step, made)))


def _is_native(step: Step) -> bool:
    return step.kind == "set_not_null" and "constraint" in step.args and "was" not in step.args


def _steps(step: Step, made: set[str]) -> Iterator[Step]:
    table, rule = Table(schema=step.table.schema, name=step.table.name), step.rule
    if _is_native(step):
        test = f"{quote(step.args['column'])} IS NOT NULL"
        yield add_check.plan(table, rule, step.args["constraint"], test)
    elif step.kind == "validate_check" and step.args["column"] and step.args["name"] in made:
        name = step.args["name"]
        yield validate_check.plan(table, rule, name)
        yield set_not_null.plan(table, rule, step.args["column"], name)
    else:
        yield step
