"""Filling a column in batches, against one UPDATE; and how far the table grows by it."""

from __future__ import annotations

from collections.abc import Iterator

from bench.common import TABLE, Copies, Line, Options, Subject, execute, server, table, timed, value
from bench.tool import work

RULE = f"""
[[column]]
table = "{TABLE}"
name = "place"
type = "text"
backfill = {{ sql = "coalesce(location, 'home')" }}
"""
KEPT_RULE = RULE.replace('"place"', '"location"').replace("coalesce(location, 'home')", "'home'")
ADD = f"ALTER TABLE {TABLE} ADD COLUMN place text"
ONE_UPDATE = f"UPDATE {TABLE} SET place = coalesce(location, 'home') WHERE place IS NULL"
KEPT_UPDATE = f"UPDATE {TABLE} SET location = 'home' WHERE location IS NULL"
_SIZE = f"SELECT pg_relation_size('{TABLE}')"


def measure(options: Options) -> Iterator[Line]:
    """Fill a new column, and one that is there (so archived), against one UPDATE."""
    with server(options) as started:
        copies = Copies(started, *table(options))
        yield from _new(copies, options)
        yield from _kept(copies, options)


def _new(copies: Copies, options: Options) -> Iterator[Line]:
    hand: list[float] = []
    ours: list[float] = []
    growth: list[float] = []
    size: list[float] = []
    for _ in range(options.rounds):
        with copies.fresh() as url:
            execute(url, ADD)
            hand.append(timed(url, ONE_UPDATE)[0])
        with copies.fresh() as url:
            size.append(value(url, _SIZE) / 2**20)
            ours.append(work(url, RULE, "apply")["apply"].seconds_of("backfill"))
            growth.append(value(url, _SIZE) / 2**20)
    what = f"backfill of a new column, {options}"
    yield Line(what=what, against="one UPDATE", ours=ours, other=hand, target=1.0)
    yield Line(
        what=f"the table after it, {options}",
        against="before",
        ours=growth,
        other=size,
        unit="MB",
        target=1.25,
    )


def _kept(copies: Copies, options: Options) -> Iterator[Line]:
    hand: list[float] = []
    ours: list[float] = []
    undos: list[float] = []
    for _ in range(options.rounds):
        with copies.fresh() as url:
            hand.append(timed(url, KEPT_UPDATE)[0])
        with copies.fresh() as url:
            done = work(url, KEPT_RULE, "apply", "undo")
        ours.append(done["apply"].seconds_of("backfill"))
        undos.append(done["undo"].seconds_of("backfill"))
    what = f"backfill with archive, four fifths of {options}"
    yield Line(what=what, against="one UPDATE", ours=ours, other=hand)
    yield Line(what=f"undo of {what}", against="it", ours=undos, other=ours, target=2)


SUBJECTS = (Subject(name="backfill", measure=measure, options=Options(config="tuned")),)
