"""The way of a rule through apply and undo, with what must hold on the way."""

from __future__ import annotations

from collections.abc import Sequence

from onerow import api
from onerow.api import Outcome, Plan
from onerow.rules import Rule
from onerow.session import Limits
from tests.support.sandbox import Sandbox

#: Small batches, so that every test sees more than one.
SMALL = Limits(batch_rows=4, most_batch_rows=8)


def planned(box: Sandbox, *rules: Rule) -> Plan:
    """The plan, which must have no blockers."""
    plan = api.make_plan(box.url, list(rules))
    assert not plan.blockers, [b.message for b in plan.blockers]
    return plan


def blockers(box: Sandbox, *rules: Rule) -> list[str]:
    """The codes of the plan's blockers."""
    return [b.code for b in api.make_plan(box.url, list(rules)).blockers]


def applied(box: Sandbox, *rules: Rule, limits: Limits = SMALL) -> Outcome:
    """Plan and apply; every rule holds then, and nothing was lost."""
    plan = planned(box, *rules)
    outcome = api.apply(box.url, list(rules), plan=plan, limits=limits)
    assert (outcome.status, outcome.exit_code) == ("done", 0), outcome.message
    proofs = api.verify(box.url, list(rules))
    assert all(p.ok for p in proofs), proofs
    assert {s.status for s in outcome.steps} <= {"done"}
    return outcome


def undone(box: Sandbox, run: str = "last", *, limits: Limits = SMALL) -> Outcome:
    """Undo; nothing is left alone."""
    outcome = api.undo(box.url, run, limits=limits)
    assert (outcome.status, outcome.exit_code) == ("undone", 0), (
        outcome.message,
        outcome.left_alone,
    )
    assert outcome.left_alone == ()
    return outcome


def there_and_back(box: Sandbox, *rules: Rule, limits: Limits = SMALL) -> Outcome:
    """Apply, undo, compare; apply again, so that the tables end up merged.

    Returns the outcome of the last apply.
    """
    before = box.state()
    counts = {table: len(rows) for table, rows in before[1].items()}
    first = applied(box, *rules, limits=limits)
    _assert_nothing_lost(box, counts, first)
    after = box.state()
    undone(box, limits=limits)
    assert box.state() == before
    outcome = applied(box, *rules, limits=limits)
    assert box.state() == after
    return outcome


def _assert_nothing_lost(box: Sandbox, before: dict[str, int], outcome: Outcome) -> None:
    after = {table: len(rows) for table, rows in box.contents().items()}
    assert sum(before.values()) == sum(after.values()) + outcome.archived


def ranks(rows: Sequence[Sequence[object]]) -> list[object]:
    """The first column."""
    return [row[0] for row in rows]
