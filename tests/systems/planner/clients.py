"""Clients of the planner at work, each PUT remembered with what was answered."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support.sandbox import Sandbox
from tests.systems.planner.support import SELECTED

#: Field as it is sent, and the column that keeps it.
FIELDS = {
    "currentPlanDay": "current_plan_day",
    "timeOfDay": "time_of_day",
    "workoutLocation": "workout_location",
    "userNotes": "user_notes",
}


@dataclass(slots=True)
class Answered:
    """What clients were answered.

    Attributes:
        written: workout, version, and the fields that were sent with it.
    """

    written: list[tuple[int, int | None, Mapping[str, Any]]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def some_fields(dice: random.Random, mark: str) -> dict[str, Any]:
    """One to four fields; texts that no other client sends."""
    values = {
        "currentPlanDay": f"2026-{dice.randint(3, 9):02}-{dice.randint(1, 28):02}",
        "timeOfDay": dice.choice(["morning", "afternoon", "evening"]),
        "workoutLocation": f"place {mark}",
        "userNotes": f"note {mark}",
    }
    return {name: values[name] for name in dice.sample(list(values), dice.randint(1, 4))}


async def _one(
    http: httpx.AsyncClient, answered: Answered, workout: int, fields: Mapping[str, Any]
) -> None:
    began = time.perf_counter()
    try:
        answer = await http.put(SELECTED.format(workout), json=fields)
    except httpx.HTTPError as error:
        answered.failed.append(repr(error))
        return
    answered.seconds.append(time.perf_counter() - began)
    if answer.status_code != 200:
        answered.failed.append(f"{answer.status_code} {answer.text}")
        return
    answered.written.append((workout, answer.json()["version"], fields))


def put_at_once(address: str, workouts: Sequence[int], clients: int, puts: int) -> Answered:
    """So many clients, each with so many PUTs, one after the other, on workouts by chance."""
    answered = Answered()

    async def client(number: int, http: httpx.AsyncClient) -> None:
        dice = random.Random(number)
        for turn in range(puts):
            fields = some_fields(dice, f"{number}.{turn}")
            await _one(http, answered, dice.choice(workouts), fields)

    async def all_of_them() -> None:
        limits = httpx.Limits(max_connections=clients)
        async with httpx.AsyncClient(base_url=address, limits=limits, timeout=60) as http:
            await asyncio.gather(*(client(n, http) for n in range(clients)))

    asyncio.run(all_of_them())
    return answered


@contextmanager
def putting(address: str, workouts: Sequence[int], clients: int = 4) -> Iterator[Answered]:
    """Clients that go on until the block ends."""
    answered, stop = Answered(), threading.Event()

    def client(number: int) -> None:
        async def work() -> None:
            dice, turn = random.Random(number), 0
            async with httpx.AsyncClient(base_url=address, timeout=60) as http:
                while not stop.is_set():
                    fields = some_fields(dice, f"{number}.{turn}")
                    await _one(http, answered, dice.choice(workouts), fields)
                    turn += 1
                    await asyncio.sleep(0.01)

        asyncio.run(work())

    threads = [threading.Thread(target=client, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield answered
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)


def kept(box: Sandbox, workouts: Iterable[int]) -> dict[int, dict[str, Any]]:
    """The rows as they are, by workout; there must be one of each."""
    columns = ", ".join(f"CAST({c} AS text)" for c in FIELDS.values())
    listed = ", ".join(map(str, workouts))
    rows = box.rows(
        f"SELECT workout_id, {columns} FROM workout_selections WHERE workout_id IN ({listed})"
    )
    found = {row[0]: dict(zip(FIELDS, row[1:], strict=True)) for row in rows}
    assert len(found) == len(rows), "a workout has more than one selection"
    return found


def lost(answered: Answered, rows: Mapping[int, Mapping[str, Any]]) -> list[str]:
    """Fields that do not hold what the highest version wrote that named them."""
    last: dict[tuple[int, str], tuple[int, Any]] = {}
    for workout, version, fields in answered.written:
        assert version is not None
        for name, value in fields.items():
            if version > last.get((workout, name), (0, None))[0]:
                last[workout, name] = (version, value)
    return [
        f"{workout} {name}: version {version} wrote {value!r}, there is {rows[workout][name]!r}"
        for (workout, name), (version, value) in last.items()
        if rows[workout][name] != value
    ]
