"""For Starlette and FastAPI: problem answers, and the Idempotency-Key middleware.

    install_problem_handlers(app)
    app.add_middleware(IdempotencyMiddleware, sessions=async_sessionmaker(engine))

A handler takes the transaction of its request from ``request.state.onerow_session``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from onerow import aio
from onerow.write.errors import InFlight, WriteError
from onerow.write.http.idempotency import HEADER, LOST, TOO_LARGE, Kept, Request, Rules, header
from onerow.write.http.problem import Answers, Problem
from onerow.write.operations import Replay, operation
from onerow.write.retry import Course, begin

STATE = "onerow_session"
ERROR = "onerow_error"


def respond(problem: Problem, answers: Answers | None = None) -> Response:
    """A response with the problem's body; also for `spooled_problem`."""
    form = answers or Answers()
    content = json.dumps(form.body(problem), default=str)
    headers = dict(problem.headers)
    return Response(content, problem.status, headers, media_type=form.media_type)


def install_problem_handlers(app: Any, answers: Answers | None = None) -> None:
    """Answer database errors with problem documents.

    Args:
        app: Starlette or FastAPI.
        answers: an application's own statuses and bodies.
    """
    form = answers or Answers()

    async def handle(request: HttpRequest, exc: Exception) -> Response:
        problem = form.problem_of(exc, if_match="if-match" in request.headers)
        if problem is None:
            raise exc
        request.scope.setdefault("state", {})[ERROR] = exc
        return respond(problem, form)

    for kind in (DBAPIError, WriteError, PoolTimeout, ConnectionError):
        app.add_exception_handler(kind, handle)


class IdempotencyMiddleware:
    """Does each request with an Idempotency-Key once.

    Args:
        app: the application.
        sessions: a sessionmaker or async_sessionmaker; handlers use the session of the request.
        rules: which requests.
        caller: who asks, so that two callers may use one key; the Authorization header if absent.
        answers: form of the problem answers.
    """

    def __init__(
        self,
        app: ASGIApp,
        sessions: Callable[[], Any],
        rules: Rules | None = None,
        caller: Callable[[HttpRequest], str] | None = None,
        answers: Answers | None = None,
    ) -> None:
        self.app = app
        self.sessions = sessions
        self.rules = rules or Rules()
        self.caller = caller or (lambda request: request.headers.get("authorization", ""))
        self.answers = answers or Answers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in self.rules.methods:
            await self.app(scope, receive, send)
            return
        http = HttpRequest(scope)
        key = http.headers.get(HEADER)
        refused = self.rules.refuse(scope["method"], scope["path"], key)
        if refused is not None or key is None:
            answer = respond(refused, self.answers) if refused else self.app
            await answer(scope, receive, send)
            return
        body = await _body(receive, self.rules.max_body)
        if body is None:
            await respond(TOO_LARGE, self.answers)(scope, receive, send)
            return
        query = scope.get("query_string", b"").decode("latin-1")
        request = Request(scope["method"], scope["path"], query, body, self.caller(http))
        response = await self._guarded(request, request.op_id(key), scope)
        await response(scope, receive, send)

    async def _guarded(self, request: Request, op_id: str, scope: Scope) -> Response:
        if not self.rules.running.enter(op_id):
            return self._problem(InFlight())
        try:
            return await self._tried(request, op_id, scope)
        finally:
            self.rules.running.leave(op_id)

    async def _tried(self, request: Request, op_id: str, scope: Scope) -> Response:
        course = Course(self.rules.retry, f"{request.method} {request.path}")
        while True:
            attempt = _Attempt(self, request, op_id, scope)
            try:
                response = await attempt.run()
            except Exception as exc:
                try:
                    delay = course.failed(exc, attempt.known, attempt.committing)
                except Exception as final:
                    return self._problem(final)
                await asyncio.sleep(delay)
            else:
                course.done()
                return response

    def _problem(self, exc: Exception) -> Response:
        problem = self.answers.problem_of(exc)
        if problem is None:
            raise exc
        return respond(problem, self.answers)


class _Attempt:
    """One run of the request in one transaction."""

    def __init__(
        self, owner: IdempotencyMiddleware, request: Request, op_id: str, scope: Scope
    ) -> None:
        self.owner = owner
        self.request = request
        self.op_id = op_id
        self.scope = scope
        self.known: Any = None
        self.committing = False

    async def run(self) -> Response:
        session = self.owner.sessions()
        is_async = isinstance(session, AsyncSession)
        self.known = session.sync_session if is_async else session
        try:
            return await (self._async(session) if is_async else self._sync(session))
        finally:
            await (session.close() if is_async else run_in_threadpool(session.close))

    async def _async(self, session: AsyncSession) -> Response:
        await session.run_sync(begin, None, False)
        op = await aio.operation(session, self.op_id, self.request.fingerprint, wait=False)
        if isinstance(op, Replay):
            return self._again(op)
        kept = await self._handled(session)
        if kept.keep:
            await op.store(kept.to_json())
            self.committing = True
            await session.commit()
        return _response(kept)

    async def _sync(self, session: Any) -> Response:
        await run_in_threadpool(begin, session, None, False)
        print_ = self.request.fingerprint
        op = await run_in_threadpool(operation, session, self.op_id, print_, wait=False)
        if isinstance(op, Replay):
            return self._again(op)
        kept = await self._handled(session)
        if kept.keep:
            await run_in_threadpool(op.store, kept.to_json())
            self.committing = True
            await run_in_threadpool(session.commit)
        return _response(kept)

    def _again(self, op: Replay) -> Response:
        kept = Kept.from_json(op.result)
        return respond(LOST, self.owner.answers) if kept is None else _response(kept.replayed())

    async def _handled(self, session: Any) -> Kept:
        """Run the application; what passes by itself is raised, so that it is tried again."""
        state = {**self.scope.get("state", {}), STATE: session}
        scope = {**self.scope, "state": state}
        messages: list[Message] = []

        async def send(message: Message) -> None:
            messages.append(message)

        await self.owner.app(scope, _replayed_body(self.request.body), send)
        error = state.get(ERROR)
        if error is not None:
            from onerow.write.transient import transient_of

            if transient_of(error) is not None:
                raise error
        return _kept(messages)


def _kept(messages: list[Message]) -> Kept:
    start = next(m for m in messages if m["type"] == "http.response.start")
    raw = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in start["headers"]]
    body = b"".join(m.get("body", b"") for m in messages if m["type"] == "http.response.body")
    return Kept(start["status"], tuple(raw), body)


def _response(kept: Kept) -> Response:
    response = Response(kept.body, kept.status)
    response.raw_headers = [
        (n.encode("latin-1"), v.encode("latin-1"))
        for n, v in kept.headers
        if n.lower() != "content-length"
    ]
    if header(kept.headers, "content-length") is not None or kept.body:
        response.headers["content-length"] = str(len(kept.body))
    return response


def _replayed_body(body: bytes) -> Receive:
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            await asyncio.Event().wait()  # nobody disconnects while the request is worked on
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _body(receive: Receive, limit: int) -> bytes | None:
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        more: bytes = message.get("body", b"")
        body += more
        if len(body) > limit:
            return None
        if not message.get("more_body", False):
            return body
