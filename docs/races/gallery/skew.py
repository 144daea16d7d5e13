"""Each leaves what the other counts on: two on call, one must stay."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from docs.races.gallery.case import Body, Case, accounts, at, retried


def leave(number: int) -> Body:
    def go_off_call(session: Session) -> None:
        on_call = sa.select(sa.func.count()).where(accounts.c.balance == 1)
        if session.execute(on_call).scalar_one() > 1:
            session.execute(accounts.update().values(balance=0).where(accounts.c.id == number))
        session.commit()

    return go_off_call


def leave_under_lock(number: int) -> Body:
    def go_off_call(session: Session) -> None:
        everybody = sa.select(accounts.c.balance).order_by(accounts.c.id).with_for_update()
        if sum(session.execute(everybody).scalars()) > 1:
            session.execute(accounts.update().values(balance=0).where(accounts.c.id == number))
        session.commit()

    return go_off_call


def somebody_stays(connection: Connection) -> bool:
    return connection.execute(sa.select(sa.func.sum(accounts.c.balance))).scalar_one() >= 1


ON_CALL = {"accounts": [{"id": 1, "balance": 1}, {"id": 2, "balance": 1}]}

CASES = (
    Case(
        name="Write skew",
        told="Each sees two on call and leaves.",
        workers=(leave(1), leave(2)),
        rows=ON_CALL,
        holds=somebody_stays,
        anomaly="write skew",
        postgresql="broken",
        sqlite="broken",
    ),
    Case(
        name="Write skew under REPEATABLE READ",
        told="They write different rows, so snapshots do not help.",
        workers=(at("REPEATABLE READ", leave(1)), at("REPEATABLE READ", leave(2))),
        rows=ON_CALL,
        holds=somebody_stays,
        anomaly="write skew",
        postgresql="broken",
    ),
    Case(
        name="Write skew under SERIALIZABLE",
        told="The server sees the circle of reads and writes, and ends one of them.",
        workers=(at("SERIALIZABLE", leave(1)), at("SERIALIZABLE", leave(2))),
        rows=ON_CALL,
        holds=somebody_stays,
        anomaly="unhandled serialization failure",
        postgresql="raised",
    ),
    Case(
        name="SERIALIZABLE with retry against write skew",
        told="The second attempt sees that only one is left.",
        workers=(retried(at("SERIALIZABLE", leave(1))), retried(at("SERIALIZABLE", leave(2)))),
        rows=ON_CALL,
        holds=somebody_stays,
        postgresql="holds",
    ),
    Case(
        name="All rows locked against write skew",
        told="Whoever decides by several rows locks all of them, in one order.",
        workers=(leave_under_lock(1), leave_under_lock(2)),
        rows=ON_CALL,
        holds=somebody_stays,
        postgresql="holds",
        sqlite="broken",
    ),
)
