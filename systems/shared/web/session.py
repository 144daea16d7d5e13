"""Who asks: by a bearer token, or by the cookie in which a page keeps one.

A write that comes with the cookie must bring what only our own pages know: another site can make a
browser send the cookie, but cannot read the page.
"""

from __future__ import annotations

import hmac
from typing import Annotated, Generic, TypeVar
from urllib.parse import urlsplit

from fastapi import Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request

from systems.shared.web.errors import Fault
from systems.shared.web.tokens import Claims, Tokens, unauthorized

COOKIE = "onerow_session"
CSRF_HEADER = "X-CSRF-Token"
CSRF_FIELD = "csrf_token"
SAFE = ("GET", "HEAD", "OPTIONS")

BEARER = HTTPBearer(auto_error=False, bearerFormat="JWT", description="HS256, see the README")
IN_COOKIE = APIKeyCookie(name=COOKIE, auto_error=False, description="of the pages")

C = TypeVar("C", bound=Claims)


class SignedIn(Generic[C]):
    """A dependency: the claims of whoever asks; 401 without a valid token."""

    def __init__(self, tokens: Tokens, kind: type[C]) -> None:
        self.tokens, self.kind = tokens, kind

    # On the event loop: a thread would cost more than the check.
    async def __call__(
        self,
        request: Request,
        bearer: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)],
        cookie: Annotated[str | None, Security(IN_COOKIE)],
    ) -> C:
        if bearer is not None:
            return self.tokens.read(bearer.credentials, self.kind)
        if cookie is None:
            raise unauthorized("A bearer token is needed.")
        claims = self.tokens.read(cookie, self.kind)
        if request.method not in SAFE:
            check_csrf(request, self.tokens, cookie, request.headers.get(CSRF_HEADER, ""))
        return claims


def check_csrf(request: Request, tokens: Tokens, cookie: str, sent: str) -> None:
    """Refuse a write that none of our pages has sent."""
    check_site(request)
    if not hmac.compare_digest(tokens.csrf(cookie).encode(), sent.encode()):
        raise Fault(403, f"The write lacks the page's {CSRF_HEADER}.", code="CSRF")


def check_site(request: Request) -> None:
    """Refuse what a browser says comes from another site."""
    site = request.headers.get("sec-fetch-site", "none")
    origin = request.headers.get("origin")
    ours = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if site not in ("same-origin", "none") or not ours:
        raise Fault(403, "The request comes from another site.", code="CSRF")
