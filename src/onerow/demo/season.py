"""The rows that the story starts from: a season of training, as a year of use has left it. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any

WEEKS = 34
FIRST_DAY = date(2026, 3, 2)
NOT_PLANNED_YET = 28  #: workouts at the end of the season that have no selection
IN_HAND = 28  #: workouts before these that have one, and never had two

_WEEK = (
    ("Recovery swim", "Swim", "0.75"),
    ("Bike intervals {n} x 4 min", "Bike", "1.25"),
    ("Easy run", "Run", "0.75"),
    ("Threshold run 3 x {n} min", "Run", "1.0"),
    ("Strength and mobility", "Strength", "0.75"),
    ("Long ride, {n}0 km", "Bike", "3.5"),
    ("Long run, 1{n} km", "Run", "1.75"),
)
_PLACES = ("home", "club pool", "river path", "track", "gym", "hills")
_NOTES = ("legs tired", "felt strong", "with Sam", "knee taped", "new shoes", "windy")
_TIMES = ("morning", "afternoon", "evening")

Row = dict[str, Any]


@dataclass(slots=True)
class Season:
    """Rows of the three tables, in the order of their ids."""

    workouts: list[Row] = field(default_factory=list)
    selections: list[Row] = field(default_factory=list)
    reminders: list[Row] = field(default_factory=list)

    @property
    def planned(self) -> range:
        """Workouts that were planned, some of them twice."""
        return range(1, len(self.workouts) - NOT_PLANNED_YET - IN_HAND + 1)

    @property
    def in_hand(self) -> range:
        """Workouts with one selection or none, which the writers work on first."""
        return range(self.planned.stop, len(self.workouts) + 1)


def season(seed: int = 7) -> Season:
    """Make the rows; the same ones for the same seed."""
    choose = random.Random(seed)
    made = Season()
    for week in range(WEEKS):
        for weekday, (title, kind, hours) in enumerate(_WEEK):
            made.workouts.append(
                {
                    "title": f"Week {week + 1}: {title.format(n=4 + week % 5)}",
                    "workout_type": kind,
                    "planned_duration": hours,
                    "originally_planned_day": str(FIRST_DAY + timedelta(7 * week + weekday)),
                }
            )
    for workout in made.planned:
        _plan(made, choose, workout, times=choose.choices((1, 2, 3), (87, 11, 2))[0])
    for workout in made.in_hand[:IN_HAND]:
        _plan(made, choose, workout, times=1, reminders=False)
    return made


def _plan(
    made: Season, choose: random.Random, workout: int, *, times: int, reminders: bool = True
) -> None:
    """Selections of one workout; where there are several, each holds a part of what was said."""
    day = date.fromisoformat(made.workouts[workout - 1]["originally_planned_day"])
    said = {
        "current_plan_day": str(day + timedelta(choose.randint(-1, 2))),
        "time_of_day": choose.choice(_TIMES),
        "workout_location": choose.choice(_PLACES),
        "user_notes": choose.choice(_NOTES),
    }
    for number in range(times):
        mine = {n: v for i, (n, v) in enumerate(said.items()) if i % times == number}
        at = datetime.combine(day, time(6, workout % 60, number))
        made.selections.append(
            {"workout_id": workout, **dict.fromkeys(said), **mine, "updated_at": str(at)}
        )
        if reminders and choose.random() < 0.6:
            made.reminders.append(
                {
                    "selection_id": len(made.selections),
                    "channel": choose.choice(("mail", "phone")),
                    "minutes_before": choose.choice((15, 30, 60)),
                }
            )
