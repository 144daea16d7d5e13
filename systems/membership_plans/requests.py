"""How a request is read: amounts exactly, and who asks before what is asked."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from systems.membership_plans import money
from systems.membership_plans.policy import refused


class ExactRequest(Request):
    """A request whose JSON numbers become Decimals.

    FastAPI reads the body before it asks for the token, and nobody without one is to be told
    anything about a body: one that cannot be read is handed on as a text, which no call takes.
    """

    unreadable = False

    async def json(self) -> Any:
        if not hasattr(self, "_exact"):
            try:
                self._exact = money.loads(await self.body())
            except (ValueError, RecursionError):
                self._exact, self.unreadable = "", True
        return self._exact


class ExactRoute(APIRoute):
    """A route whose handler gets an `ExactRequest`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def exact(request: Request) -> Response:
            own = ExactRequest(request.scope, request.receive)
            try:
                return await handle(own)
            except RequestValidationError:
                if own.unreadable:
                    raise refused(400, "The body cannot be read as JSON.") from None
                raise

        return exact
