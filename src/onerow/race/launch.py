"""Starts workers: each in a thread, or all in one event loop."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol, TypeAlias

from onerow.race.session import Session, State, current
from onerow.race.trace import letter


class Launcher(Protocol):
    """Starts a worker; its end is told to the session."""

    def start(self, session: Session, worker: Callable[[Any], Any]) -> None: ...
    def close(self) -> None: ...


Job: TypeAlias = tuple[Session, Callable[[Any], Any]]


class Threads:
    """A thread for each worker, kept from run to run; one that cannot be ended is left behind."""

    def __init__(self, factory: Any) -> None:
        self._factory = factory
        self._jobs: dict[int, SimpleQueue[Job | None]] = {}
        self._last: dict[int, Session] = {}

    def start(self, session: Session, worker: Callable[[Any], Any]) -> None:
        before = self._last.get(session.index)
        if before is None or before.state is not State.DONE:
            self._jobs[session.index] = self._new_thread(session.index)
        self._last[session.index] = session
        self._jobs[session.index].put((session, worker))

    def _new_thread(self, index: int) -> SimpleQueue[Job | None]:
        jobs: SimpleQueue[Job | None] = SimpleQueue()
        name = f"onerow-race-{letter(index)}"
        threading.Thread(target=self._serve, args=(jobs,), name=name, daemon=True).start()
        return jobs

    def _serve(self, jobs: SimpleQueue[Job | None]) -> None:
        while (job := jobs.get()) is not None:
            context = contextvars.copy_context()
            context.run(current.set, job[0])
            context.run(self._run, *job)

    def _run(self, session: Session, worker: Callable[[Any], Any]) -> None:
        error: BaseException | None = None
        try:
            worker(self._factory)
        except BaseException as raised:
            error = raised
        session.end(error)

    def close(self) -> None:
        for jobs in self._jobs.values():
            jobs.put(None)


class Loop:
    """One event loop, in a thread of its own, for all workers, as in an application."""

    def __init__(self, factory: Any) -> None:
        self._factory = factory
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="onerow-race-loop", daemon=True
        )
        self._thread.start()

    def start(self, session: Session, worker: Callable[[Any], Any]) -> None:
        context = contextvars.copy_context()
        context.run(current.set, session)
        self._loop.call_soon_threadsafe(self._begin, session, worker, context)

    def _begin(
        self, session: Session, worker: Callable[[Any], Any], context: contextvars.Context
    ) -> None:
        task = self._loop.create_task(self._run(session, worker), context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, session: Session, worker: Callable[[Any], Any]) -> None:
        error: BaseException | None = None
        try:
            await worker(self._factory)
        except BaseException as raised:
            error = raised
        session.end(error)

    def finish(self, coroutine: Any) -> None:
        """Runs something to its end in the loop."""
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=30)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        if not self._thread.is_alive():
            self._loop.close()
