"""A team, its sprints and who stood in for whom. Pure, and the same for the same seed and day.

The damage: a request was sent twice and each copy got a part of the answer; two people hold the
approval for one role in one sprint; transitions that died half way left states behind; whoever
works in a second discipline was refused there, or was entered in lower case to get past the key.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta

from systems.shared.fixtures import Made, Row
from systems.shared.made_up import Dice, moment
from systems.triage_bot.schema import DISCIPLINES

ROSTER = 5  #: people of each discipline that every state has
SPRINTS = 10
SPRINT = timedelta(days=14)
_ROLES = len(DISCIPLINES)

BEFORE_COLUMNS = {
    "users": ("id", "slack_id", "name", "discipline", "created_at", "updated_at"),
    "sprints": (
        "id", "sprint_name", "start_date", "end_date", "sprint_index", "created_at", "updated_at",
    ),
    "current_state": (
        "sprint_index", "account_slack_id", "producer_slack_id", "po_slack_id", "ui_eng_slack_id",
        "be_eng_slack_id", "is_current", "updated_at",
    ),
    "overrides": (
        "id", "sprint_index", "role", "original_slack_id", "replacement_slack_id",
        "replacement_name", "requested_by", "reason", "approved", "approved_by",
        "approval_timestamp", "created_at", "updated_at",
    ),
    "audit_logs": (
        "table_name", "record_id", "operation", "new_values", "changed_by", "changed_at", "reason",
    ),
}  # fmt: skip
AFTER_COLUMNS = {
    "users": ("slack_id", "name", "discipline", "position"),
    "sprints": BEFORE_COLUMNS["sprints"],
    "current_state": ("sprint_index",),
}

_FIRST = ("Ana", "Ben", "Chloe", "Dev", "Eva", "Finn", "Gita", "Hugo", "Ines", "Jon")
_LAST = ("Adler", "Brandt", "Costa", "Dietz", "Ek", "Fabre", "Gruber")
_REASONS = ("on holiday", "at a conference", "ill", "child care", "on a release")


def slack_id(number: int) -> str:
    """Of the nth person of the team, counted from 0."""
    return f"U{number + 1:08d}"


def name_of(number: int) -> str:
    turn = number // 70
    name = f"{_FIRST[number % 10]} {_LAST[number % 7]}"
    return f"{name} {turn + 1}" if turn else name


def monday_of(day: date) -> date:
    return day - timedelta(days=day.weekday())


def sprint(index: int, first: date) -> Row:
    start = first + index * SPRINT
    end = start + SPRINT - timedelta(days=1)
    laid = moment(datetime.combine(first, time(9)) - timedelta(days=20))
    return index + 1, f"Sprint {index}", start.isoformat(), end.isoformat(), index, laid, laid


def after_rows(first: date) -> Iterator[Made]:
    """Five people of each discipline, ten sprints, and no sprint yet."""
    for number in range(ROSTER * _ROLES):
        place, role = divmod(number, _ROLES)
        yield "users", (slack_id(number), name_of(number), DISCIPLINES[role], place)
    for index in range(SPRINTS):
        yield "sprints", sprint(index, first)
    yield "current_state", (None,)


@dataclass(frozen=True, slots=True)
class Request:
    """Somebody asks to be replaced, however often the button was pressed."""

    sprint: int
    role: int
    original: int
    replacement: int
    at: datetime
    approved: bool


@dataclass(slots=True)
class Past:
    """`rows` overrides, and the team and sprints that they are about.

    Args:
        today: falls into the current sprint.
    """

    rows: int
    seed: int
    today: date
    dice: Dice = field(init=False)

    @property
    def sprints(self) -> int:
        return max(SPRINTS, min(1000, self.rows // 50))

    @property
    def current(self) -> int:
        return max(3, self.sprints - SPRINTS)

    @property
    def first(self) -> date:
        return monday_of(self.today) - self.current * SPRINT

    @property
    def roster(self) -> int:
        """People of each discipline."""
        return ROSTER + min(self.rows // 250, 4000)

    def __iter__(self) -> Iterator[Made]:
        self.dice = Dice(self.seed, "team")
        yield from self._team()
        for index in range(self.sprints):
            yield "sprints", sprint(index, self.first)
        yield from self._states()
        made = number = 0
        while made < self.rows:
            request = self._request(number)
            for row in self._copies(request, number, made)[: self.rows - made]:
                made += 1
                yield "overrides", row
                yield from self._audited(row)
            number += 1

    # -- people --------------------------------------------------------------------------------

    def _team(self) -> Iterator[Made]:
        people = self.roster * _ROLES
        hired = datetime.combine(self.first, time(9)) - timedelta(days=30)
        for number in range(people):
            at = moment(hired, minutes=number % 1000)
            row = (slack_id(number), name_of(number), DISCIPLINES[number % _ROLES], at, at)
            yield "users", (number + 1, *row)
        # Twenty ids apart, so that nobody is in question twice.
        for extra, number in enumerate((0, *range(1, people, 20))):
            at = moment(hired, days=9, minutes=extra)
            yield from self._in_two(number, people + extra + 1, at)

    def _in_two(self, number: int, row_id: int, at: str) -> Iterator[Made]:
        """A person for whom the import wanted a second row: refused, or entered all the same."""
        discipline = DISCIPLINES[(number + 1 + number % 3) % _ROLES]
        wanted = f'{{"slack_id": "{slack_id(number)}", "discipline": "{discipline}"}}'
        reason = "duplicate key value violates unique constraint users_slack_id_key"
        # The row that the log speaks of was never there.
        yield "audit_logs", ("users", None, "INSERT", wanted, "import", at, reason)
        if number % 40 == 1:
            disguised = slack_id(number).lower()
            yield "users", (row_id, disguised, name_of(number), discipline, at, at)

    # -- the state -----------------------------------------------------------------------------

    def _states(self) -> Iterator[Made]:
        """The state, and two that transitions which died on the way have left."""
        for back, current in ((2, None), (1, False), (0, True)):
            index = self.current - back
            # The one that died first had not got to the last role.
            filled = _ROLES if back < 2 else _ROLES - 1
            people: list[str | None] = [slack_id(self._on_call(index, r)) for r in range(filled)]
            people += [None] * (_ROLES - filled)
            at = moment(datetime.combine(self.first + index * SPRINT, time(8)))
            yield "current_state", (index, *people, current, at)

    def _on_call(self, index: int, role: int) -> int:
        return index % self.roster * _ROLES + role

    # -- requests ------------------------------------------------------------------------------

    def _request(self, number: int) -> Request:
        """The nth one; sprints and roles take turns, and no two are the same request."""
        turn, pair = divmod(number, self.sprints * _ROLES)
        index, role = divmod(pair, _ROLES)
        who = turn % self.roster
        step = 1 + turn // self.roster % (self.roster - 1)
        original, replacement = (p % self.roster * _ROLES + role for p in (who, who + step))
        # For a sprint that is still to come one could ask until yesterday.
        monday = min(self.first + index * SPRINT, self.today)
        at = datetime.combine(monday, time(10))
        at -= timedelta(days=1 + self.dice.below(10), minutes=number % 480)
        # One request of a sprint and role is granted, and now and then another one as well.
        granted = turn == 0 or (turn == 1 and pair % 10 == 3)
        return Request(index, role, original, replacement, at, granted)

    def _copies(self, request: Request, number: int, made: int) -> list[Row]:
        draw = self.dice.random()
        some = 2 if number < 3 or draw < 0.08 else 3 if draw < 0.1 else 1
        declined = not request.approved and self.dice.chance(0.3)
        return [
            self._override(request, made + copy + 1, copy, some, declined) for copy in range(some)
        ]

    def _override(self, request: Request, own: int, copy: int, some: int, declined: bool) -> Row:
        """One copy of a request: the answer is in one of them, the reason in another."""
        answered = copy == 0 and (request.approved or declined)
        last = copy == some - 1
        return (
            own,
            request.sprint,
            DISCIPLINES[request.role],
            slack_id(request.original),
            slack_id(request.replacement),
            name_of(request.replacement) if last else None,
            slack_id(request.original),
            self.dice.one_of(_REASONS) if last else None,
            answered and request.approved,
            "UADMIN001" if answered else None,
            moment(request.at, hours=3) if answered else None,
            moment(request.at, seconds=copy),
            moment(request.at, hours=3) if answered else moment(request.at, seconds=copy),
        )

    def _audited(self, row: Row) -> Iterator[Made]:
        """The naive writer forgets the log now and then."""
        if self.dice.chance(0.7):
            values = f'{{"sprint_index": {row[1]}, "role": "{row[2]}"}}'
            yield "audit_logs", ("overrides", row[0], "INSERT", values, row[6], row[11], None)
        if row[9] is not None:
            values = f'{{"approved": {str(row[8]).lower()}}}'
            yield "audit_logs", ("overrides", row[0], "UPDATE", values, row[9], row[10], None)
