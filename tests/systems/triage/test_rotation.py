"""Who is on call, by itself: no database, no Slack."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from systems.triage_bot import rotation
from systems.triage_bot.rotation import Duty, Override, Person, Sprint, Team
from systems.triage_bot.schema import DISCIPLINES

PACIFIC = ZoneInfo("America/Los_Angeles")
FIRST = date(2026, 1, 5)


def sprint(index: int, start: date | None = None, days: int = 14) -> Sprint:
    start = start or FIRST + timedelta(days=14 * index)
    return Sprint(index, f"Sprint {index}", start, start + timedelta(days=days - 1))


def people(role: str, *names: str) -> tuple[Person, ...]:
    return tuple(Person(f"U{n.upper()}", n, role, place) for place, n in enumerate(names))


SPRINTS = tuple(map(sprint, range(6)))
PO = people("po", "ana", "ben", "cy")
TEAM = Team(PO, SPRINTS)


def override(index: int, who: str, status: str = "approved", number: int = 1) -> Override:
    return Override(number, index, "po", "UANA", who, who.lower(), "UANA", status)


# -- turns ---------------------------------------------------------------------------------------


@given(st.integers(1, 9), st.integers(0, 500))
def test_turns_go_round(many: int, index: int) -> None:
    """Sprint index modulo roster: as many sprints on, it is the same person's turn again."""
    team = Team(people("po", *(f"p{n}" for n in range(many))))
    first, again = team.in_turn(index, "po"), team.in_turn(index + many, "po")
    assert first == again
    assert len({team.duty(index + n, "po").slack_id for n in range(many)}) == many


def test_the_order_is_the_position() -> None:
    """Whatever order people come in; of the same position the lower id is first."""
    shuffled = (Person("UB", "b", "po", 1), Person("UC", "c", "po", 0), Person("UA", "a", "po", 1))
    assert [p.slack_id for p in Team(shuffled).roster("po")] == ["UC", "UA", "UB"]


def test_inactive_people_have_no_turn() -> None:
    """The others close ranks."""
    away = Person("UBEN", "ben", "po", 1, active=False)
    team = Team((PO[0], away, PO[2]), SPRINTS)
    assert [team.duty(n, "po").name for n in range(3)] == ["ana", "cy", "ana"]


def test_an_empty_roster_is_nobody() -> None:
    """Told as a flaw, and no error."""
    assert TEAM.duty(0, "uiEng") == Duty("uiEng", None, None)
    assert "nobody is active in uiEng" in rotation.flaws(TEAM)
    assert "nobody is active in po" not in rotation.flaws(TEAM)


def test_somebody_in_two_disciplines() -> None:
    """Is in both rosters and has the shifts of both."""
    both = (*people("po", "ana", "ben"), *people("beEng", "ana"))
    team = Team(both, SPRINTS[:2])
    assert team.disciplines_of("UANA") == ["po", "beEng"]
    assert [(s.index, r) for s, r in team.shifts("UANA", FIRST)] == [
        (0, "po"),
        (0, "beEng"),
        (1, "beEng"),
    ]


# -- overrides -----------------------------------------------------------------------------------


def test_an_approved_override_comes_first() -> None:
    """And tells for whom somebody stands in; one that waits or was declined changes nothing."""
    waiting = Team(PO, SPRINTS, (override(0, "UCY", "pending"), override(0, "UBEN", "declined", 2)))
    assert waiting.duty(0, "po").name == "ana"
    granted = Team(PO, SPRINTS, (override(0, "UBEN", "declined"), override(0, "UCY", number=2)))
    assert granted.duty(0, "po") == Duty("po", "UCY", "ucy", "UANA")
    assert granted.duty(3, "po").name == "ana"


def test_of_a_day() -> None:
    """The sprint's first and last day are in it; a day outside of all sprints has nobody."""
    found, duties = TEAM.on_call(SPRINTS[1].start)
    assert (found, duties[DISCIPLINES.index("po")].name) == (SPRINTS[1], "ben")
    assert TEAM.on_call(SPRINTS[1].end)[0] == SPRINTS[1]
    assert TEAM.on_call(FIRST - timedelta(days=1)) == (None, [])


