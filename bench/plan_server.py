"""Membership plans in a process of its own, with its service or with a hand-written one.

python -m bench.plan_server URL [--by-hand]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI
from sqlalchemy.orm import Session

from systems.membership_plans import app, tables
from systems.membership_plans.service import Service
from systems.membership_plans.store import Row
from systems.membership_plans.writers import Safe, Values
from systems.shared.web.application import Serving
from systems.shared.web.server import serve

_COLUMNS = [c.name for c in tables.after("postgresql").plans.c if c.name != "scope_key"]
_SQL = sa.text(
    f"INSERT INTO membership_plans ({', '.join(_COLUMNS)})"
    f" VALUES ({', '.join(f':{c}' for c in _COLUMNS)}) RETURNING *"
)


class ByHand(Safe):
    """The statement as one would write it."""

    def create(self, session: Session, values: Values) -> Row:
        return session.execute(_SQL, dict(values)).one()


class Plainly(Service):
    """A transaction without retry."""

    def _write(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self.sessions() as session, session.begin():
            return work(session, *args, **kwargs)


def by_hand(serving: Serving) -> FastAPI:
    made = app.build(serving, ByHand(tables.after("postgresql")))
    service: Service = made.state.service
    made.state.service = Plainly(service.sessions, service.writer)
    return made


if __name__ == "__main__":
    make = by_hand if "--by-hand" in sys.argv else app.make
    serve(make, sys.argv[1], "127.0.0.1", 0, naive=False, signed=True)
