"""The way to NOT NULL on PostgreSQL: for new rows, then for all, by a scan that blocks nobody."""

from __future__ import annotations

from onerow.plan import Step
from onerow.schema import Table
from onerow.sql import quote
from onerow.steps import add_check, set_not_null, validate_check


def steps(
    table: Table, rule: str, column: str, name: str, version: tuple[int, ...]
) -> tuple[tuple[Step, ...], tuple[Step, ...], str]:
    """Steps that bind new rows, steps that look at the old ones, and the constraint that binds. It
    stands already where the plan does not make it, and the first steps come before all else."""
    if version < set_not_null.NATIVE:
        test = f"{quote(column)} IS NOT NULL"
        proof = validate_check.plan(table, rule, name)
        mark = set_not_null.plan(table, rule, column, name)
        return (add_check.plan(table, rule, name, test),), (proof, mark), name
    there = next(
        (c for c in table.constraints if c.kind == "not null" and c.columns == (column,)), None
    )
    if there is not None:
        proof = validate_check.plan(table, rule, there.name, was=there, column=column)
        return (set_not_null.plan_standing(table, rule, column, there),), (proof,), there.name
    mark = set_not_null.plan_native(table, rule, column, name)
    return (mark,), (validate_check.plan(table, rule, name, column=column),), name
