"""A worker in one run: its state, and how it is held and let go."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import ContextVar
from enum import Enum
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy.util.concurrency import await_only, in_greenlet

from onerow.race.dependency import LOCAL, Facts
from onerow.race.trace import Operation, Step

if TYPE_CHECKING:
    from onerow.race.gate import Gates

current: ContextVar[Session | None] = ContextVar("onerow_race_session", default=None)
#: What the explorer runs itself: setup, invariant, monitor.
ours: ContextVar[bool] = ContextVar("onerow_race_ours", default=False)


class State(Enum):
    NEW = "not started"
    RUNNING = "running"
    GATE = "at a gate"
    BUSY = "waiting for the file"
    BLOCKED = "blocked"
    DONE = "done"


#: A session, and what it came to.
Report: TypeAlias = "tuple[Session, State]"


class Abandoned(BaseException):
    """The run is given up; no worker's `except Exception` shall stop that."""


class Session:
    """A worker in one run: its state, and how it is held and let go."""

    def __init__(
        self, index: int, reports: SimpleQueue[Report], facts: Facts, gates: Gates
    ) -> None:
        self.index = index
        self.gates = gates
        self.reports = reports
        self.facts = facts
        self.state = State.NEW
        self.pending: Operation | None = None
        self.step: Step | None = None
        self.steps: list[Step] = []
        self.pid: int | None = None
        self.pids: set[int] = set()
        self.abandoned = False
        self.parked = False  #: the worker's own knowledge; `state` is the scheduler's
        self.give_up_file = False  #: let the application have its SQLITE_BUSY
        self.problem = ""
        self.error: BaseException | None = None
        self.raw = 0  #: connections that it opened itself
        self.naps = 0  #: sleeps since another session moved
        self.sleeps = 0
        self.in_transaction = False
        self.has_read_lock = False  #: of SQLite's file, by the open transaction
        self.touched = LOCAL  #: by the open transaction
        self._lock = threading.Lock()
        self._lock.acquire()
        self._resume: Callable[[], object] = self._lock.release

    def gate(self, operation: Operation) -> None:
        """Wait here until the schedule says that it is this session's turn."""
        if not self.abandoned:
            if self.parked:
                self.problem = "runs two statements at once"
                return
            self.pending = operation
            self.park(State.GATE)
        self._leave(operation)

    def _leave(self, operation: Operation) -> None:
        """A run that is given up ends here; the rollback is let through."""
        if self.abandoned and operation.kind != "rollback":
            raise Abandoned

    def park(self, state: State) -> None:
        """Report, and wait for `resume`."""
        self.parked = True
        self._wait(state)
        self.parked = False

    def _wait(self, state: State) -> None:
        if in_greenlet():
            loop = asyncio.get_running_loop()
            future: asyncio.Future[None] = loop.create_future()
            self._resume = lambda: loop.call_soon_threadsafe(_wake, future)
            self._report(state)
            await_only(future)
        else:
            self._resume = self._lock.release
            self._report(state)
            self._lock.acquire()

    def _report(self, state: State) -> None:
        """The state changes when the scheduler takes the report, so that it never sees a half."""
        self.reports.put((self, state))

    def resume(self) -> None:
        """Let it go; called by the scheduler."""
        self.state = State.RUNNING
        self._resume()

    def end(self, error: BaseException | None) -> None:
        self.error = error
        self._report(State.DONE)

    @property
    def holds_locks(self) -> bool:
        """Somebody may wait for its open transaction."""
        t = self.touched
        return bool(t.writes or t.shares or t.everything or (self.facts.lite and t.reads))

    def nap(self) -> bool:
        self.naps += 1
        self.sleeps += 1
        return True


def _wake(future: Any) -> None:
    if not future.done():
        future.set_result(None)


def count_raw(change: int) -> None:
    """For `watched_drivers`: a worker opened a connection itself."""
    session = current.get()
    if session is not None:
        session.raw += change


def napping() -> bool:
    """For `virtual_sleep`: whether a worker sleeps."""
    session = current.get()
    return session is not None and session.nap()
