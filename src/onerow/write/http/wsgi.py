"""The Idempotency-Key middleware for WSGI applications: Flask, Django, and what else speaks WSGI.

A view takes the transaction of its request from ``environ["onerow.session"]``.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from onerow.write.errors import InFlight
from onerow.write.http.idempotency import HEADER, LOST, TOO_LARGE, Kept, Request, Rules
from onerow.write.http.problem import Answers, Problem
from onerow.write.operations import Replay, operation
from onerow.write.retry import Course, begin
from onerow.write.transient import transient_of

SESSION = "onerow.session"
ERROR = "onerow.error"
Environ = dict[str, Any]
StartResponse = Callable[..., Any]


def kept_of(problem: Problem, answers: Answers) -> Kept:
    """A problem as an answer."""
    body = json.dumps(answers.body(problem), default=str).encode()
    headers = (("Content-Type", answers.media_type), *problem.headers.items())
    return Kept(problem.status, headers, body)


class IdempotencyMiddleware:
    """Does each request with an Idempotency-Key once.

    Args:
        app: the WSGI application.
        sessions: a sessionmaker; views use the session of the request.
        rules: which requests.
        caller: who asks, out of the WSGI environ; the Authorization header if absent.
        answers: form of the problem answers.
    """

    def __init__(
        self,
        app: Callable[[Environ, StartResponse], Iterable[bytes]],
        sessions: Callable[[], Any],
        rules: Rules | None = None,
        caller: Callable[[Environ], str] | None = None,
        answers: Answers | None = None,
    ) -> None:
        self.app = app
        self.sessions = sessions
        self.rules = rules or Rules()
        self.caller = caller or (lambda environ: environ.get("HTTP_AUTHORIZATION", ""))
        self.answers = answers or Answers()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
        if method not in self.rules.methods:
            return self.app(environ, start_response)
        key = environ.get("HTTP_" + HEADER.upper().replace("-", "_"))
        refused = self.rules.refuse(method, path, key)
        if refused is not None:
            return _send(kept_of(refused, self.answers), start_response)
        if key is None:
            return self.app(environ, start_response)
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if length > self.rules.max_body:
            return _send(kept_of(TOO_LARGE, self.answers), start_response)
        body = environ["wsgi.input"].read(length) if length else b""
        query = environ.get("QUERY_STRING", "")
        request = Request(method, path, query, body, self.caller(environ))
        return _send(self._guarded(request, request.op_id(key), environ), start_response)

    def _guarded(self, request: Request, op_id: str, environ: Environ) -> Kept:
        if not self.rules.running.enter(op_id):
            return self._problem(InFlight())
        try:
            return self._tried(request, op_id, environ)
        finally:
            self.rules.running.leave(op_id)

    def _tried(self, request: Request, op_id: str, environ: Environ) -> Kept:
        course = Course(self.rules.retry, f"{request.method} {request.path}")
        while True:
            session, committing = self.sessions(), [False]
            try:
                kept = self._attempt(session, committing, request, op_id, dict(environ))
            except Exception as exc:
                try:
                    delay = course.failed(exc, session, committing[0])
                except Exception as final:
                    return self._problem(final)
                time.sleep(delay)
            else:
                course.done()
                return kept

    def _attempt(
        self, session: Any, committing: list[bool], request: Request, op_id: str, environ: Environ
    ) -> Kept:
        with session:
            begin(session, None, False)
            op = operation(session, op_id, request.fingerprint, wait=False)
            if isinstance(op, Replay):
                kept = Kept.from_json(op.result)
                return kept_of(LOST, self.answers) if kept is None else kept.replayed()
            environ |= {SESSION: session, "wsgi.input": io.BytesIO(request.body)}
            kept = _captured(self.app, environ)
            error = environ.get(ERROR)
            if error is not None and transient_of(error) is not None:
                raise error
            if kept.keep:
                op.store(kept.to_json())
                committing[0] = True
                session.commit()
            return kept

    def _problem(self, exc: Exception) -> Kept:
        problem = self.answers.problem_of(exc)
        if problem is None:
            raise exc
        return kept_of(problem, self.answers)


def _captured(app: Callable[..., Iterable[bytes]], environ: Environ) -> Kept:
    told: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        told[:] = [int(status.split(" ", 1)[0]), tuple(headers)]

    chunks = app(environ, start_response)
    try:
        body = b"".join(chunks)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    return Kept(told[0], told[1], body)


def _send(kept: Kept, start_response: StartResponse) -> Iterable[bytes]:
    headers = [(n, v) for n, v in kept.headers if n.lower() != "content-length"]
    phrase = HTTPStatus(kept.status).phrase
    start_response(f"{kept.status} {phrase}", [*headers, ("Content-Length", str(len(kept.body)))])
    return [kept.body]
