"""What the tests of report weeks share."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import sqlalchemy as sa

from systems.report_weeks.app import make
from systems.report_weeks.client import WorkflowService
from systems.report_weeks.ledger import Ledger
from systems.report_weeks.models import NewCollection
from systems.report_weeks.naive import NaiveLedger, NaiveStore
from systems.report_weeks.runner import Runner, Tally
from systems.report_weeks.store import Store
from systems.report_weeks.workflow_service import Manner
from systems.report_weeks.workflow_service import make as make_service
from systems.shared.address import open_engine
from systems.shared.web.application import Serving
from tests.support.sandbox import Sandbox
from tests.systems.serving import PATIENCE, TOKENS, in_thread
from tests.systems.support import FOLDER, after, before, made

NAME = "report_weeks"
WORKFLOW = "11111111-1111-4111-8111-111111111111"
NOWHERE = "00000000-0000-4000-8000-000000000000"
LEASE = timedelta(seconds=30)

_numbers = itertools.count(1)


def request(weeks: int = 52, name: str | None = None, **more: Any) -> dict[str, Any]:
    """A body for a new collection; the name is one that no other test has."""
    days = {2: "2024-01-14", 4: "2024-01-28", 12: "2024-03-24", 52: "2024-12-29"}
    own = name or f"Reach {next(_numbers)}x"
    said = {"name": own, "workflowId": WORKFLOW, "instanceId": "i-1"}
    return {**said, "startDate": "2024-01-01", "endDate": days[weeks], **more}


def repaired(url: str) -> Sandbox:
    return made(url, after(NAME))


def broken(url: str, rows: int = 0) -> Sandbox:
    return made(url, before(NAME, rows))


@contextmanager
def engine_of(box: Sandbox) -> Iterator[sa.Engine]:
    engine = open_engine(box.url, connections=16)
    try:
        yield engine
    finally:
        engine.dispose()


# -- the application ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class House:
    """The application over a database, and the database itself."""

    http: httpx.Client
    box: Sandbox
    address: str

    def create(self, weeks: int = 4, **more: Any) -> dict[str, Any]:
        """A collection that was made."""
        answer = self.http.post("/collections", json=request(weeks, **more))
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def weeks(self, collection: str) -> list[dict[str, Any]]:
        """As the heat map shows them."""
        strips = self.http.get("/heat-map?limit=200").json()["collections"]
        (found,) = (s["weeks"] for s in strips if s["id"] == collection)
        return list(found)


@contextmanager
def application(box: Sandbox, *, naive: bool = False) -> Iterator[House]:
    """Behind a server of this process."""
    with engine_of(box) as engine:
        app = make(Serving(engine=engine, tokens=TOKENS, naive=naive))
        with in_thread(app) as address, httpx.Client(base_url=address, timeout=PATIENCE) as http:
            yield House(http, box, address)


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """All calls at the same time."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [f.result() for f in [pool.submit(call) for call in calls]]


# -- service and runners --------------------------------------------------------------------------


@contextmanager
def workflows(**manner: Any) -> Iterator[str]:
    """The workflow service in this process; its address."""
    with in_thread(make_service(Manner(**{"latency": 0.01, **manner}))) as address:
        yield address


def stats(address: str) -> dict[str, int]:
    found: dict[str, int] = httpx.get(f"{address}/stats").json()
    return found


def collect(
    box: Sandbox,
    service: str,
    *collections: str,
    naive: bool = False,
    attempts: int = 3,
    lease: timedelta = LEASE,
) -> Tally:
    """Run collections in this process, to their end."""

    async def work(book: Any) -> Tally:
        async with WorkflowService(service, attempts=attempts, timeout=20) as client:
            return await Runner(book, client).run(collections)

    with engine_of(box) as engine:
        book: Any = NaiveLedger(engine, lease) if naive else Ledger(engine, "tests", lease)
        # In a thread of its own: in that of a browser a loop is running already.
        (tally,) = at_once([lambda: asyncio.run(work(book))])
    return tally


def created(box: Sandbox, weeks: int = 52, *, naive: bool = False) -> str:
    """The id of a new collection."""
    with engine_of(box) as engine:
        store = (NaiveStore if naive else Store)(engine)
        row, _ = store.create(NewCollection.model_validate(request(weeks)))
    return str(row["id"])


class Running:
    """`python -m systems.report_weeks run …` in a process of its own."""

    def __init__(self, url: str, service: str, *words: str, lease: float) -> None:
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"systems.{NAME}", "run", *words, "--url", url],
            cwd=FOLDER.parent,
            env={
                **os.environ,
                "WORKFLOW_SERVICE_URL": service,
                "REPORT_WEEKS_LEASE_SECONDS": str(lease),
            },
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=subprocess.STDOUT,
        )

    @property
    def said(self) -> str:
        return os.pread(self._said.fileno(), 10**6, 0).decode()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> int:
        return self.process.wait(60)

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        self._said.close()


@contextmanager
def running(url: str, service: str, *words: str, lease: float = 30) -> Iterator[Running]:
    """A runner, killed at the latest when the block ends."""
    started = Running(url, service, *words, lease=lease)
    try:
        yield started
    finally:
        started.close()


def by_status(box: Sandbox, collection: str) -> dict[str, int]:
    sql = f"SELECT status, count(*) FROM report_data_weeks WHERE collection_id = '{collection}' GROUP BY 1"
    return dict(box.rows(sql))
