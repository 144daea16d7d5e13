"""For Flask: problem answers, and the Idempotency-Key middleware (WSGI).

    install_problem_handlers(app)
    app.wsgi_app = IdempotencyMiddleware(app.wsgi_app, sessionmaker(engine))

A view takes the transaction of its request from ``request.environ["onerow.session"]``.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from onerow.write.errors import WriteError
from onerow.write.http.problem import Answers, Problem
from onerow.write.http.wsgi import ERROR, IdempotencyMiddleware, kept_of

__all__ = ["IdempotencyMiddleware", "install_problem_handlers", "respond"]


def respond(problem: Problem, answers: Answers | None = None) -> Any:
    """A Flask response with the problem's body; also for `spooled_problem`."""
    from flask import Response

    kept = kept_of(problem, answers or Answers())
    return Response(kept.body, kept.status, list(kept.headers))


def install_problem_handlers(app: Any, answers: Answers | None = None) -> None:
    """Answer database errors with problem documents.

    Args:
        app: a Flask application.
        answers: an application's own statuses and bodies.
    """
    form = answers or Answers()

    def handle(exc: Exception) -> Any:
        from flask import request

        problem = form.problem_of(exc, if_match="If-Match" in request.headers)
        if problem is None:
            raise exc
        request.environ[ERROR] = exc
        return respond(problem, form)

    for kind in (DBAPIError, WriteError, PoolTimeout, ConnectionError):
        app.register_error_handler(kind, handle)
