"""The HTTP application."""

from __future__ import annotations

from fastapi import FastAPI
from sqlalchemy.orm import sessionmaker

from systems.membership_plans import calls, folding, page, schema, tables
from systems.membership_plans.answers import FORM
from systems.membership_plans.claims import Claims
from systems.membership_plans.service import Service
from systems.membership_plans.writers import Naive, Safe, Writer
from systems.shared.errors import SystemRefusal
from systems.shared.web.application import Serving, make_app
from systems.shared.web.schema import lacking
from systems.shared.web.session import SignedIn

TITLE = "Membership plans"
ABOUT = "Gym chains sell plans for all their branches (TENANT) or for one (BRANCH)."


def make(serving: Serving) -> FastAPI:
    """The application over a database that has the schema for it.

    Raises:
        SystemRefusal: it has another one.
    """
    tables.prepare(serving.engine)
    return build(serving, _writer(serving))


def build(serving: Serving, writer: Writer) -> FastAPI:
    """The application with a writer, whatever the database."""
    app = make_app(serving, title=TITLE, description=ABOUT, form=FORM)
    app.state.signed_in = SignedIn(serving.tokens, Claims)
    app.state.service = Service(sessionmaker(serving.engine), writer)
    app.include_router(calls.router)
    page.install(app, serving.tokens, TITLE)
    return app


def _writer(serving: Serving) -> Writer:
    repaired = not lacking(serving.engine, schema.after())
    if serving.naive:
        if repaired:
            raise SystemRefusal("The original writers are not let onto the repaired schema.")
        _need(serving, before=True)
        return Naive(tables.before())
    if not repaired:
        _need(serving, before=False)
    folding.ensure(serving.engine)
    return Safe(tables.after(serving.engine.dialect.name))


def _need(serving: Serving, *, before: bool) -> None:
    missing = lacking(serving.engine, schema.before() if before else schema.after())
    if missing:
        raise SystemRefusal(
            f"The database is not one for this application: it lacks {', '.join(missing[:3])}."
        )
