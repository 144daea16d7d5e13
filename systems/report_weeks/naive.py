"""The original writers: look, then write; and the execution's id is dropped."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from systems.report_weeks.ledger import Claim, Left
from systems.report_weeks.models import Answer, NewCollection
from systems.report_weeks.refresh import counts_of, refresh
from systems.report_weeks.schema import REQUEST
from systems.report_weeks.store import Row, Store, insert_weeks, new_rows
from systems.report_weeks.tables import COLLECTIONS, WEEKS
from systems.shared.columns import now


class NaiveStore(Store):
    """The same application with the writer of new collections that it had."""

    def create(self, new: NewCollection) -> tuple[Row, bool]:
        """Look for the collection; insert it where there is none, and its weeks afterwards."""
        request = new.model_dump()
        with self.engine.connect() as connection:
            same = [COLLECTIONS.c[name] == request[name] for name in REQUEST]
            found = connection.scalar(sa.select(COLLECTIONS.c.id).where(*same))
        if found is not None:
            return self.collection(found), False
        own, (defaults, weeks) = str(uuid.uuid4()), new_rows(new)
        with self.engine.begin() as connection:
            insert = sa.insert(COLLECTIONS).values(id=own, **request, **defaults)
            connection.execute(insert)
        with self.engine.begin() as connection:
            insert_weeks(connection, own, weeks)
        return self.collection(own), True


@dataclass(frozen=True, slots=True)
class NaiveLedger:
    """The runner's writes as they were: no lease, no token, and no place for an execution."""

    engine: sa.Engine
    lease: timedelta = timedelta(minutes=1)

    def claim(self, collection: str, limit: int) -> list[Claim]:
        """Look for pending weeks; then they are running."""
        c = WEEKS.c
        with self.engine.connect() as connection:
            own = sa.select(COLLECTIONS).where(COLLECTIONS.c.id == collection)
            of = connection.execute(own).mappings().one()
            pending = sa.select(WEEKS).where(c.collection_id == collection, c.status == "pending")
            query = pending.order_by(c.week_start_date).limit(limit)
            weeks = connection.execute(query).all() if of["status"] != "paused" else []
        if weeks:
            self._write([w.id for w in weeks], status="running")
        return [_claim(w, of) for w in weeks]

    def renew(self, claim: Claim) -> None:
        """There is nothing to renew."""

    def complete(self, claim: Claim, answer: Answer) -> None:
        """The week is completed, whoever has completed it before. The id has no parameter."""
        self._write([claim.week], status="completed", data=answer.data, error_message=None)
        self._refresh(claim)

    def fail(self, claim: Claim, reason: str, service_id: str | None = None) -> None:
        self._write([claim.week], status="failed", error_message=reason)
        self._refresh(claim)

    def left(self, collection: str) -> Left:
        """A week that is running is somebody's; of somebody who was killed it stays so."""
        with self.engine.connect() as connection:
            own = sa.select(COLLECTIONS.c.status).where(COLLECTIONS.c.id == collection)
            status = str(connection.scalar(own))
            counts = counts_of(connection, collection)
        return Left(status, {s: n for s, n in counts.items() if s != "running"})

    def _write(self, weeks: list[str], **values: Any) -> None:
        update = sa.update(WEEKS).where(WEEKS.c.id.in_(weeks))
        with self.engine.begin() as connection:
            connection.execute(update.values(**values, updated_at=now()))

    def _refresh(self, claim: Claim) -> None:
        # It reads before it writes, which SQLite would refuse once another has written.
        with self.engine.execution_options(begin="IMMEDIATE").begin() as connection:
            refresh(connection, claim.collection)


def _claim(week: Any, of: Any) -> Claim:
    return Claim(
        week=week.id,
        collection=week.collection_id,
        start=week.week_start_date,
        end=week.week_end_date,
        workflow=of["workflow_id"],
        instance=of["instance_id"],
        token=0,
        execution="",
    )
