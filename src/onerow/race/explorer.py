"""`explore` and `replay`: search, run, judge, and make the failure small."""

from __future__ import annotations

import inspect
import itertools
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from onerow.errors import InputError
from onerow.race.exploration import REPEATS, Exploration, judged
from onerow.race.schedule import Following, Search
from onerow.race.trace import read_script
from onerow.race.verdict import Allowed, Result
from onerow.race.world import Invariant, Setup, Worker, World, name_of, patched

LEAST, MOST = 2, 4


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
    engines: Sequence[Any] = (),
) -> Result:
    """Run workers in every interleaving of their statements, and say whether an invariant holds.

    Args:
        engine: Engine or AsyncEngine on PostgreSQL or SQLite. The database is used as it is.
        workers: two to four functions of one argument, a session factory bound to the engine
            (coroutine functions for an AsyncEngine). Each is run once in every schedule.
        setup: function of a connection, run and committed before every schedule: it puts the
            rows back.
        invariant: function of a connection, called after every schedule; it is broken when it
            returns something false or raises. `onerow.race.invariants` has some.
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
        engines: more of the same kind, each on a database of its own with the same tables:
            schedules are run on all of them at once. The workers must use their factory alone.

    Raises:
        InputError: engine or workers cannot be used.
    """
    for name, value in (("preemptions", preemptions), ("max_schedules", max_schedules)):
        if value is not None and value < 0:
            raise InputError(f"{name} is {value}; it cannot be less than 0.")
    made = partial(
        _world, workers, setup=setup, invariant=invariant, stall=stall, most_steps=max_steps
    )
    worlds = [made(engine, admin=admin), *(made(other) for other in engines)]
    search = Search(bound=preemptions, prune=prune, seed=seed)
    with ExitStack() as stack:
        stack.enter_context(patched())
        for world in worlds:
            stack.enter_context(world.opened())
            if trouble := _warm_up(world):
                return Result("inconclusive", trouble, bound=preemptions)
        return Exploration(
            worlds, search, allow, keep_going, max_schedules, max_seconds, minimise
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
    world = _world(
        workers,
        engine,
        setup=setup,
        invariant=invariant,
        admin=admin,
        stall=stall,
        most_steps=max_steps,
    )
    try:
        choices = read_script(script, len(workers))
    except ValueError as error:
        raise InputError(f"The script cannot be read: {error}.") from error
    with patched(), world.opened():
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
    verdict, reason, failure = judged(world, trace, allow)
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


def _world(workers: Sequence[Worker], engine: Any, **options: Any) -> World:
    """The database and its workers, once they have been looked at."""
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
    return World(engine, workers, **options)


def _warm_up(world: World) -> str:
    """Runs the workers one after the other, which counts for nothing.

    What they do only once in a process (read the catalog, fill a cache) is done then, so that
    every schedule begins alike. `invariants.serializable` learns from every serial order.

    Returns:
        what keeps them from being explored at all; '' if nothing does.
    """
    world.learn_tables()
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
