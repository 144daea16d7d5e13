"""What needs no database: ends of memberships, amounts, names, bodies."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from systems.membership_plans import money, names, policy, terms
from systems.membership_plans.claims import Claims
from systems.membership_plans.models import NewMember, NewPlan, PlanChange
from systems.shared.columns import Money
from systems.shared.web.errors import Fault
from tests.systems.membership_plans.support import plan

AMOUNTS = st.decimals(0, money.MOST, places=2)
STARTS = st.dates(terms.FIRST_DAY, terms.LAST_DAY)


# -- ends ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "kind", "value", "end"),
    [
        ("2026-01-31", "MONTHS", 1, "2026-02-28"),
        ("2024-01-31", "MONTHS", 1, "2024-02-29"),
        ("2024-02-29", "MONTHS", 12, "2025-02-28"),
        ("2024-02-29", "MONTHS", 24, "2026-02-28"),
        ("2026-12-15", "MONTHS", 1, "2027-01-15"),
        ("2026-11-30", "MONTHS", 3, "2027-02-28"),
        ("2026-03-31", "MONTHS", 1, "2026-04-30"),
        ("2026-12-31", "DAYS", 1, "2027-01-01"),
        ("2024-02-28", "DAYS", 1, "2024-02-29"),
        ("2026-01-01", "DAYS", 730, "2028-01-01"),
    ],
)
def test_ends(start: str, kind: terms.DurationType, value: int, end: str) -> None:
    """Days are added; months lead to the same day, or to the month's last."""
    assert terms.end_date(date.fromisoformat(start), kind, value) == date.fromisoformat(end)


@given(STARTS, st.integers(1, 24))
def test_months_end_on_their_day(start: date, months: int) -> None:
    """In the month that is so many later, on the same day unless that is too short."""
    end = terms.end_date(start, "MONTHS", months)
    assert (end.year * 12 + end.month) - (start.year * 12 + start.month) == months
    assert end.day == start.day or (end.day < start.day and (end + timedelta(1)).day == 1)


@given(STARTS, st.sampled_from(["DAYS", "MONTHS"]), st.integers(1, 24))
def test_a_longer_one_never_ends_sooner(start: date, kind: Any, value: int) -> None:
    """One more day or month is no loss, and every plan ends on a date that there is."""
    assert start < terms.end_date(start, kind, value) <= terms.end_date(start, kind, value + 1)


# -- amounts ------------------------------------------------------------------------------------


class _Lite:
    name = "sqlite"


@given(AMOUNTS)
def test_amounts_stay_exact(amount: Decimal) -> None:
    """From JSON to SQLite's whole minor units, and back to a JSON number, to the last cent."""
    read = money.amount(money.loads(str(amount)))
    stored = Money(10).process_bind_param(read, _Lite())  # type: ignore[arg-type]
    assert isinstance(stored, int)
    back = Money(10).process_result_value(stored, _Lite())  # type: ignore[arg-type]
    assert back is not None
    assert json.loads(json.dumps(money.shown(back)), parse_float=Decimal) == amount == back


@given(AMOUNTS)
def test_a_text_is_an_amount_too(amount: Decimal) -> None:
    """For clients without decimal numbers."""
    assert money.amount(f"{amount:.2f}") == amount


@pytest.mark.parametrize(
    "text",
    [
        *("49.901", "0.1000000000000000055", "1e-3", "49.99000000000000000001"),
        *("-0.01", "-1", "100000000", "99999999.991", "1e400", "1e-400", "true", "null", "[]"),
        *('""', '"1,5"', '" 1"', '"1e2"', '"-1"', '"١"', '"1.234"', '"NaN"', '"123456789"'),
    ],
)
def test_no_amounts(text: str) -> None:
    """A third decimal is not rounded away, whatever a float would make of it."""
    with pytest.raises(ValueError, match="must"):
        money.amount(money.loads(text))


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "{", ""])
def test_no_json(text: str) -> None:
    """What Python's parser would take, too."""
    with pytest.raises(ValueError, match=r"JSON|Expecting"):
        money.loads(text)


# -- names --------------------------------------------------------------------------------------


def test_names_are_cleaned() -> None:
    """Composed, so that one name has one spelling, and without blanks around."""
    assert names.cleaned_name("  Anne\u0301e ") == "Ann\u00e9e"
    assert names.folded("ANN\u00c9E") == names.folded("ann\u00e9e")


@pytest.mark.parametrize("name", ["", "  ", "a\0b", "a\nb", "a\tb", "\x7f", "a\x1b[0m"])
def test_no_names(name: str) -> None:
    """Empty ones, and characters that nobody types."""
    with pytest.raises(ValueError, match="must not"):
        names.cleaned_name(name)


@given(st.text(max_size=20))
def test_cleaning_twice_changes_nothing(text: str) -> None:
    """And what was cleaned is always fit for PostgreSQL."""
    try:
        found = names.cleaned_name(text)
    except ValueError:
        return
    assert names.cleaned_name(found) == found
    assert "\0" not in found.encode().decode()


# -- bodies -------------------------------------------------------------------------------------


def wrong(kind: Any, body: dict[str, Any]) -> set[str]:
    """The fields that a body is refused for."""
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(body)
    return {str(e["loc"][0]) for e in caught.value.errors()}


