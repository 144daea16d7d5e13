"""Errors in an application's own form, whoever made them: it, the framework or the database."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from pydantic.alias_generators import to_camel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from onerow.write.http.problem import Answers, Problem
from onerow.write.http.starlette import install_problem_handlers
from systems.shared.web.fields import Model

log = logging.getLogger(__name__)

CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    409: "CONFLICT",
    412: "CHANGED_MEANWHILE",
    413: "TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
SENTENCES = {
    404: "There is nothing at this address.",
    405: "This address does not take the method.",
    413: "The request is too large.",
    500: "Something went wrong here; it is in the server's log.",
    503: "The database cannot be reached; try again in a moment.",
}
#: What calls may end in where one has to sign in.
ALWAYS = (400, 401, 403, 405, 413, 500, 503)


class Detail(Model):
    """A field at fault."""

    field: str
    message: str


class Fault(Exception):
    """An answer that is an error.

    Args:
        code: for programs; made of the status if absent.
        details: the fields at fault.
        more: whatever else an application's form tells.
    """

    def __init__(
        self,
        status: int,
        message: str = "",
        *,
        code: str = "",
        details: Sequence[Detail] = (),
        more: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code or CODES.get(status, f"HTTP_{status}")
        self.message = message or SENTENCES.get(status, HTTPStatus(status).phrase)
        self.details = tuple(details)
        self.more = dict(more or {})
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class ErrorForm:
    """How an application says errors.

    Attributes:
        model: of the body, for the OpenAPI document.
        body: makes it.
        always: every call may end in one of these.
    """

    model: type[BaseModel]
    body: Callable[[Fault], Mapping[str, Any]]
    media_type: str = "application/json"
    always: tuple[int, ...] = ALWAYS

    def respond(self, fault: Fault) -> Response:
        """The answer for a fault."""
        content = json.dumps(self.body(fault), default=str)
        return Response(content, fault.status, fault.headers, media_type=self.media_type)

    def documented(self, *statuses: int) -> dict[int | str, dict[str, Any]]:
        """`responses=` of a call that may end in these, and in those that every call may end in."""
        return {s: self._documented(s) for s in sorted({*self.always, *statuses})}

    def _documented(self, status: int) -> dict[str, Any]:
        schema = {"$ref": f"#/components/schemas/{self.model.__name__}"}
        described = SENTENCES.get(status, HTTPStatus(status).phrase)
        content = {self.media_type: {"schema": schema}}
        return {"description": described, "content": content, "model": self.model}


class PlainError(Model):
    """`error` is for programs, `message` for people."""

    error: str
    message: str
    details: tuple[Detail, ...] = ()


def plain(fault: Fault) -> dict[str, Any]:
    """The body of `PlainError`, with whatever the fault tells besides."""
    body: dict[str, Any] = {"error": fault.code, "message": fault.message}
    if fault.details:
        body["details"] = [d.model_dump() for d in fault.details]
    return {**body, **fault.more}


PLAIN = ErrorForm(PlainError, plain)


def of_problem(problem: Problem) -> Fault:
    """What the database said no to, as onerow tells it."""
    told = "" if problem.status == 503 else problem.detail or problem.title
    details = [Detail(field=f, message=problem.title) for f in problem.fields]
    return Fault(problem.status, told, details=details, headers=problem.headers)


def of_validation(error: RequestValidationError) -> Fault:
    """400 with every field at fault; what was sent is not repeated."""
    details = [Detail(field=_place(e["loc"]), message=_sentence(e)) for e in error.errors()]
    told = "; ".join(f"{d.field}: {d.message}" for d in details)
    return Fault(400, told, code="VALIDATION_ERROR", details=details)


def _place(loc: Sequence[int | str]) -> str:
    source, *rest = map(str, loc)
    # Of JSON that cannot be read, pydantic tells the character.
    # A default that is not valid is told by the field's own name.
    return ".".join(to_camel(r) for r in rest if not r.isdecimal()) or source


def _sentence(error: Mapping[str, Any]) -> str:
    return str(error["msg"]).removeprefix("Value error, ")


METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


def _allowed(app: FastAPI, request: Request) -> list[str]:
    """The methods of an address, of all its routes: Starlette tells those of the first."""

    def takes(method: str) -> bool:
        asked = {**request.scope, "method": method}
        return any(route.matches(asked)[0] == Match.FULL for route in app.routes)

    return [m for m in METHODS if takes(m)]


def install(app: FastAPI, form: ErrorForm) -> None:
    """Answer every error in the form of the application."""

    async def fault(_request: Request, error: Exception) -> Response:
        assert isinstance(error, Fault)
        return form.respond(error)

    async def validation(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return form.respond(of_validation(error))

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        told = str(error.detail) if error.status_code not in SENTENCES else ""
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_allowed(app, request))
        return form.respond(Fault(error.status_code, told, headers=headers))

    install_problem_handlers(
        app, Answers(body=lambda p: form.body(of_problem(p)), media_type=form.media_type)
    )
    app.add_exception_handler(Fault, fault)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(HTTPException, framework)
    app.add_middleware(Unforeseen, form=form)


class Unforeseen:
    """500 for what nobody has foreseen; the log has it, the answer has not.

    Starlette's own handler stands outside of all middleware, whose headers it would lack.
    """

    def __init__(self, app: ASGIApp, *, form: ErrorForm) -> None:
        self.app, self.form = app, form

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def sent(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, sent)
        except Exception:
            if started or scope["type"] != "http":
                raise
            log.exception("%s %s", scope["method"], scope["path"])
            await self.form.respond(Fault(500))(scope, receive, send)
