"""The load mode: many clients at once against a running server, for races inside one statement.

`explore` chooses between statements; it cannot reach a race within one (two keys behind one
INSERT, a MERGE). Here clients are released together, round after round, each a little later than
the one before (the stagger), and the end state is asked for afterwards. That finds wide windows;
finding nothing proves nothing.
"""

from __future__ import annotations

import http.client
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from onerow.errors import Refused
from onerow.race.scenario import Request, Scenario, is_loopback, read_scenario

#: Percentiles that are told.
PERCENTILES = (50, 95, 99)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a status, or 0 and the name of the error; seconds that it took."""

    status: int
    seconds: float
    error: str = ""


@dataclass
class LoadResult:
    """What the load did.

    Attributes:
        verdict: ``holds`` (nothing was seen), ``broken`` (the end state), ``raised`` (an answer
            that the scenario does not expect), ``inconclusive`` (the server did not answer).
        reason: one sentence.
        answers: number of answers by status; 0 stands for no answer.
        latency: milliseconds by percentile, and ``max``.
        by_stagger: answers by status for each stagger, in milliseconds.
        requests, seconds: how many, and how long all took.
    """

    verdict: str = "holds"
    reason: str = ""
    answers: dict[int, int] = field(default_factory=dict)
    latency: dict[str, float] = field(default_factory=dict)
    by_stagger: dict[float, dict[int, int]] = field(default_factory=dict)
    requests: int = 0
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return self.verdict == "holds"

    def __str__(self) -> str:
        counts = ", ".join(f"{n} × {s or 'no answer'}" for s, n in sorted(self.answers.items()))
        times = ", ".join(f"{k} {v:g} ms" for k, v in self.latency.items())
        return f"{self.verdict}: {self.reason}\n{counts}\n{times}"


def load(
    scenario: Scenario | Mapping[str, Any] | str | Path,
    *,
    allow_remote: bool = False,
    check: Callable[[], str | None] | None = None,
) -> LoadResult:
    """Run a scenario against its server and look at the end state.

    Args:
        scenario: a file, its content, or a `Scenario`.
        allow_remote: let the target be another machine than this one.
        check: asks for the end state in place of the scenario's own [check]; returns what is
            wrong, None if nothing is.

    Raises:
        InputError: the scenario cannot be read.
        Refused: the target is not on this machine, and `allow_remote` was not given.
    """
    plan = scenario if isinstance(scenario, Scenario) else read_scenario(scenario)
    target = urlsplit(plan.url)
    if not allow_remote and not is_loopback(target.hostname or ""):
        raise Refused(
            f"{target.hostname} is not this machine; a load could harm others.",
            hint="--allow-remote (allow_remote=True) says that it may be done.",
        )
    began = time.monotonic()
    found = {s: list(_rounds(plan, target, s)) for s in plan.stagger_ms}
    result = _counted(found, time.monotonic() - began)
    _judge(result, plan, check or _check_of(plan))
    return result


def _rounds(plan: Scenario, target: SplitResult, stagger: float) -> Iterator[Answer]:
    clients = [_Client(plan, target, number, stagger) for number in range(plan.clients)]
    barrier = threading.Barrier(plan.clients)
    threads = [
        threading.Thread(target=c.run, args=(barrier,), name=f"onerow-load-{c.number}", daemon=True)
        for c in clients
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for client in clients:
        yield from client.answers


class _Client:
    """One of the clients: its connection, and what it was answered."""

    def __init__(self, plan: Scenario, target: SplitResult, number: int, stagger: float) -> None:
        self.plan, self.target, self.number = plan, target, number
        self.delay = stagger * number / 1000
        self.answers: list[Answer] = []
        self._run = f"{os.getpid():x}{int(time.time() * 1000):x}-{stagger:g}"
        self._connection: http.client.HTTPConnection | None = None

    def run(self, barrier: threading.Barrier) -> None:
        for turn in range(self.plan.rounds):
            barrier.wait()
            if self.delay:
                time.sleep(self.delay)
            request = self.plan.requests[(turn + self.number) % len(self.plan.requests)]
            self.answers.append(self._ask(request, self._names(turn)))
        if self._connection is not None:
            self._connection.close()

    def _names(self, turn: int) -> dict[str, str]:
        part = self.number % self.plan.keys
        return {
            "round": str(turn),
            "client": str(self.number),
            "key": f"{self._run}-{turn}-{part}",
        }

    def _ask(self, request: Request, names: Mapping[str, str]) -> Answer:
        body = request.body(names)
        headers = {**self.plan.headers, **request.headers}
        if request.json is not None:
            headers.setdefault("Content-Type", "application/json")
        path = (self.target.path.rstrip("/") + request.path_for(names)) or "/"
        began = time.perf_counter()
        try:
            connection = self._open()
            connection.request(request.method, path, body, headers)
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection = None
            return Answer(0, time.perf_counter() - began, type(error).__name__)
        return Answer(response.status, time.perf_counter() - began)

    def _open(self) -> http.client.HTTPConnection:
        if self._connection is None:
            secure = self.target.scheme == "https"
            kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
            self._connection = kind(
                self.target.hostname or "", self.target.port, timeout=self.plan.timeout
            )
        return self._connection


def _counted(found: Mapping[float, Sequence[Answer]], seconds: float) -> LoadResult:
    answers = [a for each in found.values() for a in each]
    times = sorted(a.seconds * 1000 for a in answers)
    latency = {f"p{p}": round(_percentile(times, p), 2) for p in PERCENTILES}
    return LoadResult(
        answers=dict(Counter(a.status for a in answers)),
        latency=latency | {"max": round(times[-1], 2)},
        by_stagger={s: dict(Counter(a.status for a in each)) for s, each in found.items()},
        requests=len(answers),
        seconds=round(seconds, 3),
    )


def _percentile(ordered: Sequence[float], percent: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def _judge(result: LoadResult, plan: Scenario, check: Callable[[], str | None]) -> None:
    wrong = check()
    odd = sorted(s for s in result.answers if s and s not in plan.status)
    if wrong:
        result.verdict, result.reason = "broken", wrong
    elif odd:
        result.verdict = "raised"
        result.reason = f"{result.answers[odd[-1]]} answers had the status {odd[-1]}"
    elif result.answers.get(0):
        result.verdict = "inconclusive"
        result.reason = f"{result.answers[0]} of {result.requests} requests got no answer"
    else:
        result.reason = f"nothing was seen in {result.requests} requests, which proves nothing"


def _check_of(plan: Scenario) -> Callable[[], str | None]:
    """Asks the database that the scenario names."""

    def look() -> str | None:
        if plan.database is None:
            return None
        from sqlalchemy import create_engine

        engine = create_engine(plan.database)
        try:
            with engine.connect() as connection:
                for invariant in plan.invariants():
                    try:
                        invariant(connection)
                    except AssertionError as error:
                        return str(error)
        finally:
            engine.dispose()
        return None

    return look
