"""The same on SQLite: merging against DELETE … NOT IN, memory, and how long writers wait."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.common import KEY_RULE, TABLE, Line, Options, Subject
from bench.tool import work

CACHE_MB = 512  #: of the one who deletes by hand
#: NOT IN over what the newest row of each key is: SQLite takes the other columns of max()'s row.
BY_HAND = (
    f"DELETE FROM {TABLE} WHERE id NOT IN"
    f" (SELECT id FROM (SELECT id, max(updated_at) FROM {TABLE} GROUP BY workout_id))"
)


def measure(options: Options) -> Iterator[Line]:
    """Merge with archive on SQLite, against DELETE … NOT IN; memory and write locks."""
    hand: list[float] = []
    merges: list[float] = []
    peak: list[float] = []
    batch: list[float] = []
    build: list[float] = []
    undos: list[float] = []
    with TemporaryDirectory() as folder:
        original, copy = Path(folder) / "original.db", Path(folder) / "copy.db"
        _make(original, options)
        for _ in range(options.rounds):
            _copy(original, copy)
            hand.append(_by_hand(copy))
            _copy(original, copy)
            done = work(f"sqlite:///{copy}", KEY_RULE, "apply", "undo")
            apply = done["apply"]
            merges.append(apply.seconds_of("merge_duplicates"))
            undos.append(done["undo"].seconds_of("merge_duplicates"))
            peak.append(apply.peak_mb)
            batch.append(1000 * apply.longest_of("merge_duplicates"))
            build.append(1000 * apply.longest_of("create_index"))
    what = f"merge with archive, {options}"
    yield Line(what=what, against="DELETE … NOT IN", ours=merges, other=hand, target=0.4)
    yield Line(what=f"undo, {options}", against="the merge", ours=undos, other=merges, target=2)
    for told, values, unit, target in (
        ("peak memory of plan and apply", peak, "MB", 400),
        ("longest write lock of a batch", batch, "ms", 100),
        ("write lock of the index build", build, "ms", None),
    ):
        what = f"{told}, {options}"
        yield Line(what=what, ours=values, unit=unit, target=target, worst=True)


def _make(path: Path, options: Options) -> None:
    if options.engine != "sqlite":
        raise SystemExit(f"This is measured on SQLite only, not on {options.engine!r}.")
    keys = int(options.rows * (1 - options.share))
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute(
            f"""CREATE TABLE {TABLE} (
                id INTEGER PRIMARY KEY, workout_id INTEGER NOT NULL, day TEXT, slot TEXT,
                location TEXT, notes TEXT, updated_at TEXT NOT NULL)"""
        )
        file.execute(
            f"""INSERT INTO {TABLE} (workout_id, day, slot, location, notes, updated_at)
            WITH RECURSIVE r (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM r
                                     WHERE n < {options.rows - 1})
            SELECT n % {keys} * 2654435761 % 4294967296,
                   CASE WHEN n % 3 > 0 THEN date('2025-01-01', n % 365 || ' days') END,
                   CASE WHEN n % 2 > 0 THEN 'morning' END,
                   CASE WHEN n % 5 = 0 THEN 'gym ' || n % 100 END,
                   printf('%.60c', 'x'), datetime(1735689600 + n % 10000 * 60, 'unixepoch')
            FROM r"""
        )
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _copy(original: Path, copy: Path) -> None:
    for rest in copy.parent.glob(f"{copy.name}*"):
        rest.unlink()
    shutil.copyfile(original, copy)


def _by_hand(path: Path) -> float:
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("PRAGMA synchronous = NORMAL")
        file.execute(f"PRAGMA cache_size = -{CACHE_MB * 1024}")
        began = time.perf_counter()
        file.execute(BY_HAND)
        return time.perf_counter() - began


SUBJECTS = (
    Subject(name="sqlite", measure=measure, options=Options(rows=5_000_000, engine="sqlite")),
)
