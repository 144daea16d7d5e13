"""What the tests of the workout planner share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from systems.shared.address import open_engine
from systems.shared.fixtures import build
from systems.shared.web.application import Serving
from systems.workout_planner import states
from systems.workout_planner.app import make
from tests.support.sandbox import Sandbox
from tests.systems.serving import PATIENCE, TOKENS, in_thread

ROWS = 300
SELECTED = "/api/selections/{}"
TWICE = (
    "SELECT count(*) FROM (SELECT 1 FROM workout_selections"
    " GROUP BY workout_id HAVING count(*) > 1) AS g"
)


@dataclass(frozen=True, slots=True)
class Planner:
    """The application over a database, and the database itself."""

    http: httpx.Client
    box: Sandbox
    address: str

    def put(self, workout: int, **fields: Any) -> httpx.Response:
        return self.http.put(SELECTED.format(workout), json=fields)

    def selection(self, workout: int) -> Any:
        """As everybody sees it."""
        answer = self.http.get(f"/api/workouts/{workout}")
        assert answer.status_code == 200, answer.text
        return answer.json()["selection"]


def before(url: str, rows: int = ROWS) -> Sandbox:
    """The broken state; without selections for no rows."""
    build(url, states.before(rows))
    return Sandbox(url)


def after(url: str) -> Sandbox:
    """The repaired state."""
    build(url, states.after())
    return Sandbox(url)


@contextmanager
def application(box: Sandbox, *, naive: bool = False, threads: int = 16) -> Iterator[Planner]:
    """The application behind a server of this process."""
    engine = open_engine(box.url, connections=threads)
    try:
        app = make(Serving(engine=engine, tokens=TOKENS, naive=naive))
        with in_thread(app) as address, httpx.Client(base_url=address, timeout=PATIENCE) as http:
            yield Planner(http, box, address)
    finally:
        engine.dispose()
