"""What the facilities have reported. Pure, and the same for the same seed.

There are no duplicates to be found: the old key has kept them out, and with them every row of
every facility but the first. Who that was can be read from `created_by`, and is what the mapping
file says; rows of the nightly import have no such author and are in no mapping.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from systems.shared.fixtures import Made, Row
from systems.shared.made_up import Dice, moment, spread

PERIODS, ACTIVITIES, FACILITIES = 4, 40, 20  #: that every state has
FIRST_YEAR = 2023
IMPORT = "import"  #: author of a row whose facility nobody knows

COLUMNS = {
    "reporting_periods": ("id", "year", "period_type", "start_date", "end_date", "status"),
    "activities": ("id", "category", "name", "is_total_row", "display_order"),
    "facilities": ("id", "name", "facility_type", "district"),
    "execution_data": (
        "id", "reporting_period_id", "activity_id", "q1_amount", "q2_amount", "q3_amount",
        "q4_amount", "cumulative_balance", "comment", "created_by", "created_at", "updated_at",
    ),
    "execution_ledger": ("id", "execution_data_id", "quarter", "amount", "posted_at"),
}  # fmt: skip

_CATEGORIES = ("Human resources", "Monitoring", "Running costs", "Transfers")
_ITEMS = (
    "salaries", "supervision visits", "training", "fuel", "communication", "maintenance",
    "office supplies", "outreach", "laboratory supplies",
)  # fmt: skip
_DISTRICTS = ("North", "East", "South", "West", "Centre")
_NAMES = ("Hill", "Lake", "River", "Market", "Cross")
_COMMENTS = ("confirmed by the treasurer", "late invoice", "see the bank statement")
_BLOCK = len(_ITEMS) + 1  #: activities of a block: its items, then their total


@dataclass(frozen=True, slots=True)
class Size:
    """How many rows there are of what, for a number of rows that were reported."""

    rows: int
    unmapped: int = 0

    @property
    def periods(self) -> int:
        return max(PERIODS, min(40, self.rows // 4000))

    @property
    def items(self) -> int:
        """Activities that can be reported, which totals cannot."""
        return -(-self.rows // self.periods)

    @property
    def activities(self) -> int:
        return max(ACTIVITIES, activity_of(self.items))

    @property
    def facilities(self) -> int:
        return min(999, max(FACILITIES, self.rows // 5000))


def activity_of(item: int) -> int:
    """The id of the nth activity that is not a total."""
    block, place = divmod(item, len(_ITEMS))
    return block * _BLOCK + place + 1


def around(size: Size) -> Iterator[Made]:
    """Periods, activities and facilities."""
    for number in range(1, size.periods + 1):
        yield "reporting_periods", _period(number)
    for number in range(1, size.activities + 1):
        yield "activities", _activity(number)
    for number in range(1, size.facilities + 1):
        yield "facilities", _facility(number)


def before_rows(size: Size, seed: int) -> Iterator[Made]:
    """Everything, with one facility's report for each activity of a period, and its postings."""
    yield from around(size)
    dice = Dice(seed, "reports")
    facilities = _facilities(size, seed)
    posted = 0
    for index, facility in enumerate(facilities):
        row = _report(index, facility, size, dice)
        yield "execution_data", row
        for quarter in (1, 2, 3, 4):
            if amount := row[2 + quarter]:
                posted += 1
                yield "execution_ledger", (posted, row[0], quarter, amount, row[10])


def write_mapping(path: Path, size: Size, seed: int) -> None:
    """The facility of every row for which one is known, as a CSV with a header."""
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(("id", "facility_id"))
        for index, facility in enumerate(_facilities(size, seed)):
            if facility is not None:
                out.writerow((index + 1, facility))


def _facilities(size: Size, seed: int) -> Iterator[int | None]:
    """Row by row, who was first; the mapping and the rows must agree on it."""
    dice = Dice(seed, "facilities")
    for index in range(size.rows):
        known = dice.below(size.facilities) + 1
        yield None if spread(index, size.unmapped, size.rows) else known


def _report(index: int, facility: int | None, size: Size, dice: Dice) -> Row:
    period, item = divmod(index, size.items)
    draw = dice.random()
    quarters = 1 if draw < 0.55 else 2 if draw < 0.85 else 3 if draw < 0.95 else 4
    amounts = [(50 + dice.below(20_000)) * 25 if n < quarters else 0 for n in range(4)]
    author = f"f{facility:03d}.accountant{1 + dice.below(3)}" if facility else IMPORT
    began = datetime(_year(period + 1), 9, 30, 7)
    return (
        index + 1,
        period + 1,
        activity_of(item),
        *amounts,
        sum(amounts),
        dice.one_of(_COMMENTS) if dice.chance(0.2) else None,
        author,
        moment(began, seconds=item * 40),
        moment(began, seconds=item * 40 + dice.below(90 * 86_400)),
    )


def _year(period: int) -> int:
    """Further periods lie in the past: only the newest of the first ones is open."""
    return FIRST_YEAR + period - 1 if period <= PERIODS else FIRST_YEAR - period + PERIODS


def _period(number: int) -> Row:
    year = _year(number)
    status = "open" if number == PERIODS else "closed"
    return number, year, "annual", f"{year}-07-01", f"{year + 1}-06-30", status


def _activity(number: int) -> Row:
    block, place = divmod(number - 1, _BLOCK)
    category = _CATEGORIES[block % len(_CATEGORIES)]
    total = place == len(_ITEMS)
    programme, of = block // len(_CATEGORIES), "Total" if total else _ITEMS[place].capitalize()
    name = f"{of}, programme {programme + 1}" if programme else of
    return number, category, name, total, number


def _facility(number: int) -> Row:
    kind = "hospital" if number % 5 == 1 else "health_center"
    suffix = "Hospital" if kind == "hospital" else "Health Centre"
    name = f"{_NAMES[number % 5]} {number} {suffix}"
    return number, name, kind, _DISTRICTS[(number - 1) % len(_DISTRICTS)]
