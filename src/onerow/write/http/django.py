"""For Django: problem answers, and the Idempotency-Key middleware (WSGI). In ``wsgi.py``:

    application = get_wsgi_application()
    install_problem_handlers(application)
    application = IdempotencyMiddleware(application, sessionmaker(engine))

A view takes the transaction of its request, a SQLAlchemy Session, from
``request.META["onerow.session"]``. Errors of Django's own ORM are answered as well: the driver's
error is their cause.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onerow.write.http.problem import Answers, Problem
from onerow.write.http.wsgi import ERROR, IdempotencyMiddleware, kept_of

__all__ = ["IdempotencyMiddleware", "ProblemMiddleware", "install_problem_handlers", "respond"]

_PATH = f"{__name__}.ProblemMiddleware"


def respond(problem: Problem, answers: Answers | None = None) -> Any:
    """A Django response with the problem's body; also for `spooled_problem`."""
    from django.http import HttpResponse

    kept = kept_of(problem, answers or Answers())
    return HttpResponse(kept.body, status=kept.status, headers=dict(kept.headers))


class ProblemMiddleware:
    """A Django middleware that answers database errors of views with problem documents.

    Last in ``MIDDLEWARE``; `install_problem_handlers` puts it there.

    Attributes:
        answers: an application's own statuses and bodies.
    """

    answers = Answers()

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        return self.get_response(request)

    def process_exception(self, request: Any, exception: Exception) -> Any:
        """The answer; None for what is nothing of the database's, as Django wants it."""
        problem = self.answers.problem_of(exception, if_match="If-Match" in request.headers)
        if problem is None:
            return None
        # The middleware around the application runs it again for what passes by itself.
        scope = getattr(request, "scope", None)  # under ASGI
        told = request.META if scope is None else scope.setdefault("state", {})
        told[ERROR if scope is None else "onerow_error"] = exception
        return respond(problem, self.answers)


def install_problem_handlers(app: Any = None, answers: Answers | None = None) -> None:
    """Answer database errors with problem documents.

    Args:
        app: what ``get_wsgi_application()`` (or the one for ASGI) made; None before it is made.
        answers: an application's own statuses and bodies.
    """
    from django.conf import settings
    from django.core.handlers.asgi import ASGIHandler

    ProblemMiddleware.answers = answers or Answers()
    if _PATH not in settings.MIDDLEWARE:
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, _PATH]
    if app is not None:
        app.load_middleware(is_async=isinstance(app, ASGIHandler))
