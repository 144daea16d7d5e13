"""`explore` and `replay`: search, run, judge, and make the failure small."""

from __future__ import annotations

import inspect
import itertools
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from onerow.errors import InputError
from onerow.race.anomaly import name_anomaly
from onerow.race.dependency import FILE, table_of
from onerow.race.schedule import Diverged, Exploring, Following, Search, Task, simpler, switches
from onerow.race.trace import Trace, read_script
from onerow.race.verdict import Allowed, Failure, Result, Verdict, judge
from onerow.race.world import Invariant, Setup, Worker, World, name_of

#: How often a schedule is repeated when the server decides otherwise than it usually does.
REPEATS = 12
#: Runs of an exploration in which a worker did something else than before; a cache may run out.
FORGIVEN = 3
LEAST, MOST = 2, 4
UNSTEADY = "a worker does not do the same each time, so its schedules cannot be told apart"


def explore(
    engine: Any,
    workers: Sequence[Worker],
    *,
    setup: Setup | None = None,
    invariant: Invariant | None = None,
    preemptions: int | None = None,
    max_schedules: int | None = None,
    max_seconds: float | None = None,
    seed: int = 0,
    prune: bool = True,
    keep_going: bool = False,
    allow: Allowed = (),
    minimise: bool = True,
    admin: Engine | None = None,
    stall: float = 10.0,
    max_steps: int = 400,
) -> Result:
    """Run workers in every interleaving of their statements, and say whether an invariant holds.

    Args:
        engine: Engine or AsyncEngine on PostgreSQL or SQLite. The database is used as it is.
        workers: two to four functions of one argument, a session factory bound to the engine
            (coroutine functions for an AsyncEngine). Each is run once in every schedule.
        setup: function of a connection, run and committed before every schedule: it puts the
            rows back.
        invariant: function of a connection, called after every schedule; it is broken when it
            returns something false or raises AssertionError. `onerow.race.invariants` has some.
        preemptions: most switches away from a session that could go on; None for all schedules.
        max_schedules, max_seconds: give up after so many; the verdict is then ``inconclusive``.
        seed: another number than 0 shuffles schedules of the same number of preemptions.
        prune: leave out schedules that are equivalent to another (without a bound only).
        keep_going: do not stop at the first failure.
        allow: exceptions (classes, SQLSTATEs) that may leave a worker.
        minimise: look for a failure with fewer switches before it is reported.
        admin: engine for setup and invariant, if none can be made from an AsyncEngine's URL.
        stall: seconds without a gate or a wait in the server, after which a run is given up.
        max_steps: of one schedule.

    Raises:
        InputError: engine or workers cannot be used.
    """
    _check_workers(engine, workers)
    for name, value in (("preemptions", preemptions), ("max_schedules", max_schedules)):
        if value is not None and value < 0:
            raise InputError(f"{name} is {value}; it cannot be less than 0.")
    world = World(
        engine,
        workers,
        setup=setup,
        invariant=invariant,
        admin=admin,
        stall=stall,
        most_steps=max_steps,
    )
    search = Search(bound=preemptions, prune=prune, seed=seed)
    with world.opened():
        if trouble := _warm_up(world):
            return Result("inconclusive", trouble, bound=preemptions)
        return _Exploration(
            world, search, allow, keep_going, max_schedules, max_seconds, minimise
        ).run()


def replay(
    engine: Any,
    workers: Sequence[Worker],
    script: str,
    *,
    setup: Setup | None = None,
    invariant: Invariant | None = None,
    allow: Allowed = (),
    admin: Engine | None = None,
    stall: float = 10.0,
    max_steps: int = 400,
) -> Result:
    """Run one schedule again, told by `Failure.script`; its verdict is that of this schedule.

    Steps that the sessions cannot take (any more) are left out, which a note says; behind the end
    of the script the sessions go on one after the other. So it serves as a regression test when
    the workers have changed.

    Raises:
        InputError: engine or workers cannot be used, or the script is none.
    """
    _check_workers(engine, workers)
    try:
        choices = read_script(script, len(workers))
    except ValueError as error:
        raise InputError(f"The script cannot be read: {error}.") from error
    world = World(
        engine,
        workers,
        setup=setup,
        invariant=invariant,
        admin=admin,
        stall=stall,
        most_steps=max_steps,
    )
    with world.opened():
        if trouble := _warm_up(world):
            return Result("inconclusive", trouble)
        return _replay(world, choices, allow)


