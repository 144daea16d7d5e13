"""How much one batch takes."""

from __future__ import annotations

import time

import pytest

from onerow.pace import Pace
from onerow.session import Limits

LIMITS = Limits(batch_time=0.02, batch_rows=2_000, least_batch_rows=100, most_batch_rows=20_000)


def after(pace: Pace, seconds: float, batches: int = 1) -> int:
    """The size after batches that took so long."""
    for _ in range(batches):
        with pace.timed():
            time.sleep(seconds)
    return pace.size


@pytest.mark.parametrize(("rows", "most"), [(0, 1_000), (1_000_000, 5_000), (50_000_000, 20_000)])
def test_a_batch_locks_a_small_share_of_a_table_however_fast_it_is(rows: int, most: int) -> None:
    """A two hundredth of the rows at most, but for small tables."""
    assert after(Pace(LIMITS, 1.0, rows), 0.0, 6) == most


def test_without_locks_on_rows_the_limit_alone_counts() -> None:
    """SQLite locks the file, however few rows there are."""
    assert after(Pace(LIMITS, 1.0, None), 0.0, 6) == 20_000


def test_a_failed_batch_teaches_nothing() -> None:
    """What was rolled back says nothing on how long its rows take."""
    pace = Pace(LIMITS, 1.0, None)
    with pytest.raises(ZeroDivisionError), pace.timed():
        time.sleep(1 / 0)
    assert pace.size == 2_000


def test_a_slow_batch_is_followed_by_a_smaller_one_down_to_the_least() -> None:
    """Halved at most each time, and never below what a batch costs besides its rows."""
    pace = Pace(LIMITS, 1.0, None)
    assert after(pace, 0.05) == 1_000
    assert after(pace, 0.05, 4) == 100


def test_rows_are_counted_in_the_units_of_the_caller() -> None:
    """Groups of four rows, or pages: at least one of them."""
    assert Pace(LIMITS, 4.0, None).size == 500
    assert Pace(LIMITS, 1_000_000.0, None).size == 1
