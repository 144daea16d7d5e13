"""Every call with its answers, through HTTP, on both engines."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from systems.membership_plans import policy, terms
from tests.systems.membership_plans.support import API, MEMBERS, PLANS, House, fresh, plan

UNKNOWN = "00000000-0000-4000-a000-000000000000"
TODAY = datetime.now(UTC).date()


def fields(answer: Any, status: int) -> set[str]:
    """The fields at fault in an error of a status, which has the form of all errors."""
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert told["statusCode"] == status
    assert told["message"]
    assert set(told) <= {"statusCode", "message", "errors"}
    return {e["field"] for e in told.get("errors", [])}


# -- plans that are made ------------------------------------------------------------------------


def test_a_plan_of_all_branches(shop: House) -> None:
    """201 with everything that was given, and the tenant's currency where none was."""
    name = fresh()
    made = shop.admin.create(f"  {name} ", description="All classes", maxFreezeDays=7, sortOrder=3)
    wanted = plan(name) | {
        "tenantId": "t1",
        "branchId": None,
        "description": "All classes",
        "currency": "EUR",
        "maxFreezeDays": 7,
        "autoRenew": False,
        "status": "ACTIVE",
        "sortOrder": 3,
    }
    assert wanted.items() <= made.items()
    assert made["createdAt"] == made["updatedAt"]
    assert abs(datetime.fromisoformat(made["createdAt"]) - datetime.now(UTC)) < timedelta(minutes=1)
    assert shop.admin.get(made["id"]) == made
    assert shop.box.rows(f"SELECT scope_key FROM membership_plans WHERE id = '{made['id']}'") == [
        ("TENANT",)
    ]


def test_a_plan_of_a_branch(shop: House) -> None:
    """It has the branch, which the database makes its scope's key."""
    made = shop.admin.create(branch="t1-b2", currency="CHF")
    assert (made["scope"], made["branchId"], made["currency"]) == ("BRANCH", "t1-b2", "CHF")
    key = f"SELECT scope_key FROM membership_plans WHERE id = '{made['id']}'"
    assert shop.box.rows(key) == [("t1-b2",)]


@pytest.mark.parametrize("text", ["19.99", "0.07", "1.1", "99999999.99", "0", '"29.95"', "4.35"])
def test_prices_to_the_cent(shop: House, text: str) -> None:
    """What is in the body as a number is in the answer as the same number, however often."""
    body = json.dumps(plan()).replace('"price": 49.9', f'"price": {text}')
    answer = shop.admin.call("POST", PLANS, body)
    assert answer.status_code == 201, answer.text
    wanted = Decimal(text.strip('"'))
    assert json.loads(answer.text, parse_float=Decimal)["price"] == wanted
    sold = shop.admin.enrol(answer.json()["id"])
    told = json.loads(sold.text, parse_float=Decimal)["membershipPriceAtPurchase"]
    assert told == wanted
    stored = shop.box.value(
        f"SELECT price FROM membership_plans WHERE id = '{answer.json()['id']}'"
    )
    assert stored == (wanted * 100 if shop.box.sqlite else wanted)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"scopeKey": "TENANT"}, "scopeKey"),
        ({"scope": "BRANCH"}, "branchId"),
        ({"branchId": "t1-b1"}, "branchId"),
        ({"branch": "nowhere"}, "branchId"),
        ({"durationValue": 25}, "durationValue"),
        ({"price": -0.01}, "price"),
        ({"price": 1.005}, "price"),
        ({"currency": "eu"}, "currency"),
        ({"name": ""}, "name"),
        ({"other": 1}, "other"),
    ],
)
def test_bad_plans(shop: House, more: dict[str, Any], field: str) -> None:
    """400, with the field at fault."""
    given = dict(more)
    body = plan(branch=given.pop("branch", None)) | given
    assert fields(shop.admin.call("POST", PLANS, body), 400) == {field}


@pytest.mark.parametrize("body", ["", "{", "[]", "7", "null", '{"name": NaN}', "[" * 9000, b"\xff"])
def test_bodies_that_are_none(shop: House, body: str | bytes) -> None:
    """400 for whatever is no object of JSON; and 401 for somebody without a token."""
    assert fields(shop.admin.call("POST", PLANS, body), 400) <= {"body"}
    with shop.server.client() as nobody:
        kind = {"Content-Type": "application/json"}
        assert nobody.post(PLANS, content=body, headers=kind).status_code == 401


def test_a_large_body(shop: House) -> None:
    """413."""
    assert fields(shop.admin.call("POST", PLANS, plan(description="x" * 300_000)), 413) == set()


