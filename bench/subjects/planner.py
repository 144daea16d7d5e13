"""PUT of a selection over HTTP, to the same application with a hand-written ON CONFLICT."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.common import Line, Options, Subject, server
from bench.http import at_once, request
from systems.shared.fixtures import build
from systems.workout_planner import states

CLIENTS = 64
WARM = 5  #: requests of each client before the clock runs
WORKOUTS = 60


def put(options: Options) -> Iterator[Line]:
    """PUT selection, 64 clients: all of them, and p99."""
    whole: tuple[list[float], list[float]] = ([], [])
    slow: tuple[list[float], list[float]] = ([], [])
    for turn in range(options.rounds):
        order = (0, 1) if turn % 2 == 0 else (1, 0)
        for way in order:
            with _database(options) as url:
                took, each = _measured(url, options, by_hand=bool(way))
            whole[way].append(took)
            slow[way].append(statistics.quantiles(each, n=100)[-1] * 1e3)
    what = f"{options.rows:,} PUTs of {CLIENTS} clients, {options.engine}"
    against = "INSERT … ON CONFLICT by hand"
    yield Line(what=what, against=against, ours=whole[0], other=whole[1], target=1 / 0.8)
    p99 = f"p99 of {what}"
    yield Line(what=p99, against=against, ours=slow[0], other=slow[1], unit="ms", target=1.5)


@contextmanager
def _database(options: Options) -> Iterator[str]:
    if options.engine == "sqlite":
        with TemporaryDirectory() as folder:
            yield f"sqlite:///{Path(folder) / 'planner.db'}"
    else:
        with server(options) as started:
            yield started.create_database("planner")


def _measured(url: str, options: Options, *, by_hand: bool) -> tuple[float, list[float]]:
    build(url, states.after())
    words = ["--by-hand"] if by_hand else []
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.put_server", url, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        host, _, port = process.stdout.readline().split("://")[1].strip().rpartition(":")
        at_once(host, int(port), _requests(WARM, 1))
        return at_once(host, int(port), _requests(options.rows // CLIENTS, 2))
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _requests(each: int, seed: int) -> list[list[bytes]]:
    dice = random.Random(seed)
    return [[_one(dice) for _ in range(each)] for _ in range(CLIENTS)]


def _one(dice: random.Random) -> bytes:
    fields = {
        "currentPlanDay": f"2026-03-{dice.randint(1, 28):02}",
        "timeOfDay": dice.choice(["morning", "afternoon", "evening"]),
    }
    path = f"/api/selections/{dice.randint(1, WORKOUTS)}"
    return request("PUT", path, json.dumps(fields).encode())


SUBJECTS = (Subject(name="planner_put", measure=put, options=Options(rows=12_800)),)
