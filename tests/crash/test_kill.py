"""SIGKILL of a real `onerow` process, again and again, and then it is run to its end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from onerow import api
from onerow.rules import Key
from tests.support.sandbox import Sandbox

ROWS = 12_000
KEYS = 8_000
RULES = """
[[key]]
name = "sel_workout"
table = "sel"
columns = ["workout_id"]
keep = "latest updated_at"
merge = { visits = "sum" }
"""
KEY = Key("sel", "workout_id", name="sel_workout")
NUMBERS = {
    "postgresql": f"generate_series(1, {ROWS}) AS s(n)",
    "sqlite": f"(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {ROWS})"
    " SELECT n FROM s) AS s",
}


def damaged(url: str) -> Sandbox:
    """Many duplicates that hold different fields, each with a child that a cascade would take."""
    box = Sandbox(url)
    numbers = NUMBERS["sqlite" if url.startswith("sqlite") else "postgresql"]
    box.execute(
        "CREATE TABLE sel (id integer PRIMARY KEY, workout_id integer NOT NULL, day text,"
        " notes text, visits integer, updated_at integer);"
        "CREATE TABLE tag (id integer PRIMARY KEY, sel_id integer REFERENCES sel ON DELETE CASCADE);"
        "CREATE INDEX tag_sel ON tag (sel_id);"
        f"INSERT INTO sel SELECT n, n % {KEYS}, CASE WHEN n % 2 = 0 THEN 'd' END,"
        f" CASE WHEN n % 3 = 0 THEN 'x' END, n % 7, n % 1000 FROM {numbers};"
        f"INSERT INTO tag SELECT n, n FROM {numbers};"
    )
    return box


class Runs:
    """Processes of `onerow` on one database."""

    def __init__(self, url: str, folder: Path, seed: int) -> None:
        self.rules = folder / "onerow.toml"
        self.rules.write_text(RULES)
        self.url = url
        self.chance = random.Random(seed)

    def command(self, verb: str) -> list[str]:
        more = ["--yes"] if verb == "apply" else []
        where = ["--url", self.url, "--rules", str(self.rules), "--quiet"]
        return [sys.executable, "-m", "onerow", verb, *more, *where]

    def killed_often(self, verb: str, times: int, span: float) -> None:
        """Kill it at work, then start it and kill it at random moments, `times` times in all."""
        self.killed_at_work(verb)
        for _ in range(times - 1):
            process = subprocess.Popen(
                self.command(verb), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            try:
                process.wait(self.chance.uniform(0.3, 1.0) * span)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            else:
                return

    def killed_at_work(self, verb: str) -> None:
        """Kill it when it tells of its first step: certain on a machine of any speed."""
        with subprocess.Popen(
            [part for part in self.command(verb) if part != "--quiet"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            told = process.stdout.readline()
            process.kill()
        assert process.returncode == -signal.SIGKILL, told

    def to_the_end(self, verb: str) -> float:
        """Seconds that it took. The server lets go of a dead client's locks after a moment."""
        for _ in range(40):
            began = time.monotonic()
            done = subprocess.run(self.command(verb), capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return time.monotonic() - began
            assert "Another onerow is at work" in done.stderr, done.stderr
            time.sleep(0.25)
        pytest.fail("the lock of a killed runner was never let go")


def test_killed_again_and_again(every_url: str, tmp_path: Path) -> None:
    """Wherever it is killed, apply and undo end where an uninterrupted run ends."""
    box = damaged(every_url)
    runs = Runs(every_url, tmp_path, seed=os.getpid())
    start = box.contents()
    span, merged, schema = runs.to_the_end("apply"), box.contents(), box.schema()
    back, again = runs.to_the_end("undo"), box.contents()
    assert again == start

    runs.killed_often("apply", 10, span)
    runs.to_the_end("apply")
    assert (box.contents(), box.schema()) == (merged, schema)
    assert [p.message for p in api.verify(box.url, [KEY]) if not p.ok] == []

    runs.killed_often("undo", 10, back)
    runs.to_the_end("undo")
    assert box.contents() == start
