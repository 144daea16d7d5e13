"""Pages: templates, static files, signing in and out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Generic, TypeVar

import jwt
from fastapi import FastAPI
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from systems.shared.web.errors import Fault
from systems.shared.web.session import COOKIE, CSRF_FIELD, check_csrf, check_site
from systems.shared.web.tokens import Claims, Tokens

SHARED = Path(__file__).parent
LOGIN = "/login"

C = TypeVar("C", bound=Claims)


def templates_of(folder: Path) -> Environment:
    """`templates/` of a system's package, and the shared ones; everything is escaped."""
    loader = FileSystemLoader([folder / "templates", SHARED / "templates"])
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined)


def mount_static(app: FastAPI, folder: Path) -> None:
    """`static/` of a system's package, and the shared one."""
    app.mount("/static/shared", StaticFiles(directory=SHARED / "static"))
    if (folder / "static").is_dir():
        app.mount("/static", StaticFiles(directory=folder / "static"))


class NotSignedIn(Exception):
    """A page was asked for without a valid token in the cookie."""


class Pages(Generic[C]):
    """The pages of a system: `templates/` and `static/` beside its code, and the shared ones.

    Args:
        brand: the system's name, as the pages show it.
        folder: of the system's package.
    """

    def __init__(self, brand: str, folder: Path, tokens: Tokens, kind: type[C]) -> None:
        self.brand, self.folder, self.tokens, self.kind = brand, folder, tokens, kind
        self.templates = templates_of(folder)

    def signed_in(self, request: Request) -> C:
        """The claims of who looks at the page."""
        try:
            return self.tokens.read(request.cookies.get(COOKIE, ""), self.kind)
        except Fault:
            raise NotSignedIn from None

    def render(self, request: Request, name: str, status: int = 200, **more: Any) -> Response:
        """A template; it has `brand`, `csrf` (empty before signing in) and what is given."""
        cookie = request.cookies.get(COOKIE)
        csrf = self.tokens.csrf(cookie) if cookie else ""
        text = self.templates.get_template(name).render(brand=self.brand, csrf=csrf, **more)
        return HTMLResponse(text, status)

    def install(self, app: FastAPI) -> None:
        """Static files, GET and POST /login, POST /logout."""
        mount_static(app, self.folder)
        app.add_exception_handler(NotSignedIn, _to_login)
        app.add_route(LOGIN, self._ask, methods=["GET"])
        app.add_route(LOGIN, self._sign_in, methods=["POST"])
        app.add_route("/logout", self._sign_out, methods=["POST"])

    async def _ask(self, request: Request) -> Response:
        return self.render(request, "login.html", error="")

    async def _sign_in(self, request: Request) -> Response:
        check_site(request)
        token = str((await request.form()).get("token", "")).strip()
        try:
            self.tokens.read(token, self.kind)
        except Fault as fault:
            return self.render(request, "login.html", fault.status, error=fault.message)
        response = RedirectResponse("/", 303)
        response.set_cookie(
            COOKIE,
            token,
            max_age=_seconds_left(token),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response

    async def _sign_out(self, request: Request) -> Response:
        sent = str((await request.form()).get(CSRF_FIELD, ""))
        check_csrf(request, self.tokens, request.cookies.get(COOKIE, ""), sent)
        response = RedirectResponse(LOGIN, 303)
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return response


async def _to_login(_request: Request, _error: Exception) -> Response:
    return RedirectResponse(LOGIN, 303)


def _seconds_left(token: str) -> int:
    """Of a token that was verified a moment ago."""
    said = jwt.decode(token, options={"verify_signature": False})
    return max(0, int(said["exp"] - time.time()))
