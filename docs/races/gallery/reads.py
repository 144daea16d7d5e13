"""A transaction that does not see one state."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from docs.races.gallery.case import Case, accounts, at, count, log


def report(session: Session) -> None:
    first = session.execute(sa.select(accounts.c.balance).where(accounts.c.id == 1)).scalar_one()
    second = session.execute(sa.select(accounts.c.balance).where(accounts.c.id == 2)).scalar_one()
    if first + second != 100:
        session.execute(log.insert().values(said=f"money is missing: {first} + {second}"))
    session.commit()


def transfer(session: Session) -> None:
    less = accounts.update().values(balance=accounts.c.balance - 30).where(accounts.c.id == 1)
    more = accounts.update().values(balance=accounts.c.balance + 30).where(accounts.c.id == 2)
    session.execute(less)
    session.execute(more)
    session.commit()


def look_twice(session: Session) -> None:
    one = sa.select(accounts.c.balance).where(accounts.c.id == 1)
    if session.execute(one).scalar_one() != session.execute(one).scalar_one():
        session.execute(log.insert().values(said="it changed between two looks"))
    session.commit()


def count_twice(session: Session) -> None:
    rich = sa.select(accounts.c.id).where(accounts.c.balance > 0)
    if len(session.execute(rich).all()) != len(session.execute(rich).all()):
        session.execute(log.insert().values(said="another row came between two looks"))
    session.commit()


def open_account(session: Session) -> None:
    session.execute(accounts.insert().values(id=3, balance=5))
    session.commit()


def nothing_strange(connection: Connection) -> bool:
    return count(connection, log) == 0


MONEY = {"accounts": [{"id": 1, "balance": 50}, {"id": 2, "balance": 50}], "log": []}

CASES = (
    Case(
        name="A report while money moves",
        told="It reads one account before the transfer and the other after it.",
        workers=(report, transfer),
        rows=MONEY,
        holds=nothing_strange,
        postgresql="broken",
        sqlite="broken",
    ),
    Case(
        name="A report from one snapshot",
        told="Under REPEATABLE READ all its reads are of one moment.",
        workers=(at("REPEATABLE READ", report), transfer),
        rows=MONEY,
        holds=nothing_strange,
        postgresql="holds",
    ),
    Case(
        name="The same question twice",
        told="Under READ COMMITTED each statement sees the newest state.",
        workers=(look_twice, transfer),
        rows=MONEY,
        holds=nothing_strange,
        anomaly="non-repeatable read",
        postgresql="broken",
        sqlite="broken",
    ),
    Case(
        name="The same list twice",
        told="A row that another transaction adds is there the second time.",
        workers=(count_twice, open_account),
        rows=MONEY,
        holds=nothing_strange,
        anomaly="phantom",
        postgresql="broken",
        sqlite="broken",
    ),
    Case(
        name="What is not committed is not seen",
        told="Neither engine has dirty reads: the half of a transfer is never seen.",
        workers=(count_twice, transfer),
        rows=MONEY,
        holds=nothing_strange,
        postgresql="holds",
        sqlite="holds",
    ),
)
