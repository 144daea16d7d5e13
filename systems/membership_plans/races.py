"""Two calls at once, in every interleaving of their statements; the rows are taken away after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from onerow.race import Result, explore
from systems.membership_plans import schema, tables
from systems.membership_plans.claims import Claims
from systems.membership_plans.models import NewPlan
from systems.membership_plans.service import Service
from systems.membership_plans.writers import Naive, Safe, Writer
from systems.shared.web.errors import Fault

NAME = "Raced"
OWN = "raced-and-archived"
ADMIN = Claims(sub="race", tenant_id="t1", role="ADMIN")
OLD_COLUMNS = {t.name: list(t.c) for t in schema.before().sorted_tables}

Call = Callable[[Service], object]


def create(service: Service) -> object:
    terms: dict[str, Any] = {"durationType": "DAYS", "durationValue": 30, "price": 1}
    body = NewPlan.model_validate({"scope": "TENANT", "name": NAME, **terms})
    return service.create(ADMIN, body)


def restore(service: Service) -> object:
    return service.restore(ADMIN, OWN)


RACES: dict[str, tuple[Call, Call]] = {
    "create and create": (create, create),
    "restore and create": (restore, create),
}


def explored(engine: sa.Engine, race: str, *, naive: bool) -> Result:
    """Explore a race: one active plan of the name must be left, whoever comes first."""
    tables.prepare(engine)
    engine.dispose()  # connections that were opened before know nothing of `folded`
    # Of the old columns alone: so either runs on either schema, whose keys decide.
    writer: Writer = Naive(tables.before()) if naive else Safe(tables.before())
    try:
        workers = [_worker(writer, call) for call in RACES[race]]
        return explore(engine, workers, setup=_setup, invariant=_one_active)
    finally:
        with engine.begin() as connection:
            _clear(connection)


def _worker(writer: Writer, call: Call) -> Callable[[sessionmaker[Session]], None]:
    def work(sessions: sessionmaker[Session]) -> None:
        try:
            call(Service(sessions, writer))
        except Fault as fault:
            if fault.status not in (400, 409):
                raise

    work.__name__ = call.__name__
    return work


def _clear(connection: sa.Connection) -> None:
    plans = tables.before().plans
    connection.execute(sa.delete(plans).where(sa.func.lower(plans.c.name) == NAME.lower()))


def _setup(connection: sa.Connection) -> None:
    _clear(connection)
    terms = {"duration_type": "DAYS", "duration_value": 30, "price": 1, "currency": "EUR"}
    values = {"id": OWN, "tenant_id": "t1", "scope": "TENANT", "name": NAME.upper(), **terms}
    connection.execute(sa.insert(tables.before().plans).values(**values, status="ARCHIVED"))


def _one_active(connection: sa.Connection) -> bool:
    c = tables.before().plans.c
    counted = sa.select(sa.func.count()).where(
        sa.func.lower(c.name) == NAME.lower(), c.status == "ACTIVE"
    )
    return connection.execute(counted).scalar() == 1