def test_a_branch_of_another_tenant(shop: House) -> None:
    """403 on a write, and in a filter no more than of one that nobody has: 400."""
    assert fields(shop.admin.call("POST", PLANS, plan(branch="t2-b1")), 403) == {"branchId"}
    for path in (PLANS, f"{PLANS}/active"):
        answers = [
            shop.admin.call("GET", f"{path}?branchId={b}") for b in ("t2-b1", "nowhere", "%00")
        ]
        assert [fields(a, 400) for a in answers] == [{"branchId"}] * 3
        assert len({a.text for a in answers}) == 1


def test_a_name_in_use(shop: House) -> None:
    """409 in the same scope, in any case; fine in another branch, scope or tenant, or archived."""
    name = fresh("Année")
    first = shop.admin.create(name)
    answer = shop.admin.call("POST", PLANS, plan(name.upper()))
    assert fields(answer, 409) == {"name"}
    assert answer.json()["message"] == policy.NAME_TAKEN
    shop.admin.create(name, branch="t1-b1")
    shop.admin.create(name, branch="t1-b2")
    shop.other.create(name)
    assert fields(shop.admin.call("POST", PLANS, plan(name.lower(), "t1-b1")), 409) == {"name"}
    assert shop.admin.archive(first["id"]).status_code == 200
    shop.admin.create(name.upper())


# -- plans that are read ------------------------------------------------------------------------


def test_the_list(shop: House) -> None:
    """By sortOrder and then by age, those without one last; a page at a time."""
    mark = fresh("List")
    order = [None, 5, 2, 2, None]
    ids = [shop.admin.create(f"{mark} {n}", sortOrder=o)["id"] for n, o in enumerate(order)]
    pages = [
        shop.admin.call("GET", f"{PLANS}?q={mark}&limit=2&page={n}").json() for n in range(1, 5)
    ]
    found = [p["id"] for page in pages for p in page["data"]]
    assert found == [ids[n] for n in (2, 3, 1, 0, 4)]
    assert pages[0]["pagination"] == {"page": 1, "limit": 2, "total": 5, "totalPages": 3}
    assert pages[3] == {
        "data": [],
        "pagination": {"page": 4, "limit": 2, "total": 5, "totalPages": 3},
    }
    far = shop.admin.call("GET", f"{PLANS}?q={mark}&page={10**30}")
    assert (far.status_code, far.json()["data"]) == (200, [])


def test_filters_of_the_list(shop: House) -> None:
    """Scope, branch, status, and a part of the name in any case, taken as it is written."""
    mark = fresh("Wöche_100%")
    tenant, branch, gone = (
        shop.admin.create(f"{mark} {n}", branch=b)["id"]
        for n, b in enumerate((None, "t1-b1", "t1-b2"))
    )
    shop.admin.archive(gone)
    shop.admin.create(mark.replace("_", "x"))

    def found(query: str) -> set[str]:
        parameters = f"q={mark.upper().replace('%', '%25')}&{query}"
        answer = shop.admin.call("GET", f"{PLANS}?{parameters}")
        return {p["id"] for p in answer.json()["data"]}

    assert found("") == {tenant, branch}
    assert found("includeArchived=true") == {tenant, branch, gone}
    assert found("status=ARCHIVED") == {gone}
    assert found("status=ACTIVE&includeArchived=true") == {tenant, branch}
    assert found("scope=BRANCH") == {branch}
    assert found("branchId=t1-b2&includeArchived=true") == {gone}
    assert found("scope=TENANT&branchId=t1-b1") == set()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page=0", "page"),
        ("page=x", "page"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("scope=GYM", "scope"),
        ("status=active", "status"),
        ("includeArchived=perhaps", "includeArchived"),
        (f"q={'x' * 121}", "q"),
        ("q=%00", "q"),
    ],
)
def test_bad_queries(shop: House, query: str, field: str) -> None:
    """400, with the parameter at fault."""
    assert fields(shop.admin.call("GET", f"{PLANS}?{query}"), 400) == {field}


def test_what_can_be_sold(shop: House) -> None:
    """Active plans of all branches, and a branch's own when it is given; STAFF may read."""
    tenant, first, second, gone = (
        shop.admin.create(branch=b)["id"] for b in (None, "t1-b1", "t1-b2", None)
    )
    shop.admin.archive(gone)

    def sold(query: str) -> set[str]:
        answer = shop.staff().call("GET", f"{PLANS}/active{query}")
        return {p["id"] for p in answer.json()} & {tenant, first, second, gone}

    assert sold("") == {tenant}
    assert sold("?branchId=t1-b1") == {tenant, first}


