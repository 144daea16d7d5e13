"""`python -m tests.soak`: break runs in every way that we know, for as long as is asked.

A cycle is one database on PostgreSQL or SQLite: it is damaged, writers write to it, `onerow apply` runs and is killed
with SIGKILL again and again, its locks are contended, its server dies; then it runs to its end and
everything is looked at. Then the same for `onerow undo`. Ends with 1 and the evidence at the first wrong thing.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from onerow import api
from onerow.testing import EmbeddedServer, postgres
from tests.crash.support import forget, onerow
from tests.soak.world import RULES, Writers, build, differences
from tests.support.process import Command
from tests.support.rules import without_positions
from tests.support.sandbox import Sandbox

GROUPS = 150
MOST_TRIES = 60  #: of a verb until it must have come through


class Wrong(Exception):
    """What the soak is for: something is not as it must be."""


@dataclass
class Cycle:
    """One database on its way there and back."""

    box: Sandbox
    server: EmbeddedServer | None
    folder: Path
    dice: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    began: float = field(default_factory=time.monotonic)
    trail: list[str] = field(default_factory=list)  #: what was done to it, and when

    def note(self, what: str, more: str = "") -> None:
        self.counts[what] += 1
        self.trail.append(f"{time.monotonic() - self.began:.1f} s: {what} {more}".strip())

    def run(self) -> None:
        """Raises Wrong with the evidence."""
        build(self.box, GROUPS)
        schema, applied = self._schema(), self._applied()
        busy_back = self.dice.random() < 0.5
        writers = Writers(self.box, self.dice.randint(0, 10**9), GROUPS)
        with writers:
            self._through("apply", writers)
            self._look(applied, True, writers)
            if busy_back:
                self._through("undo", writers)
        if writers.errors:
            raise Wrong(f"writers: {writers.errors}")
        self.counts["writes"] += writers.done
        self._look(schema if busy_back else applied, not busy_back, writers)
        if not busy_back:
            self._through("undo", None)
            self._look(schema, False, writers)

    def _schema(self) -> Any:
        return without_positions((self.box.schema(), {}))[0]

    def _applied(self) -> Any:
        """The schema that an undisturbed run leads to."""
        rules = api.parse_rules(RULES)
        before = self.box.state()
        if (first := api.apply(self.box.url, rules)).status != "done":
            raise Wrong(f"undisturbed: {first.message}")
        schema = self._schema()
        if (back := api.undo(self.box.url)).exit_code or self.box.state() != before:
            raise Wrong(f"undisturbed undo: {back.message} {back.left_alone}")
        forget(self.box)
        return schema

    # -- disturbing --------------------------------------------------------------------------

    def _through(self, verb: str, writers: Writers | None) -> None:
        """Run the verb, disturbed at first, until it has come through."""
        disturbed = self.dice.randint(2, 8)
        for attempt in range(MOST_TRIES):
            if writers is not None and attempt > disturbed:
                writers.naive = False  # the safe writer is deployed
            with onerow(verb, self.box, self.folder, RULES, *self._which(verb)) as process:
                if attempt < disturbed:
                    self._disturb(process)
                code = process.wait(120)
                self._judge(verb, process, code)
            if self._undone() if verb == "undo" else code == 0:
                self.counts[verb] += 1
                return
        raise Wrong(f"{verb} has not come through in {MOST_TRIES} tries: {self._status()}")

    def _judge(self, verb: str, process: Command, code: int | None) -> None:
        if code is None:
            raise Wrong(f"{verb} hangs: {process.said}")
        if "Traceback" in process.said or code not in (0, 1, 2, -9):
            raise Wrong(f"{verb} ended with {code}: {process.said}")
        self.note(f"{verb} ended with {code}", process.said.strip()[-200:])

    def _disturb(self, process: Command) -> None:
        ways = [self._kill, self._kill, self._lock]
        if self.server is not None:
            ways.append(self._end_server)
        time.sleep(self.dice.choice([self.dice.uniform(0.3, 1.0), self.dice.uniform(0.5, 4.0)]))
        self.dice.choice(ways)(process)

    def _kill(self, process: Command) -> None:
        if process.running:
            process.kill()
            self.note("SIGKILL")

    def _lock(self, process: Command) -> None:
        """Hold what the run wants, for a moment; kill it meanwhile, or do not."""
        statement = "SELECT 1" if self.box.sqlite else "LOCK TABLE parent IN SHARE MODE"
        with suppress(psycopg.Error, sqlite3.Error), self.box.connect() as other:
            other.execute("BEGIN IMMEDIATE" if self.box.sqlite else "BEGIN")
            other.execute(statement)
            time.sleep(self.dice.uniform(0.2, 2.0))
            if self.dice.random() < 0.5:
                self._kill(process)
            other.execute("COMMIT")
            self.note("locks")

    def _end_server(self, _process: Command) -> None:
        assert self.server is not None
        self.server.kill() if self.dice.random() < 0.7 else self.server.stop()
        self.server.restart()
        self.note("server restarts", self._status())

    # -- looking -----------------------------------------------------------------------------

    def _status(self) -> str:
        return str([(r.id, r.direction, r.status, r.message) for r in api.status(self.box.url)])

    def _which(self, verb: str) -> list[str]:
        """The run to undo: a kill after the end of one makes the next apply another one."""
        runs = api.status(self.box.url) if verb == "undo" else ()
        return [r.id for r in runs if r.status != "undone"][:1]

    def _undone(self) -> bool:
        return all(r.status == "undone" for r in api.status(self.box.url))

    def _look(self, schema: Any, applied: bool, writers: Writers) -> None:
        """Rows, schema, journal and archive; the writers hold still for it."""
        with writers.still():
            wrong = differences(self.box, applied=applied, exact=applied or not self._left())
            if (found := self._schema()) != schema:
                wrong += [f"schema: {_difference(schema, found)}"]
            wrong += self._journal("done" if applied else "undone")
        if wrong:
            raise Wrong("\n".join([*self.trail, self._status(), *wrong[:40]]))

    def _left(self) -> bool:
        prefix = "onerow_" if self.box.sqlite else "onerow."
        return bool(self.box.value(f"SELECT count(*) FROM {prefix}left_alone"))

    def _journal(self, status: str) -> list[str]:
        runs = api.status(self.box.url)
        wrong = [f"run {r.id} is {r.status}" for r in runs if r.status != status]
        wrong += [f"step {s.id} is {s.status}" for r in runs for s in r.steps if s.status != status]
        if status == "done":
            proofs = api.verify(self.box.url, api.parse_rules(RULES))
            wrong += [f"{p.rule}: {p.message}" for p in proofs if not p.ok]
        return wrong


def _difference(wanted: dict[str, Any], found: dict[str, Any]) -> str:
    return "; ".join(
        f"{what} lack {[x for x in wanted[what] if x not in found[what]]}"
        f" and have {[x for x in found[what] if x not in wanted[what]]}"
        for what in wanted
        if wanted[what] != found[what]
    )


@contextmanager
def _world(engine: str, server: EmbeddedServer) -> Iterator[tuple[Sandbox, Path]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if engine == "postgresql":
            with server.database() as url:
                yield Sandbox(url), folder
            return
        (folder / "soak.sqlite3").touch()
        box = Sandbox(f"sqlite:///{folder / 'soak.sqlite3'}")
        box.execute("PRAGMA journal_mode = WAL")
        yield box, folder


def soak(minutes: float, seed: int, engines: list[str]) -> int:
    """Cycle after cycle until the time is over. Returns the exit code."""
    counts: Counter[str] = Counter()
    end = time.monotonic() + minutes * 60
    number = 0
    with postgres(durable=True) as server:
        while time.monotonic() < end or number < len(engines):
            engine = engines[number % len(engines)]
            with _world(engine, server) as (box, folder):
                dice = random.Random(f"{seed}.{number}")
                on = server if engine == "postgresql" else None
                try:
                    Cycle(box, on, folder, dice, counts).run()
                except Wrong as wrong:
                    print(f"cycle {number} on {engine}, seed {seed}:\n{wrong}", flush=True)
                    return 1
            number += 1
            print(f"cycle {number} on {engine}: {_shown(counts)}", file=sys.stderr, flush=True)
    print(f"{number} cycles in {minutes:g} minutes, nothing lost; seed {seed}; {_shown(counts)}")
    return 0


def _shown(counts: Counter[str]) -> str:
    return ", ".join(f"{n:,} {what}" for what, n in sorted(counts.items()))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randint(0, 10**6))
    parser.add_argument("--engine", choices=["postgresql", "sqlite"], action="append")
    given = parser.parse_args()
    print(f"seed {given.seed}", file=sys.stderr, flush=True)
    return soak(given.minutes, given.seed, given.engine or ["postgresql", "sqlite"])


if __name__ == "__main__":
    sys.exit(main())
