"""A collection's own columns of progress, after its weeks have changed."""

from __future__ import annotations

import sqlalchemy as sa

from systems.report_weeks.tables import COLLECTIONS, WEEKS
from systems.shared.columns import now


def refresh(connection: sa.Connection, collection: str) -> None:
    """Count again.

    The row is locked first, in a statement of its own: one that locked and counted would count
    what it saw before it waited, and of two weeks that end at once the later would lose the other.
    """
    c = COLLECTIONS.c
    own = sa.select(c.status).where(c.id == collection).with_for_update()
    status = connection.scalar(own)
    if status is None:
        return
    counts = counts_of(connection, collection)
    total, done = sum(counts.values()), counts.get("completed", 0)
    values = {
        "status": status_of(status, counts),
        "weeks_completed": done,
        "progress_percentage": done * 100 // total if total else 0,
        "updated_at": now(),
    }
    connection.execute(sa.update(COLLECTIONS).where(c.id == collection).values(values))


def counts_of(connection: sa.Connection, collection: str) -> dict[str, int]:
    """How many weeks a collection has, in each status."""
    c = WEEKS.c
    query = sa.select(c.status, sa.func.count()).where(c.collection_id == collection)
    return {row[0]: row[1] for row in connection.execute(query.group_by(c.status))}


def status_of(status: str, counts: dict[str, int]) -> str:
    """What a collection is whose weeks stand so."""
    if counts.get("pending") or counts.get("running"):
        started = "running" if counts.get("running") or counts.get("completed") else "pending"
        return "paused" if status == "paused" else started
    return "failed" if counts.get("failed") else "completed"
