"""Who is on call: people, sprints and overrides in, names out. Pure.

A sprint covers whole days of the team's zone, so its length in hours is not always the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from systems.triage_bot.schema import DISCIPLINES, ROLES

NONE_YET = -1  #: the sprint before the first transition, as the command line calls it
TURN = time(8)  #: of a sprint's first day: the transition
ANNOUNCED = time(17)  #: of the day before
DAY = timedelta(days=1)
COLUMNS = {d: f"{r}_slack_id" for d, r in zip(DISCIPLINES, ROLES, strict=True)}
TITLES = dict(
    zip(DISCIPLINES, ("Account", "Producer", "PO", "UI engineer", "Back-end engineer"), strict=True)
)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in a discipline; in two disciplines, they are two of these."""

    slack_id: str
    name: str
    discipline: str
    position: int = 0
    active: bool = True


@dataclass(frozen=True, slots=True)
class Sprint:
    """From its first day to its last one, both included."""

    index: int
    name: str
    start: date
    end: date

    def covers(self, day: date) -> bool:
        return self.start <= day <= self.end


@dataclass(frozen=True, slots=True)
class Override:
    """Somebody stands in, or would, for one role in one sprint."""

    id: int
    sprint_index: int
    role: str
    requested_by: str
    replacement: str
    replacement_name: str | None = None
    original: str | None = None
    status: str = "pending"
    reason: str | None = None
    answered_by: str | None = None


@dataclass(frozen=True, slots=True)
class Duty:
    """A role in a sprint: who has it, and for whom they stand in."""

    role: str
    slack_id: str | None
    name: str | None = None
    instead_of: str | None = None


@dataclass(frozen=True, slots=True)
class Team:
    """Everything that decides who is on call.

    Attributes:
        current: the sprint that was entered last; None before the first transition.
        holders: who was on call when it was entered, by role.
    """

    people: tuple[Person, ...] = ()
    sprints: tuple[Sprint, ...] = ()
    overrides: tuple[Override, ...] = ()
    current: int | None = None
    holders: dict[str, str | None] = field(default_factory=dict)

    # -- people --------------------------------------------------------------------------------

    def roster(self, role: str) -> list[Person]:
        """The active people of a discipline, in their order."""
        of_role = (p for p in self.people if p.discipline == role and p.active)
        return sorted(of_role, key=lambda p: (p.position, p.slack_id))

    def name_of(self, slack_id: str | None) -> str | None:
        return next((p.name for p in self.people if p.slack_id == slack_id), None)

    def disciplines_of(self, slack_id: str) -> list[str]:
        """Where somebody is in the roster; there can be several."""
        return [d for d in DISCIPLINES if any(p.slack_id == slack_id for p in self.roster(d))]

    # -- sprints -------------------------------------------------------------------------------

    def sprint(self, index: int | None) -> Sprint | None:
        return next((s for s in self.sprints if s.index == index), None)

    def sprint_on(self, day: date) -> Sprint | None:
        """The sprint of a day; of overlapping ones the later, as the transition leaves it."""
        covering = [s for s in self.sprints if s.covers(day)]
        return max(covering, key=lambda s: s.index, default=None)

    def coming(self, today: date) -> list[Sprint]:
        """The sprints that are not over, in their order."""
        return sorted((s for s in self.sprints if s.end >= today), key=lambda s: s.index)

    # -- duties --------------------------------------------------------------------------------

    def approved(self, index: int, role: str) -> Override | None:
        found = (o for o in self.overrides if (o.sprint_index, o.role) == (index, role))
        return next((o for o in found if o.status == "approved"), None)

    def in_turn(self, index: int, role: str) -> Person | None:
        """Whose turn it is by the roster alone; nobody's when it is empty."""
        roster = self.roster(role)
        return roster[index % len(roster)] if roster else None

    def duty(self, index: int, role: str) -> Duty:
        """Who has a role in a sprint: an approved override comes first."""
        turn = self.in_turn(index, role)
        whose = turn.slack_id if turn else None
        override = self.approved(index, role)
        if override is None:
            return Duty(role, whose, turn.name if turn else None)
        name = override.replacement_name or self.name_of(override.replacement)
        return Duty(role, override.replacement, name, override.original or whose)

    def duties(self, index: int) -> list[Duty]:
        """All roles of a sprint, in their order."""
        return [self.duty(index, role) for role in DISCIPLINES]

    def on_call(self, day: date) -> tuple[Sprint | None, list[Duty]]:
        """The sprint of a day and who is on call then; nobody where there is no sprint."""
        sprint = self.sprint_on(day)
        return sprint, self.duties(sprint.index) if sprint else []

    def shifts(self, slack_id: str, today: date) -> list[tuple[Sprint, str]]:
        """When somebody is on call from today on, and as what."""
        return [
            (sprint, duty.role)
            for sprint in self.coming(today)
            for duty in self.duties(sprint.index)
            if duty.slack_id == slack_id
        ]


