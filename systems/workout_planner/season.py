"""A coach's plan and what an athlete made of it. Pure, and the same for the same seed.

The damage: a drop that sent two PUTs at once left two selections, each with a part of what was
said; and a week of the CSV that was imported again stands there twice, with the coach's later
corrections in the second copy only.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta

from systems.shared.fixtures import Made, Row
from systems.shared.made_up import Dice, moment

REFERENCE = 60  #: workouts that every state has
YEAR = 364  #: days of one plan; the next plan trains through the same year
FIRST_DAY = date(2026, 3, 2)

COLUMNS = {
    "workouts": (
        "id", "title", "workout_type", "workout_description", "planned_duration",
        "planned_distance_meters", "originally_planned_day", "coach_comments", "tss",
        "intensity_factor", "is_custom", "created_at",
    ),
    "workout_selections": (
        "id", "workout_id", "is_selected", "current_plan_day", "time_of_day", "workout_location",
        "user_notes", "updated_at",
    ),
    "custom_workouts": (
        "id", "title", "workout_type", "description", "planned_date", "planned_duration",
        "time_of_day", "workout_location", "created_at", "updated_at",
    ),
}  # fmt: skip

_WEEK = (
    ("Recovery swim", "Swim", "Easy lengths, breathing on both sides", 0.75, 1800.0),
    ("Bike intervals {n} x 4 min", "Bike", "Four minutes hard, four minutes easy", 1.25, 35000.0),
    ("Easy run", "Run", "Talking pace on soft ground", 0.75, 8000.0),
    ("Threshold run 3 x {n} min", "Run", "Comfortably hard, two minutes between", 1.0, 12000.0),
    ("Strength and mobility", "Strength", "Two rounds of the circuit", 0.75, None),
    ("Long ride, {n}0 km", "Bike", "Steady, eat every half hour", 3.5, 90000.0),
    ("Long run, 1{n} km", "Run", "Last third a little faster", 1.75, 16000.0),
)
_PLACES = ("home", "club pool", "river path", "track", "gym", "hills")
_NOTES = ("legs tired", "felt strong", "with Sam", "knee taped", "new shoes", "windy")
_TIMES = ("morning", "afternoon", "evening")
_COMMENTS = ("Keep it easy.", "Watch the cadence.", "Skip it if the knee hurts.")


def before_rows(rows: int, seed: int) -> Iterator[Made]:
    """Rows with the damage: `rows` selections, and the workouts that they belong to."""
    yield from _calendar(rows, seed)
    yield from _custom(rows // 50, seed)


def after_rows() -> Iterator[Made]:
    """The plan as it was imported, nothing selected yet."""
    dice = Dice(1, "workouts")
    for n in range(REFERENCE):
        yield "workouts", _workout(n + 1, n, dice, comment=True)


def _calendar(rows: int, seed: int) -> Iterator[Made]:
    """Entries, until there are as many selections and the reference workouts."""
    dice, fixed = Dice(seed, "workouts"), Dice(1, "workouts")
    made = number = planned = 0
    while made < rows or number < REFERENCE:
        again = planned >= REFERENCE and dice.chance(0.03)
        for copy in range(2 if again else 1):
            number += 1
            # The reference workouts are the same whatever the seed.
            own = fixed if planned < REFERENCE else dice
            workout = _workout(number, planned, own, comment=not again or copy == 1, copy=copy)
            yield "workouts", workout
            for selection in _selections(workout, made, rows - made, dice):
                made += 1
                yield "workout_selections", selection
        planned += 1


def _workout(number: int, planned: int, dice: Dice, *, comment: bool, copy: int = 0) -> Row:
    plan, day_of = divmod(planned, YEAR)
    week, weekday = divmod(day_of, 7)
    title, kind, text, hours, meters = _WEEK[weekday]
    # Entries of the athlete's own may stand twice on a day; the key is for imported ones.
    custom = planned >= REFERENCE and dice.chance(0.02)
    named = "My own ride" if custom else f"Week {week + 1}: {title.format(n=4 + week % 5)}"
    imported = datetime.combine(FIRST_DAY, time(6)) - timedelta(days=14 - 7 * copy)
    return (
        number,
        f"Plan {plan + 1}, {named}" if plan else named,
        kind,
        text,
        hours,
        meters,
        (FIRST_DAY + timedelta(days=day_of)).isoformat(),
        dice.one_of(_COMMENTS) if comment else None,
        round(40 + 60 * dice.random(), 1),
        round(0.6 + 0.35 * dice.random(), 2),
        custom,
        moment(imported, seconds=plan),
    )


def _selections(workout: Row, made: int, room: int, dice: Dice) -> tuple[Row, ...]:
    """The selections of a workout; where there are several, each holds a part of what was said."""
    draw = dice.random()
    times = min(0 if draw < 0.08 else 1 if draw < 0.86 else 2 if draw < 0.97 else 3, room)
    planned = date.fromisoformat(workout[6])
    at = datetime.combine(planned - timedelta(days=2), time(18, made % 60))
    said = (
        (planned + timedelta(days=dice.below(4) - 1)).isoformat(),
        dice.one_of(_TIMES),
        dice.one_of(_PLACES),
        dice.one_of(_NOTES) if dice.chance(0.5) else None,
    )
    # Now and then both writers read the clock in the same tick.
    step = 0.0 if dice.chance(0.05) else 0.004
    return tuple(
        (
            made + turn + 1,
            workout[0],
            turn == times - 1 or dice.chance(0.9),
            *(part if i % times == turn else None for i, part in enumerate(said)),
            moment(at, seconds=step * turn),
        )
        for turn in range(times)
    )


def _custom(count: int, seed: int) -> Iterator[Made]:
    dice = Dice(seed, "custom workouts")
    for number in range(1, count + 1):
        day = FIRST_DAY + timedelta(days=dice.below(YEAR))
        at = moment(datetime.combine(day - timedelta(days=5), time(20)), minutes=number % 60)
        kind = dice.one_of(("Swim", "Bike", "Run", "Yoga"))
        row = (
            number,
            f"{kind} with friends",
            kind,
            dice.one_of(_NOTES),
            day.isoformat(),
            1.0 + dice.below(4) / 2,
            dice.one_of(_TIMES),
            dice.one_of(_PLACES),
            at,
            at,
        )
        yield "custom_workouts", row
