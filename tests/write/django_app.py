"""A Django application for the HTTP tests. Django has one set of settings in a process."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import django
import sqlalchemy as sa
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from onerow.write.http.django import IdempotencyMiddleware, install_problem_handlers
from onerow.write.http.idempotency import Rules
from onerow.write.http.problem import Answers
from onerow.write.http.starlette import IdempotencyMiddleware as AsgiMiddleware
from tests.write.support import sessions

if not settings.configured:
    settings.configure(
        ROOT_URLCONF=__name__,
        ALLOWED_HOSTS=["*"],
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        SECRET_KEY="not for anything but tests",
        LOGGING_CONFIG=None,
    )
    django.setup()

Work = Callable[[Any, dict[str, Any]], dict[str, Any]]
current: list[Work] = []


def create(request: HttpRequest) -> JsonResponse:
    """The one view: what is asked of it is the test's."""
    state = getattr(request, "scope", {}).get("state", {})
    session = request.META.get("onerow.session", state.get("onerow_session"))
    return JsonResponse(current[-1](session, json.loads(request.body)), status=201)


urlpatterns = [path("users", create)]


def django_app(
    engine: sa.Engine, work: Work, answers: Answers | None = None, **rules: Any
) -> Callable[..., Any]:
    """The WSGI application, guarded."""
    current.append(work)
    application = get_wsgi_application()
    install_problem_handlers(application, answers)
    return IdempotencyMiddleware(application, sessions(engine), Rules(**rules), answers=answers)


def django_asgi_app(engine: sa.Engine, work: Work) -> AsgiMiddleware:
    """The same for ASGI, in the middleware of Starlette."""
    current.append(work)
    application = get_asgi_application()
    install_problem_handlers(application)
    return AsgiMiddleware(application, sessions(engine))
