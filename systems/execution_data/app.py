"""The application: which calls there are, and what each takes and answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
from fastapi import APIRouter, Depends, FastAPI, Query
from fastapi import Path as InPath
from starlette.responses import Response

from onerow import transactional
from systems.execution_data import page, schema
from systems.execution_data.claims import Claims
from systems.execution_data.models import FORM, Body, Change, Exists, Listed, Pagination, Report
from systems.execution_data.naive import NaiveWriter
from systems.execution_data.reading import Reader, permitted
from systems.execution_data.scope import VARIABLE, FacilityScope
from systems.execution_data.writing import Done, SafeWriter, Writer
from systems.shared.errors import SystemRefusal
from systems.shared.web.application import Serving, make_app
from systems.shared.web.fields import MOST, Id
from systems.shared.web.pages import Pages
from systems.shared.web.schema import lacking
from systems.shared.web.session import SignedIn

TITLE = "Execution data"
ABOUT = "What health facilities have spent on each budgeted activity, period by period."
PAGE, MOST_PAGE = 50, 200

P = ParamSpec("P")
R = TypeVar("R")


def make(serving: Serving) -> FastAPI:
    """The application over a database.

    Raises:
        SystemRefusal: its schema does not go with the setting of FACILITY_SCOPE, or with --naive.
    """
    scope = FacilityScope.OFF if serving.naive else FacilityScope.from_environment()
    check_schema(serving.engine, scope, naive=serving.naive)
    reader = Reader(scope)
    safe = SafeWriter(serving.engine, reader)
    return build(serving, reader, NaiveWriter(serving.engine) if serving.naive else safe)


def build(serving: Serving, reader: Reader, writer: Writer) -> FastAPI:
    """The application with a writer."""
    app = make_app(serving, title=TITLE, description=ABOUT, form=FORM)
    app.include_router(_Calls(serving, reader, writer).router)
    pages = Pages(TITLE, Path(__file__).parent, serving.tokens, Claims)
    page.install(app, pages, serving.engine, reader)
    pages.install(app)
    return app


def check_schema(engine: sa.Engine, scope: FacilityScope, *, naive: bool) -> None:
    """Refuse a database that the setting is not for."""
    missing = lacking(engine, schema.least())
    if missing:
        raise SystemRefusal(
            f"The database lacks {', '.join(missing)}. `before` and `after` make what is needed."
        )
    column = not lacking(engine, schema.column())
    old_key = not lacking(engine, schema.before())
    if scope is FacilityScope.REQUIRED and not column:
        raise SystemRefusal(
            f"{VARIABLE} is required, but the column execution_data.facility_id is missing."
            f" Serve with {VARIABLE}=optional until `onerow apply` has added it."
        )
    if scope is FacilityScope.OFF and not old_key:
        what = "--naive knows only the old key" if naive else f"{VARIABLE} is off"
        raise SystemRefusal(
            f"{what}, but the database has the key with the facility. Serve with"
            f" {VARIABLE}=optional."
        )


class _Calls:
    """The calls below /api/execution-data."""

    def __init__(self, serving: Serving, reader: Reader, writer: Writer) -> None:
        self.engine, self.reader, self.writer = serving.engine, reader, writer
        self.signed_in = SignedIn(serving.tokens, Claims)
        self.router = APIRouter(prefix="/api/execution-data", tags=["execution data"])
        self._add_reads()
        self._add_writes()

    def _read(
        self,
        read: Callable[Concatenate[sa.Connection, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        return transactional(self.engine, read_only=True)(read)(*args, **kwargs)

    def _add_reads(self) -> None:
        router, reader, who_asks = self.router, self.reader, Depends(self.signed_in)

        @router.get("", responses=FORM.documented())
        def listed(
            reporting_period_id: OptionalId = None,
            facility_id: OptionalFacility = None,
            limit: Annotated[int, Query(ge=1, le=MOST_PAGE)] = PAGE,
            offset: Annotated[int, Query(ge=0, le=MOST)] = 0,
            who: Claims = who_asks,
        ) -> Listed:
            """Rows, newest update first; an ACCOUNTANT's own facility only."""
            rows, total = self._read(
                reader.listed,
                who,
                period=reporting_period_id,
                facility=facility_id,
                limit=limit,
                offset=offset,
            )
            more = offset + len(rows) < total
            told = Pagination(total=total, limit=limit, offset=offset, has_next=more)
            return Listed(data=[Report(**r) for r in rows], pagination=told)

        @router.get("/by-period-and-activity", responses=FORM.documented(404))
        def by_key(
            period: PeriodId,
            activity: ActivityId,
            facility_id: OptionalFacility = None,
            who: Claims = who_asks,
        ) -> Report:
            """The row of a period, an activity and a facility."""
            row = self._read(
                reader.by_key, who, period=period, activity=activity, facility=facility_id
            )
            return Report(**permitted(row, who))

        @router.get("/exists", responses=FORM.documented())
        def exists(
            period: PeriodId,
            activity: ActivityId,
            facility_id: OptionalFacility = None,
            who: Claims = who_asks,
        ) -> Exists:
            """Whether a POST would be a conflict. Somebody else's may come in between."""
            row = self._read(
                reader.by_key, who, period=period, activity=activity, facility=facility_id
            )
            return Exists(exists=row is not None, id=None if row is None else row["id"])

        @router.get("/{id:int}", responses=FORM.documented(404))
        def one(number: RowId, who: Claims = who_asks) -> Report:
            return Report(**self._read(reader.one, number, who))

    def _add_writes(self) -> None:
        router, writer, who_asks = self.router, self.writer, Depends(self.signed_in)

        @router.post("", status_code=201, responses=_warned(201, 409))
        def create(body: Body, response: Response, who: Claims = who_asks) -> Report:
            """A new row, with one posting per quarter in the ledger."""
            return _told(writer.create(body, who), response)

        @router.put("/{id:int}", responses=_warned(200, 404, 409))
        def replace(
            number: RowId, body: Body, response: Response, who: Claims = who_asks
        ) -> Report:
            """The whole row anew; what has changed is posted in the ledger."""
            return _told(writer.change(number, body, who), response)

        @router.patch("/{id:int}", responses=_warned(200, 404, 409))
        def change(
            number: RowId, body: Change, response: Response, who: Claims = who_asks
        ) -> Report:
            """Some fields; those that are left out stay."""
            return _told(writer.change(number, body, who), response)

        @router.delete("/{id:int}", status_code=204, responses=FORM.documented(404))
        def remove(number: RowId, who: Claims = who_asks) -> None:
            """The row is gone, and with it its postings."""
            writer.remove(number, who)


RowId = Annotated[Id, InPath(alias="id")]
PeriodId = Annotated[Id, Query(alias="reportingPeriodId")]
ActivityId = Annotated[Id, Query(alias="activityId")]
OptionalId = Annotated[Id | None, Query(alias="reportingPeriodId")]
OptionalFacility = Annotated[Id | None, Query(alias="facilityId")]


def _told(done: Done, response: Response) -> Report:
    if done.warning:
        response.headers["Warning"] = done.warning
    return Report(**done.row)


def _warned(success: int, *errors: int) -> dict[int | str, dict[str, Any]]:
    header = {
        "Warning": {
            "description": "a facilityId was sent and ignored",
            "schema": {"type": "string"},
        }
    }
    return {success: {"headers": header}, **FORM.documented(*errors)}
