"""[[population]]: measured and proven, never changed."""

from __future__ import annotations

import pytest

from onerow import api
from onerow.errors import RuleError
from onerow.rulefile import Rules
from tests.support.rules import applied, rules_of, verdicts
from tests.support.sandbox import Sandbox

WEEKS = """
CREATE TABLE weeks (id integer PRIMARY KEY, status text, execution_id integer,
    created_at timestamp NOT NULL);
INSERT INTO weeks VALUES
    (1, 'completed', NULL, '2025-01-01 00:00:00'), (2, 'completed', 7, '2025-09-08 00:00:00'),
    (3, 'completed', NULL, '2025-09-09 10:00:00'), (4, 'pending', NULL, '2025-09-10 00:00:00');
"""


@pytest.fixture
def box(db_url: str) -> Sandbox:
    box = Sandbox(db_url)
    box.execute(WEEKS)
    return box


def population(*lines: str) -> Rules:
    head = ["[[population]]", 'table = "weeks"', 'column = "execution_id"']
    return rules_of("\n".join([*head, *lines, ""]))


SINCE = ("where = \"status = 'completed'\"", 'since = "2025-09-08"', 'by = "created_at"')


@pytest.mark.parametrize(
    ("lines", "verdict", "reason", "missing"),
    [
        ((), "not enforced", "1 of 4 row(s), 25.0%, 100% wanted", 3),
        (("rate = 0.25",), "enforced", "1 of 4 row(s), 25.0%, 25% wanted", 0),
        (SINCE, "not enforced", "1 of 2 row(s), 50.0%, 100% wanted", 1),
        ((*SINCE, "rate = 0.5"), "enforced", "1 of 2 row(s), 50.0%, 50% wanted", 0),
        (("where = \"status = 'x'\"",), "enforced", "no row to ask, 100% wanted", 0),
    ],
)
def test_it_is_measured(
    box: Sandbox, lines: tuple[str, ...], verdict: str, reason: str, missing: int
) -> None:
    """Total, filled, rate; over no rows it is met."""
    rules = population(*lines)
    state = api.check(box.url, rules).rules[0]
    assert (state.verdict, state.reason, state.violations.rows) == (verdict, reason, missing)
    proof = api.verify(box.url, rules)[0]
    assert (proof.ok, reason in proof.message) == (verdict == "enforced", True)


def test_alone_it_is_nothing_to_apply(box: Sandbox) -> None:
    """The plan says how it stands; no run is made of it."""
    plan = api.make_plan(box.url, population())
    assert (plan.steps, plan.blockers) == ((), ())
    assert plan.notes == ("weeks.execution_id is not met: 1 of 4 row(s), 25.0% now, 100% wanted.",)
    assert api.apply(box.url, population()).run is None
    assert api.make_plan(box.url, population("rate = 0.2")).satisfied


def test_beside_others_it_is_measured_at_the_end(box: Sandbox) -> None:
    """What is not met is told and stops nothing: no rule of ours can mend it."""
    index = '\n[[index]]\ntable = "weeks"\ncolumns = ["status"]\n'
    head = '[[population]]\ntable = "weeks"\ncolumn = "execution_id"\n'
    rules = rules_of(head + index)
    said: list[str] = []
    outcome = api.apply(box.url, rules, listen=lambda e: said.append(e.message))
    assert outcome.status == "done"
    assert [s.kind for s in outcome.steps] == ["create_index", "verify"]
    assert any("1 of 4" in text for text in said)
    assert verdicts(box, rules) == ["enforced", "not enforced"] or verdicts(box, rules) == [
        "not enforced",
        "enforced",
    ]


def test_over_a_column_that_is_still_to_come(box: Sandbox) -> None:
    """It is measured when the column is there."""
    rules = rules_of(
        '[[column]]\ntable = "weeks"\nname = "who"\ntype = "integer"\nbackfill = { value = 1 }\n'
        '[[population]]\ntable = "weeks"\ncolumn = "who"\n'
    )
    assert verdicts(box, rules) == ["not enforced", "not enforced"]
    applied(box, rules)
    assert verdicts(box, rules) == ["enforced", "enforced"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (('since = "2025-09-08"',), "go together"),
        (('by = "created_at"',), "go together"),
        (("rate = 1.5",), "from 0 to 1"),
        (('where = "statsu = 1"',), "Did you mean 'status'?"),
        (('since = "2025-09-08"', 'by = "created"'), "created_at"),
    ],
)
def test_rules_that_make_no_sense(box: Sandbox, lines: tuple[str, ...], said: str) -> None:
    """They are errors of the rule."""
    with pytest.raises(RuleError) as caught:
        api.make_plan(box.url, population(*lines))
    assert said in str(caught.value)
