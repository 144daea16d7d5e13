"""Whole requests in every interleaving of their statements: the original writers, and ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from onerow.race import explore
from systems.membership_plans import races
from systems.membership_plans.app import make
from systems.membership_plans.claims import Claims
from systems.shared.address import open_engine
from systems.shared.fixtures import build
from systems.shared.web.application import Serving
from tests.systems.membership_plans.support import NAME, PLANS, plan
from tests.systems.serving import TOKENS
from tests.systems.support import after, before, made

OWN = "the-archived-one"


@dataclass
class Arena:
    """An application in this process, and what its requests were answered."""

    app: FastAPI
    engine: sa.Engine
    status: str = "ARCHIVED"
    answers: list[httpx.Response] = field(default_factory=list)

    def __post_init__(self) -> None:
        claims = Claims(sub="anna", tenant_id="t1", role="ADMIN")
        self.headers = {"Authorization": f"Bearer {TOKENS.mint(claims)}"}

    def request(self, path: str, body: Any = None) -> Callable[[Any], None]:
        """A worker that posts."""

        def post(_factory: Any) -> None:
            self.answers.append(asyncio.run(self._post(path, body)))

        post.__name__ = path.rpartition("/")[2].replace("-", "_")
        return post

    async def _post(self, path: str, body: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://plans") as client:
            return await client.post(path, json=body, headers=self.headers)

    def setup(self, connection: sa.Connection) -> None:
        self.answers.clear()
        connection.execute(sa.text("DELETE FROM membership_plans"))
        columns = (
            "id, tenant_id, scope, name, duration_type, duration_value, price, currency, status"
        )
        values = f"'{OWN}', 't1', 'TENANT', 'GOLD', 'DAYS', 30, 100, 'EUR', '{self.status}'"
        connection.execute(sa.text(f"INSERT INTO membership_plans ({columns}) VALUES ({values})"))

    def one_active(self, connection: sa.Connection) -> bool:
        """One active plan of the name, and answers that are documented."""
        sql = "SELECT count(*) FROM membership_plans WHERE status = 'ACTIVE'"
        known = {(200, 409), (201, 400), (201, 409), (200, 201)}
        answered = tuple(sorted(a.status_code for a in self.answers))
        fits = answered in {tuple(sorted(k)) for k in known}
        return fits and connection.execute(sa.text(sql)).scalar() == 1

    def moved_once(self, _connection: sa.Connection) -> bool:
        """Both archived it, and saw the same moment of it."""
        assert all(a.status_code == 200 for a in self.answers)
        return len({a.json()["updatedAt"] for a in self.answers}) == 1


def arena(url: str, *, naive: bool, status: str = "ARCHIVED") -> Arena:
    made(url, before(NAME, 0) if naive else after(NAME))
    engine = open_engine(url, connections=6)
    app = make(Serving(engine=engine, tokens=TOKENS, naive=naive))
    return Arena(app, engine, status)


CREATE = (PLANS, plan("Gold"))
RESTORE = (f"{PLANS}/{OWN}/restore", None)
ARCHIVE = (f"{PLANS}/{OWN}/archive", None)


def verdicts(url: str, naive: bool, *calls: tuple[str, Any], status: str = "ARCHIVED") -> Any:
    found = arena(url, naive=naive, status=status)
    invariant = found.moved_once if ARCHIVE in calls else found.one_active
    try:
        workers = [found.request(*call) for call in calls]
        return explore(found.engine, workers, setup=found.setup, invariant=invariant)
    finally:
        found.engine.dispose()


CALLS = {
    "create and create": (CREATE, CREATE),
    "restore and create": (RESTORE, CREATE),
    "archive and archive": (ARCHIVE, ARCHIVE),
}
each = pytest.mark.parametrize("race", CALLS)


@each
def test_the_original_writers_lose(db_url: str, race: str) -> None:
    """The explorer finds the interleaving."""
    status = "ACTIVE" if race.startswith("archive") else "ARCHIVED"
    result = verdicts(db_url, True, *CALLS[race], status=status)
    assert result.verdict == "broken", result


@each
def test_ours_hold(db_url: str, race: str) -> None:
    """In every interleaving that there is."""
    status = "ACTIVE" if race.startswith("archive") else "ARCHIVED"
    result = verdicts(db_url, False, *CALLS[race], status=status)
    assert (result.verdict, result.exhausted) == ("holds", True), result


@pytest.mark.parametrize("race", races.RACES)
def test_the_races_of_the_story(sqlite_url: str, race: str) -> None:
    """Without HTTP: lost before, held after, and nothing is left behind."""
    for state, naive, verdict in ((before(NAME, 0), True, "broken"), (after(NAME), False, "holds")):
        build(sqlite_url, state, force=True)
        engine = open_engine(sqlite_url)
        assert races.explored(engine, race, naive=naive).verdict == verdict
        with engine.connect() as connection:
            left = connection.execute(sa.text("SELECT count(*) FROM membership_plans")).scalar()
        engine.dispose()
        assert left == 0
