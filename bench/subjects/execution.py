"""POST execution data: the application with onerow, against the same with a bare ON CONFLICT."""

from __future__ import annotations

import asyncio
import os
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp

from bench.common import Line, Options, Subject, server
from systems.execution_data import states
from systems.execution_data.claims import Claims
from systems.shared.fixtures import build
from systems.shared.web.tokens import SECRET, Tokens

CLIENTS = 64
PERIODS, ACTIVITIES, FACILITIES = 4, 40, 20  #: a key is free for each of these
NAME = "execution"


def posts(options: Options) -> Iterator[Line]:
    """64 clients post execution data: time and p99, to the same application with bare SQL."""
    taken: dict[str, list[float]] = {"safe": [], "bare": []}
    late: dict[str, list[float]] = {"safe": [], "bare": []}
    with server(options) as started:
        for _ in range(options.rounds):
            for how in ("bare", "safe"):
                started.drop_database(NAME)
                url = started.create_database(NAME)
                build(url, states.after())
                seconds, p99 = _measure(how, url, options.rows)
                taken[how].append(seconds)
                late[how].append(p99)
    what = f"POST execution data, {options.rows} by {CLIENTS} clients"
    against = "a bare ON CONFLICT"
    yield Line(
        what=f"{what}: time", against=against, ours=taken["safe"], other=taken["bare"], target=1.25
    )
    yield Line(
        what=f"{what}: p99",
        against=against,
        ours=late["safe"],
        other=late["bare"],
        unit="ms",
        target=1.5,
    )


def _measure(how: str, url: str, count: int) -> tuple[float, float]:
    """Seconds for all, and the milliseconds in which 99 of 100 were answered."""
    secret = secrets.token_hex(32)
    claims = Claims(sub="bench", role="ADMIN", facility_id=1)
    headers = {"Authorization": f"Bearer {Tokens(secret).mint(claims)}"}
    with _served(how, url, secret) as address:
        asyncio.run(_posted(address, headers, 0, 2 * CLIENTS))
        began = time.perf_counter()
        times = asyncio.run(_posted(address, headers, 2 * CLIENTS, count))
        return time.perf_counter() - began, statistics.quantiles(times, n=100)[-1]


@contextmanager
def _served(how: str, url: str, secret: str) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.execution_server", how, url],
        env={**os.environ, SECRET: secret},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().removeprefix("Listening on ").strip()
    finally:
        process.terminate()
        process.communicate()


async def _posted(address: str, headers: dict[str, str], first: int, count: int) -> list[float]:
    waiting = iter(range(first, first + count))
    times: list[float] = []
    url = f"{address}/api/execution-data"
    connector = aiohttp.TCPConnector(limit=CLIENTS)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as http:

        async def client() -> None:
            for number in waiting:
                began = time.perf_counter()
                async with http.post(url, json=_body(number)) as answer:
                    await answer.read()
                    assert answer.status == 201, await answer.text()
                times.append(1000 * (time.perf_counter() - began))

        await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return times


def _body(number: int) -> dict[str, int]:
    rest, facility = divmod(number, FACILITIES)
    period, activity = divmod(rest, ACTIVITIES)
    amounts = {f"q{n}Amount": n * 100 for n in (1, 2, 3, 4)}
    key = {"reportingPeriodId": period + 1, "activityId": activity + 1, "facilityId": facility + 1}
    return key | amounts


SUBJECTS = (Subject(name="execution_posts", measure=posts, options=Options(rows=2560, rounds=5)),)
