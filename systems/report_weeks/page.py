"""The pages: the heat map, a week, an execution."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import FastAPI
from fastapi import Path as InPath
from starlette.responses import HTMLResponse

from systems.report_weeks.models import Uuid
from systems.report_weeks.store import Store
from systems.shared.web.pages import mount_static, templates_of

FOLDER = Path(__file__).parent
#: How a status is told besides by its colour.
MARKS = {"pending": "·", "running": "▸", "completed": "✓", "failed": "✗"}

Id = Annotated[Uuid, InPath()]


def install(app: FastAPI, store: Store, brand: str, *, naive: bool) -> None:
    """Add them."""
    templates = templates_of(FOLDER)
    mount_static(app, FOLDER)

    def render(name: str, **more: object) -> HTMLResponse:
        text = templates.get_template(name).render(brand=brand, csrf="", marks=MARKS, **more)
        return HTMLResponse(text)

    @app.get("/", include_in_schema=False)
    def heat_map() -> HTMLResponse:
        return render("heat_map.html", naive=naive)

    @app.get("/show/weeks/{id}", include_in_schema=False)
    def week(id: Id) -> HTMLResponse:
        found = store.week(id)
        of = store.collection(found["collection_id"])
        return render("week.html", week=found, collection=of)

    @app.get("/show/executions/{id}", include_in_schema=False)
    def execution(id: Id) -> HTMLResponse:
        found = store.execution(id)
        return render("execution.html", execution=found, weeks=store.weeks_of(id))
