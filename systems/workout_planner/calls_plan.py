"""The calls for the coach's plan: workouts, import, export, numbers, health."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from systems.shared.web.errors import Detail, ErrorForm, Fault
from systems.workout_planner.calendar_file import (
    Entry,
    calendar_of,
    imported_identity,
    own_identity,
)
from systems.workout_planner.calls_selections import known
from systems.workout_planner.models import Day, Imported, Stats, Workout
from systems.workout_planner.plan_csv import Plan, UnreadablePlan, decoded, read_plan
from systems.workout_planner.store import Row, Store

Responses = dict[int | str, dict[str, Any]]

PAGE, MOST_OF_A_PAGE = 10_000, 50_000
TOTAL = "X-Total-Count"
MULTIPART, CSV = "multipart/form-data", "text/csv"
_TEXT = {"type": "string"}
_UPLOAD = {
    "required": True,
    "content": {
        MULTIPART: {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": {**_TEXT, "contentMediaType": CSV}},
            }
        },
        CSV: {"schema": _TEXT},
    },
}
_TOTAL: Responses = {
    200: {"headers": {TOTAL: {"description": "in all", "schema": {"type": "integer"}}}}
}
_ICS: Responses = {
    200: {"description": "RFC 5545", "content": {"text/calendar": {"schema": _TEXT}}}
}


def routes(store: Store, form: ErrorForm) -> APIRouter:
    """Workouts, import, export, numbers."""
    router = APIRouter()
    _add_workouts(router, store, form)
    errors = form.documented()

    @router.post(
        "/workouts/import",
        response_model=Imported,
        responses=form.documented(415),
        openapi_extra={"requestBody": _UPLOAD},
        tags=["plan"],
    )
    async def import_plan(request: Request) -> dict[str, Any]:
        """A plan as CSV: the multipart field `file`, or the body.

        Columns: Title, WorkoutType, WorkoutDescription, PlannedDuration (hours),
        PlannedDistanceInMeters, WorkoutDay (YYYY-MM-DD), CoachComments, TSS, IF. What is there
        already by title and day is left as it is. Bad rows are told by line, the good ones kept.
        """
        content = await _uploaded(request)
        return await run_in_threadpool(_imported, store, content)

    @router.get("/stats", response_model=Stats, responses=errors, tags=["plan"])
    def stats() -> Row:
        """How many there are."""
        return store.stats()

    @router.get(
        "/export/calendar.ics",
        response_class=Response,
        responses={**errors, **_ICS},
        tags=["plan"],
    )
    def export(start: Day | None = None, end: Day | None = None) -> Response:
        """What is on the calendar from `start` to `end`, both included."""
        if start and end and end < start:
            raise Fault(400, details=[Detail(field="end", message="is before start")])
        planned, own = store.scheduled(start, end)
        content = calendar_of(_entries(planned, own))
        file = {"Content-Disposition": 'attachment; filename="calendar.ics"'}
        return Response(content, media_type="text/calendar", headers=file)

    return router


def _add_workouts(router: APIRouter, store: Store, form: ErrorForm) -> None:
    @router.get(
        "/workouts",
        response_model=list[Workout],
        responses={**form.documented(), **_TOTAL},
        tags=["plan"],
    )
    def listed(
        response: Response,
        start: Day | None = None,
        end: Day | None = None,
        scheduled: bool | None = None,
        limit: Annotated[int, Query(ge=1, le=MOST_OF_A_PAGE)] = PAGE,
        offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    ) -> list[Row]:
        """Workouts in the order of their days, on the calendar or as they were planned.

        `scheduled` true: those that are on the calendar; false: those that are not.
        """
        rows, total = store.workouts(
            start=start, end=end, scheduled=scheduled, limit=limit, offset=offset
        )
        response.headers[TOTAL] = str(total)
        return rows

    @router.get(
        "/workouts/{workout_id:int}",
        response_model=Workout,
        responses=form.documented(404),
        tags=["plan"],
    )
    def one(workout_id: int) -> Row:
        """A workout, and what the athlete made of it."""
        return store.workout(known(workout_id))


# -- import -------------------------------------------------------------------------------------


async def _uploaded(request: Request) -> bytes:
    """The file, whichever way it came."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == CSV:
        return await request.body()
    if kind != MULTIPART:
        raise Fault(415, f"The plan comes as {CSV}, or in the field `file` of a {MULTIPART}.")
    async with request.form(max_files=1) as form:
        file = form.get("file")
        if isinstance(file, UploadFile):
            return await file.read()
        if isinstance(file, str):
            return file.encode()
    raise _unreadable("is missing")


def _imported(store: Store, content: bytes) -> dict[str, Any]:
    try:
        plan = read_plan(decoded(content))
    except UnreadablePlan as error:
        raise _unreadable(str(error)) from None
    done = store.add_plan(_rows(plan)) if plan.workouts else 0
    skipped = len(plan.workouts) - done
    return {"imported": done, "skipped": skipped, "errors": plan.bad}


def _rows(plan: Plan) -> list[Row]:
    return [{**w.model_dump(), "is_custom": False} for w in plan.workouts]


def _unreadable(message: str) -> Fault:
    return Fault(400, f"file: {message}", details=[Detail(field="file", message=message)])


# -- export -------------------------------------------------------------------------------------


def _entries(planned: list[Row], own: list[Row]) -> Iterator[Entry]:
    for row in planned:
        said = row["selection"]
        parts = (row["workout_description"], row["coach_comments"], said["user_notes"])
        yield Entry(
            identity=_identity(row),
            title=row["title"],
            day=said["current_plan_day"] or row["originally_planned_day"],
            time_of_day=said["time_of_day"],
            hours=row["planned_duration"],
            place=said["workout_location"],
            description="\n\n".join(filter(None, parts)),
            changed=said["updated_at"],
            revision=said["version"] or 0,
        )
    for row in own:
        yield Entry(
            identity=own_identity("custom_workouts", row["id"]),
            title=row["title"],
            day=row["planned_date"],
            time_of_day=row["time_of_day"],
            hours=row["planned_duration"],
            place=row["workout_location"],
            description=row["description"] or "",
            changed=row["updated_at"],
            revision=0,
        )


def _identity(row: Row) -> str:
    if row["is_custom"]:
        return own_identity("workouts", row["id"])
    return imported_identity(row["title"], row["originally_planned_day"])
