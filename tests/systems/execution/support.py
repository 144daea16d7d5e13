"""What the tests of execution data share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import sqlalchemy as sa

from systems.execution_data import reports, schema, states
from systems.execution_data.app import make
from systems.execution_data.claims import Claims
from systems.shared.address import open_engine
from systems.shared.fixtures import State, build
from systems.shared.web.application import Serving
from tests.support.sandbox import Sandbox
from tests.systems.serving import PATIENCE, TOKENS, in_thread

ROOT = "/api/execution-data"
PERIOD, FREE = 4, 39  #: an activity of the newest period that nobody has reported
ROWS = 60


def bearer(facility: int = 1, role: str = "ACCOUNTANT", sub: str = "tester") -> dict[str, str]:
    claims = Claims(sub=sub, role=role, facility_id=facility)  # type: ignore[arg-type]
    return {"Authorization": f"Bearer {TOKENS.mint(claims)}"}


ADMIN = bearer(9, "ADMIN")


def report(facility: int | None = None, activity: int = FREE, **more: Any) -> dict[str, Any]:
    """A body for POST."""
    body = {"reportingPeriodId": PERIOD, "activityId": activity, "q1Amount": 100, **more}
    return body if facility is None else {**body, "facilityId": facility}


def during(rows: int = ROWS) -> State:
    """The column is there and NULL in every row, and both keys stand."""
    size = reports.Size(rows)
    return State(schema.during(), reports.COLUMNS, reports.before_rows(size, 1))


STATES = {"before": lambda: states.before(ROWS), "during": during, "after": states.after}


def state(url: str, name: str) -> Sandbox:
    """A database in a state."""
    build(url, STATES[name]())
    return Sandbox(url)


@contextmanager
def application(url: str, *, naive: bool = False) -> Iterator[httpx.Client]:
    """The application over a database; the environment says FACILITY_SCOPE."""
    engine = open_engine(url, connections=16)
    try:
        app = make(Serving(engine=engine, tokens=TOKENS, naive=naive))
        with in_thread(app) as address, client(address) as http:
            yield http
    finally:
        engine.dispose()


def client(address: str) -> httpx.Client:
    limits = httpx.Limits(max_connections=64)
    return httpx.Client(base_url=address, timeout=PATIENCE, limits=limits)


def ledger(box: Sandbox, number: int) -> list[tuple[int, float]]:
    """Quarter and amount of a row's postings, in their order."""
    unit = 100 if box.sqlite else 1
    sql = f"SELECT quarter, amount FROM execution_ledger WHERE execution_data_id = {number} ORDER BY id"
    return [(quarter, float(amount) / unit) for quarter, amount in box.rows(sql)]


def count(engine: sa.Engine, table: str) -> int:
    with engine.connect() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())
