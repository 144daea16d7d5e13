"""The stand-in's server: Slack's Web API under /api/, and the page under /."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from systems.shared.web.headers import SecurityHeaders
from systems.shared.web.pages import mount_static
from systems.shared.web.session import check_site
from systems.triage_bot.testing.play import NotAcked, Play
from systems.triage_bot.testing.workspace import Workspace

FILES = Path(__file__).parent / "static"
NESTED = ("blocks", "view", "metadata")


def make_slack(workspace: Workspace) -> FastAPI:
    """The Web API alone."""
    app = FastAPI(openapi_url=None)

    @app.api_route("/api/{method}", methods=["GET", "POST"])
    async def call(method: str, request: Request) -> Response:
        if workspace.down:
            return Response("down", 503)
        seconds = workspace.limited(method)
        if seconds is not None:
            said = {"ok": False, "error": "ratelimited"}
            return JSONResponse(said, 429, {"Retry-After": str(seconds)})
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        return JSONResponse(workspace.call(method, token, await _given(request)))

    @app.post("/respond/{token}")
    async def respond(token: str, request: Request) -> Response:
        found = workspace.respond(token, await request.json())
        return Response("ok" if found else "expired_url", 200 if found else 404)

    return app


async def _given(request: Request) -> dict[str, Any]:
    given: dict[str, Any] = dict(request.query_params)
    if request.headers.get("content-type", "").startswith("application/json"):
        return {**given, **(await request.json())}
    given |= {n: str(v) for n, v in (await request.form()).items()}
    return {n: json.loads(v) if n in NESTED and isinstance(v, str) else v for n, v in given.items()}


class Deed(BaseModel):
    """Something that a person does on the page."""

    user: str
    kind: str
    channel: str = ""
    text: str = ""
    ts: str | None = None
    modal: str = ""
    action: dict[str, Any] = {}
    values: dict[str, Any] = {}


def add_page(app: FastAPI, play: Play) -> None:
    """The page, and what it calls."""
    app.add_middleware(SecurityHeaders)
    mount_static(app, FILES.parent)

    @app.get("/")
    async def page() -> Response:
        return FileResponse(FILES / "sandbox.html")

    @app.get("/state")
    async def state(user: str) -> Response:
        return JSONResponse(play.workspace.state(user))

    @app.post("/play")
    async def do(request: Request, deed: Deed) -> Response:
        check_site(request)
        try:
            return JSONResponse({"errors": await _done(play, deed)})
        except NotAcked as error:
            return JSONResponse({"error": str(error)})


async def _done(play: Play, deed: Deed) -> Mapping[str, str]:
    if deed.kind == "command":
        await play.command(deed.user, deed.channel, deed.text)
    elif deed.kind == "mention":
        await play.mention(deed.user, deed.channel, deed.text)
    elif deed.kind == "home":
        await play.open_home(deed.user)
    elif deed.kind == "close":
        play.workspace.close(deed.modal)
    elif deed.kind == "submit":
        return await play.submit(deed.user, deed.modal, deed.values)
    else:
        open_now = play.workspace.modals.get(deed.modal)
        view = {"id": open_now.id, **open_now.view} if open_now else None
        await play.press(deed.user, deed.action, channel=deed.channel, ts=deed.ts, view=view)
    return {}
