"""The application: its calls, and the page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fastapi import Depends, FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from systems.shared.errors import SystemRefusal
from systems.shared.web.application import Serving, make_app
from systems.shared.web.errors import PLAIN, Fault
from systems.shared.web.measures import HEALTH
from systems.shared.web.pages import mount_static, templates_of
from systems.shared.web.schema import lacking
from systems.shared.web.session import SAFE, check_site
from systems.workout_planner import calls_custom, calls_plan, calls_selections, schema
from systems.workout_planner.naive import NaiveStore
from systems.workout_planner.stage import BEFORE, look
from systems.workout_planner.store import Store, UnknownWorkout, utc_now

FOLDER = Path(__file__).parent
BRAND = "Workout planner"
MOST_BYTES = 4 * 1024 * 1024  #: a plan of some ten thousand workouts
FORM = replace(PLAIN, always=(400, 403, 405, 413, 500, 503))


def make(serving: Serving, kind: type[Store] | None = None) -> FastAPI:
    """The application on a database before, in the middle of, or after its change.

    Args:
        kind: of its store, to measure with other writers.

    Raises:
        SystemRefusal: the tables are not there, or the naive writers would meet the key.
    """
    _check(serving)
    store = (kind or (NaiveStore if serving.naive else Store))(serving.engine)
    app = make_app(
        serving,
        title=BRAND,
        description="A training calendar. All times are in UTC, durations in hours.",
        form=FORM,
        most_bytes=MOST_BYTES,
        health_at=(HEALTH, "/api/health"),
    )
    for calls in (calls_plan, calls_selections, calls_custom):
        router = calls.routes(store, FORM)
        app.include_router(router, prefix="/api", dependencies=[Depends(_from_our_pages)])
    app.add_exception_handler(UnknownWorkout, _unknown)
    mount_static(app, FOLDER)
    _add_page(app, store, naive=serving.naive)
    return app


def _check(serving: Serving) -> None:
    wanting = lacking(serving.engine, schema.before())
    if wanting:
        raise SystemRefusal(
            f"The database has not: {', '.join(wanting)}."
            " `python -m systems.workout_planner after --url URL` makes it."
        )
    if serving.naive:
        with serving.engine.connect() as connection:
            if look(connection) != BEFORE:
                raise SystemRefusal(
                    "The database has been changed already; the naive writers are for the one"
                    " before. `python -m systems.workout_planner before --url URL` makes it."
                )


async def _from_our_pages(request: Request) -> None:
    """Other sites' pages may not write: nobody signs in here, so the browser's word is taken."""
    if request.method not in SAFE:
        check_site(request)


async def _unknown(_request: Request, _error: Exception) -> Response:
    return FORM.respond(Fault(404, "There is no such workout."))


def _add_page(app: FastAPI, store: Store, *, naive: bool) -> None:
    template = templates_of(FOLDER).get_template("planner.html")

    @app.get("/", include_in_schema=False, response_class=HTMLResponse)
    def page() -> HTMLResponse:
        day = store.where_to_begin(utc_now().date())
        return HTMLResponse(template.render(brand=BRAND, csrf="", naive=naive, day=day))
