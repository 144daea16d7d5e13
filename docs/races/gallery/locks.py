"""Two locks, taken in two orders."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from docs.races.gallery.case import Body, Case, accounts, retried


def move(source: int, target: int) -> Body:
    def move_money(session: Session) -> None:
        for number, amount in ((source, -10), (target, 10)):
            change = accounts.update().values(balance=accounts.c.balance + amount)
            session.execute(change.where(accounts.c.id == number))
        session.commit()

    return move_money


def move_in_order(source: int, target: int) -> Body:
    def move_money(session: Session) -> None:
        changes = {source: -10, target: 10}
        for number in sorted(changes):
            change = accounts.update().values(balance=accounts.c.balance + changes[number])
            session.execute(change.where(accounts.c.id == number))
        session.commit()

    return move_money


def nothing_lost(connection: Connection) -> bool:
    rows = connection.execute(sa.select(accounts.c.balance).order_by(accounts.c.id)).scalars()
    return list(rows) == [50, 50]


MONEY = {"accounts": [{"id": 1, "balance": 50}, {"id": 2, "balance": 50}]}

CASES = (
    Case(
        name="Two locks in two orders",
        told="Each holds the row that the other wants; the server ends one of them.",
        workers=(move(1, 2), move(2, 1)),
        rows=MONEY,
        holds=nothing_lost,
        anomaly="deadlock by lock order",
        postgresql="deadlocked",
        sqlite="holds",
    ),
    Case(
        name="Two locks in two orders, and the transaction again",
        told="A deadlock that is handled is no failure; it costs a second attempt.",
        workers=(retried(move(1, 2)), retried(move(2, 1))),
        rows=MONEY,
        holds=nothing_lost,
        postgresql="holds",
        sqlite="holds",
    ),
    Case(
        name="Two locks in one order",
        told="Nobody waits in a circle when all take their locks in the same order.",
        workers=(move_in_order(1, 2), move_in_order(2, 1)),
        rows=MONEY,
        holds=nothing_lost,
        postgresql="holds",
        sqlite="holds",
    ),
)