def _replay(world: World, choices: Sequence[int], allow: Allowed) -> Result:
    began = time.monotonic()
    repeated = 0
    while True:
        policy = Following(choices)
        world.prepare_run()
        trace = world.run().go(policy)
        if not trace.skewed or repeated == REPEATS:
            break
        repeated += 1
    verdict, reason, failure = _judged(world, trace, allow)
    result = Result(
        verdict,
        reason or "this schedule holds",
        schedules=1,
        repeated=repeated,
        failure=failure,
        seconds=time.monotonic() - began,
    )
    if policy.skipped:
        result.notes.append(f"{policy.skipped} steps of the script could not be taken")
    return result


def _check_workers(engine: Any, workers: Sequence[Worker]) -> None:
    if not LEAST <= len(workers) <= MOST:
        raise InputError(f"explore() takes {LEAST} to {MOST} workers, not {len(workers)}.")
    for worker in workers:
        if not callable(worker):
            raise InputError(f"A worker is a function of a session factory, not {worker!r}.")
        if inspect.iscoroutinefunction(worker) != isinstance(engine, AsyncEngine):
            kind = "a coroutine function" if isinstance(engine, AsyncEngine) else "a plain function"
            raise InputError(
                f"The worker {name_of(worker)!r} must be {kind} for this engine.",
                hint="An AsyncEngine goes with `async def` workers, an Engine with `def`.",
            )


def _warm_up(world: World) -> str:
    """Runs the workers one after the other, which counts for nothing.

    What they do only once in a process (read the catalog, fill a cache) is done then, so that
    every schedule begins alike. `invariants.serializable` learns from every serial order.

    Returns:
        what keeps them from being explored at all; '' if nothing does.
    """
    learn = getattr(world.invariant, "learn", None)
    orders = list(itertools.permutations(range(len(world.workers))))
    for order in orders if learn is not None else orders[:1]:
        world.prepare_run()
        trace = world.run().go(_InOrder(order))
        if trace.trouble:
            return trace.trouble
        if learn is not None:
            with world.connection() as connection:
                learn(connection)
    return ""


class _InOrder:
    """One worker after the other."""

    def __init__(self, order: Sequence[int]) -> None:
        self._order = order

    def choose(self, node: Any) -> int:
        return next(i for i in self._order if i in node.enabled)


def _judged(world: World, trace: Trace, allow: Allowed) -> tuple[Verdict, str, Failure | None]:
    if not trace.trouble and world.gates.strays:
        trace.trouble = (
            "a statement ran outside of the workers, on a thread that they started: "
            + world.gates.strays[0]
        )
    broken = None if trace.trouble else world.broken()
    verdict, reason = judge(trace, broken, allow)
    if verdict in ("holds", "inconclusive"):
        return verdict, reason, None
    return verdict, reason, _failure(world, verdict, trace, reason)


def _failure(world: World, verdict: Verdict, trace: Trace, reason: str) -> Failure:
    written = {table_of(t) for s in trace.steps for t in s.operation.footprint.writes}
    tables = sorted(written & world.oracle.facts.known) if written != FILE else []
    return Failure(
        verdict,
        trace,
        reason,
        anomaly=name_anomaly(trace, verdict),
        state=world.state(tables),
        names=tuple(name_of(w) for w in world.workers),
        places=tuple(_place(w) for w in world.workers),
    )


def _place(worker: Any) -> str:
    name = getattr(worker, "__qualname__", "")
    return f"{worker.__module__}:{name}" if name and "<" not in name else ""


