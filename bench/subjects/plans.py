"""POST of a membership plan over HTTP, to the same application with a bare INSERT."""

from __future__ import annotations

import json
import os
import secrets
import statistics
import subprocess
import sys
from collections.abc import Iterator

from bench.common import Line, Options, Subject, server
from bench.http import at_once, request
from systems.membership_plans import states
from systems.membership_plans.claims import Claims
from systems.shared.fixtures import build
from systems.shared.web.tokens import SECRET, Tokens

CLIENTS = 64
WARM = 5  #: requests of each client before the clock runs
PATH = "/api/v1/membership-plans"


def post(options: Options) -> Iterator[Line]:
    """POST plan, 64 clients: all of them, and p99."""
    whole: tuple[list[float], list[float]] = ([], [])
    slow: tuple[list[float], list[float]] = ([], [])
    with server(options) as started:
        for turn in range(options.rounds):
            for way in (0, 1) if turn % 2 == 0 else (1, 0):
                took, each = _measured(started.create_database("plans"), options, bool(way))
                started.drop_database("plans")
                whole[way].append(took)
                slow[way].append(statistics.quantiles(each, n=100)[-1] * 1e3)
    what = f"{options.rows:,} POSTs of plans by {CLIENTS} clients, {options.engine}"
    against = "a bare INSERT"
    yield Line(what=what, against=against, ours=whole[0], other=whole[1], target=1 / 0.8)
    p99 = f"p99 of {what}"
    yield Line(what=p99, against=against, ours=slow[0], other=slow[1], unit="ms", target=1.5)


def _measured(url: str, options: Options, by_hand: bool) -> tuple[float, list[float]]:
    build(url, states.after())
    key = secrets.token_hex(32)
    token = Tokens(key).mint(Claims(sub="bench", tenant_id="t1", role="ADMIN"))
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.plan_server", url, *(["--by-hand"] if by_hand else [])],
        env={**os.environ, SECRET: key},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        host, _, port = process.stdout.readline().split("://")[1].strip().rpartition(":")
        at_once(host, int(port), _requests("warm", WARM, token))
        return at_once(host, int(port), _requests("plan", options.rows // CLIENTS, token))
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _requests(word: str, each: int, token: str) -> list[list[bytes]]:
    return [[_one(f"{word} {c} {n}", token) for n in range(each)] for c in range(CLIENTS)]


def _one(name: str, token: str) -> bytes:
    terms = {"durationType": "MONTHS", "durationValue": 12, "price": 49.9}
    body = {"scope": "TENANT", "name": name, **terms}
    return request("POST", PATH, json.dumps(body).encode(), f"Authorization: Bearer {token}\r\n")


SUBJECTS = (Subject(name="plan_post", measure=post, options=Options(rows=6_400)),)
