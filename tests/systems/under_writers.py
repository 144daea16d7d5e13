"""A system's whole way at size and under traffic: before, plan, apply, verify, undo, compare.

    python -m tests.systems.under_writers --rows 1000000 [--engine sqlite] [NAME…]     (make acceptance)

Every row that no writer has touched must be as it was, every row that one has made must be there,
nothing may refer to nothing, and the schema must be the old one.
"""

from __future__ import annotations

import argparse
import hashlib
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.tool import Worked, work
from onerow import api
from onerow.database import Database
from onerow.schema import Snapshot, Table
from onerow.testing import Server, postgres
from systems.shared.fixtures import build
from tests.support.sandbox import Sandbox
from tests.systems.support import FOLDER, NAMES, before, rules
from tests.systems.traffic import TRAFFIC, Touched, Writers


@dataclass(slots=True)
class Result:
    """What was seen on the way."""

    name: str
    seconds: dict[str, float] = field(default_factory=dict)
    written: int = 0
    refused: int = 0
    peak_mb: float = 0.0
    steps: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        times = ", ".join(f"{k} {v:.1f} s" for k, v in self.seconds.items())
        steps = ", ".join(f"{k} {v:.1f}" for k, v in self.steps.items() if v >= 1)
        return (
            f"{self.name}: {times}; {self.written:,} writes, {self.refused:,} refused; "
            f"{self.peak_mb:.0f} MB; {steps}"
        )


def there_and_back(
    name: str, rows: int, pristine: Sandbox, copy: Callable[[], Sandbox], folder: Path
) -> Result:
    """Take a system there and back while its application writes.

    Args:
        pristine: where the before-state is made, and kept.
        copy: makes the copy on which everything happens.

    Raises:
        AssertionError: something is not as it must be.
    """
    result = Result(name)
    with _clock(result, "before"):
        build(pristine.url, before(name, rows))
        given = rules(name, folder, rows)
    box = copy()
    with Writers(box, TRAFFIC[name]) as writers:
        time.sleep(1)
        with _clock(result, "apply"):
            text = (FOLDER / name / "rules.toml").read_text(encoding="utf-8")
            done = work(box.url, text, "apply", base=str(folder))["apply"]
        time.sleep(1)
    _note(result, done, writers)
    with _clock(result, "verify"):
        failed = [p for p in api.verify(box.url, given) if not p.ok]
        assert not failed, failed
        assert_nothing_dangles(box)
    with _clock(result, "undo"):
        back = api.undo(box.url)
    assert back.status == "undone", back.message
    with _clock(result, "compare"):
        compare(pristine, box, writers.touched)
    return result


def _note(result: Result, done: Worked, writers: Writers) -> None:
    result.written, result.refused = writers.written, writers.refused
    result.peak_mb = done.peak_mb
    for step in done.steps:
        result.steps[step.kind] = result.steps.get(step.kind, 0.0) + step.seconds
    assert writers.written, "nobody has written anything"


