"""The application: its calls, and the pages."""

from __future__ import annotations

from dataclasses import replace

from fastapi import Depends, FastAPI
from starlette.requests import Request
from starlette.responses import Response

from systems.report_weeks import calls, page, schema
from systems.report_weeks.naive import NaiveStore
from systems.report_weeks.store import NotNow, Store, Unknown
from systems.shared.errors import SystemRefusal
from systems.shared.web.application import Serving, make_app
from systems.shared.web.errors import PLAIN, Fault
from systems.shared.web.schema import lacking
from systems.shared.web.session import SAFE, check_site

BRAND = "Report weeks"
FORM = replace(PLAIN, always=(400, 403, 405, 413, 500, 503))


def make(serving: Serving) -> FastAPI:
    """The application on a database before, in the middle of, or after its change.

    Raises:
        SystemRefusal: the tables are not there, or the naive writers would meet the keys.
    """
    _check(serving)
    store = (NaiveStore if serving.naive else Store)(serving.engine)
    app = make_app(
        serving,
        title=BRAND,
        description="Weekly data collection, each week with the execution that made it.",
        form=FORM,
    )
    app.include_router(calls.routes(store, FORM), dependencies=[Depends(_from_our_pages)])
    app.add_exception_handler(Unknown, _unknown)
    app.add_exception_handler(NotNow, _not_now)
    page.install(app, store, BRAND, naive=serving.naive)
    return app


def _check(serving: Serving) -> None:
    wanting = lacking(serving.engine, schema.before())
    if wanting:
        raise SystemRefusal(
            f"The database has not: {', '.join(wanting)}."
            " `python -m systems.report_weeks after --url URL` makes it."
        )
    if serving.naive:
        schema.refuse_after(serving.engine)


async def _from_our_pages(request: Request) -> None:
    """Other sites' pages may not write: nobody signs in here, so the browser's word is taken."""
    if request.method not in SAFE:
        check_site(request)


async def _unknown(_request: Request, _error: Exception) -> Response:
    return FORM.respond(Fault(404, "There is no such collection, week or execution."))


async def _not_now(_request: Request, error: Exception) -> Response:
    return FORM.respond(Fault(409, str(error)))
