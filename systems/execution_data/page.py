"""The page: a grid of activities and quarters, of a period and a facility."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from onerow import transactional
from systems.execution_data import tables as t
from systems.execution_data.claims import Claims
from systems.execution_data.models import QUARTERS
from systems.execution_data.reading import Reader, Row
from systems.execution_data.scope import FacilityScope
from systems.shared.web.pages import Pages

LINES = 40  #: activities at once: whole blocks of items with their total
MOST_CHOICES = 1000


@dataclass(frozen=True, slots=True)
class Choice:
    """What was picked, or stands there at first."""

    period: int
    facility: int
    sheet: int


@dataclass(frozen=True, slots=True)
class Line:
    """An activity, and what is stored of it."""

    activity: sa.RowMapping
    report: Row | None

    @property
    def amounts(self) -> list[str]:
        """Of each quarter, as an input shows it; empty for zero."""
        if self.report is None:
            return [""] * len(QUARTERS)
        return [plain(self.report[q]) for q in QUARTERS]


def plain(amount: Decimal) -> str:
    """Without cents where there are none."""
    return "" if not amount else f"{amount:.2f}".removesuffix(".00")


def install(app: FastAPI, pages: Pages[Claims], engine: sa.Engine, reader: Reader) -> None:
    """GET /."""

    def grid(request: Request) -> Response:
        who = pages.signed_in(request)
        read = transactional(engine, read_only=True, name="grid")(_Sheet(reader, who).read)
        found = read(request.query_params)
        return pages.render(request, "grid.html", who=f"{who.sub} ({who.role})", **found)

    app.add_api_route("/", grid, include_in_schema=False, response_class=Response)


class _Sheet:
    """Everything that the page shows, read in one transaction."""

    def __init__(self, reader: Reader, who: Claims) -> None:
        self.reader, self.who = reader, who

    def read(self, connection: sa.Connection, asked: Any) -> dict[str, Any]:
        periods = _all(connection, t.PERIODS, t.PERIODS.c.year.desc(), t.PERIODS.c.id.desc())
        facilities = _all(connection, t.FACILITIES, t.FACILITIES.c.id)
        if not self.who.is_admin:
            facilities = [f for f in facilities if f["id"] == self.who.facility_id]
        count = sa.select(sa.func.count()).select_from(t.ACTIVITIES)
        sheets = max(1, -(-connection.execute(count).scalar_one() // LINES))
        choice = Choice(
            _picked(asked.get("period"), [p["id"] for p in periods]),
            _picked(asked.get("facility"), [self.who.facility_id, *(f["id"] for f in facilities)]),
            _picked(asked.get("sheet"), range(1, sheets + 1)),
        )
        return {
            "periods": periods,
            "facilities": facilities,
            "sheets": sheets,
            "choice": choice,
            "lines": self._lines(connection, choice),
            "sends_facility": self.reader.scope is not FacilityScope.OFF,
        }

    def _lines(self, connection: sa.Connection, choice: Choice) -> list[Line]:
        order = t.ACTIVITIES.c.display_order, t.ACTIVITIES.c.id
        shown = sa.select(t.ACTIVITIES).order_by(*order)
        shown = shown.limit(LINES).offset(LINES * (choice.sheet - 1))
        activities = connection.execute(shown).mappings().all()
        stored = self.reader.of_grid(
            connection, choice.period, choice.facility, [a["id"] for a in activities]
        )
        return [Line(a, stored.get(a["id"])) for a in activities]


def _all(connection: sa.Connection, table: sa.Table, *order: Any) -> list[sa.RowMapping]:
    sql = sa.select(table).order_by(*order).limit(MOST_CHOICES)
    return list(connection.execute(sql).mappings())


def _picked(text: str | None, known: Sequence[int]) -> int:
    """What was asked for, if there is such; else the first."""
    number = int(text) if text and text.isascii() and text.isdecimal() else 0
    return number if number in known else next(iter(known), 0)
