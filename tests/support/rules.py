"""The way of rules that are no keys: there, back exactly, and there again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from onerow import api
from onerow.api import Outcome, Plan
from onerow.rulefile import Rules, parse_rules
from onerow.session import Limits
from tests.support.sandbox import Sandbox
from tests.support.story import SMALL

_POSITION = re.compile(r"^(.+?)\.\d+ ")


def rules_of(text: str, folder: Path | None = None) -> Rules:
    """A rule file's text, as if it lay in a folder."""
    return parse_rules(text, str(folder / "onerow.toml") if folder else "")


def plan(box: Sandbox, rules: Rules) -> Plan:
    """The plan, which must have no blockers and come back from its file as it went."""
    made = api.make_plan(box.url, rules)
    assert not made.blockers, [b.message for b in made.blockers]
    assert Plan.from_json(made.to_json()) == made
    assert len({s.id for s in made.steps}) == len(made.steps)
    return made


def blocked(box: Sandbox, rules: Rules) -> dict[str, str]:
    """Blockers, code -> message; an apply is refused and touches nothing."""
    before = box.state()
    found = api.make_plan(box.url, rules).blockers
    outcome = api.apply(box.url, rules)
    assert (outcome.status, outcome.exit_code) == ("refused", 1)
    assert box.state() == before
    return {b.code: b.message for b in found}


def apply(box: Sandbox, rules: Rules, limits: Limits = SMALL, **more: Any) -> Outcome:
    return api.apply(box.url, rules, limits=limits, **more)


def applied(box: Sandbox, rules: Rules, limits: Limits = SMALL) -> Outcome:
    """Apply; every rule holds then, nothing was lost, and there is nothing left to do."""
    outcome = apply(box, rules, limits)
    assert (outcome.status, outcome.exit_code) == ("done", 0), outcome.message
    assert {s.status for s in outcome.steps} == {"done"}
    proofs = api.verify(box.url, rules)
    assert all(p.ok for p in proofs), proofs
    again = api.make_plan(box.url, rules)
    assert (again.steps, again.blockers) == ((), ())
    return outcome


def undone(box: Sandbox, run: str = "last") -> Outcome:
    outcome = api.undo(box.url, run, limits=SMALL)
    assert (outcome.status, outcome.left_alone) == ("undone", ()), outcome.message
    return outcome


def there_and_back(box: Sandbox, rules: Rules) -> Outcome:
    """Apply, undo to the letter, apply again to the same end."""
    before = box.state()
    applied(box, rules)
    after = without_positions(box.state())
    undone(box)
    assert box.state() == before, different(before, box.state())
    outcome = applied(box, rules)
    assert without_positions(box.state()) == after
    return outcome


def different(before: Any, after: Any) -> dict[str, list[Any]]:
    """What one state has and the other has not, by subject."""
    pairs = {k: (before[i][k], after[i].get(k, ())) for i in (0, 1) for k in before[i]}
    return {k: sorted(set(a) ^ set(b), key=str) for k, (a, b) in pairs.items() if a != b}


def without_positions(state: tuple[dict[str, Any], Any]) -> tuple[dict[str, Any], Any]:
    """A column that was dropped keeps its number for good, so the next one has another."""
    schema, contents = state
    if "columns" not in schema:
        return state
    columns = sorted(_POSITION.sub(r"\1.N ", c) for c in schema["columns"])
    return {**schema, "columns": columns}, contents


def verdicts(box: Sandbox, rules: Rules) -> list[str]:
    return [r.verdict for r in api.check(box.url, rules).rules]
