"""What the calls take and answer, and what the workflow service answers. Pure."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from systems.report_weeks.calendar_weeks import MOST_WEEKS, weeks_between
from systems.shared.web.fields import MOST, Model, Words

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(9999, 12, 31)

CollectionStatus = Literal["pending", "running", "paused", "completed", "failed"]
WeekStatus = Literal["pending", "running", "completed", "failed"]


def _day(value: Any) -> Any:
    """Only YYYY-MM-DD: pydantic alone would take seconds since 1970 for a day, too."""
    if isinstance(value, str) and _DAY.fullmatch(value) and value >= str(FIRST_DAY):
        return value
    if isinstance(value, date):
        return value
    raise ValueError(f"must be a day such as 2026-03-02, from {FIRST_DAY} on")


def _in_utc(value: Any) -> Any:
    """SQLite keeps moments without their zone."""
    naive = isinstance(value, datetime) and value.tzinfo is None
    return value.replace(tzinfo=UTC) if naive else value


def _uuid(value: Any) -> Any:
    """As the databases write it: in lower case, with dashes."""
    return str(UUID(value)) if isinstance(value, str) and len(value) == 36 else value


Day = Annotated[date, BeforeValidator(_day)]
Moment = Annotated[datetime, BeforeValidator(_in_utc)]
Uuid = Annotated[
    str,
    BeforeValidator(_uuid),
    Field(
        pattern="^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        json_schema_extra={"format": "uuid"},
    ),
]
Name = Annotated[Words, Field(min_length=1, max_length=200)]


class NewCollection(Model):
    """A range of days, to be collected by a workflow week by week, Monday to Sunday."""

    name: Name
    workflow_id: Uuid
    instance_id: Name
    start_date: Day
    end_date: Day

    @model_validator(mode="after")
    def _some_weeks(self) -> NewCollection:
        if self.end_date < self.start_date:
            raise ValueError("endDate is before startDate")
        if (self.end_date - self.start_date).days > MOST_WEEKS * 7:
            raise ValueError(f"more than {MOST_WEEKS} weeks from startDate to endDate")
        return self

    def weeks(self) -> list[tuple[date, date]]:
        return weeks_between(self.start_date, self.end_date)


class Counts(Model):
    """Weeks by their status."""

    pending: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0


class Collection(Model):
    """A collection, and how far it is."""

    id: Uuid
    name: str
    workflow_id: str
    instance_id: str
    start_date: date
    end_date: date
    status: str
    target_weeks: int
    progress_percentage: int
    weeks: Counts
    created_at: Moment
    updated_at: Moment


class Collections(Model):
    """A part of the list, newest first."""

    data: list[Collection]
    total: int


class Execution(Model):
    """One execution of a workflow; `amcExecutionId` is the service's own, which may be missing."""

    id: Uuid
    execution_id: str
    amc_execution_id: str | None
    workflow_id: str | None
    status: str
    progress: int
    row_count: int | None
    error_message: str | None
    started_at: Moment | None
    completed_at: Moment | None
    created_at: Moment


class Week(Model):
    """A week of a collection."""

    id: Uuid
    collection_id: Uuid
    week_start_date: date
    week_end_date: date
    status: str
    error_message: str | None
    execution_id: str | None
    created_at: Moment
    updated_at: Moment


class WeekWithExecution(Week):
    """A week with its data, and the execution that made it."""

    data: Any
    execution: Execution | None


class Cell(Model):
    """A week of the heat map."""

    id: Uuid
    start: date
    end: date
    status: str
    execution_id: str | None


class Strip(Model):
    """A collection of the heat map, with its weeks in their order."""

    id: Uuid
    name: str
    instance_id: str
    status: str
    weeks: list[Cell]


class HeatMap(Model):
    """Collections, newest first, with all their weeks."""

    collections: list[Strip]
    total: int


class Answer(BaseModel):
    """What the workflow service says of an execution; what else it says is passed over."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    execution_id: Words | None = None
    status: str
    row_count: Annotated[int, Field(ge=0, le=MOST)] | None = None
    data: Any = None
    error: str | None = None
