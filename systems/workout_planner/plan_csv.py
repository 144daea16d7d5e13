"""The coach's plan as a CSV file. Pure.

Bad rows are told with the line on which they begin; the good ones are kept.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from systems.workout_planner.models import BadRow, Day, Kind, Text, Title

NEEDED = ("Title", "WorkoutDay")


class UnreadablePlan(ValueError):
    """Nothing of the file can be used."""


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, str) else value


_CELL = BeforeValidator(_number)
Hours = Annotated[float, _CELL, Field(ge=0, le=1_000, allow_inf_nan=False)]
Meters = Annotated[float, _CELL, Field(ge=0, le=10_000_000, allow_inf_nan=False)]
Points = Annotated[float, _CELL, Field(ge=0, le=10_000, allow_inf_nan=False)]


class PlannedWorkout(BaseModel):
    """A row; cells that are empty are not there."""

    model_config = ConfigDict(frozen=True)

    title: Annotated[Title, Field(alias="Title")]
    workout_type: Annotated[Kind | None, Field(alias="WorkoutType")] = None
    workout_description: Annotated[Text | None, Field(alias="WorkoutDescription")] = None
    planned_duration: Annotated[Hours | None, Field(alias="PlannedDuration")] = None
    planned_distance_meters: Annotated[Meters | None, Field(alias="PlannedDistanceInMeters")] = None
    originally_planned_day: Annotated[Day, Field(alias="WorkoutDay")]
    coach_comments: Annotated[Text | None, Field(alias="CoachComments")] = None
    tss: Annotated[Points | None, Field(alias="TSS")] = None
    intensity_factor: Annotated[Points | None, Field(alias="IF")] = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is in a file."""

    workouts: Sequence[PlannedWorkout]
    bad: Sequence[BadRow]


def decoded(content: bytes) -> str:
    """The text of a file.

    Raises:
        UnreadablePlan: it is not UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UnreadablePlan(f"line {line}: the file is not in UTF-8") from None


def read_plan(text: str) -> Plan:
    """The workouts of a file, and the rows that are none.

    Raises:
        UnreadablePlan: the header lacks a column that is needed, or has one twice.
    """
    good: list[PlannedWorkout] = []
    bad: list[BadRow] = []
    lines = _lines(text)
    header = _header(next(lines, None))
    for line, cells in lines:
        try:
            if isinstance(cells, csv.Error):
                raise ValueError(f"{cells}; the file was not read from here on")
            if any(cells):
                good.append(_workout(header, cells))
        except ValueError as error:
            bad.append(BadRow(line=line, message=_told(error)))
    return Plan(good, bad)


def _lines(text: str) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """Each row and the line on which it begins; an error is the last of them."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            yield line, [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            yield line, error
            return


def _header(first: tuple[int, list[str] | csv.Error] | None) -> list[str]:
    names = first[1] if first else []
    if isinstance(names, csv.Error):
        raise UnreadablePlan(f"line 1: {names}")
    lacking = [name for name in NEEDED if name not in names]
    if lacking:
        raise UnreadablePlan(f"line 1: the header has no column {' and no column '.join(lacking)}")
    known = {field.alias for field in PlannedWorkout.model_fields.values()}
    twice = sorted({name for name in names if name in known and names.count(name) > 1})
    if twice:
        raise UnreadablePlan(f"line 1: the header has {', '.join(twice)} more than once")
    return names


def _workout(header: Sequence[str], cells: Sequence[str]) -> PlannedWorkout:
    if len(cells) != len(header):
        raise ValueError(f"has {len(cells)} cells, the header has {len(header)}")
    given = {name: cell for name, cell in zip(header, cells, strict=True) if cell}
    return PlannedWorkout.model_validate(given)


def _told(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(_sentence(e) for e in error.errors(include_url=False))
    return str(error)


def _sentence(error: Mapping[str, Any]) -> str:
    column = error["loc"][0]
    if error["type"] == "missing":
        return f"{column} is empty"
    if error["type"] == "value_error" and "convert" in error["msg"]:
        return f"{column} must be a number"
    return f"{column}: {error['msg'].removeprefix('Value error, ')}"
