"""The races of the tutorial, as programs: each is explored by the tests and told on the page.

A worker is written once, as a function of a Session, and run by drivers with and without an event
loop. `CASES` has them in the order of the page.
"""

from __future__ import annotations

from docs.races.gallery import counters, deletes, inserts, locks, queues, reads, skew
from docs.races.gallery.case import Case, metadata

CASES: tuple[Case, ...] = (
    *inserts.CASES,
    *counters.CASES,
    *skew.CASES,
    *reads.CASES,
    *locks.CASES,
    *deletes.CASES,
    *queues.CASES,
)

__all__ = ["CASES", "Case", "metadata"]
