"""Runs one schedule: starts the workers, lets one go at a time, waits until nobody moves any more.

A step is: let a session go until its next gate, or until the server says that it waits. A session
that waits stays pending; when the one it waits for lets go, it comes back by itself, and the step
that freed it ends when it, too, is at its next gate. So nobody runs while a choice is made, and a
schedule runs the same way each time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from onerow.codes import DEADLOCK, code_of
from onerow.race.dependency import Footprint
from onerow.race.gate import Gates
from onerow.race.launch import Launcher
from onerow.race.oracle import DEADLOCK_TIMEOUT, Oracle, circles
from onerow.race.session import Abandoned, Report, Session, State
from onerow.race.trace import Raised, Step, Trace, letter

FIRST_LOOK = 0.0015  #: seconds without news before the server is asked
LONGEST_PAUSE = 0.02
#: Seconds that a waiting session is left alone, so that its own look for a deadlock is over.
SETTLED = (DEADLOCK_TIMEOUT + 3) / 1000
NAPS = 2  #: sleeps in a row, after which another session must move


class Stalled(Exception):
    """A session neither came to a gate nor waits for another one of ours."""


class Node:
    """A moment at which a choice is made.

    Attributes:
        trace: the run so far.
        enabled: sessions at a gate.
        last: the session that moved last, None at the start.
        footprints: what the next step of each enabled session touches.
        words: the first word of each of these steps: SELECT, COMMIT, …
        made: what the step touched that was just made.
    """

    def __init__(self, trace: Trace, enabled: list[int], last: int | None) -> None:
        self.trace = trace
        self.enabled = enabled
        self.last = last
        self.footprints: dict[int, Footprint] = {}
        self.words: dict[int, str] = {}
        self.made: Footprint | None = None


class Policy(Protocol):
    """Decides who moves."""

    def choose(self, node: Node) -> int: ...


class Run:
    """One schedule, from the start of the workers to their end."""

    def __init__(
        self,
        workers: Sequence[Callable[[Any], Any]],
        launcher: Launcher,
        oracle: Oracle,
        gates: Gates,
        *,
        stall: float = 10.0,
        most_steps: int = 400,
    ) -> None:
        self.workers = workers
        self.launcher = launcher
        self.oracle = oracle
        self.gates = gates
        self.stall = stall
        self.most_steps = most_steps
        self.reports: SimpleQueue[Report] = SimpleQueue()
        self.sessions = [Session(i, self.reports, oracle.facts, gates) for i in range(len(workers))]
        self.trace = Trace()
        self.moved: set[int] = set()  #: sessions that were let go or freed in this step
        self.blocked_order: list[int] = []

    def go(self, policy: Policy) -> Trace:
        """Run it; trouble is in the trace, never raised."""
        try:
            self._start()
            self._steps(policy)
        except Stalled as stalled:
            self.trace.trouble = str(stalled)
        finally:
            self._abandon([s for s in self.sessions if s.state not in (State.NEW, State.DONE)])
        self._close()
        return self.trace

    def _start(self) -> None:
        for session, worker in zip(self.sessions, self.workers, strict=True):
            session.state = State.RUNNING
            self.launcher.start(session, worker)
            self._settle()

    def _steps(self, policy: Policy) -> None:
        last: int | None = None
        made: Footprint | None = None
        while enabled := self._enabled():
            if len(self.trace.choices) >= self.most_steps:
                self.trace.trouble = f"the schedule did not end within {self.most_steps} steps"
                return
            node = Node(self.trace, enabled, last)
            node.made = made
            node.footprints = {i: self._footprint(self.sessions[i]) for i in enabled}
            node.words = {i: _word(self.sessions[i]) for i in enabled}
            chosen = policy.choose(node)
            if last is not None and chosen != last and last in enabled:
                self.trace.preemptions += 1
            made = self._step(self.sessions[chosen])
            last = chosen
        if waiting := [s for s in self.sessions if s.state is not State.DONE]:
            raise Stalled(self._why(waiting))

    def _enabled(self) -> list[int]:
        """Who can be let go; if SQLite lets nobody on, the last to wait gets its error."""
        at_gate = [s for s in self.sessions if s.state is State.GATE]
        while not at_gate and (busy := self._busy()):
            self._give_up(busy[-1])
            at_gate = [s for s in self.sessions if s.state is State.GATE]
        awake = [s for s in at_gate if s.naps < NAPS]
        return [s.index for s in awake or at_gate]

    # -- a step

    def _footprint(self, session: Session) -> Footprint:
        """What its next step touches; the end of a transaction also lets others go on."""
        assert session.pending is not None
        found = session.pending.footprint
        if found.ends:
            for other in self.sessions:
                if other.state in (State.BLOCKED, State.BUSY) and other.pending:
                    found |= other.pending.footprint
        return found

    def _step(self, session: Session) -> Footprint:
        assert session.pending is not None
        made = session.pending.footprint
        waiting = [s for s in self.sessions if s.state in (State.BLOCKED, State.BUSY)]
        self._begin_step(session)
        holds = session.holds_locks
        self.moved = {session.index}
        for other in self.sessions:
            if other is not session:
                other.naps = 0
        for other in waiting:
            if other.state is State.BLOCKED:
                other.state = State.RUNNING
        session.resume()
        self._settle()
        self._offer_the_file(session)
        if holds and session.step is not None and session.step.waited:
            made |= Footprint(waits=True)
        for other in waiting:
            if other.index in self.moved and other.pending is not None:
                made |= self._last_footprint(other)
        return made

    def _last_footprint(self, session: Session) -> Footprint:
        return session.step.operation.footprint if session.step else Footprint()

    def _begin_step(self, session: Session) -> None:
        assert session.pending is not None
        trace = self.trace
        trace.choices.append(session.index)
        number = len(session.steps) + 1
        step = Step(session.index, number, session.pending, began=len(trace.choices))
        session.step = step
        session.steps.append(step)
        trace.steps.append(step)

    def _ended(self, session: Session) -> None:
        """It came back: its step is over."""
        self.moved.add(session.index)
        if session.index in self.blocked_order:
            self.blocked_order.remove(session.index)
        step = session.step
        if step is not None and step.ended is None:
            step.ended = max(len(self.trace.choices), 1)
            self._look_at_victim(session, step)

    def _look_at_victim(self, session: Session, step: Step) -> None:
        """Whom a deadlock hits is the server's choice of time; see `oracle.DEADLOCK_TIMEOUT`."""
        if step.error != DEADLOCK or len(self.moved) > 2:
            return
        closing = step.began == len(self.trace.choices)
        if closing != self.oracle.deadlocks_are_quick:
            self.trace.skewed = f"the deadlock hit {letter(session.index)}"

    # -- waiting

    def _settle(self) -> None:
        """Wait until nobody runs: all at a gate, at their end, or waiting for one of us."""
        limit = time.monotonic() + self.stall
        pause = FIRST_LOOK
        while running := [s for s in self.sessions if s.state is State.RUNNING]:
            only_waiters = all(s.step and s.step.waited_for for s in running)
            try:
                self._take(self.reports.get(timeout=0.0003 if only_waiters else pause))
                continue
            except Empty:
                pass
            if self._all_wait(running):
                break
            pause = min(pause * 1.5, LONGEST_PAUSE)
            if time.monotonic() > limit:
                raise Stalled(self._why(running))
        self._drain()

    def _drain(self) -> None:
        while not self.reports.empty():
            self._take(self.reports.get())

    def _take(self, report: Report) -> None:
        """A session reported; what it reported is its state."""
        session, state = report
        session.state = state
        if session.problem:
            raise Stalled(f"{letter(session.index)} {session.problem}")
        if session.state is State.BUSY:
            if session.step is not None and not session.step.waited_for:
                session.step.waited_for = self._holders(session)
            if session.index not in self.blocked_order:
                self.blocked_order.append(session.index)
            return
        self._ended(session)
        if session.state is State.DONE:
            self._worker_ended(session)

    def _worker_ended(self, session: Session) -> None:
        error = session.error
        if error is not None and not isinstance(error, Abandoned):
            self.trace.raised.append(Raised(session.index, error, code_of(error)))
        if error is None and not session.steps:
            self.trace.trouble = (
                f"{letter(session.index)} ended without a statement that went through SQLAlchemy"
            )

    def _all_wait(self, running: list[Session]) -> bool:
        """Ask the server; true if each of them waits for another session of ours."""
        by_pid = {s.pid: s for s in self.sessions if s.pid is not None}
        if any(s.pid is None for s in running):
            return False
        waits = self.oracle.waits([s.pid for s in running if s.pid is not None])
        if len(waits) < len(running) or circles(waits):
            return False
        if any(not set(blockers) <= by_pid.keys() for blockers in waits.values()):
            return False
        if not self.reports.empty():
            return False
        newly = []
        for session in running:
            assert session.pid is not None
            blockers = tuple(sorted({by_pid[p].index for p in waits[session.pid]}))
            newly += self._blocked(session, blockers)
        if newly and self.oracle.deadlocks_are_quick:
            time.sleep(SETTLED)
        return True

    def _blocked(self, session: Session, blockers: tuple[int, ...]) -> list[Session]:
        session.state = State.BLOCKED
        step = session.step
        new = session.index not in self.blocked_order
        if step is not None:
            step.waited_for = tuple(dict.fromkeys((*step.waited_for, *blockers)))
        if new:
            self.blocked_order.append(session.index)
        self._look_at_queue(session, blockers)
        return [session] if new else []

    def _look_at_queue(self, session: Session, blockers: tuple[int, ...]) -> None:
        """Of two that are freed at once the first to wait comes first; else the run is repeated."""
        order = self.blocked_order
        for blocker in blockers:
            if blocker in order and order.index(blocker) > order.index(session.index):
                self.trace.skewed = f"{letter(blocker)} overtook {letter(session.index)}"

    def _why(self, running: list[Session]) -> str:
        names = ", ".join(letter(s.index) for s in running)
        ended = [
            letter(s.index) for s in self.sessions if s.state is State.DONE and s.in_transaction
        ]
        if ended:
            return f"{names} waits, and {', '.join(ended)} ended with a transaction left open"
        return (
            f"{names} came to no gate within {self.stall:g} s and waits for no session of ours: "
            "for a lock of the application, the pool, or somebody else's transaction"
        )

    # -- SQLite

    def _busy(self) -> list[Session]:
        return [self.sessions[i] for i in self.blocked_order if self._is(i, State.BUSY)]

    def _is(self, index: int, state: State) -> bool:
        return self.sessions[index].state is state

    def _holders(self, session: Session) -> tuple[int, ...]:
        others = [s for s in self.sessions if s is not session]
        return tuple(s.index for s in others if s.in_transaction) or tuple(
            s.index for s in others if s.state is not State.DONE
        )

    def _offer_the_file(self, mover: Session) -> None:
        """Those that met SQLITE_BUSY try again after another session's step, first come first."""
        for session in self._busy():
            if session is not mover:
                session.resume()
                self._settle()

    def _give_up(self, session: Session) -> None:
        session.give_up_file = True
        session.resume()
        self._settle()
        self._offer_the_file(session)

    # -- the end

    def _abandon(self, left: list[Session]) -> None:
        """Get every worker out; what waits in the server is freed by the others' rollback."""
        deadline = time.monotonic() + 10
        for session in left:
            session.abandoned = True
        for session in left:
            if session.state in (State.GATE, State.BUSY):
                session.resume()
        while left := [s for s in left if s.state is not State.DONE]:
            try:
                session, state = self.reports.get(timeout=0.5)
            except Empty:
                for stuck in left:
                    if stuck.pid is not None:
                        self.oracle.cancel(stuck.pid)
                if time.monotonic() > deadline:
                    names = ", ".join(letter(s.index) for s in left)
                    self.trace.trouble += f"; {names} could not be ended"
                    return
                continue
            session.state = state
            if state is not State.DONE:
                session.resume()

    def _open_transactions(self) -> str:
        """Workers that left a transaction open behind them: it would hold up the next run."""
        left = [s for s in self.sessions if s.in_transaction and s.pid is not None]
        still = self.oracle.in_transaction([s.pid for s in left if s.pid is not None])
        names = ", ".join(letter(s.index) for s in left if s.pid in still)
        return f"{names} ended with a transaction left open" if names else ""

    def _close(self) -> None:
        self.trace.sleeps = sum(s.sleeps for s in self.sessions)
        self.trace.trouble = self.trace.trouble or self._open_transactions()
        raw = [letter(s.index) for s in self.sessions if s.raw > 0]
        if raw and not self.trace.trouble:
            self.trace.trouble = f"{', '.join(raw)} opened a connection that SQLAlchemy did not"
        if not self.trace.trouble and (others := self.oracle.strangers(self.gates.pids)):
            self.trace.trouble = told_stranger(others[0])


def told_stranger(name: str) -> str:
    return f"a connection that SQLAlchemy did not open is at work ({name})"


def _word(session: Session) -> str:
    words = session.pending.sql.split(maxsplit=1) if session.pending else []
    return words[0].upper() if words else ""
