"""Read, reckon, write."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from docs.races.gallery.case import Case, accounts, at, retried

ONE = accounts.c.id == 1


def read_then_write(session: Session) -> None:
    balance = session.execute(sa.select(accounts.c.balance).where(ONE)).scalar_one()
    session.execute(accounts.update().values(balance=balance + 10).where(ONE))
    session.commit()


def add_in_place(session: Session) -> None:
    session.execute(accounts.update().values(balance=accounts.c.balance + 10).where(ONE))
    session.commit()


def lock_then_write(session: Session) -> None:
    locked = sa.select(accounts.c.balance).where(ONE).with_for_update()
    balance = session.execute(locked).scalar_one()
    session.execute(accounts.update().values(balance=balance + 10).where(ONE))
    session.commit()


def write_by_version(session: Session) -> None:
    while True:
        row = session.execute(sa.select(accounts).where(ONE)).one()
        update = accounts.update().values(balance=row.balance + 10, version=row.version + 1)
        done = session.execute(update.where(ONE, accounts.c.version == row.version))
        session.commit()
        if done.rowcount == 1:
            return


def read_then_write_another(session: Session) -> None:
    two = accounts.c.id == 2
    balance = session.execute(sa.select(accounts.c.balance).where(two)).scalar_one()
    session.execute(accounts.update().values(balance=balance + 20).where(two))
    session.commit()


def count_up(session: Session) -> None:
    if session.execute(sa.select(accounts.c.balance).where(ONE)).first() is None:
        session.execute(accounts.insert().values(id=1, balance=0))
    session.execute(accounts.update().values(balance=accounts.c.balance + 10).where(ONE))
    session.commit()


def count_up_at_once(session: Session) -> None:
    kind = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    new = kind.insert(accounts).values(id=1, balance=10)
    more = {"balance": accounts.c.balance + 10}
    session.execute(new.on_conflict_do_update(index_elements=["id"], set_=more))
    session.commit()


def ten_and_twenty(connection: Connection) -> bool:
    rows = connection.execute(sa.select(accounts.c.balance).order_by(accounts.c.id)).scalars()
    return list(rows) == [10, 20]


def twenty(connection: Connection) -> bool:
    return connection.execute(sa.select(accounts.c.balance)).scalar_one() == 20


NOUGHT = {"accounts": [{"id": 1, "balance": 0}]}

CASES = (
    Case(
        name="Read, reckon, write",
        told="Both read 0, both write 10: one deposit is gone.",
        workers=(read_then_write, read_then_write),
        rows=NOUGHT,
        holds=twenty,
        anomaly="lost update",
        postgresql="broken",
        sqlite="broken",
    ),
    Case(
        name="Read, reckon, write, of two rows",
        told="What is not shared does not race: of all schedules one is enough.",
        workers=(read_then_write, read_then_write_another),
        rows={"accounts": [{"id": 1, "balance": 0}, {"id": 2, "balance": 0}]},
        holds=ten_and_twenty,
        postgresql="holds",
        sqlite="holds",
    ),
    Case(
        name="Reckon in the statement",
        told="UPDATE … SET balance = balance + 10 reads the row that it locks.",
        workers=(add_in_place, add_in_place),
        rows=NOUGHT,
        holds=twenty,
        postgresql="holds",
        sqlite="holds",
    ),
    Case(
        name="SELECT FOR UPDATE",
        told="The row is locked before it is read; the second reader waits.",
        workers=(lock_then_write, lock_then_write),
        rows=NOUGHT,
        holds=twenty,
        postgresql="holds",
        sqlite="broken",
    ),
    Case(
        name="A version column, and again",
        told="The write says which version it is based on; no row changed means: read again.",
        workers=(write_by_version, write_by_version),
        rows=NOUGHT,
        holds=twenty,
        postgresql="holds",
        sqlite="holds",
    ),
    Case(
        name="REPEATABLE READ alone",
        told="The server refuses the second write, and somebody must try again.",
        workers=(at("REPEATABLE READ", read_then_write),) * 2,
        rows=NOUGHT,
        holds=twenty,
        anomaly="unhandled serialization failure",
        postgresql="raised",
    ),
    Case(
        name="REPEATABLE READ, and the transaction again",
        told="With the retry the deposit is made in the second attempt.",
        workers=(retried(at("REPEATABLE READ", read_then_write)),) * 2,
        rows=NOUGHT,
        holds=twenty,
        postgresql="holds",
    ),
    Case(
        name="A counter that is made when it is missing",
        told="Both find none and make it; the primary key refuses the second.",
        workers=(count_up, count_up),
        rows={"accounts": []},
        holds=twenty,
        anomaly="unhandled duplicate key",
        postgresql="raised",
        sqlite="raised",
    ),
    Case(
        name="A counter in one statement",
        told="INSERT … ON CONFLICT DO UPDATE makes it or counts on.",
        workers=(count_up_at_once, count_up_at_once),
        rows={"accounts": []},
        holds=twenty,
        postgresql="holds",
        sqlite="holds",
    ),
)
