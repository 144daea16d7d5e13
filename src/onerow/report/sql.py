"""A plan as a script of SQL, every statement with its step's sentence as a comment."""

from __future__ import annotations

from collections.abc import Iterator

from onerow.plan import Plan, Step
from onerow.report.words import clean, count, lock


def script(plan: Plan) -> str:
    """The statements in their order. A merge's are one transaction."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: Plan) -> Iterator[str]:
    name = clean(plan.database) or "a database"
    yield f"-- Plan {plan.id} for {name} ({plan.dialect}): {count(len(plan.steps), 'step')}."
    for sentence in (*plan.satisfied, *plan.notes):
        yield f"-- {clean(sentence)}"
    for blocker in plan.blockers:
        yield f"-- BLOCKED ({blocker.code}): {clean(blocker.message)}"
    for number, step in enumerate(plan.steps, 1):
        yield ""
        yield from _step(number, step, plan.dialect)


def _step(number: int, step: Step, dialect: str) -> Iterator[str]:
    yield f"-- {number}. {clean(step.sentence)}"
    yield f"--    Lock: {lock(step.lock, step.lock_length)}. Undo: {clean(step.undo)}"
    if step.kind == "merge_duplicates":
        yield "--    One transaction for all groups, its archives unknown to undo. `onerow apply`"
        yield "--    goes batch by batch, keeps triggers silent, repeats and resumes."
        yield "BEGIN;" if dialect == "postgresql" else "BEGIN IMMEDIATE;"
    elif not step.transactional:
        yield "--    Takes no transaction around it."
    for statement in step.sql:
        yield statement.rstrip().removesuffix(";") + ";"
    if step.kind == "merge_duplicates":
        yield "COMMIT;"
