"""SIGKILL at random moments: run again, it ends in the same state each time."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from onerow import api
from tests.crash.support import BROKEN, assert_applied, assert_undone, ends, fill, forget, onerow
from tests.support.live import InBackground, until
from tests.support.process import Command
from tests.support.sandbox import Sandbox

MOMENTS = 5  #: on each of two engines


@contextmanager
def watched(box: Sandbox) -> Iterator[list[object]]:
    """A reader that looks all the time, and collects what it should never see."""
    stop = threading.Event()
    seen: list[object] = []

    def look() -> None:
        with box.connect() as connection:
            while not stop.wait(0.02):
                seen.extend(connection.execute(BROKEN).fetchall())

    reader = InBackground(look)
    try:
        yield seen
    finally:
        stop.set()
        reader.result()


def at_work(box: Sandbox, process: Command) -> bool:
    """The process has taken the run up: it has written its number there."""
    runs = api.status(box.url)
    return bool(runs) and runs[0].runner.endswith(f":{process.process.pid}")


def killed(verb: str, box: Sandbox, folder: Path, longest: float, dice: random.Random) -> bool:
    """Start it and kill it after a random time of work; False when it was done before."""
    with onerow(verb, box, folder) as process:
        until(lambda: at_work(box, process) or not process.running, "it is at work")
        if process.wait(dice.uniform(0, longest)) is None:
            process.kill()
            return True
        assert process.wait() == 0, process.said
        return False


def work_seconds(verb: str, box: Sandbox, folder: Path) -> float:
    """How long it works on the run when nobody disturbs it."""
    with onerow(verb, box, folder) as process:
        until(lambda: at_work(box, process) or not process.running, "it is at work")
        began = time.monotonic()
        assert process.wait() == 0, process.said
        return time.monotonic() - began


def kill_again_and_again(box: Sandbox, folder: Path, moments: int, seed: int) -> None:
    """There and back, killed on the way until it was killed often enough."""
    fill(box)
    found = ends(box)
    dice = random.Random(seed)
    with watched(box) as seen:
        length = {verb: work_seconds(verb, box, folder) for verb in ("apply", "undo")}
        kills = 0
        while kills < moments:
            forget(box)
            for verb, check in (("apply", assert_applied), ("undo", assert_undone)):
                while killed(verb, box, folder, length[verb], dice):
                    kills += 1
                check(box, found)
    assert seen == []


def test_ten_random_moments(db_url: str, tmp_path: Path) -> None:
    """Schema, rows, archive and journal are those of a run that nobody disturbed, there and back."""
    box = Sandbox(db_url)
    if box.sqlite:
        box.execute("PRAGMA journal_mode = WAL")
    kill_again_and_again(box, tmp_path, MOMENTS, seed=1)


def test_without_a_write_ahead_log(sqlite_url: str, tmp_path: Path) -> None:
    """The next one to come rolls the journal of the killed process back."""
    kill_again_and_again(Sandbox(sqlite_url), tmp_path, 2, seed=2)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(3, 6))
def test_many_random_moments(every_url: str, tmp_path: Path, seed: int) -> None:
    """The same with other dice, on every server."""
    kill_again_and_again(Sandbox(every_url), tmp_path, 12, seed)
