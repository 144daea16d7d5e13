"""The calls: collections, weeks, executions, the heat map."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi import Path as InPath
from starlette.responses import Response

from systems.report_weeks.models import (
    Collection,
    Collections,
    HeatMap,
    NewCollection,
    Uuid,
    Week,
    WeekWithExecution,
)
from systems.report_weeks.store import Row, Store
from systems.shared.web.errors import ErrorForm

PAGE, MOST_PAGE = 50, 200

Limit = Annotated[int, Query(ge=1, le=MOST_PAGE)]
Offset = Annotated[int, Query(ge=0, le=10_000_000)]
Id = Annotated[Uuid, InPath()]


def routes(store: Store, form: ErrorForm) -> APIRouter:
    """All of them."""
    router = APIRouter()
    _add_collections(router, store, form)
    _add_weeks(router, store, form)
    return router


def _add_collections(router: APIRouter, store: Store, form: ErrorForm) -> None:
    tags: list[Any] = ["collections"]

    @router.get("/collections", responses=form.documented(), tags=tags)
    def listed(limit: Limit = PAGE, offset: Offset = 0) -> Collections:
        """Newest first, each with its progress."""
        rows, total = store.collections(limit, offset)
        return Collections(data=[_collection(r) for r in rows], total=total)

    @router.post(
        "/collections",
        status_code=201,
        response_model=Collection,
        responses={
            200: {"model": Collection, "description": "the one that exists"},
            **form.documented(),
        },
        tags=tags,
    )
    def create(new: NewCollection, response: Response) -> Collection:
        """A collection with its weeks; 200 with the one that exists for the same request."""
        row, made = store.create(new)
        response.status_code = 201 if made else 200
        response.headers["Location"] = f"/collections/{row['id']}"
        return _collection(row)

    @router.get("/collections/{id}", responses=form.documented(404), tags=tags)
    def one(id: Id) -> Collection:
        """A collection and its progress."""
        return _collection(store.collection(id))

    @router.post("/collections/{id}/pause", responses=form.documented(404, 409), tags=tags)
    def pause(id: Id) -> Collection:
        """No further week is begun; those at work end. Twice is the same as once."""
        return _collection(store.pause(id))

    @router.post("/collections/{id}/resume", responses=form.documented(404, 409), tags=tags)
    def resume(id: Id) -> Collection:
        """Runners go on with it. Twice is the same as once."""
        return _collection(store.resume(id))

    @router.get("/heat-map", responses=form.documented(), tags=tags)
    def heat_map(limit: Limit = PAGE, offset: Offset = 0) -> HeatMap:
        """Collections, newest first, each with all its weeks in their order."""
        rows, total = store.heat_map(limit, offset)
        return HeatMap.model_validate({"collections": [_strip(r) for r in rows], "total": total})


def _add_weeks(router: APIRouter, store: Store, form: ErrorForm) -> None:
    tags: list[Any] = ["weeks"]

    @router.get("/weeks/{id}", responses=form.documented(404), tags=tags)
    def week(id: Id) -> WeekWithExecution:
        """A week with its data, and the execution that made it."""
        return _week_with_execution(store.week(id))

    @router.post("/weeks/{id}/retry", responses=form.documented(404, 409), tags=tags)
    def retry(id: Id) -> WeekWithExecution:
        """A failed week is pending again."""
        return _week_with_execution(store.retry_week(id))

    @router.get("/executions/{id}/weeks", responses=form.documented(404), tags=tags)
    def weeks(id: Id) -> list[Week]:
        """The weeks that an execution made."""
        return [Week.model_validate(_of(Week, r)) for r in store.weeks_of(id)]


def _of(model: Any, row: Row) -> Row:
    return {name: row[name] for name in model.model_fields if name in row}


def _collection(row: Row) -> Collection:
    counts: dict[str, int] = row["weeks"]
    total, done = sum(counts.values()), counts.get("completed", 0)
    progress = done * 100 // total if total else 0
    return Collection.model_validate({**_of(Collection, row), "progress_percentage": progress})


def _strip(row: Row) -> Row:
    return {name: row[name] for name in ("id", "name", "instance_id", "status", "weeks")}


def _week_with_execution(row: Row) -> WeekWithExecution:
    made_by = row["execution"]
    execution = None if made_by is None else dict(made_by)
    return WeekWithExecution.model_validate({**_of(WeekWithExecution, row), "execution": execution})
