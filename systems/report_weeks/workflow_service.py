"""A workflow service of our own: slow, failing, and forgetful of ids, as often as it is told.

It does the work of one Idempotency-Key once: a call that comes while another with its key is at
work waits for that one, and a later one gets the same answer. What failed is not remembered.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Any

from fastapi import FastAPI, Header
from pydantic import BaseModel
from starlette.responses import JSONResponse

from systems.report_weeks.client import DONE
from systems.report_weeks.models import Day, Name, Uuid
from systems.shared.web.fields import Model

TITLE = "Workflow service"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How it behaves.

    Attributes:
        fail_rate: of executions; every other of them with 503, the rest with a word of failure.
        no_id_rate: of those that succeed.
        latency: seconds on average; each takes from half to one and a half of it.
    """

    fail_rate: float = 0.0
    no_id_rate: float = 0.0
    latency: float = 0.2
    seed: int = 1


class Days(BaseModel):
    """From the one to the other, both included; in snake_case, as the workflow's SQL names them."""

    start_date: Day
    end_date: Day


class Order(Model):
    """What a workflow is to be executed for."""

    instance_id: Name
    parameters: Days


class Served(Model):
    """What the service has done so far."""

    calls: int
    executions: int
    repeated: int
    failed: int
    without_id: int


@dataclass(slots=True)
class _Desk:
    manner: Manner
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(Served.model_fields, 0))
    by_key: dict[str, asyncio.Future[dict[str, Any] | None]] = field(default_factory=dict)
    begun: int = 0

    async def answer(self, key: str | None, start: date) -> dict[str, Any] | None:
        """The body of an answer; None for 503."""
        self.counts["calls"] += 1
        if key is None:
            return await self._execute(start)
        if key in self.by_key:
            self.counts["repeated"] += 1
            return await asyncio.shield(self.by_key[key])
        # A task of its own: it goes on when the client has gone.
        self.by_key[key] = work = asyncio.ensure_future(self._execute(start))
        work.add_done_callback(lambda done: self._forget(key, done.result()))
        return await asyncio.shield(work)

    def _forget(self, key: str, body: dict[str, Any] | None) -> None:
        if body is None or body["status"] != DONE:
            del self.by_key[key]

    async def _execute(self, start: date) -> dict[str, Any] | None:
        # Of its number alone, so that a seed tells how many fail, whoever comes first.
        self.begun += 1
        dice = random.Random(f"{self.manner.seed} {self.begun}")
        fails = dice.random() < self.manner.fail_rate
        unavailable = fails and dice.random() < 0.5
        silent = dice.random() < self.manner.no_id_rate
        await asyncio.sleep(self.manner.latency * (0.5 + dice.random()))
        if fails:
            self.counts["failed"] += 1
        if unavailable:
            return None
        own = {"executionId": f"amc-{dice.getrandbits(40):010x}"}
        if fails:
            return {**own, "status": "FAILED", "error": "the query ran out of memory"}
        self.counts["executions"] += 1
        self.counts["without_id"] += silent
        rows = dice.randrange(90_000)
        body = {"status": DONE, "rowCount": rows, "data": {"rows": rows, "week": str(start)}}
        return body if silent else {**own, **body}


def make(manner: Manner) -> FastAPI:
    """The service."""
    app = FastAPI(title=TITLE, version="1", docs_url=None, redoc_url=None)
    desk = _Desk(manner)

    @app.post("/workflows/{workflow_id}/executions")
    async def execute(
        workflow_id: Uuid,
        order: Order,
        idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
    ) -> JSONResponse:
        """Execute a workflow for some days, and answer when it is done."""
        start = order.parameters.start_date
        body = await desk.answer(idempotency_key, start)
        if body is None:
            return JSONResponse({"error": "no capacity"}, 503)
        return JSONResponse(body)

    @app.get("/stats")
    async def stats() -> Served:
        """What it has done so far."""
        return Served(**desk.counts)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return app
