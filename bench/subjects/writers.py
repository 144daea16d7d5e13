"""What the application feels: writers' p99 while onerow works, and while one statement does it.

Open loop: a write that comes while a statement holds its row waits for the rest of the statement.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bench.clients import at_work
from bench.common import KEY_RULE, TABLE, Copies, Line, Options, Subject, server, table, timed
from bench.subjects.backfill import ADD, ONE_UPDATE, RULE
from bench.subjects.merge import BY_HAND
from bench.tool import work

IDLE = 3.0  #: seconds that writers are looked at while nothing else happens


@dataclass(slots=True)
class _Felt:
    """p99 in milliseconds, of each round."""

    idle: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    single: list[float] = field(default_factory=list)

    def by_hand(self, url: str, options: Options, *statements: str) -> None:
        """While one statement does it."""
        with at_work(url, options.rows) as load:
            idle = time.time()
            time.sleep(IDLE)
            began = time.time()
            timed(url, *statements)
            ended = time.time()
        self.idle.append(load.p99(idle, began))
        self.single.append(load.p99(began, ended))

    def by_onerow(self, url: str, options: Options, rules: str, kind: str) -> None:
        """While the steps of a kind are at work."""
        with at_work(url, options.rows) as load:
            steps = work(url, rules, "apply")["apply"].steps
        found = [(s.began, s.ended) for s in steps if s.kind == kind]
        self.ours.append(load.p99(found[0][0], found[-1][1]))


def merge(options: Options) -> Iterator[Line]:
    """Writers' p99 during a merge: to idle, and to that during DELETE … NOT IN."""
    felt = _measure(options, (BY_HAND,), KEY_RULE, "merge_duplicates")
    yield from _lines(f"writers' p99 during the merge, {options}", felt, "DELETE … NOT IN")


def backfill(options: Options) -> Iterator[Line]:
    """Writers' p99 during a backfill: to idle, and to that during one UPDATE."""
    felt = _measure(options, (ONE_UPDATE,), RULE, "backfill", prepare=(ADD,))
    yield from _lines(f"writers' p99 during the backfill, {options}", felt, "one UPDATE")


def build(options: Options) -> Iterator[Line]:
    """Writers' p99 during the key's build, to that during CREATE UNIQUE INDEX."""
    plain = f"CREATE UNIQUE INDEX plain ON {TABLE} (workout_id)"
    felt = _measure(options, (plain,), KEY_RULE, "create_index")
    what = f"writers' p99 during the key's build, {options}"
    yield _line(what, "CREATE UNIQUE INDEX", felt.ours, felt.single, 1 / 15)
    yield _line(what, "idle", felt.ours, felt.idle, None)


def _measure(
    options: Options, hand: Sequence[str], rules: str, kind: str, *, prepare: Sequence[str] = ()
) -> _Felt:
    felt = _Felt()
    with server(options) as started:
        copies = Copies(started, *table(options))
        for _ in range(options.rounds):
            with copies.fresh() as url:
                for sql in prepare:
                    timed(url, sql)
                felt.by_hand(url, options, *hand)
            with copies.fresh() as url:
                felt.by_onerow(url, options, rules, kind)
    return felt


def _lines(what: str, felt: _Felt, single: str) -> Iterator[Line]:
    yield _line(what, "idle", felt.ours, felt.idle, 2.0)
    yield _line(what, single, felt.ours, felt.single, 1 / 50)


def _line(
    what: str, against: str, ours: list[float], other: list[float], target: float | None
) -> Line:
    assert statistics.median(other) > 0
    return Line(what=what, against=against, ours=ours, other=other, unit="ms", target=target)


SUBJECTS = (
    Subject(name="writers_merge", measure=merge, options=Options(share=0.2, config="large")),
    Subject(name="writers_backfill", measure=backfill, options=Options(config="tuned")),
    Subject(name="writers_build", measure=build, options=Options(share=0, config="tuned")),
)
