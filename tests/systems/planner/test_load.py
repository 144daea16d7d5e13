"""Many clients at once against a server in a process of its own."""

from __future__ import annotations

from collections import Counter

import httpx

from tests.systems.planner.clients import kept, lost, put_at_once
from tests.systems.planner.support import TWICE, after, application, before
from tests.systems.serving import served

WORKOUTS = range(1, 11)


def test_64_clients(db_url: str) -> None:
    """64 × 50 PUTs on 10 workouts: 10 rows, and each field is the highest version's that wrote it."""
    box = after(db_url)
    with served("workout_planner", db_url) as server:
        answered = put_at_once(server.address, WORKOUTS, clients=64, puts=50)
        metrics = httpx.get(f"{server.address}/metrics").text
    assert answered.failed == []
    assert box.count("workout_selections") == len(WORKOUTS)
    assert lost(answered, kept(box, WORKOUTS)) == []
    versions = Counter((workout, version) for workout, version, _ in answered.written)
    assert max(versions.values()) == 1, "two writes have one version"
    assert len(versions) == 64 * 50
    races = [line for line in metrics.splitlines() if line.startswith("onerow_races_total{")]
    if not box.sqlite:  # there they come one after the other
        assert races


def test_64_clients_of_the_naive_writer(pg_url: str) -> None:
    """The same calls on the code before: workouts with several rows."""
    box = before(pg_url, 0)
    with application(box, naive=True) as planner:
        answered = put_at_once(planner.address, WORKOUTS, clients=64, puts=3)
    assert answered.failed == []
    assert box.value(TWICE) > 0
