"""[[constraint]]: a CHECK for new rows first, then for all of them."""

from __future__ import annotations

import pytest

from onerow import api
from onerow.errors import RuleError
from tests.support.rules import apply, blocked, plan, rules_of, there_and_back, undone, verdicts
from tests.support.sandbox import Sandbox

PLANS = """
CREATE TABLE plans (id integer PRIMARY KEY, price numeric(10, 2), currency text NOT NULL,
    CONSTRAINT currency_there CHECK (currency <> ''));
INSERT INTO plans VALUES (1, 10, 'USD'), (2, NULL, 'EUR'), (3, 0, 'EUR');
CREATE INDEX plans_price ON plans (price);
"""
PRICE = """
[[constraint]]
table = "plans"
name = "price_not_negative"
check = "price >= 0"
"""


@pytest.fixture
def box(every_url: str) -> Sandbox:
    return made(every_url)


@pytest.fixture
def either(db_url: str) -> Sandbox:
    """For what is refused before an engine's version could matter."""
    return made(db_url)


def made(url: str) -> Sandbox:
    box = Sandbox(url)
    box.execute(PLANS)
    return box


def refuses(box: Sandbox, sql: str) -> bool:
    try:
        box.execute(sql)
    except Exception:
        return True
    return False


def test_it_is_added_and_taken_back(box: Sandbox) -> None:
    """Rows in which it is unknown pass, as SQL says."""
    rules = rules_of(PRICE)
    assert verdicts(box, rules) == ["not enforced"]
    there_and_back(box, rules)
    assert refuses(box, "INSERT INTO plans VALUES (9, -1, 'USD')")
    assert not refuses(box, "INSERT INTO plans VALUES (9, NULL, 'USD')")


def test_several_checks_of_one_table_are_one_rebuild(sqlite_url: str) -> None:
    """SQLite copies the table once for all of them."""
    box = Sandbox(sqlite_url)
    box.execute(PLANS)
    both = rules_of(
        PRICE + PRICE.replace("price_not_negative", "few").replace("price >= 0", "id < 99")
    )
    assert [s.kind for s in plan(box, both).steps].count("rebuild_table") == 1
    there_and_back(box, both)
    assert refuses(box, "INSERT INTO plans VALUES (100, 1, 'USD')")


def test_rows_that_break_it_stop_the_plan(either: Sandbox) -> None:
    """With their number and their keys."""
    either.execute("INSERT INTO plans VALUES (4, -2, 'USD'), (5, -3, 'USD')")
    message = blocked(either, rules_of(PRICE))["violating_rows"]
    assert "2 row(s)" in message
    assert "id = 4; id = 5" in message
    state = api.check(either.url, rules_of(PRICE)).rules[0]
    assert state.violations.rows == 2


def test_an_equal_check_of_another_name_is_enough(either: Sandbox) -> None:
    """What is there already is not added twice."""
    rules = rules_of('[[constraint]]\ntable = "plans"\nname = "c"\ncheck = "(currency) <> \'\'"\n')
    assert plan(either, rules).steps == ()
    assert verdicts(either, rules) == ["enforced"]


def test_a_taken_name_is_refused(either: Sandbox) -> None:
    """Another check that bears the name is never touched."""
    rules = rules_of(PRICE.replace("price_not_negative", "currency_there"))
    assert "check constraint" in blocked(either, rules)["name_taken"]


def test_a_check_that_is_not_valid_is_validated_only(pg_url: str) -> None:
    """It is not added a second time, and stays after the undo."""
    box = Sandbox(pg_url)
    box.execute(PLANS, "ALTER TABLE plans ADD CONSTRAINT mine CHECK (price >= 0) NOT VALID")
    rules = rules_of(PRICE)
    assert [s.kind for s in plan(box, rules).steps] == ["validate_check", "verify"]
    there_and_back(box, rules)


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ("prise >= 0", "Did you mean 'price'?"),
        ("price >= 0; DROP TABLE plans", "not one SQL expression"),
        ("no_such_function(price) > 0", "cannot evaluate"),
    ],
)
def test_what_cannot_be_evaluated_is_an_error(either: Sandbox, check: str, said: str) -> None:
    """Before anything is planned."""
    with pytest.raises(RuleError) as caught:
        api.make_plan(either.url, rules_of(PRICE.replace("price >= 0", check)))
    assert said in str(caught.value)


def test_a_row_that_breaks_it_meanwhile_stops_the_run(pg_url: str) -> None:
    """It is told, and after it was mended the run goes on."""
    box = Sandbox(pg_url)
    box.execute(PLANS)
    rules = rules_of(PRICE)
    made = plan(box, rules)
    box.execute("INSERT INTO plans VALUES (4, -2, 'USD')")
    outcome = api.apply(box.url, plan=made)
    assert (outcome.status, outcome.exit_code) == ("stopped", 1)
    assert "1 row(s)" in outcome.message
    assert "id = 4" in outcome.message
    box.execute("UPDATE plans SET price = 2 WHERE id = 4")
    assert apply(box, rules).status == "done"
    undone(box)


def test_a_row_that_breaks_it_meanwhile_stops_the_rebuild(sqlite_url: str) -> None:
    """SQLite: the table stays as it was until the row is mended."""
    box = Sandbox(sqlite_url)
    box.execute(PLANS)
    rules = rules_of(PRICE)
    made = plan(box, rules)
    before = box.schema()
    box.execute("INSERT INTO plans VALUES (4, -2, 'USD')")
    outcome = api.apply(box.url, plan=made)
    assert (outcome.status, outcome.exit_code) == ("stopped", 1)
    assert "price_not_negative" in outcome.message
    assert box.schema() == before
    box.execute("UPDATE plans SET price = 2 WHERE id = 4")
    assert apply(box, rules).status == "done"
    undone(box)
