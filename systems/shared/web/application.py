"""An application with everything that all systems have around their own calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import anyio.to_thread
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from systems.shared.web import errors, measures
from systems.shared.web.errors import ErrorForm
from systems.shared.web.headers import SecurityHeaders
from systems.shared.web.limits import BodyLimit
from systems.shared.web.tokens import Tokens

THREADS = 16  #: each with a connection; further requests wait for one, in order
MOST_BYTES = 256 * 1024

Around = Callable[[], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What `serve` was told.

    Attributes:
        naive: with the original writers.
    """

    engine: sa.Engine
    tokens: Tokens
    naive: bool = False


def make_app(
    serving: Serving,
    *,
    title: str,
    description: str,
    form: ErrorForm = errors.PLAIN,
    most_bytes: int = MOST_BYTES,
    health: measures.More = dict,
    health_at: Sequence[str] = (measures.HEALTH,),
    around: Around = nullcontext,
) -> FastAPI:
    """An application without calls of its own.

    Args:
        form: of all errors.
        most_bytes: of a request's body.
        health: what /health tells besides.
        health_at: its addresses.
        around: what runs while the application does.
    """
    app = _Documented(
        title=title,
        description=description,
        version="1",
        # Their pages load scripts from elsewhere, which our policy forbids.
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(around),
    )
    errors.install(app, form)
    app.add_middleware(BodyLimit, most=most_bytes, form=form)
    measures.install(app, serving.engine, form, health, health_at)
    app.add_middleware(SecurityHeaders)
    return app


def _lifespan(around: Around) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        async with around():
            yield

    return lifespan


class _Documented(FastAPI):
    """Bad requests are 400 here, never FastAPI's 422."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            document = get_openapi(
                title=self.title,
                version=self.version,
                description=self.description,
                routes=self.routes,
            )
            for call in (c for path in document["paths"].values() for c in path.values()):
                call["responses"].pop("422", None)
            schemas = document.get("components", {}).get("schemas", {})
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            self.openapi_schema = document
        return self.openapi_schema
