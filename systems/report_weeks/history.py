"""Collections, their weeks and the executions of other days. Pure, and the same for the same seed.

The damage: a restart has made weeks of a collection twice, an impatient second click the whole
collection; no week says which execution made it, but for a few that name executions which are
gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cache
from itertools import count

from systems.shared.fixtures import Made, Row
from systems.shared.made_up import Dice, moment

#: Everything here happened before the day from which the rule file counts.
FIRST_CREATED = datetime(2024, 11, 4, 6)
DAYS = 270
WEEKS = 52
WORKFLOWS = 97
ORPHANS = 0.005  #: share of the weeks that name an execution which is gone

COLUMNS = {
    "workflow_executions": (
        "id", "execution_id", "amc_execution_id", "workflow_id", "status", "progress", "row_count",
        "error_message", "started_at", "completed_at", "created_at",
    ),
    "report_data_collections": (
        "id", "name", "workflow_id", "instance_id", "collection_type", "target_weeks",
        "start_date", "end_date", "status", "progress_percentage", "weeks_completed",
        "configuration", "created_at", "updated_at",
    ),
    "report_data_weeks": (
        "id", "collection_id", "week_start_date", "week_end_date", "status", "execution_id",
        "data", "created_at", "updated_at", "error_message",
    ),
}  # fmt: skip

_REPORTS = ("Reach and frequency", "New to brand", "Path to conversion", "Basket overlap")
_ERRORS = ("the service answered 503", "timed out after 300 s", "quota exceeded")


@dataclass(slots=True)
class History:
    """What a year of use has left behind."""

    rows: int
    seed: int
    dice: Dice = field(init=False)
    workflows: list[str] = field(init=False)
    made: int = 0

    def __post_init__(self) -> None:
        self.dice = Dice(self.seed, "weeks")
        workflows = Dice(self.seed, "workflows")
        self.workflows = [workflows.uuid() for _ in range(WORKFLOWS)]

    def __iter__(self) -> Iterator[Made]:
        """`rows` weeks, their collections, and executions that none of them knows."""
        for number in count():
            if self.made >= self.rows:
                break
            # The first two show both kinds of damage in a small database, too.
            draw = self.dice.random()
            restarted = number == 0 or draw > 0.93
            lost_from = self.dice.below(WEEKS) if restarted else WEEKS
            for copy in range(2 if number == 1 or draw < 0.03 else 1):
                yield from self._collection(number, copy, lost_from)
        yield from _executions(self.rows // 10, self.seed, self.workflows)

    def _collection(self, number: int, copy: int, lost_from: int) -> Iterator[Made]:
        """One row of a collection and its weeks, those that a restart made again after the rest."""
        own = self.dice.uuid()
        start = date(2023, 10, 30) + timedelta(weeks=number % 30)
        created = FIRST_CREATED + timedelta(
            days=number * 7 % DAYS, seconds=number % 3600 + 2 * copy
        )
        weeks = [
            self._week(own, start, created + timedelta(hours=4 * turn), week, lost=lost)
            for turn, first in enumerate((0, lost_from))
            for week in range(first, WEEKS)
            # The first run died where the restart set in, so of both rows mostly one is done.
            for lost in [turn == 0 and week >= lost_from]
        ][: self.rows - self.made]
        self.made += len(weeks)
        yield "report_data_collections", self._row(number, own, start, created, weeks)
        for row in weeks:
            yield "report_data_weeks", row

    def _row(self, number: int, own: str, start: date, created: datetime, weeks: list[Row]) -> Row:
        # As many weeks as are done, not rows: the counter was right when it was written.
        done = len({w[2] for w in weeks if w[4] == "completed"})
        return (
            own,
            f"{_REPORTS[number % len(_REPORTS)]} {number // len(_REPORTS) + 1}",
            self.workflows[number % WORKFLOWS],
            f"instance-{number % 13:02d}",
            "backfill",
            WEEKS,
            start.isoformat(),
            (start + timedelta(weeks=WEEKS, days=-1)).isoformat(),
            "completed" if done == WEEKS else "failed" if number % 9 == 4 else "running",
            done * 100 // WEEKS,
            done,
            '{"retries": 3, "priority": "normal"}',
            moment(created),
            moment(created, hours=8),
        )

    def _week(self, own: str, start: date, created: datetime, week: int, *, lost: bool) -> Row:
        dice = self.dice
        monday, sunday = _days(start, week)
        status = _status(lost, dice.random())
        orphan = dice.chance(ORPHANS)
        done = status == "completed"
        return (
            dice.uuid(),
            own,
            monday,
            sunday,
            status,
            dice.uuid() if orphan else None,
            f'{{"rows": {dice.below(90_000)}, "week": {week + 1}}}' if done else None,
            moment(created, microseconds=week),
            moment(created, minutes=5 + 4 * week + dice.random()),
            dice.one_of(_ERRORS) if status == "failed" else None,
        )


def _status(lost: bool, draw: float) -> str:
    if lost:
        return "completed" if draw < 0.2 else "running" if draw < 0.3 else "pending"
    if draw < 0.9:
        return "completed"
    return "failed" if draw < 0.95 else "pending"


@cache
def _days(start: date, week: int) -> tuple[str, str]:
    """Monday and Sunday."""
    monday = start + timedelta(weeks=week)
    return monday.isoformat(), (monday + timedelta(days=6)).isoformat()


def _executions(some: int, seed: int, workflows: list[str]) -> Iterator[Made]:
    """Executions that people started by hand: the runner has recorded none of its own."""
    dice = Dice(seed, "executions")
    for number in range(some):
        began = FIRST_CREATED + timedelta(days=number % DAYS, seconds=number % 86_000)
        failed = dice.chance(0.05)
        row = (
            dice.uuid(),
            f"exec-{seed}-{number:08d}",
            f"amc-{dice.below(10**9):09d}" if dice.chance(0.95) else None,
            workflows[number % WORKFLOWS],
            "failed" if failed else "completed",
            dice.below(100) if failed else 100,
            None if failed else dice.below(90_000),
            dice.one_of(_ERRORS) if failed else None,
            moment(began),
            moment(began, minutes=3),
            moment(began),
        )
        yield "workflow_executions", row
