"""`onerow check` of keys over columns that another rule of the same file is still to add."""

from __future__ import annotations

from typing import Any

import pytest

from onerow import api
from onerow.errors import RuleError
from onerow.finding import CheckReport, RuleState
from tests.support.rules import applied, plan, rules_of
from tests.support.sandbox import Sandbox

PLANS = """
CREATE TABLE plans (id integer PRIMARY KEY, tenant_id text NOT NULL, branch_id text,
    name text NOT NULL, status text NOT NULL, UNIQUE (tenant_id, branch_id, name));
INSERT INTO plans VALUES
    (1, 't1', NULL, 'Gold', 'ACTIVE'), (2, 't1', NULL, 'Gold', 'ACTIVE'), (3, 't1', NULL, 'GOLD', 'ACTIVE'),
    (4, 't1', 'b1', 'Gold', 'ACTIVE'), (5, 't1', 'b1', 'gold', 'ACTIVE'), (6, 't1', 'b2', 'Gold', 'ACTIVE'),
    (7, 't2', NULL, 'Gold', 'ACTIVE'), (8, 't2', NULL, 'Gold', 'ARCHIVED'), (9, 't2', 'TENANT', 'Gold', 'OLD');
"""
GENERATED = """
[[column]]
table = "plans"
name = "scope_key"
type = "text"
not_null = true
generated = "coalesce(branch_id, 'TENANT')"
"""
FILLED = GENERATED.replace(
    "generated = \"coalesce(branch_id, 'TENANT')\"",
    "backfill = { sql = \"coalesce(branch_id, 'TENANT')\" }",
)


def key(**fields: str) -> str:
    given = {"columns": '["tenant_id", "scope_key", "name"]', **fields}
    lines = [f"{name} = {value}" for name, value in given.items()]
    return "\n".join(["[[key]]", 'name = "one_name"', 'table = "plans"', *lines, ""])


@pytest.fixture
def box(db_url: str) -> Sandbox:
    box = Sandbox(db_url)
    box.execute(PLANS)
    return box


def checked(box: Sandbox, text: str) -> tuple[RuleState, CheckReport]:
    """What a check says of the key, having changed nothing."""
    before = box.state()
    report = api.check(box.url, rules_of(text))
    assert box.state() == before
    return next(r for r in report.rules if r.kind == "key"), report


@pytest.mark.parametrize(
    ("fields", "groups", "surplus"),
    [
        ({}, 2, 3),
        ({"where": "\"status = 'ACTIVE'\""}, 1, 1),
        ({"ignore_case": '["name"]'}, 3, 5),
        ({"ignore_case": '["name"]', "where": "\"status = 'ACTIVE'\""}, 2, 3),
        ({"where": "\"scope_key <> 'TENANT'\"", "ignore_case": '["name"]'}, 1, 1),
        ({"columns": '["tenant_id", "(lower(scope_key))", "name"]'}, 2, 3),
        ({"nulls": '"forbidden"'}, 2, 3),
        ({"nulls": '"equal"'}, 2, 3),
    ],
    ids=str,
)
def test_duplicates_of_a_generated_column(
    box: Sandbox, fields: dict[str, str], groups: int, surplus: int
) -> None:
    """They are counted before the column is there, as the plan and the merge count them."""
    text = GENERATED + key(**fields)
    state, _ = checked(box, text)
    assert state.verdict == "not enforced"
    assert "has no column scope_key yet" in state.reason
    assert (state.violations.groups, state.violations.rows) == (groups, surplus)
    assert {s["tenant_id"] for s in state.samples} <= {"t1", "t2"}
    assert box.rows(state.sql)[0][-2:] == (groups, surplus), "the SQL that is shown is not that"
    merge = next(s for s in plan(box, rules_of(text)).steps if s.kind == "merge_duplicates")
    assert merge.rows == surplus
    assert applied(box, rules_of(text)).archived == surplus


def test_the_finding(box: Sandbox) -> None:
    """U101 tells them too, with a few of them."""
    _, report = checked(box, GENERATED + key(ignore_case='["name"]'))
    (found,) = [f for f in report.findings if f.check.startswith("U101")]
    assert found.evidence is not None
    assert (found.evidence.groups, found.evidence.rows) == (3, 5)
    assert {"tenant_id": "t1", "scope_key": "TENANT", "name": "gold"} in found.evidence.samples


def test_no_duplicates(box: Sandbox) -> None:
    """None are made up where the column keeps the rows apart."""
    box.execute("DELETE FROM plans WHERE id IN (2, 8, 9)")
    state, report = checked(box, GENERATED + key())
    assert not state.violations
    assert not [f for f in report.findings if f.check.startswith("U101")]


def test_a_column_that_is_filled(box: Sandbox) -> None:
    """What a backfill will put there is not guessed by a check."""
    state, report = checked(box, FILLED + key())
    assert (state.verdict, bool(state.violations)) == ("not enforced", False)
    assert "has no column scope_key yet" in state.reason
    assert not [f for f in report.findings if f.check.startswith("U101")]


def test_an_expression_that_fails(pg_url: str) -> None:
    """The rule is named whose expression the server cannot evaluate."""
    box = Sandbox(pg_url)
    box.execute(PLANS)
    broken = GENERATED.replace("coalesce(branch_id, 'TENANT')", "(1 / (id - id))::text")
    with pytest.raises(RuleError, match=r"one_name.*division by zero"):
        api.check(box.url, rules_of(broken + key()))


# -- case ---------------------------------------------------------------------------------------

ASCII = "SQLite folds the case of ASCII letters only"


def reasons(box: Sandbox, rules: Any) -> list[str]:
    return [r.reason for r in api.check(box.url, rules).rules]


@pytest.mark.parametrize("column", ["text", "text COLLATE NOCASE"])
def test_sqlite_folds_ascii_letters_only(sqlite_url: str, column: str) -> None:
    """The verdict says so before and after; and so it is."""
    box = Sandbox(sqlite_url)
    box.execute(
        f"CREATE TABLE t (id integer PRIMARY KEY, a {column});"
        "INSERT INTO t (a) VALUES ('année'), ('ANNÉE'), ('gold'), ('GOLD')"
    )
    rules = rules_of('[[key]]\ntable = "t"\ncolumns = ["a"]\nignore_case = ["a"]\n')
    assert reasons(box, rules) == [f"main.t has no unique index on a ({ASCII})"]
    applied(box, rules)
    assert box.count("t") == 3
    assert reasons(box, rules) == [f"the unique index uq_t_a ({ASCII})"]
    assert ASCII in api.verify(box.url, rules)[0].message
    assert ASCII in api.make_plan(box.url, rules).satisfied[0]


def test_nothing_of_it_elsewhere(box: Sandbox) -> None:
    """PostgreSQL folds as its collation says, and a key with case has nothing to say."""
    folded = GENERATED + key(ignore_case='["name"]')
    assert any(ASCII in r for r in reasons(box, rules_of(folded))) == box.sqlite
    assert not any(ASCII in r for r in reasons(box, rules_of(GENERATED + key())))
