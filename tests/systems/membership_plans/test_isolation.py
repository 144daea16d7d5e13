"""Scenario 4: nobody reads or changes anything of another tenant, by any route there is.

The routes come from the OpenAPI document: one that is added and not told of here fails the tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tests.systems.membership_plans.support import Desk, House, fresh, plan
from tests.systems.membership_plans.test_contract import CONTRACT

DOCUMENT = yaml.safe_load(CONTRACT.read_text(encoding="utf-8"))
ROUTES = [
    (method, path, call)
    for path, calls in DOCUMENT["paths"].items()
    for method, call in calls.items()
    if "security" in call
]
each = pytest.mark.parametrize(
    ("method", "path", "call"), ROUTES, ids=[c["operationId"] for _, _, c in ROUTES]
)
intruders = pytest.mark.parametrize(
    ("role", "branch"), [("ADMIN", None), ("STAFF", "t2-b1"), ("STAFF", "t1-b1")]
)


@dataclass(frozen=True)
class Target:
    """What t1 has, by the names that parameters and fields have for it."""

    plan: dict[str, Any]
    archived: dict[str, Any]
    member: dict[str, Any]

    @property
    def secrets(self) -> set[str]:
        words = {self.plan["id"], self.archived["id"], self.member["id"]}
        return words | {self.plan["name"], self.archived["name"]}

    def place(self, name: str) -> str:
        """A value of t1 for a parameter; a KeyError: a route has one that nobody thought of."""
        found: str = {"planId": self.plan["id"], "memberId": self.member["id"]}[name]
        return found

    def query(self, name: str) -> Any:
        known = {
            "branchId": "t1-b1",
            "scope": "BRANCH",
            "status": "ACTIVE",
            "q": "plan",
            "page": 1,
            "limit": 100,
            "includeArchived": "true",
            "includeMemberCount": "true",
        }
        return known[name]

    def body(self, schema: str) -> Any:
        """A good body for t1."""
        known = {
            "NewPlan": plan(branch="t1-b1"),
            "PlanChange": {"name": fresh("Taken"), "price": 1},
            "NewMember": {"membershipPlanId": self.plan["id"], "branchId": "t1-b1"},
        }
        return known[schema]


@pytest.fixture(scope="module")
def target(shop: House) -> Iterator[Target]:
    """Plans and a member of t1, which must be as they were in the end."""
    mine = shop.admin.create(fresh("Mine"), branch="t1-b1")
    gone = shop.admin.create(fresh("Gone"))
    member = shop.admin.enrol(mine["id"]).json()
    archived = shop.admin.archive(gone["id"]).json()
    found = Target(mine, archived, member)
    before = everything(shop)
    yield found
    assert everything(shop) == before


def everything(shop: House) -> list[Any]:
    """All rows of t1."""
    tables = ("membership_plans", "members", "branches")
    return [shop.box.rows(f"SELECT * FROM {t} WHERE tenant_id = 't1' ORDER BY id") for t in tables]


def requests(target: Target, path: str, call: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Path and body of a call for what t1 has: with no query, with each parameter, with all."""
    named = call.get("parameters", [])
    for parameter in named:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", target.place(parameter["name"]))
    asked = [f"{p['name']}={target.query(p['name'])}" for p in named if p["in"] == "query"]
    content = call.get("requestBody", {}).get("content", {})
    reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
    body = target.body(reference.rpartition("/")[2]) if content else None
    for query in {"", *asked, "&".join(asked)}:
        yield f"{path}?{query}", body


@each
@intruders
def test_no_route_leads_to_another_tenant(
    shop: House,
    target: Target,
    method: str,
    path: str,
    call: dict[str, Any],
    role: str,
    branch: str | None,
) -> None:
    """What is asked for by id is 403; nothing else tells or changes anything of t1."""
    intruder = shop.desk("t2", role, branch)
    for address, body in requests(target, path, call):
        answer = intruder.call(method.upper(), address, body)
        assert not [word for word in target.secrets if word in answer.text]
        if "{" in path:
            assert answer.status_code == 403
        elif body is not None:
            assert answer.status_code in (400, 403)
        else:
            assert answer.status_code == (400 if "branchId=t1-b1" in address else 200)
            assert "t1" not in answer.text


def test_no_more_than_403_and_404(shop: House, target: Target) -> None:
    """An id of another tenant is 403 and one of nobody 404, the same for all of a kind."""
    seen = set()
    for own in (target.plan["id"], target.archived["id"]):
        for method, rest in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/archive")):
            path = f"/api/v1/membership-plans/{own}{rest}"
            answer = shop.other.call(method, path, {} if method == "PATCH" else None)
            seen.add((answer.status_code, answer.text))
    assert len(seen) == 1


def test_a_plan_of_another_tenant_is_not_sold(shop: House, target: Target) -> None:
    """In an own branch either: it is answered as one that nobody has."""
    answers = [shop.other.enrol(own, "t2-b1") for own in (target.plan["id"], "nobody's")]
    assert [a.status_code for a in answers] == [400, 400]
    assert answers[0].text == answers[1].text


def test_the_owner_gets_in(shop: House, target: Target) -> None:
    """The same requests, by their own tenant: else the tests above would prove nothing."""
    owner: Desk = shop.admin
    for method, path, call in ROUTES:
        if method == "get":
            for address, body in requests(target, path, call):
                assert owner.call(method, address, body).status_code == 200, address
