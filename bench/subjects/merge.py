"""Merging duplicates, each row archived, against the DELETE that people write by hand.

By hand nothing is archived, no column is filled from the rows that go, and the writers wait for
the whole statement. It is cancelled after `--timeout` seconds; the ratio is then a bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bench.common import KEY_RULE, TABLE, Copies, Line, Options, Subject, server, table, timed
from bench.tool import work

BY_HAND = (
    f"DELETE FROM {TABLE} WHERE id NOT IN (SELECT DISTINCT ON (workout_id) id FROM {TABLE}"
    " ORDER BY workout_id, updated_at DESC, id)"
)


def merge(options: Options) -> Iterator[Line]:
    """Merge with archive and undo, the server as it comes, against DELETE … NOT IN."""
    return _measure(options, target=0.01)


def merge_tuned(options: Options) -> Iterator[Line]:
    """The same, with memory enough for the DELETE to be fast."""
    return _measure(options, target=0.25)


def merge_many(options: Options) -> Iterator[Line]:
    """The same, with duplicates so many that the DELETE is at its best."""
    return _measure(options, target=1.0)


def _measure(options: Options, *, target: float) -> Iterator[Line]:
    hand: list[float] = []
    merges: list[float] = []
    undos: list[float] = []
    finished = True
    with server(options) as started:
        copies = Copies(started, *table(options))
        for _ in range(options.rounds):
            if finished:
                with copies.fresh() as url:
                    taken, finished = timed(url, BY_HAND, timeout=options.timeout)
                hand.append(taken)
            with copies.fresh() as url:
                done = work(url, KEY_RULE, "apply", "undo")
            merges.append(done["apply"].seconds_of("merge_duplicates"))
            undos.append(done["undo"].seconds_of("merge_duplicates"))
    yield Line(
        what=f"merge with archive, {options}",
        against="DELETE … NOT IN",
        ours=merges,
        other=hand,
        target=target,
        bound=not finished,
    )
    yield Line(
        what=f"undo, {options}", against="the merge it undoes", ours=undos, other=merges, target=2
    )


_FIVE = Options(rows=5_000_000, config="large")
SUBJECTS = (
    Subject(name="merge", measure=merge),
    Subject(name="merge_tuned", measure=merge_tuned, options=_FIVE),
    Subject(name="merge_many", measure=merge_many, options=replace(_FIVE, share=0.2)),
)
