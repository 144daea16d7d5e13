"""From a range of days to the weeks to collect. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

MOST_WEEKS = 520  #: ten years
_SIX_DAYS = timedelta(days=6)
_DAY = timedelta(days=1)


def weeks_between(start: date, end: date) -> list[tuple[date, date]]:
    """Monday to Sunday; the first begins at the start, the last is cut at the end."""
    return list(_weeks(start, end))


def _weeks(start: date, end: date) -> Iterator[tuple[date, date]]:
    while start <= end:
        sunday = start - timedelta(days=start.weekday()) + _SIX_DAYS
        yield start, min(sunday, end)
        start = sunday + _DAY
