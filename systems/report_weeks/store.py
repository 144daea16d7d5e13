"""What the server asks and writes: collections, their weeks, executions."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa

from onerow import advance, get_or_create, transactional
from onerow.write import NotFound
from systems.report_weeks.models import NewCollection
from systems.report_weeks.refresh import refresh
from systems.report_weeks.tables import (
    COLLECTIONS,
    ENDED,
    EXECUTIONS,
    ONE_REQUEST,
    ONE_WEEK,
    WEEKS,
)
from systems.shared.columns import now

P = ParamSpec("P")
R = TypeVar("R")
Row = dict[str, Any]


class Unknown(LookupError):
    """There is no such collection, week or execution."""


class NotNow(Exception):
    """Its status does not allow it."""


class Store:
    """All that the server asks and writes. Each call is one transaction."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        # SQLite lets writers in one by one, and has them poll for their turn; here they queue.
        sqlite = engine.dialect.name == "sqlite"
        self._turn: Any = threading.Lock() if sqlite else nullcontext()

    def _read(
        self, read: Callable[Concatenate[sa.Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        return transactional(self.engine, read_only=True)(read)(*args, **kwargs)

    def _write(
        self, write: Callable[Concatenate[sa.Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        with self._turn:
            return transactional(self.engine)(write)(*args, **kwargs)

    # -- writing ------------------------------------------------------------------------------

    def create(self, new: NewCollection) -> tuple[Row, bool]:
        """The collection of a request with its weeks, and whether this call has made it."""
        return self._write(_create, new)

    def pause(self, collection: str) -> Row:
        """No runner takes a week of it any more; those at work end theirs.

        Raises:
            Unknown: there is none.
            NotNow: it has ended.
        """
        return self._write(_move, collection, ("pending", "running"), "paused")

    def resume(self, collection: str) -> Row:
        """Runners take its weeks again.

        Raises:
            Unknown: there is none.
            NotNow: it has ended.
        """
        return self._write(_move, collection, ("paused",), "pending")

    def retry_week(self, week: str) -> Row:
        """A failed week is pending again.

        Raises:
            Unknown: there is none.
            NotNow: it has not failed.
        """
        return self._write(_retry_week, week)

    def retry_failed(self, collection: str) -> int:
        """All failed weeks of a collection are pending again; how many those are.

        Raises:
            Unknown: there is none.
        """
        return self._write(_retry_failed, collection)

    # -- reading ------------------------------------------------------------------------------

    def collection(self, collection: str) -> Row:
        """One of them, with its progress.

        Raises:
            Unknown: there is none.
        """
        return self._read(_collection, collection)

    def find(self, words: str) -> str:
        """The id of the collection with this id or name.

        Raises:
            Unknown: there is none, or several bear the name.
        """
        return self._read(_find, words)

    def unfinished(self) -> list[str]:
        """The ids of the collections that a runner has something to do for, oldest first."""
        query = sa.select(COLLECTIONS.c.id).where(COLLECTIONS.c.status.in_(("pending", "running")))
        ordered = query.order_by(COLLECTIONS.c.created_at, COLLECTIONS.c.id)
        return self._read(lambda connection: list(connection.scalars(ordered)))

    def collections(self, limit: int, offset: int) -> tuple[list[Row], int]:
        """A part of them, newest first, and how many there are."""
        return self._read(_collections, limit, offset)

    def heat_map(self, limit: int, offset: int) -> tuple[list[Row], int]:
        """A part of the collections with all their weeks, and how many there are."""
        return self._read(_heat_map, limit, offset)

    def week(self, week: str) -> Row:
        """A week and its execution.

        Raises:
            Unknown: there is none.
        """
        return self._read(_week, week)

    def execution(self, execution: str) -> Row:
        """An execution.

        Raises:
            Unknown: there is none.
        """
        return self._read(_execution, execution)

    def weeks_of(self, execution: str) -> list[Row]:
        """The weeks that an execution made.

        Raises:
            Unknown: there is no such execution.
        """
        return self._read(_weeks_of, execution)


# -- writing --------------------------------------------------------------------------------------


def new_rows(new: NewCollection) -> tuple[Row, list[Row]]:
    """What a request says of its collection, and the rows of its weeks."""
    weeks = [{"week_start_date": a, "week_end_date": b} for a, b in new.weeks()]
    # The ids in the order of the weeks: a claim locks rows in that order, an insert goes in it.
    return {"target_weeks": len(weeks)}, weeks


def _create(connection: sa.Connection, new: NewCollection) -> tuple[Row, bool]:
    defaults, weeks = new_rows(new)
    own = {"id": str(uuid.uuid4()), **defaults}
    written = get_or_create(connection, ONE_REQUEST, new.model_dump(), defaults=own)
    made = written.outcome == "inserted"
    if made:
        insert_weeks(connection, own["id"], weeks)
    return _collection(connection, written.row.id), made


def insert_weeks(connection: sa.Connection, collection: str, weeks: Iterable[Row]) -> None:
    """The rows of a collection's weeks."""
    rows = [{"id": str(uuid.uuid4()), "collection_id": collection, **w} for w in weeks]
    connection.execute(sa.insert(WEEKS), rows)


def _move(connection: sa.Connection, collection: str, old: tuple[str, ...], new: str) -> Row:
    """From one of its old statuses to another; at once, whoever else does so."""
    c = COLLECTIONS.c
    update = sa.update(COLLECTIONS).where(c.id == collection, c.status.in_(old))
    connection.execute(update.values(status=new, updated_at=now()))
    found = _collection(connection, collection)
    if found["status"] in ENDED:
        raise NotNow(f"The collection is {found['status']}: there is nothing to pause or resume.")
    return found


def _retry_week(connection: sa.Connection, week: str) -> Row:
    fresh = {"error_message": None, "execution_id": None, "updated_at": now()}
    move = {"status": ("failed", "pending")}
    try:
        written = advance(connection, ONE_WEEK, {"id": week}, move, set=fresh)
    except NotFound:
        raise Unknown from None
    if written.outcome != "updated":
        raise NotNow(f"The week is {written.row.status}; only a failed one is tried again.")
    refresh(connection, written.row.collection_id)
    return _week(connection, week)


def _retry_failed(connection: sa.Connection, collection: str) -> int:
    _collection(connection, collection)
    c = WEEKS.c
    update = sa.update(WEEKS).where(c.collection_id == collection, c.status == "failed")
    fresh = {c.error_message: None, c.execution_id: None, c.updated_at: now()}
    count = connection.execute(update.values({c.status: "pending", **fresh})).rowcount
    if count:
        refresh(connection, collection)
    return count


# -- reading --------------------------------------------------------------------------------------


def _counts(connection: sa.Connection, some: Iterable[str]) -> dict[str, dict[str, int]]:
    c = WEEKS.c
    query = sa.select(c.collection_id, c.status, sa.func.count())
    query = query.where(c.collection_id.in_(list(some))).group_by(c.collection_id, c.status)
    found: dict[str, dict[str, int]] = {}
    for collection, status, count in connection.execute(query):
        found.setdefault(collection, {})[status] = count
    return found


def _with_progress(connection: sa.Connection, rows: Iterable[Any]) -> list[Row]:
    """As the weeks are now; the columns of the progress are older by a moment."""
    found = [dict(r) for r in rows]
    counts = _counts(connection, [r["id"] for r in found])
    return [{**r, "weeks": counts.get(r["id"], {})} for r in found]


def _collection(connection: sa.Connection, collection: str) -> Row:
    query = sa.select(COLLECTIONS).where(COLLECTIONS.c.id == collection)
    return _one(_with_progress(connection, connection.execute(query).mappings()))


def _newest(limit: int, offset: int) -> sa.Select[Any]:
    c = COLLECTIONS.c
    query = sa.select(COLLECTIONS).order_by(c.created_at.desc(), c.id)
    return query.limit(limit).offset(offset)


def _total(connection: sa.Connection) -> int:
    return connection.scalar(sa.select(sa.func.count()).select_from(COLLECTIONS)) or 0


def _collections(connection: sa.Connection, limit: int, offset: int) -> tuple[list[Row], int]:
    rows = connection.execute(_newest(limit, offset)).mappings()
    return _with_progress(connection, rows), _total(connection)


def _heat_map(connection: sa.Connection, limit: int, offset: int) -> tuple[list[Row], int]:
    found = [dict(r) for r in connection.execute(_newest(limit, offset)).mappings()]
    c = WEEKS.c
    columns = (c.collection_id, c.id, c.week_start_date, c.week_end_date, c.status, c.execution_id)
    query = sa.select(*columns).where(c.collection_id.in_([r["id"] for r in found]))
    weeks: dict[str, list[Row]] = {r["id"]: [] for r in found}
    for row in connection.execute(query.order_by(c.week_start_date, c.created_at)):
        cell = {"id": row.id, "start": row.week_start_date, "end": row.week_end_date}
        weeks[row.collection_id].append(
            {**cell, "status": row.status, "execution_id": row.execution_id}
        )
    return [{**r, "weeks": weeks[r["id"]]} for r in found], _total(connection)


def _find(connection: sa.Connection, words: str) -> str:
    c = COLLECTIONS.c
    by_id = sa.select(c.id).where(sa.cast(c.id, sa.Text) == words.lower())
    if found := connection.scalar(by_id):
        return str(found)
    named = list(connection.scalars(sa.select(c.id).where(c.name == words).limit(4)))
    if len(named) == 1:
        return str(named[0])
    if named:
        raise Unknown(f"Several collections are called {words!r}: {', '.join(named)}.")
    raise Unknown(f"There is no collection {words!r}.")


def _week(connection: sa.Connection, week: str) -> Row:
    row = _one(connection.execute(sa.select(WEEKS).where(WEEKS.c.id == week)).mappings())
    query = sa.select(EXECUTIONS).where(EXECUTIONS.c.id == row["execution_id"])
    # None for an id that leads nowhere, as some of the old ones do.
    made_by = connection.execute(query).mappings().first() if row["execution_id"] else None
    return {**row, "execution": made_by}


def _execution(connection: sa.Connection, execution: str) -> Row:
    query = sa.select(EXECUTIONS).where(EXECUTIONS.c.id == execution)
    return _one(connection.execute(query).mappings())


def _weeks_of(connection: sa.Connection, execution: str) -> list[Row]:
    _execution(connection, execution)
    c = WEEKS.c
    query = sa.select(WEEKS).where(c.execution_id == execution)
    rows = connection.execute(query.order_by(c.week_start_date, c.id)).mappings()
    return [dict(r) for r in rows]


def _one(rows: Iterable[Any]) -> Row:
    found = next(iter(rows), None)
    if found is None:
        raise Unknown
    return dict(found)