def test_who_joins_and_who_leaves() -> None:
    """Who stays in a role is told nothing; who changes the role joins one and leaves the other."""
    before = [Duty("po", "UA"), Duty("uiEng", "UB"), Duty("beEng", "UC"), Duty("account", None)]
    after = [Duty("po", "UA"), Duty("uiEng", "UC"), Duty("beEng", "UD"), Duty("account", "UC")]
    joins, leaves = rotation.turns(before, after)
    assert joins == {"UC": ["account", "uiEng"], "UD": ["beEng"]}
    assert leaves == {"UB": ["uiEng"], "UC": ["beEng"]}


# -- time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "hours"),
    [(date(2026, 3, 2), 335), (date(2026, 10, 26), 337), (date(2026, 6, 1), 336)],
)
def test_a_sprint_over_a_change_of_the_clock(start: date, hours: int) -> None:
    """It is fourteen of the team's days, an hour shorter in March and longer in November."""
    one = sprint(0, start)
    length = rotation.ends(one, PACIFIC).astimezone(UTC) - rotation.begins(one, PACIFIC).astimezone(
        UTC
    )
    assert length == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("start", "hour"), [(date(2026, 3, 9), 15), (date(2026, 3, 2), 16), (date(2026, 11, 2), 16)]
)
def test_the_transition_is_at_eight_of_the_team(start: date, hour: int) -> None:
    """In winter that is 16:00 UTC, in summer 15:00; on the day after the change already."""
    at = rotation.entered(sprint(0, start), PACIFIC).astimezone(UTC)
    assert at == datetime(start.year, start.month, start.day, hour, tzinfo=UTC)


def test_what_is_due() -> None:
    """The last sprint whose first day has come to eight o'clock there, wherever we are."""
    eight = rotation.entered(SPRINTS[2], PACIFIC)
    assert rotation.due(SPRINTS, eight, PACIFIC) == 2
    assert rotation.due(SPRINTS, eight - timedelta(seconds=1), PACIFIC) == 1
    assert rotation.due(SPRINTS, eight.astimezone(ZoneInfo("Asia/Tokyo")), PACIFIC) == 2
    assert rotation.due(SPRINTS, datetime(2025, 1, 1, tzinfo=UTC), PACIFIC) is None


def test_what_begins_tomorrow() -> None:
    """The evening before only."""
    eve = SPRINTS[1].start - timedelta(days=1)
    assert rotation.begins_tomorrow(SPRINTS, eve) == SPRINTS[1]
    assert rotation.begins_tomorrow(SPRINTS, SPRINTS[1].start) is None


# -- flaws ---------------------------------------------------------------------------------------


def test_gaps_and_overlaps() -> None:
    """Each is told with its days and the sprints that it is between; a good schedule has none."""
    assert list(rotation.schedule_flaws(SPRINTS)) == []
    gap = (sprint(0), sprint(1, FIRST + timedelta(days=17)))
    assert list(rotation.schedule_flaws(gap)) == ["gap of 3 days between Sprint 0 and Sprint 1"]
    overlap = (sprint(0), sprint(1, FIRST + timedelta(days=12)))
    said = "Sprint 1 begins 2 days before Sprint 0 is over"
    assert list(rotation.schedule_flaws(overlap)) == [said]
    missing = (sprint(0), sprint(2, FIRST + timedelta(days=14)))
    assert list(rotation.schedule_flaws(missing)) == ["there is no sprint 1: after 0 comes 2"]
    backwards = [Sprint(0, "Sprint 0", FIRST, FIRST - timedelta(days=1))]
    assert "before it begins" in next(rotation.schedule_flaws(backwards))


def test_of_overlapping_sprints_the_later_counts() -> None:
    """As the transition leaves it."""
    overlap = (sprint(0), sprint(1, FIRST + timedelta(days=12)))
    found = Team(PO, overlap).sprint_on(FIRST + timedelta(days=12))
    assert found is not None
    assert found.index == 1


def test_a_state_with_a_role_left_open() -> None:
    """Is told; none is, while no sprint was entered."""
    five = tuple(p for d in DISCIPLINES for p in people(d, f"a{d}"))
    assert rotation.flaws(Team(five, SPRINTS)) == []
    holders = {d: f"UA{d.upper()}" for d in DISCIPLINES}
    assert rotation.flaws(Team(five, SPRINTS, (), 0, holders)) == []
    (said,) = rotation.flaws(Team(five, SPRINTS, (), 0, {**holders, "po": None}))
    assert said == "nobody is on call as po in the current sprint"
    (said,) = rotation.flaws(Team(five, SPRINTS, (), None, holders))
    assert said == "no sprint was entered, but people are on call"