def turns(before: Iterable[Duty], after: Iterable[Duty]) -> tuple[dict[str, list[str]], ...]:
    """Who joins and who leaves between two sprints, each with their roles.

    Somebody who only changes from one role to another is in both.
    """
    had = {(d.slack_id, d.role) for d in before if d.slack_id}
    have = {(d.slack_id, d.role) for d in after if d.slack_id}
    return _by_person(have - had), _by_person(had - have)


def _by_person(pairs: Iterable[tuple[str | None, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for slack_id, role in sorted(pairs, key=lambda p: (str(p[0]), DISCIPLINES.index(p[1]))):
        found.setdefault(str(slack_id), []).append(role)
    return found


# -- time ----------------------------------------------------------------------------------------


def begins(sprint: Sprint, zone: ZoneInfo) -> datetime:
    """Its first moment: midnight of the team."""
    return datetime.combine(sprint.start, time(), zone)


def ends(sprint: Sprint, zone: ZoneInfo) -> datetime:
    """The first moment after it."""
    return datetime.combine(sprint.end + DAY, time(), zone)


def entered(sprint: Sprint, zone: ZoneInfo) -> datetime:
    """When its transition is due."""
    return datetime.combine(sprint.start, TURN, zone)


def due(sprints: Iterable[Sprint], now: datetime, zone: ZoneInfo) -> int | None:
    """The sprint that should have been entered by now."""
    begun = (s.index for s in sprints if entered(s, zone) <= now)
    return max(begun, default=None)


def begins_tomorrow(sprints: Iterable[Sprint], today: date) -> Sprint | None:
    """The sprint whose first day is tomorrow."""
    return next((s for s in sprints if s.start == today + DAY), None)


# -- what is wrong -------------------------------------------------------------------------------


def flaws(team: Team) -> list[str]:
    """Gaps and overlaps of the sprints, empty rosters, a state that does not fit."""
    return [*schedule_flaws(team.sprints), *_roster_flaws(team), *_state_flaws(team)]


def schedule_flaws(sprints: Sequence[Sprint]) -> Iterator[str]:
    """Gaps and overlaps between sprints that follow each other, and what is out of order."""
    order = sorted(sprints, key=lambda s: s.index)
    for sprint in order:
        if sprint.end < sprint.start:
            yield f"{sprint.name} ends on {sprint.end}, before it begins on {sprint.start}"
    for one, two in pairwise(order):
        if two.index != one.index + 1:
            yield f"there is no sprint {one.index + 1}: after {one.index} comes {two.index}"
        if two.start > one.end + DAY:
            days = (two.start - one.end).days - 1
            yield f"gap of {days} days between {one.name} and {two.name}"
        elif two.start <= one.end:
            days = (one.end - two.start).days + 1
            yield f"{two.name} begins {days} days before {one.name} is over"


def _roster_flaws(team: Team) -> Iterator[str]:
    yield from (f"nobody is active in {d}" for d in DISCIPLINES if not team.roster(d))


def _state_flaws(team: Team) -> Iterator[str]:
    if team.current is None:
        if any(team.holders.values()):
            yield "no sprint was entered, but people are on call"
        return
    for role in DISCIPLINES:
        if team.holders.get(role) is None:
            yield f"nobody is on call as {role} in the current sprint"