class _Exploration:
    """The loop over schedules."""

    def __init__(
        self,
        world: World,
        search: Search,
        allow: Allowed,
        keep_going: bool,
        max_schedules: int | None,
        max_seconds: float | None,
        minimise: bool,
    ) -> None:
        self.world = world
        self.search = search
        self.allow = allow
        self.keep_going = keep_going
        self.max_schedules = max_schedules
        self.max_seconds = max_seconds
        self.minimise = minimise
        self.result = Result("holds", bound=search.bound)
        self.began = time.monotonic()
        self.diverged = 0
        self._gave_up = False
        self._unsteady = ""

    def run(self) -> Result:
        while self.search and not self._spent():
            if not self._one(self.search.pop()):
                break
        return self._finish()

    def _spent(self) -> bool:
        done = self.result.schedules
        if self.max_schedules is not None and done >= self.max_schedules:
            reason = f"{done} schedules were run, and there are more"
        elif self.max_seconds is not None and time.monotonic() - self.began > self.max_seconds:
            reason = f"{self.max_seconds:g} s were over after {done} schedules"
        else:
            return False
        self._end("inconclusive", reason)
        return True

    def _one(self, task: Task) -> bool:
        """Run a schedule; false when that is the end of the search."""
        ran = self._run(task)
        if ran is None:
            return self._end("inconclusive", self._unsteady)
        trace, policy = ran
        if policy.redundant and not trace.trouble:
            self.result.redundant += 1
            return True
        self.result.schedules += 1
        verdict, reason, failure = _judged(self.world, trace, self.allow)
        if self.keep_going:
            self.result.outcomes[verdict] = self.result.outcomes.get(verdict, 0) + 1
        if verdict == "inconclusive":
            return self._end(verdict, f"{reason} (schedule {trace.script or 'without a step'})")
        policy.hand_over()
        return failure is None or self._failed(failure)

    def _run(self, task: Task) -> tuple[Trace, Exploring] | None:
        """Repeated when the server, or a worker, did something else than before."""
        for _ in range(REPEATS):
            self.world.prepare_run()
            policy = Exploring(self.search, task)
            try:
                trace = self.world.run().go(policy)
            except Diverged:
                self._unsteady = UNSTEADY
                self.diverged += 1
                if self.diverged > FORGIVEN:
                    return None
            else:
                if not trace.skewed or trace.trouble:
                    return trace, policy
                self._unsteady = trace.skewed
            self.result.repeated += 1
        return None

    def _failed(self, failure: Failure) -> bool:
        if self.result.failure is None:
            self.result.failure = self._small(failure) if self.minimise else failure
            first = self.result.failure
            self.result.verdict, self.result.reason = first.verdict, first.reason
        if self.keep_going:
            self.result.failures.append(failure)
        return self.keep_going

    def _end(self, verdict: Verdict, reason: str) -> bool:
        """It ends before its time; a failure that was found stays what it is."""
        self._gave_up = True
        if self.result.failure is None:
            self.result.verdict, self.result.reason = verdict, reason
        return False

    def _small(self, failure: Failure) -> Failure:
        """The same verdict with fewer switches, as long as that can be had."""
        tried: set[tuple[int, ...]] = set()
        while smaller := self._smaller(failure, tried):
            failure = smaller
        return failure

    def _smaller(self, failure: Failure, tried: set[tuple[int, ...]]) -> Failure | None:
        now = failure.trace.choices
        for candidate in simpler(now):
            if candidate in tried:
                continue
            tried.add(candidate)
            self.world.prepare_run()
            trace = self.world.run().go(Following(candidate))
            verdict, _, found = _judged(self.world, trace, self.allow)
            better = (switches(trace.choices), len(trace.choices)) < (switches(now), len(now))
            if found is not None and verdict == failure.verdict and better and not trace.skewed:
                return found
        return None

    def _finish(self) -> Result:
        result = self.result
        result.seconds = time.monotonic() - self.began
        if result.verdict == "holds" and (others := self.world.strangers()):
            self._end("inconclusive", others)
        done = not self.search and not self._gave_up
        result.exhausted = done and not self.search.cut and not self._stopped_early()
        if result.verdict == "holds":
            extent = "all" if result.exhausted else f"up to {result.bound} preemptions"
            result.reason = f"no schedule fails ({result.schedules} run, {extent})"
        if not self.world.oracle.deadlocks_are_quick:
            result.notes.append(
                "deadlock_timeout may not be set by this role: each deadlock takes a second"
            )
        return result

    def _stopped_early(self) -> bool:
        return self.result.failure is not None and not self.keep_going
