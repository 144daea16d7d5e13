"""How long a membership runs. Pure."""

from __future__ import annotations

import calendar
from datetime import date, timedelta
from typing import Literal

DurationType = Literal["DAYS", "MONTHS"]
LONGEST: dict[DurationType, int] = {"DAYS": 730, "MONTHS": 24}

#: Days on which a membership can start; every end date is a date then, too.
FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2199, 12, 31)


def end_date(start: date, kind: DurationType, value: int) -> date:
    """The start and so many days, or months, cut to the last day of the month."""
    if kind == "DAYS":
        return start + timedelta(days=value)
    years, month = divmod(start.month - 1 + value, 12)
    year = start.year + years
    last = calendar.monthrange(year, month + 1)[1]
    return start.replace(year=year, month=month + 1, day=min(start.day, last))


def fits(kind: DurationType, value: int) -> bool:
    """Whether a plan may run that long."""
    return 1 <= value <= LONGEST[kind]
