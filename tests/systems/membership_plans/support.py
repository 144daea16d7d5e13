"""What the tests of membership plans ask for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx

from tests.support.sandbox import Sandbox
from tests.systems.serving import Served, served
from tests.systems.support import after, before, made

NAME = "membership_plans"
API = "/api/v1"
PLANS = f"{API}/membership-plans"
MEMBERS = f"{API}/members"

_numbers = itertools.count(1)


def fresh(word: str = "Plan") -> str:
    """A name that no other test has."""
    return f"{word} {next(_numbers)}x"


def plan(name: str | None = None, branch: str | None = None, **more: Any) -> dict[str, Any]:
    """A body for a new plan: of all branches, or of one."""
    scope = {"scope": "BRANCH", "branchId": branch} if branch else {"scope": "TENANT"}
    terms = {"durationType": "MONTHS", "durationValue": 12, "price": 49.9}
    return {"name": name or fresh(), **scope, **terms, **more}


class Desk:
    """Somebody at work with a server."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """A request; a body that is a text is sent as it is, as JSON."""
        if isinstance(body, str | bytes):
            kind = {"Content-Type": "application/json"}
            return self.http.request(method, path, content=body, headers=kind)
        return self.http.request(method, path, json=body)

    def create(self, name: str | None = None, **more: Any) -> dict[str, Any]:
        """A plan that was made."""
        answer = self.call("POST", PLANS, plan(name, **more))
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def get(self, own: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call("GET", f"{PLANS}/{own}").json()
        return found

    def change(self, own: str, **changes: Any) -> httpx.Response:
        return self.call("PATCH", f"{PLANS}/{own}", changes)

    def archive(self, own: str) -> httpx.Response:
        return self.call("POST", f"{PLANS}/{own}/archive")

    def restore(self, own: str) -> httpx.Response:
        return self.call("POST", f"{PLANS}/{own}/restore")

    def delete(self, own: str) -> httpx.Response:
        return self.call("DELETE", f"{PLANS}/{own}")

    def enrol(self, own: str, branch: str = "t1-b1", **more: Any) -> httpx.Response:
        return self.call("POST", MEMBERS, {"membershipPlanId": own, "branchId": branch, **more})


class House:
    """A server, its database, and those who work with it.

    Attributes:
        address: of the server.
    """

    def __init__(self, server: Served, box: Sandbox, stack: ExitStack) -> None:
        self.server, self.box, self.address = server, box, server.address
        self._stack = stack
        self._desks: dict[Any, Desk] = {}
        self.admin = self.desk("t1", "ADMIN")
        self.other = self.desk("t2", "ADMIN")

    def desk(self, tenant: str, role: str, branch: str | None = None) -> Desk:
        key = (tenant, role, branch)
        if key not in self._desks:
            client = self.server.client(tenant_id=tenant, role=role, branch_id=branch)
            self._desks[key] = Desk(self._stack.enter_context(client))
        return self._desks[key]

    def staff(self, branch: str | None = "t1-b1") -> Desk:
        return self.desk("t1", "STAFF", branch)

    def rows(self, name: str) -> list[tuple[Any, ...]]:
        """Id, status and branch of the plans of t1 with a name, in any case."""
        sql = "SELECT id, status, branch_id FROM membership_plans WHERE lower(name) = '{}'"
        return self.box.rows(sql.format(name.lower()))

    def active(self, name: str) -> int:
        return sum(row[1] == "ACTIVE" for row in self.rows(name))


def at_once(calls: Sequence[Callable[[], httpx.Response]]) -> list[httpx.Response]:
    """All calls at the same time."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [f.result() for f in [pool.submit(call) for call in calls]]


@contextmanager
def house(box: Sandbox, *words: str) -> Iterator[House]:
    """A server on a database that is there."""
    with served(NAME, box.url, *words) as server, ExitStack() as stack:
        yield House(server, box, stack)


@contextmanager
def repaired(url: str) -> Iterator[House]:
    """The application on the repaired schema, with nothing sold yet."""
    with house(made(url, after(NAME))) as found:
        yield found


@contextmanager
def broken(url: str, rows: int = 0) -> Iterator[House]:
    """The original writers on the broken schema."""
    with house(made(url, before(NAME, rows)), "--naive") as found:
        yield found
