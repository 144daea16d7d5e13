"""How much one batch takes: towards the target time, and never too much of a table at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from onerow.session import Limits

#: Share of a table's rows that a batch locks at most, but for small tables: fewer than one writer
#: in a hundred comes upon one of them.
LOCKED_SHARE, LOCKED_LEAST = 0.005, 1_000


class Pace:
    """The size of the next batch, in units of the caller's: pages, row numbers, groups, rows.

    Args:
        per_unit: rows in one of them, as far as is known.
        of: rows of the table, of which a batch locks its share at most; None: there is no locking
            of rows.
    """

    def __init__(self, limits: Limits, per_unit: float, of: int | None) -> None:
        self._target = limits.batch_time
        self._per_unit = max(1.0, per_unit)
        most = limits.most_batch_rows
        if of is not None:
            most = min(most, max(LOCKED_LEAST, int(LOCKED_SHARE * of)))
        self._least = self._units(limits.least_batch_rows)
        # Not more where there was nothing to do: the next range may be full of it.
        self._most = max(self._least, self._units(most))
        self.size = min(self._most, self._units(limits.batch_rows))

    def _units(self, rows: int) -> int:
        return max(1, int(rows / self._per_unit))

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Learn from a batch."""
        began = time.monotonic()
        yield
        self._learn(time.monotonic() - began)

    def _learn(self, seconds: float) -> None:
        factor = min(2.0, max(0.5, self._target / max(seconds, 1e-4)))
        # On a busy machine any batch misses its time; ever smaller ones would never get done.
        self.size = max(self._least, min(self._most, int(self.size * factor)))
