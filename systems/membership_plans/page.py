"""The page for an administrator; STAFF sees the same without buttons."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from systems.membership_plans.claims import Claims
from systems.shared.web.pages import Pages
from systems.shared.web.tokens import Tokens


def install(app: FastAPI, tokens: Tokens, brand: str) -> None:
    """GET /, and signing in."""
    pages = Pages(brand, Path(__file__).parent, tokens, Claims)

    async def plans(request: Request) -> Response:
        who = pages.signed_in(request)
        told = f"{who.sub}, {who.role} of {who.branch_id or who.tenant_id}"
        return pages.render(request, "plans.html", who=told, admin=who.role == "ADMIN")

    app.add_api_route("/", plans, include_in_schema=False, response_class=Response)
    pages.install(app)
