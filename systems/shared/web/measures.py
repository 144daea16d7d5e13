"""`GET /health` and `GET /metrics`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from onerow.write import observe
from onerow.write.metrics import LATENCY, Prometheus
from systems.shared.web.errors import ErrorForm

HEALTH = "/health"
log = logging.getLogger(__name__)


class _Races:
    """Each write that came second is a line of the log, without a value in it."""

    def raced(self, verb: str, table: str) -> None:
        log.info("race: an %s of %s found that another writer was faster", verb, table)


class Health(BaseModel):
    """The database answers."""

    model_config = ConfigDict(extra="allow")
    status: str


More = Callable[[], dict[str, Any]]


def install(
    app: FastAPI,
    engine: sa.Engine,
    form: ErrorForm,
    more: More = dict,
    addresses: Sequence[str] = (HEALTH,),
) -> None:
    """Add both; what onerow's writes tell is among the metrics.

    Args:
        more: what health tells besides.
        addresses: of health.
    """
    registry = CollectorRegistry()
    observe(Prometheus(registry), _Races())
    errors: dict[int | str, dict[str, Any]]
    errors = {s: r for s, r in form.documented().items() if s in (405, 413, 500, 503)}

    def health() -> dict[str, Any]:
        """Whether the database can be reached; 503 otherwise."""
        with engine.connect() as connection:
            connection.execute(sa.text("SELECT 1"))
        return {"status": "ok", **more()}

    for address in addresses:
        app.add_api_route(
            address, health, response_model=Health, responses=errors, tags=["operation"]
        )

    text = {"content": {"text/plain": {"schema": {"type": "string"}}}}

    @app.get(
        "/metrics",
        response_class=Response,
        responses={**errors, 200: {"description": "Prometheus' text format", **text}},
        tags=["operation"],
    )
    def metrics() -> Response:
        """Requests, writes, conflicts and retries since the start."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    app.add_middleware(Requests, registry=registry)


class Requests:
    """Counts and times requests by the route that answered them."""

    def __init__(self, app: ASGIApp, *, registry: CollectorRegistry) -> None:
        self.app = app
        labels = ["method", "route"]
        self.requests = Counter(
            "http_requests_total", "Requests by answer", [*labels, "status"], registry=registry
        )
        self.seconds = Histogram(
            "http_request_seconds", "Time of a request", labels, buckets=LATENCY, registry=registry
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, began = 500, time.perf_counter()

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, sent)
        finally:
            # Paths and methods are the clients' to invent; each would be a series of its own.
            route = getattr(scope.get("route"), "path", "")
            method = scope["method"] if route else ""
            self.requests.labels(method, route, status).inc()
            self.seconds.labels(method, route).observe(time.perf_counter() - began)
