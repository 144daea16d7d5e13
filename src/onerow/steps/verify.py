"""Prove that a rule holds before anything that it replaces is taken away."""

from __future__ import annotations

from onerow.dialects import Dialect
from onerow.keys import BoundKey
from onerow.plan import Step
from onerow.rules import Rule, rule_to_dict
from onerow.schema import Snapshot, Table
from onerow.steps import Action

MODE = "verify"


def plan(bound: BoundKey, dialect: Dialect) -> Step:
    return Step(
        kind="verify",
        table=bound.table.ident,
        rule=bound.label,
        sentence=f"Prove that {bound} is enforced and that no rows break it.",
        sql=(dialect.duplicates(bound, 1),),
        lock="none",
        rows=0,
        undo="Nothing to take back.",
        args={"rule": rule_to_dict(bound.key)},
    )


def plan_rule(table: Table, rule: Rule, sentence: str, sql: tuple[str, ...]) -> Step:
    """The proof of a rule that is no key."""
    return Step(
        kind="verify",
        table=table.ident,
        rule=rule.label,
        sentence=sentence,
        sql=sql,
        lock="none",
        rows=0,
        undo="Nothing to take back.",
        args={"rule": rule_to_dict(rule)},
    )


def is_done(step: Step, snapshot: Snapshot) -> bool | None:
    return None


def undo(step: Step, snapshot: Snapshot) -> tuple[Action, ...]:
    return ()


def makes(step: Step) -> tuple[str, ...]:
    return ()


def takes(step: Step) -> tuple[str, ...]:
    return ()