@contextmanager
def _clock(result: Result, what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    result.seconds[what] = time.monotonic() - began
    print(f"{result.name}: {what} {result.seconds[what]:.1f} s", file=sys.stderr, flush=True)


# -- what must be -------------------------------------------------------------------------------


def compare(pristine: Sandbox, box: Sandbox, touched: Set[Touched]) -> None:
    """Rows that nobody touched are as they were, those that were made are there."""
    assert _schema(box) == _schema(pristine), "the schema is another one"
    assert_nothing_dangles(box)
    for table in _tables(pristine):
        keys = {k for t, k in touched if t == table.name}
        old = _fingerprints(pristine, table)
        new = _fingerprints(box, table)
        changed = {k for k, v in old.items() if new.get(k) != v} - {str(k) for k in keys}
        assert not changed, f"{table}: {len(changed)} row(s) changed, {sorted(changed)[:5]}"
        lost = {str(k) for k in keys} - new.keys()
        assert not lost, f"{table}: {len(lost)} row(s) of writers lost, {sorted(lost)[:5]}"


def _fingerprints(box: Sandbox, table: Table) -> dict[str, bytes]:
    """A short hash of each row, by primary key."""
    (key,) = table.primary_key
    sql = f"SELECT CAST({key} AS text), t.* FROM {table.sql} AS t"
    if not box.sqlite:
        sql = f"SELECT {key}::text, t::text FROM {table.sql} AS t"
    with box.connect() as connection:
        return {
            str(row[0]): hashlib.blake2b(repr(tuple(row)).encode(), digest_size=8).digest()
            for row in connection.execute(sql)
        }


def assert_nothing_dangles(box: Sandbox) -> None:
    """Every foreign key leads somewhere, whatever the server has checked."""
    for table in _tables(box):
        for key in table.foreign_keys:
            pairs = zip(key.columns, key.target_columns, strict=True)
            same = " AND ".join(f"c.{a} = p.{b}" for a, b in pairs)
            there = " AND ".join(f"c.{a} IS NOT NULL" for a in key.columns)
            lost = box.value(
                f"SELECT count(*) FROM {table.sql} AS c WHERE {there}"
                f" AND NOT EXISTS (SELECT 1 FROM {key.target.sql} AS p WHERE {same})"
            )
            assert not lost, f"{lost} row(s) of {table} refer by {key.name} to nothing"


def _catalog(box: Sandbox) -> Snapshot:
    return api.snapshot(Database(box.url))


def _tables(box: Sandbox) -> list[Table]:
    return [t for t in _catalog(box) if not t.name.startswith("onerow_")]


def _schema(box: Sandbox) -> dict[str, object]:
    """Without the counters, which writers move."""
    schema = box.schema()
    schema.pop("sequences", None)
    if "objects" in schema:
        schema["objects"] = [o for o in schema["objects"] if len(o) > 2]
    return schema


# -- the program --------------------------------------------------------------------------------


def on_postgresql(server: Server, name: str, rows: int, folder: Path) -> Result:
    """In two databases of a server, which are dropped at the end."""
    own = f"{name}_{secrets.token_hex(4)}"
    pristine = Sandbox(server.create_database(f"{own}_before"))

    def copy() -> Sandbox:
        return Sandbox(server.create_database(own, template=f"{own}_before"))

    try:
        return there_and_back(name, rows, pristine, copy, folder)
    finally:
        server.drop_database(own)
        server.drop_database(f"{own}_before")


def on_sqlite(name: str, rows: int, folder: Path) -> Result:
    """In two files of a folder."""
    first, second = folder / "before.db", folder / "copy.db"

    def copy() -> Sandbox:
        shutil.copyfile(first, second)
        box = Sandbox(f"sqlite:///{second}")
        box.execute("PRAGMA journal_mode = WAL")
        return box

    return there_and_back(name, rows, Sandbox(f"sqlite:///{first}"), copy, folder)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--engine", choices=["postgresql", "sqlite", "both"], default="both")
    given = parser.parse_args()
    failed = 0
    for name in given.names or NAMES:
        for engine in ("postgresql", "sqlite"):
            if given.engine in (engine, "both"):
                failed += not _tried(engine, name, given.rows)
    sys.exit(1 if failed else 0)


def _tried(engine: str, name: str, rows: int) -> bool:
    with TemporaryDirectory() as folder:
        try:
            if engine == "sqlite":
                result = on_sqlite(name, rows, Path(folder))
            else:
                with postgres(durable=True, settings={"max_wal_size": "4GB"}) as server:
                    result = on_postgresql(server, name, rows, Path(folder))
        except (AssertionError, SystemExit) as failure:
            print(f"{engine} {name}: FAILED: {failure}", flush=True)
            return False
    print(f"{engine} {result}", flush=True)
    return True


if __name__ == "__main__":
    _main()