@pytest.mark.parametrize("own", [UNKNOWN, "nothing", "%00", "%E2%82%AC", "a%2Fb", "x" * 5000])
def test_unknown_ones(shop: House, own: str) -> None:
    """404, whatever the id looks like."""
    for method, path in (
        ("GET", f"{PLANS}/{own}"),
        ("GET", f"{MEMBERS}/{own}"),
        ("DELETE", f"{PLANS}/{own}"),
        ("POST", f"{PLANS}/{own}/archive"),
        ("POST", f"{PLANS}/{own}/restore"),
    ):
        assert fields(shop.admin.call(method, path), 404) == set()
    assert fields(shop.admin.call("PATCH", f"{PLANS}/{own}", {"price": 1}), 404) == set()


# -- plans that change --------------------------------------------------------------------------


def test_a_change(shop: House) -> None:
    """What may change does, and the moment with it; what is as it was moves nothing."""
    made = shop.admin.create(description="old", sortOrder=1)
    changes = {
        "name": fresh("New"),
        "description": None,
        "price": 0.3,
        "currency": "GBP",
        "maxFreezeDays": 3,
        "autoRenew": True,
        "sortOrder": None,
    }
    changed = shop.admin.change(made["id"], **changes)
    assert changed.status_code == 200
    assert changed.json() == made | changes | {"updatedAt": changed.json()["updatedAt"]}
    assert changed.json()["updatedAt"] > made["updatedAt"]
    assert shop.admin.change(made["id"], **changes).json() == changed.json()
    assert shop.admin.change(made["id"]).json() == changed.json()


@pytest.mark.parametrize(
    "field", ["scope", "branchId", "durationType", "durationValue", "scopeKey"]
)
def test_what_never_changes(shop: House, field: str) -> None:
    """400, even for the value that it has."""
    made = shop.admin.create()
    assert fields(shop.admin.change(made["id"], **{field: made.get(field)}), 400) == {field}


def test_a_change_to_a_name_in_use(shop: House) -> None:
    """409 while it is active; its own name in another case is fine."""
    first, second = (shop.admin.create(fresh("Jährlich")) for _ in range(2))
    loud = first["name"].upper()
    answer = shop.admin.change(second["id"], name=loud, price=1)
    assert fields(answer, 409) == {"name"}
    assert shop.admin.get(second["id"]) == second
    assert shop.admin.change(first["id"], name=loud).json()["name"] == loud
    shop.admin.archive(second["id"])
    assert shop.admin.change(second["id"], name=loud).status_code == 200


def test_archive_and_restore(shop: House) -> None:
    """200 both times, and the second moves nothing; restored once, 400 then."""
    made = shop.admin.create()
    first, second = shop.admin.archive(made["id"]), shop.admin.archive(made["id"])
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json() == second.json()
    assert first.json()["status"] == "ARCHIVED"
    assert first.json()["updatedAt"] > made["updatedAt"]
    back = shop.admin.restore(made["id"])
    assert (back.status_code, back.json()["status"]) == (200, "ACTIVE")
    again = shop.admin.restore(made["id"])
    assert fields(again, 400) == set()
    assert "already active" in again.json()["message"]


def test_no_restore_to_a_name_in_use(shop: House) -> None:
    """400 with the sentence that the page promises, in another case, too."""
    name = fresh("Été")
    made = shop.admin.create(name)
    shop.admin.archive(made["id"])
    shop.admin.create(name.upper())
    answer = shop.admin.restore(made["id"])
    assert fields(answer, 400) == set()
    assert answer.json()["message"] == (
        "Cannot restore plan: an ACTIVE plan with the same name already exists for this scope."
    )
    assert shop.admin.get(made["id"])["status"] == "ARCHIVED"


def test_deleting(shop: House) -> None:
    """204; 400 as long as any member has it, of whatever status."""
    unsold, sold = shop.admin.create(), shop.admin.create()
    answer = shop.admin.delete(unsold["id"])
    assert (answer.status_code, answer.content) == (204, b"")
    assert shop.admin.delete(unsold["id"]).status_code == 404
    member = shop.admin.enrol(sold["id"]).json()["id"]
    shop.box.execute(f"UPDATE members SET status = 'CANCELLED' WHERE id = '{member}'")
    answer = shop.admin.delete(sold["id"])
    assert fields(answer, 400) == set()
    assert answer.json()["message"] == policy.HAS_MEMBERS


# -- members ------------------------------------------------------------------------------------


def test_a_member(shop: House) -> None:
    """Of today and at the plan's price where nothing else is said; its end is the plan's."""
    made = shop.admin.create(price=12.34, durationValue=3)
    answer = shop.staff().enrol(made["id"])
    assert answer.status_code == 201
    member = answer.json()
    assert member == {
        "id": member["id"],
        "tenantId": "t1",
        "branchId": "t1-b1",
        "membershipPlanId": made["id"],
        "status": "ACTIVE",
        "membershipStartDate": TODAY.isoformat(),
        "membershipEndDate": terms.end_date(TODAY, "MONTHS", 3).isoformat(),
        "membershipPriceAtPurchase": 12.34,
    }
    assert shop.staff().call("GET", f"{MEMBERS}/{member['id']}").json() == member


