"""Clients of the planner at work, each PUT remembered with what was answered."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from bench.http import exchange, request
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


def some_fields(dice: random.Random, mark: str) -> dict[str, Any]:
    """One to four fields; texts that no other client sends."""
    values = {
        "currentPlanDay": f"2026-{dice.randint(3, 9):02}-{dice.randint(1, 28):02}",
        "timeOfDay": dice.choice(["morning", "afternoon", "evening"]),
        "workoutLocation": f"place {mark}",
        "userNotes": f"note {mark}",
    }
    return {name: values[name] for name in dice.sample(list(values), dice.randint(1, 4))}


def _note(
    answered: Answered, workout: int, fields: Mapping[str, Any], status: int, body: bytes
) -> None:
    if status == 200:
        answered.written.append((workout, json.loads(body)["version"], fields))
    else:
        answered.failed.append(f"{status} {body.decode()}")


async def _put(
    answered: Answered, streams: Any, dice: random.Random, workouts: Sequence[int], mark: str
) -> None:
    workout, fields = dice.choice(workouts), some_fields(dice, mark)
    sent = request("PUT", SELECTED.format(workout), json.dumps(fields).encode())
    _note(answered, workout, fields, *await exchange(*streams, sent))


async def _client(
    answered: Answered,
    address: str,
    workouts: Sequence[int],
    number: int,
    goes_on: Callable[[int], bool],
    pause: float = 0.0,
) -> None:
    """Puts fields by chance as long as it goes on, over one connection."""
    url = httpx.URL(address)
    streams = await asyncio.open_connection(url.host, url.port)
    dice, turn = random.Random(number), 0
    while goes_on(turn):
        await _put(answered, streams, dice, workouts, f"{number}.{turn}")
        turn += 1
        if pause:
            await asyncio.sleep(pause)
    streams[1].close()
    await streams[1].wait_closed()


def put_at_once(address: str, workouts: Sequence[int], clients: int, puts: int) -> Answered:
    """So many clients, each with so many PUTs, one after the other, on workouts by chance."""
    answered = Answered()

    async def all_of_them() -> None:
        each = (
            _client(answered, address, workouts, n, lambda turn: turn < puts)
            for n in range(clients)
        )
        await asyncio.gather(*each)

    asyncio.run(all_of_them())
    return answered


@contextmanager
def putting(address: str, workouts: Sequence[int], clients: int = 4) -> Iterator[Answered]:
    """Clients that go on until the block ends."""
    answered, stop = Answered(), threading.Event()

    def client(number: int) -> None:
        def goes_on(_turn: int) -> bool:
            return not stop.is_set()

        asyncio.run(_client(answered, address, workouts, number, goes_on, pause=0.01))

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
