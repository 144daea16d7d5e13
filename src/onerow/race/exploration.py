"""The loop over the schedules of a search: run, judge, count, and make the failure small."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from onerow.race.anomaly import name_anomaly
from onerow.race.dependency import table_of, written_by
from onerow.race.schedule import Diverged, Exploring, Following, Search, Task, simpler, switches
from onerow.race.trace import Trace
from onerow.race.verdict import Allowed, Failure, Result, Verdict, judge
from onerow.race.world import World, name_of

#: How often a schedule is repeated when the server decides otherwise than it usually does.
REPEATS = 12
#: Runs of an exploration in which a worker did something else than before; a cache may run out.
FORGIVEN = 3
UNSTEADY = "a worker does not do the same each time, so its schedules cannot be told apart"


def judged(world: World, trace: Trace, allow: Allowed) -> tuple[Verdict, str, Failure | None]:
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
    return Failure(
        verdict,
        trace,
        reason,
        anomaly=name_anomaly(trace, verdict),
        state=world.state(_written(world, trace)),
        names=tuple(name_of(w) for w in world.workers),
        places=tuple(_place(w) for w in world.workers),
    )


def _written(world: World, trace: Trace) -> list[str]:
    """The tables that a run wrote, in order."""
    facts = world.oracle.facts
    if facts.lite:  # the footprint is the file
        named = {t for s in trace.steps for t in written_by(s.operation.sql)}
    else:
        named = {table_of(t) for s in trace.steps for t in s.operation.footprint.writes}
    return sorted(named & facts.known)


def _place(worker: Any) -> str:
    name = getattr(worker, "__qualname__", "")
    return f"{worker.__module__}:{name}" if name and "<" not in name else ""


class Exploration:
    """The loop over schedules."""

    def __init__(
        self,
        worlds: Sequence[World],
        search: Search,
        allow: Allowed,
        keep_going: bool,
        max_schedules: int | None,
        max_seconds: float | None,
        minimise: bool,
    ) -> None:
        self.worlds = worlds
        self.changed = threading.Condition()
        self.at_work = 0
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
        self._over = False
        self._unsteady = ""

    def run(self) -> Result:
        """Until nothing is left, on every database at once."""
        if len(self.worlds) == 1:
            self._serve(self.worlds[0])
        else:
            with ThreadPoolExecutor(len(self.worlds), "onerow-race-search") as pool:
                for served in [pool.submit(self._serve, world) for world in self.worlds]:
                    served.result()
        return self._finish()

    def _serve(self, world: World) -> None:
        """Run tasks on one database; a run of another one may still bring more of them."""
        try:
            while (task := self._next()) is not None:
                goes_on = self._one(world, task)
                with self.changed:
                    self.at_work -= 1
                    self._over |= not goes_on
                    self.changed.notify_all()
        except BaseException:
            with self.changed:
                self._over = True
                self.changed.notify_all()
            raise

    def _next(self) -> Task | None:
        with self.changed:
            self.changed.wait_for(lambda: self._over or self.search or not self.at_work)
            if self._over or not self.search or self._spent():
                return None
            self.at_work += 1
            return self.search.pop()

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

    def _one(self, world: World, task: Task) -> bool:
        """Run a schedule; false when that is the end of the search."""
        ran = self._run(world, task)
        if ran is None:
            with self.changed:
                return self._end("inconclusive", self._unsteady)
        trace, policy = ran
        skip = policy.redundant and not trace.trouble
        found = None if skip else judged(world, trace, self.allow)
        with self.changed:
            return self._count(world, trace, policy, found)

    def _count(
        self,
        world: World,
        trace: Trace,
        policy: Exploring,
        found: tuple[Verdict, str, Failure | None] | None,
    ) -> bool:
        if found is None:
            self.result.redundant += 1
            return True
        self.result.schedules += 1
        verdict, reason, failure = found
        if self.keep_going:
            self.result.outcomes[verdict] = self.result.outcomes.get(verdict, 0) + 1
        if verdict == "inconclusive":
            return self._end(verdict, f"{reason} (schedule {trace.script or 'without a step'})")
        policy.hand_over()
        return failure is None or self._failed(world, failure)

    def _run(self, world: World, task: Task) -> tuple[Trace, Exploring] | None:
        """Repeated when the server, or a worker, did something else than before."""
        for _ in range(REPEATS):
            world.prepare_run()
            policy = Exploring(self.search, task)
            try:
                trace = world.run().go(policy)
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

    def _failed(self, world: World, failure: Failure) -> bool:
        if self.result.failure is None:
            self.result.failure = self._small(world, failure) if self.minimise else failure
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

    def _small(self, world: World, failure: Failure) -> Failure:
        """The same verdict with fewer switches, as long as that can be had."""
        tried: set[tuple[int, ...]] = set()
        while smaller := self._smaller(world, failure, tried):
            failure = smaller
        return failure

    def _smaller(
        self, world: World, failure: Failure, tried: set[tuple[int, ...]]
    ) -> Failure | None:
        now = failure.trace.choices
        for candidate in simpler(now):
            if candidate in tried:
                continue
            tried.add(candidate)
            world.prepare_run()
            trace = world.run().go(Following(candidate))
            verdict, _, found = judged(world, trace, self.allow)
            better = (switches(trace.choices), len(trace.choices)) < (switches(now), len(now))
            if found is not None and verdict == failure.verdict and better and not trace.skewed:
                return found
        return None

    def _finish(self) -> Result:
        result = self.result
        result.seconds = time.monotonic() - self.began
        others = [w.strangers() for w in self.worlds] if result.verdict == "holds" else []
        for told in filter(None, others):
            self._end("inconclusive", told)
        done = not self.search and not self._gave_up
        result.exhausted = done and not self.search.cut and not self._stopped_early()
        if result.verdict == "holds":
            extent = "all" if result.exhausted else f"up to {result.bound} preemptions"
            result.reason = f"no schedule fails ({result.schedules} run, {extent})"
        if not all(w.oracle.deadlocks_are_quick for w in self.worlds):
            result.notes.append(
                "deadlock_timeout may not be set by this role: each deadlock takes a second"
            )
        return result

    def _stopped_early(self) -> bool:
        return self.result.failure is not None and not self.keep_going