def test_a_member_with_a_day_and_a_price(shop: House) -> None:
    """As they are said."""
    made = shop.admin.create(durationValue=1)
    more = {"membershipStartDate": "2024-01-31", "membershipPriceAtPurchase": 0}
    member = shop.admin.enrol(made["id"], **more).json()
    assert (member["membershipEndDate"], member["membershipPriceAtPurchase"]) == ("2024-02-29", 0)


def test_who_may_add_members(shop: House) -> None:
    """STAFF in their own branch, without one in none, and nobody in another tenant's."""
    own = shop.admin.create()["id"]
    member = shop.admin.enrol(own, "t1-b2").json()["id"]
    for desk in (shop.staff(), shop.staff(None)):
        assert fields(desk.enrol(own, "t1-b2"), 403) == set()
        assert fields(desk.call("GET", f"{MEMBERS}/{member}"), 403) == set()
    assert fields(shop.admin.enrol(own, "t2-b1"), 403) == {"branchId"}
    assert fields(shop.admin.enrol(own, "nowhere"), 400) == {"branchId"}
    # A token that says a branch of another tenant opens nothing of that tenant.
    assert fields(shop.staff("t2-b1").enrol(own, "t2-b1"), 403) == {"branchId"}


def test_what_members_can_buy(shop: House) -> None:
    """Active plans of all branches or of theirs; of another tenant's no more is told than of none."""
    branch, gone = shop.admin.create(branch="t1-b2")["id"], shop.admin.create()["id"]
    shop.admin.archive(gone)
    foreign = shop.other.create()["id"]
    answers = [shop.admin.enrol(own) for own in (branch, gone, foreign, UNKNOWN, "nothing")]
    assert [fields(a, 400) for a in answers] == [{"membershipPlanId"}] * 5
    assert len({a.text for a in answers}) == 1
    assert shop.admin.enrol(branch, "t1-b2").status_code == 201


def test_counted_members(shop: House) -> None:
    """Those that are ACTIVE and end today or later."""
    made = shop.admin.create(durationType="DAYS", durationValue=1)
    day = date.fromisoformat
    for start in (TODAY - timedelta(1), TODAY, TODAY - timedelta(2)):
        shop.admin.enrol(made["id"], membershipStartDate=start.isoformat())
    frozen = shop.admin.enrol(made["id"]).json()
    assert day(frozen["membershipEndDate"]) == TODAY + timedelta(1)
    shop.box.execute(f"UPDATE members SET status = 'FROZEN' WHERE id = '{frozen['id']}'")
    path = f"{PLANS}?q={made['name']}"
    (row,) = shop.admin.call("GET", f"{path}&includeMemberCount=true").json()["data"]
    assert row["activeMemberCount"] == 2
    assert "activeMemberCount" not in shop.admin.call("GET", path).json()["data"][0]
    assert shop.admin.archive(made["id"]).json()["activeMemberCount"] == 2
    assert shop.admin.archive(made["id"]).json()["activeMemberCount"] == 2


# -- who asks -----------------------------------------------------------------------------------


WRITES = [
    ("POST", PLANS),
    ("PATCH", f"{PLANS}/x"),
    ("DELETE", f"{PLANS}/x"),
    ("POST", f"{PLANS}/x/archive"),
    ("POST", f"{PLANS}/x/restore"),
]


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_staff_only_reads_plans(shop: House, method: str, path: str) -> None:
    """403, before anything is said about a body or an id."""
    assert fields(shop.staff().call(method, path, "{"), 403) == set()


def test_a_token_of_a_tenant_that_is_not_there(shop: House) -> None:
    """It reads nothing and writes nothing."""
    stranger = shop.desk("t9", "ADMIN")
    assert stranger.call("GET", PLANS).json()["data"] == []
    assert fields(stranger.call("POST", PLANS, plan()), 403) == set()


@pytest.mark.parametrize("method", ["PUT", "TRACE", "OPTIONS"])
def test_other_methods(shop: House, method: str) -> None:
    """405 in the form of all errors, with all that is allowed."""
    for path, allowed in ((PLANS, "GET, POST"), (f"{PLANS}/x", "DELETE, GET, PATCH")):
        answer = shop.admin.call(method, path)
        assert fields(answer, 405) == set()
        assert answer.headers["allow"] == allowed


def test_other_addresses(shop: House) -> None:
    """404 in the form of all errors."""
    assert fields(shop.admin.call("GET", f"{API}/nothing"), 404) == set()
