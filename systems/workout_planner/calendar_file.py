"""The calendar as an iCalendar file (RFC 5545). Pure.

An imported workout's UID comes from its title and day, an entry of the athlete's own from its id.
So it is the same in every export, also after copies were merged, and a calendar makes no doubles.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from icalendar import Calendar, Event

SPACE = uuid.uuid5(uuid.NAMESPACE_URL, "onerow:systems/workout_planner")
STARTS = {"morning": time(7), "afternoon": time(13), "evening": time(18)}
AN_HOUR = 1.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A workout on a day.

    Attributes:
        identity: what stays the same about it, whatever becomes of it.
        hours: planned duration.
        revision: raised with each change of it.
    """

    identity: str
    title: str
    day: date
    time_of_day: str | None
    hours: float | None
    place: str | None
    description: str
    changed: datetime
    revision: int


def imported_identity(title: str, planned: date) -> str:
    """Of a workout that was imported."""
    return f"plan {planned.isoformat()} {title}"


def own_identity(table: str, number: int) -> str:
    """Of an entry of the athlete's own."""
    return f"{table} {number}"


def calendar_of(entries: Iterable[Entry]) -> bytes:
    """The file."""
    calendar = Calendar()
    calendar.add("prodid", "-//onerow//workout planner//EN")
    calendar.add("version", "2.0")
    calendar.add("x-wr-calname", "Workouts")
    for entry in entries:
        calendar.add_component(_event(entry))
    return bytes(calendar.to_ical())


def _event(entry: Entry) -> Event:
    event = Event()
    event.add("uid", f"{uuid.uuid5(SPACE, entry.identity)}@workout-planner")
    event.add("dtstamp", entry.changed)
    event.add("last-modified", entry.changed)
    event.add("sequence", entry.revision)
    event.add("summary", entry.title)
    _when(event, entry)
    if entry.place:
        event.add("location", entry.place)
    if entry.description:
        event.add("description", entry.description)
    return event


def _when(event: Event, entry: Entry) -> None:
    """All day without a time of day. Times have no zone: morning is where the athlete is."""
    start = STARTS.get(entry.time_of_day or "")
    if start is None:
        event.add("dtstart", entry.day)
        event.add("transp", "TRANSPARENT")
    else:
        event.add("dtstart", datetime.combine(entry.day, start))
        event.add("duration", timedelta(minutes=round(60 * (entry.hours or AN_HOUR))))