PRICE = {"price": Decimal("1.00")}


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"scope": "BRANCH"}, "branchId"),
        ({"scope": "BRANCH", "branchId": None}, "branchId"),
        ({"branchId": "t1-b1"}, "branchId"),
        ({"scope": "GYM"}, "scope"),
        ({"scopeKey": "TENANT"}, "scopeKey"),
        ({"scope_key": "TENANT"}, "scope_key"),
        ({"id": "mine"}, "id"),
        ({"tenantId": "t2"}, "tenantId"),
        ({"status": "ARCHIVED"}, "status"),
        ({"createdAt": "2026-01-01T00:00:00Z"}, "createdAt"),
        ({"durationValue": 0}, "durationValue"),
        ({"durationValue": 25}, "durationValue"),
        ({"durationType": "DAYS", "durationValue": 731}, "durationValue"),
        ({"durationType": "WEEKS"}, "durationType"),
        ({"durationValue": "12"}, "durationValue"),
        ({"durationValue": True}, "durationValue"),
        ({"durationValue": Decimal("1.5")}, "durationValue"),
        ({"price": -1}, "price"),
        ({"currency": "eur"}, "currency"),
        ({"currency": "EURO"}, "currency"),
        ({"currency": "EUR\n"}, "currency"),
        ({"name": " "}, "name"),
        ({"name": "x" * 121}, "name"),
        ({"name": "\ud800"}, "name"),
        ({"name": 7}, "name"),
        ({"description": "\0"}, "description"),
        ({"maxFreezeDays": -1}, "maxFreezeDays"),
        ({"sortOrder": 2**31}, "sortOrder"),
        ({"autoRenew": 1}, "autoRenew"),
        ({"autoRenew": None}, "autoRenew"),
    ],
)
def test_no_plans(more: dict[str, Any], field: str) -> None:
    """Each field has its type and bounds, and there are no others."""
    found = wrong(NewPlan, plan("Gold") | PRICE | more)
    assert {to_camel(f) if f == "branch_id" else f for f in found} == {field}


@pytest.mark.parametrize(
    "more", [{"durationType": "DAYS", "durationValue": 730}, {"durationValue": 24}]
)
def test_longest_plans(more: dict[str, Any]) -> None:
    """730 days, 24 months."""
    assert NewPlan.model_validate(plan("Gold") | PRICE | more).name == "Gold"


@pytest.mark.parametrize(
    "field", ["scope", "branchId", "durationType", "durationValue", "scopeKey"]
)
def test_what_never_changes(field: str) -> None:
    """Scope, branch and duration of a plan that was sold."""
    assert wrong(PlanChange, {field: plan("Gold").get(field)}) == {field}


@pytest.mark.parametrize("field", ["name", "price", "currency", "autoRenew"])
def test_what_is_never_empty(field: str) -> None:
    """NULL is no name and no price; a description may go."""
    assert wrong(PlanChange, {field: None}) == {field}
    assert PlanChange.model_validate({"description": None}).given() == {"description": None}


@pytest.mark.parametrize(
    "day", ["2026-02-30", "20260101", "2026-1-1", "2026-W01-1", "0001-01-01", "9999-12-31", 7, ""]
)
def test_no_days(day: Any) -> None:
    """Only days that there are, and after which there are 24 months."""
    body = {"membershipPlanId": "p", "branchId": "b", "membershipStartDate": day}
    assert wrong(NewMember, body) == {"membershipStartDate"}


# -- who may ------------------------------------------------------------------------------------


def caller(role: Any = "ADMIN", branch: str | None = None) -> Claims:
    return Claims(sub="anna", tenant_id="t1", role=role, branch_id=branch)


class Row:
    """A plan, as the database would give it."""

    def __init__(self, tenant_id: str = "t1", status: str = "ACTIVE", branch_id: str | None = None):
        self.tenant_id, self.status, self.branch_id = tenant_id, status, branch_id


def status_of(call: Any, *values: Any) -> int:
    try:
        call(*values)
    except Fault as fault:
        return fault.status
    return 200


def test_who_may_change_plans() -> None:
    """An ADMIN."""
    assert status_of(policy.may_change_plans, caller()) == 200
    assert status_of(policy.may_change_plans, caller("STAFF", "t1-b1")) == 403


@pytest.mark.parametrize(
    ("role", "own", "branch", "status"),
    [
        ("ADMIN", None, "t1-b1", 200),
        ("ADMIN", "t1-b1", "t1-b2", 200),
        ("STAFF", "t1-b1", "t1-b1", 200),
        ("STAFF", "t1-b1", "t1-b2", 403),
        ("STAFF", None, "t1-b1", 403),
        ("STAFF", None, None, 403),
    ],
)
def test_who_may_have_members(role: str, own: str | None, branch: str | None, status: int) -> None:
    """STAFF those of their own branch, and without a branch none."""
    assert status_of(policy.may_have_members_of, caller(role, own), branch) == status


@pytest.mark.parametrize(
    ("row", "status"),
    [
        (Row(), 200),
        (Row(branch_id="t1-b1"), 200),
        (Row(branch_id="t1-b2"), 400),
        (Row(status="ARCHIVED"), 400),
        (Row(tenant_id="t2"), 400),
        (None, 400),
    ],
)
def test_what_may_be_sold(row: Row | None, status: int) -> None:
    """Active plans of the tenant, of all branches or of the member's."""
    assert status_of(policy.may_sell, row, caller(), "t1-b1") == status


def test_whose_rows() -> None:
    """Unknown is 404, another tenant's 403."""
    assert status_of(policy.own, caller(), Row(), "plan") == 200
    assert status_of(policy.own, caller(), Row("t2"), "plan") == 403
    assert status_of(policy.own, caller(), None, "plan") == 404
