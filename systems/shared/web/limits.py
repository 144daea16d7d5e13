"""A limit for the size of requests, told by their length or found while they come in."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from systems.shared.web.errors import ErrorForm, Fault

DRAINED = 8 * 2**20  #: bytes that are read and thrown away, so that the client sees the answer


class BodyLimit:
    """413 for a request with a larger body."""

    def __init__(self, app: ASGIApp, *, most: int, form: ErrorForm) -> None:
        self.app, self.most, self.form = app, most, form

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif _length(scope) > self.most:
            await _drain(receive)
            await self.form.respond(Fault(413, headers=CLOSE))(scope, receive, send)
        else:
            await self.app(scope, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.most:
                if message.get("more_body", False):
                    await _drain(receive)
                raise HTTPException(413, headers=CLOSE)
            return message

        return counted


CLOSE = {"Connection": "close"}


def _length(scope: Scope) -> int:
    text = dict(scope["headers"]).get(b"content-length", b"0")
    return int(text) if text.isdigit() else 0


async def _drain(receive: Receive) -> None:
    left = DRAINED
    while left > 0:
        message = await receive()
        left -= len(message.get("body", b""))
        if not message.get("more_body", False):
            return
