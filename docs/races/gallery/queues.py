"""Who takes the job?"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from docs.races.gallery.case import Body, Case, accounts, jobs, log, retried

FREE = sa.select(jobs.c.id).where(jobs.c.owner.is_(None)).order_by(jobs.c.id).limit(1)


def claim(owner: str) -> Body:
    return claim_by(FREE, owner)


def claim_by(query: sa.Select[tuple[int]], owner: str) -> Body:
    def take_job(session: Session) -> None:
        job = session.execute(query).scalar()
        if job is not None:
            session.execute(jobs.update().values(owner=owner).where(jobs.c.id == job))
            session.execute(log.insert().values(said=f"job {job}"))
        session.commit()

    return take_job


def read_in_transaction_then_write(session: Session) -> None:
    if session.get_bind().dialect.name == "sqlite":
        session.execute(sa.text("BEGIN"))
    else:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    balance = session.execute(sa.select(accounts.c.balance)).scalar_one()
    session.execute(accounts.update().values(balance=balance + 10))
    session.commit()


def no_job_twice(connection: Connection) -> bool:
    said = list(connection.execute(sa.select(log.c.said)).scalars())
    return len(said) == len(set(said))


def twenty(connection: Connection) -> bool:
    return connection.execute(sa.select(accounts.c.balance)).scalar_one() == 20


JOBS = {"jobs": [{"id": 1}, {"id": 2}], "log": []}

CASES = (
    Case(
        name="A job claimed by two",
        told="Both see the first free job and take it.",
        workers=(claim("A"), claim("B")),
        rows=JOBS,
        holds=no_job_twice,
        anomaly="lost update",
        postgresql="broken",
        sqlite="broken",
    ),
    Case(
        name="A job claimed FOR UPDATE",
        told="The second waits for the first, and then finds the job taken.",
        workers=(claim_by(FREE.with_for_update(), "A"), claim_by(FREE.with_for_update(), "B")),
        rows=JOBS,
        holds=no_job_twice,
        postgresql="holds",
        sqlite="broken",
    ),
    Case(
        name="A job claimed with SKIP LOCKED",
        told="The second does not wait: it takes the next job.",
        workers=(
            claim_by(FREE.with_for_update(skip_locked=True), "A"),
            claim_by(FREE.with_for_update(skip_locked=True), "B"),
        ),
        rows=JOBS,
        holds=no_job_twice,
        postgresql="holds",
        sqlite="broken",
    ),
    Case(
        name="A write on a stale read",
        told="In a snapshot one cannot write any more what another has written since.",
        workers=(read_in_transaction_then_write,) * 2,
        rows={"accounts": [{"id": 1, "balance": 0}]},
        holds=twenty,
        anomaly="unhandled serialization failure",
        postgresql="raised",
        sqlite="raised",
    ),
    Case(
        name="A write on a stale read, and the transaction again",
        told="The second attempt reads anew.",
        workers=(retried(read_in_transaction_then_write),) * 2,
        rows={"accounts": [{"id": 1, "balance": 0}]},
        holds=twenty,
        postgresql="holds",
        sqlite="holds",
    ),
)
