"""The planner's pure parts: what a CSV says, what a change writes, what a calendar file holds."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from icalendar import Calendar
from pydantic import ValidationError

from systems.workout_planner.calendar_file import Entry, calendar_of, imported_identity
from systems.workout_planner.models import SelectionChange
from systems.workout_planner.plan_csv import UnreadablePlan, decoded, read_plan

HEADER = "Title,WorkoutType,WorkoutDescription,PlannedDuration,PlannedDistanceInMeters,WorkoutDay,CoachComments,TSS,IF"


def test_a_row_is_read() -> None:
    """Numbers, days and texts over several lines; cells that are empty are not there."""
    (row,) = read_plan(f'{HEADER}\n A ,Run,"one\ntwo",1.5,,2026-05-01,,50,0.7\n').workouts
    assert row.model_dump() == {
        "title": "A",
        "workout_type": "Run",
        "workout_description": "one\ntwo",
        "planned_duration": 1.5,
        "planned_distance_meters": None,
        "originally_planned_day": date(2026, 5, 1),
        "coach_comments": None,
        "tss": 50.0,
        "intensity_factor": 0.7,
    }


def test_columns_go_by_their_names() -> None:
    """In any order, with others beside them, and without those that need not be there."""
    (row,) = read_plan("Id,WorkoutDay,Title\n7,2026-05-01,A\n").workouts
    assert (row.title, row.originally_planned_day) == ("A", date(2026, 5, 1))


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (",Run,,1,,2026-05-01,,,", "Title is empty"),
        ("A,Run,,1,,,,,", "WorkoutDay is empty"),
        ("A,Run,,1,,01.05.2026,,,", "WorkoutDay: must be a day such as 2026-03-02"),
        ("A,Run,,1,,2026-02-30,,,", "WorkoutDay: "),
        ("A,Run,,an hour,,2026-05-01,,,", "PlannedDuration must be a number"),
        ("A,Run,,-1,,2026-05-01,,,", "PlannedDuration: "),
        ("A,Run,,nan,,2026-05-01,,,", "PlannedDuration: "),
        ("A,Run,,1,,2026-05-01,,inf,", "TSS: "),
        ("A,Run,,1", "has 4 cells, the header has 9"),
        ("A\0,Run,,1,,2026-05-01,,,", "Title: must not contain the character NUL"),
        (f"{'A' * 501},Run,,1,,2026-05-01,,,", "Title: "),
    ],
)
def test_bad_rows_are_told_by_line(cells: str, said: str) -> None:
    """By the line on which they begin, and the good ones are kept."""
    good = 'B,Run,"over\nthree\nlines",1,,2026-05-02,,,'
    plan = read_plan(f"{HEADER}\n{good}\n\n{cells}\n{good}\n")
    assert [row.title for row in plan.workouts] == ["B", "B"]
    ((line, message),) = [(b.line, b.message) for b in plan.bad]
    assert line == 6
    assert message.startswith(said), message


def test_a_quote_that_does_not_end() -> None:
    """Nothing behind it can be read; what stood before it is kept."""
    plan = read_plan(f'{HEADER}\nA,Run,,1,,2026-05-01,,,\nB,"Run,,1,,2026-05-01,,,\nC\n')
    assert len(plan.workouts) == 1
    (bad,) = plan.bad
    assert bad.line == 3
    assert bad.message.endswith("the file was not read from here on")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no column Title and no column WorkoutDay"),
        ("Title,IF\n", "no column WorkoutDay"),
        ("title,WorkoutDay\n", "no column Title"),
        ("Title,Title,WorkoutDay\n", "Title more than once"),
        ('"Title', "line 1: "),
    ],
)
def test_headers_that_cannot_be_used(text: str, said: str) -> None:
    """Nothing is read then."""
    with pytest.raises(UnreadablePlan, match=said):
        read_plan(text)


def test_the_encoding() -> None:
    """UTF-8, with a mark or without; anything else is told with its line."""
    assert decoded("\ufeffTitle".encode()) == "Title"
    with pytest.raises(UnreadablePlan, match="line 2: the file is not in UTF-8"):
        decoded("Title\nLäufe".encode("latin-1"))


@given(st.text())
def test_any_text_is_answered(text: str) -> None:
    """With rows, or with what is wrong: nothing else comes out."""
    try:
        plan = read_plan(f"{HEADER}\n{text}")
    except UnreadablePlan:
        return
    assert all(bad.line >= 2 for bad in plan.bad)


def test_a_change_names_its_fields() -> None:
    """What is not sent is not written; null clears; off the calendar there is no time of day."""

    def columns(**sent: object) -> dict[str, object]:
        return SelectionChange.model_validate(sent).columns()

    assert columns() == {}
    assert columns(userNotes="x") == {"user_notes": "x"}
    assert columns(timeOfDay=None) == {"time_of_day": None}
    assert columns(isSelected=False) == {"is_selected": False, "time_of_day": None}
    assert columns(isSelected=False, timeOfDay="morning")["time_of_day"] is None
    assert columns(isSelected=True, timeOfDay="morning") == {
        "is_selected": True,
        "time_of_day": "morning",
    }


@pytest.mark.parametrize(
    "sent",
    [
        {"currentPlanDay": "2026-02-30"},
        {"currentPlanDay": 1700000000},
        {"currentPlanDay": "2026-03-02T00:00:00"},
        {"timeOfDay": "noon"},
        {"isSelected": "yes"},
        {"isSelected": None},
        {"userNotes": 1},
        {"userNotes": "a\0b"},
        {"workoutLocation": "x" * 201},
        {"nothing": 1},
    ],
)
def test_changes_that_are_refused(sent: dict[str, object]) -> None:
    """With the field at fault."""
    with pytest.raises(ValidationError) as refused:
        SelectionChange.model_validate(sent)
    assert [e["loc"][0] for e in refused.value.errors()] == list(sent)


def entry(**more: object) -> Entry:
    given: dict[str, object] = {
        "identity": imported_identity("Long run", date(2026, 3, 8)),
        "title": "Long run; easy, 16 km",
        "day": date(2026, 3, 7),
        "time_of_day": "evening",
        "hours": 1.75,
        "place": "hills",
        "description": "one\ntwo",
        "changed": datetime(2026, 3, 1, 12, tzinfo=UTC),
        "revision": 4,
    }
    return Entry(**{**given, **more})  # type: ignore[arg-type]


def test_an_event() -> None:
    """At the time of day, for as long as it was planned; texts are escaped by the library."""
    (event,) = Calendar.from_ical(calendar_of([entry()])).walk("VEVENT")
    assert event["SUMMARY"] == "Long run; easy, 16 km"
    assert event["DESCRIPTION"] == "one\ntwo"
    assert event["LOCATION"] == "hills"
    assert event["SEQUENCE"] == 4
    assert event.decoded("DTSTART") == datetime(2026, 3, 7, 18)
    assert event.decoded("DURATION").total_seconds() == 105 * 60


def test_without_a_time_it_lasts_all_day() -> None:
    """A date, not a moment."""
    (event,) = Calendar.from_ical(calendar_of([entry(time_of_day=None)])).walk("VEVENT")
    assert event.decoded("DTSTART") == date(2026, 3, 7)
    assert "DURATION" not in event


def test_an_identity_stays() -> None:
    """Moved, renamed places, another revision: one UID; another workout: another one."""

    def uid(**more: object) -> str:
        (event,) = Calendar.from_ical(calendar_of([entry(**more)])).walk("VEVENT")
        return str(event["UID"])

    assert uid() == uid(day=date(2026, 3, 9), place=None, revision=9)
    assert uid() != uid(identity=imported_identity("Long run", date(2026, 3, 15)))
