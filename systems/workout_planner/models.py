"""What the calls take and answer. Pure."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictBool

from systems.shared.web.fields import Id, Model, Words

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def _iso(value: Any) -> Any:
    """Only YYYY-MM-DD: pydantic alone would take seconds since 1970 for a day, too."""
    if isinstance(value, date) or (isinstance(value, str) and _DAY.fullmatch(value)):
        return value
    raise ValueError("must be a day such as 2026-03-02")


def _in_utc(value: Any) -> Any:
    """SQLite keeps moments without their zone."""
    naive = isinstance(value, datetime) and value.tzinfo is None
    return value.replace(tzinfo=UTC) if naive else value


Moment = Annotated[datetime, BeforeValidator(_in_utc)]
Day = Annotated[date, BeforeValidator(_iso)]
TimeOfDay = Literal["morning", "afternoon", "evening"]
Title = Annotated[Words, Field(min_length=1, max_length=500)]
Kind = Annotated[Words, Field(max_length=100)]
Place = Annotated[Words, Field(max_length=200)]
Text = Annotated[Words, Field(max_length=10_000)]
Hours = Annotated[float, Field(ge=0, le=1_000, allow_inf_nan=False, strict=True)]


class SelectionChange(Model):
    """The fields to change; those that are not named stay as they are."""

    is_selected: StrictBool = True
    current_plan_day: Day | None = None
    time_of_day: TimeOfDay | None = None
    workout_location: Place | None = None
    user_notes: Text | None = None

    def columns(self) -> dict[str, Any]:
        """What is written. What is not on the calendar has no time of day."""
        named = self.model_dump(include=self.model_fields_set)
        return {**named, "time_of_day": None} if named.get("is_selected") is False else named


class Selection(Model):
    """What the athlete made of a workout. Each write raises `version`.

    `version` is null while the database does not count yet, which is before the change.
    """

    workout_id: Id
    is_selected: bool
    current_plan_day: date | None
    time_of_day: str | None
    workout_location: str | None
    user_notes: str | None
    updated_at: Moment
    version: int | None


class Workout(Model):
    """A workout of the plan. Durations are in hours."""

    id: Id
    title: str
    workout_type: str | None
    workout_description: str | None
    planned_duration: float | None
    planned_distance_meters: float | None
    originally_planned_day: date
    coach_comments: str | None
    tss: float | None
    intensity_factor: float | None
    is_custom: bool
    created_at: Moment
    selection: Selection | None


class CustomWorkoutChange(Model):
    """The fields to change; those that are not named stay as they are: no default is ever read."""

    title: Title = Field(default_factory=str)
    workout_type: Kind | None = None
    description: Text | None = None
    planned_date: Day = Field(default_factory=date.today)
    planned_duration: Hours | None = None
    time_of_day: TimeOfDay | None = None
    workout_location: Place | None = None

    def columns(self) -> dict[str, Any]:
        """What is written."""
        return self.model_dump(include=self.model_fields_set)


class NewCustomWorkout(Model):
    """A workout of the athlete's own."""

    title: Title
    planned_date: Day
    workout_type: Kind | None = None
    description: Text | None = None
    planned_duration: Hours | None = None
    time_of_day: TimeOfDay | None = None
    workout_location: Place | None = None


class CustomWorkout(Model):
    """A workout of the athlete's own, as it is kept."""

    id: Id
    title: str
    workout_type: str | None
    description: str | None
    planned_date: date
    planned_duration: float | None
    time_of_day: str | None
    workout_location: str | None
    created_at: Moment
    updated_at: Moment


class BadRow(Model):
    """A row of the file that was left out. The header is line 1."""

    line: int
    message: str


class Imported(Model):
    """`skipped`: there already, or twice in the file."""

    imported: int
    skipped: int
    errors: list[BadRow]


class Stats(Model):
    """How many there are."""

    total_workouts: int
    selected_workouts: int
    custom_workouts: int
