"""What a runner writes: claims, executions, and what became of the weeks.

Each call is one short transaction. A claim raises the week's token; whatever comes later with an
old token is refused, the execution's link with it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa

from onerow import claim, transactional
from onerow.write import LostClaim, NotFound, release, renew
from systems.report_weeks.models import Answer
from systems.report_weeks.refresh import counts_of, refresh
from systems.report_weeks.tables import CLAIMED, COLLECTIONS, EXECUTIONS
from systems.shared.columns import now

LAPSED = "the lease ran out: the runner was killed, or too slow"
LOST = (LostClaim, NotFound)
__all__ = ["LOST", "Claim", "Ledger", "Left"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A week that is ours to do.

    Attributes:
        execution: our row of it.
        token: to be shown at the end.
    """

    week: str
    collection: str
    start: date
    end: date
    workflow: str
    instance: str
    token: int
    execution: str

    @property
    def key(self) -> str:
        """The same for every try of the week, so that the service does its work once."""
        return f"report-week-{self.week}"


@dataclass(frozen=True, slots=True)
class Left:
    """How a collection stands."""

    status: str
    counts: dict[str, int]

    @property
    def open(self) -> int:
        return self.counts.get("pending", 0) + self.counts.get("running", 0)


@dataclass(frozen=True, slots=True)
class Ledger:
    """The runner's writes.

    Attributes:
        owner: who claims, host and process.
    """

    engine: sa.Engine
    owner: str
    lease: timedelta

    def claim(self, collection: str, limit: int) -> list[Claim]:
        """Weeks that nobody else has, each with an execution of its own that is running.

        Those whose lease has run out are pending again after a call that found too few.
        """
        return transactional(self.engine, name="claim")(self._claim)(collection, limit)

    def _claim(self, connection: sa.Connection, collection: str, limit: int) -> list[Claim]:
        own = sa.select(COLLECTIONS).where(COLLECTIONS.c.id == collection)
        of = connection.execute(own).mappings().one()
        if of["status"] == "paused":
            return []
        weeks = self._take(connection, collection, limit)
        if len(weeks) < limit:
            give_back_lapsed(connection, collection)
        if not weeks:
            return []
        claims = [_claimed(w, of) for w in weeks]
        insert = sa.insert(EXECUTIONS).values(status="running", started_at=now())
        # With RETURNING, SQLAlchemy sends all rows in one statement.
        connection.execute(insert.returning(EXECUTIONS.c.id), [_execution(c) for c in claims])
        if of["status"] != "running":
            own_row = sa.update(COLLECTIONS).where(COLLECTIONS.c.id == collection)
            moves = COLLECTIONS.c.status.in_(("pending", "failed"))
            connection.execute(own_row.where(moves).values(status="running", updated_at=now()))
        return claims

    def _take(self, connection: sa.Connection, collection: str, limit: int) -> list[Any]:
        c = CLAIMED.c
        weeks = claim(
            connection,
            CLAIMED,
            owner=self.owner,
            lease=self.lease,
            limit=limit,
            where=sa.and_(c.collection_id == collection, c.status == "pending"),
            order_by=c.week_start_date,
            set={"status": "running", "updated_at": now()},
        )
        return sorted(weeks, key=lambda w: w.week_start_date)

    def renew(self, claim: Claim) -> None:
        """Keep it for another lease.

        Raises:
            LostClaim, NotFound: it is ours no more.
        """
        transactional(self.engine, name="renew")(self._renew)(claim)

    def _renew(self, connection: sa.Connection, claim: Claim) -> None:
        renew(connection, CLAIMED, claim.week, token=claim.token, lease=self.lease)

    def complete(self, claim: Claim, answer: Answer) -> None:
        """The week with its data, linked to its execution.

        Raises:
            LostClaim, NotFound: it is ours no more; nothing was written.
        """
        week = {"status": "completed", "data": answer.data, "error_message": None}
        execution = {"status": "completed", "progress": 100, "row_count": answer.row_count}
        self._end(claim, week, {**execution, "amc_execution_id": answer.execution_id})

    def fail(self, claim: Claim, reason: str, service_id: str | None = None) -> None:
        """The week cannot be had for now; it is linked to the execution that says why.

        Raises:
            LostClaim, NotFound: it is ours no more; nothing was written.
        """
        said = {"status": "failed", "error_message": reason}
        self._end(claim, said, {**said, "amc_execution_id": service_id})

    def _end(self, claim: Claim, week: dict[str, Any], execution: dict[str, Any]) -> None:
        transactional(self.engine, name="end")(self._ended)(claim, week, execution)

    def _ended(
        self, connection: sa.Connection, claim: Claim, week: dict[str, Any], made: dict[str, Any]
    ) -> None:
        linked = {**week, "execution_id": claim.execution, "updated_at": now()}
        release(connection, CLAIMED, claim.week, token=claim.token, set=linked)
        update = sa.update(EXECUTIONS).where(EXECUTIONS.c.id == claim.execution)
        connection.execute(update.values(**made, completed_at=now()))
        refresh(connection, claim.collection)

    def left(self, collection: str) -> Left:
        """How it stands, as everybody sees it."""
        return transactional(self.engine, name="left", read_only=True)(_left)(collection)


def give_back_lapsed(connection: sa.Connection, collection: str) -> int:
    """Weeks whose lease has run out are pending again, and their executions have failed.

    A week that is running under no lease at all is one of the runners before the change.
    """
    c = CLAIMED.c
    clock: Any = sa.func.clock_timestamp() if connection.dialect.name == "postgresql" else now()
    over = sa.or_(c.claimed_until.is_(None), c.claimed_until <= clock)
    pick = sa.select(c.id).where(c.collection_id == collection, c.status == "running", over)
    picked = pick.with_for_update(skip_locked=True).cte("lapsed")
    update = sa.update(CLAIMED).where(c.id.in_(sa.select(picked.c.id)))
    free = {c.status: "pending", c.claimed_by: None, c.claimed_until: None, c.updated_at: now()}
    rows = connection.execute(update.values(free).returning(c.id, c.claim_token)).all()
    names = [execution_name(r.id, r.claim_token) for r in rows]
    failed = {"status": "failed", "error_message": LAPSED, "completed_at": now()}
    if names:
        at = EXECUTIONS.c.execution_id.in_(names)
        running = EXECUTIONS.c.status == "running"
        connection.execute(sa.update(EXECUTIONS).where(at, running).values(**failed))
    return len(rows)


def execution_name(week: str, token: int | None) -> str:
    """Of the execution of a claim; it says of itself which week it was for."""
    return f"week-{week}-{token}"


def _claimed(week: Any, of: Any) -> Claim:
    return Claim(
        week=week.id,
        collection=week.collection_id,
        start=week.week_start_date,
        end=week.week_end_date,
        workflow=of["workflow_id"],
        instance=of["instance_id"],
        token=week.claim_token,
        execution=str(uuid.uuid4()),
    )


def _execution(claim: Claim) -> dict[str, Any]:
    return {
        "id": claim.execution,
        "execution_id": execution_name(claim.week, claim.token),
        "workflow_id": claim.workflow,
    }


def _left(connection: sa.Connection, collection: str) -> Left:
    own = sa.select(COLLECTIONS.c.status).where(COLLECTIONS.c.id == collection)
    return Left(str(connection.scalar(own)), counts_of(connection, collection))
