"""Merging duplicates with archive, against the DELETE that people write by hand.

    python bench/dedupe.py --rows 1000000 --share 0.01
    python bench/dedupe.py --rows 5000000 --share 0.2 --tuned --work-mem 512MB

By hand nothing is archived, no column is filled from the rows that go, and the writers wait for
the whole statement. The DELETE is cancelled after --timeout seconds; the ratio is then a bound.
"""

from __future__ import annotations

import time

from common import RULE, TABLE, arguments, median, server, show, template

from onerow import api
from onerow.database import Database, code_of, run
from onerow.errors import DatabaseError
from onerow.executor import Event
from onerow.rulefile import parse_rules
from onerow.testing import Server

BY_HAND = (
    f"DELETE FROM {TABLE} WHERE id NOT IN (SELECT DISTINCT ON (workout_id) id FROM {TABLE}"
    " ORDER BY workout_id, updated_at DESC, id)"
)


def by_hand(database: Database, timeout: int) -> tuple[float, bool]:
    began = time.perf_counter()
    try:
        with database.write() as connection:
            run(connection, f"SET LOCAL statement_timeout = '{timeout}s'")
            run(connection, BY_HAND)
    except DatabaseError as error:
        if code_of(error.__cause__ or error) != "57014":
            raise
        return time.perf_counter() - began, False
    return time.perf_counter() - began, True


class Clock:
    """The merge step's time, and the undo's."""

    def __init__(self) -> None:
        self.began = self.seconds = 0.0

    def __call__(self, event: Event) -> None:
        if event.step is None or event.step.kind != "merge_duplicates":
            return
        if event.what == "begin":
            self.began = time.perf_counter()
        if event.what == "end":
            self.seconds = time.perf_counter() - self.began


def onerow(database: Database) -> tuple[float, float]:
    """Seconds of the merge and of its undo."""
    merge, back = Clock(), Clock()
    outcome = api.apply(database, parse_rules(RULE), listen=merge)
    assert outcome.status == "done", outcome.message
    undone = api.undo(database, listen=back)
    assert undone.status == "undone", undone.message
    return merge.seconds, back.seconds


def clone(started: Server, number: int) -> Database:
    name = f"bench_{number}"
    return Database(started.create_database(name, template="bench_template"))


def main() -> None:
    options = arguments(__doc__ or "")
    hand: list[float] = []
    merges: list[float] = []
    undos: list[float] = []
    finished = True
    with server(options) as started:
        template(started, options)
        for number in range(options.runs):
            if finished:
                taken, finished = by_hand(clone(started, 2 * number), options.timeout)
                hand.append(taken)
            merge, undo = onerow(clone(started, 2 * number + 1))
            merges.append(merge)
            undos.append(undo)
    print(f"{options.rows:,} rows, {options.share:.0%} duplicates, tuned: {options.tuned}")
    show("DELETE … NOT IN (… DISTINCT ON …)", hand, note="" if finished else "cancelled")
    show("onerow merge with archive", merges, hand)
    show("onerow undo, to its merge", undos, merges)
    sign = "" if finished else "more than "
    print(f"the merge is {sign}{median(hand) / median(merges):.1f} times as fast")


if __name__ == "__main__":
    main()
