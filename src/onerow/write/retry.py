"""Transactions that are run again when they failed for something that passes.

The whole function is run again, in a new session: locks and snapshot belong to the transaction,
so a savepoint cannot save it, and what was read before is stale. COMMIT is inside.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakSet

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from onerow.write import listeners
from onerow.write.errors import NestedTransaction, UnknownCommit
from onerow.write.transient import Transient, TransientKind, transient_of

P = ParamSpec("P")
R = TypeVar("R")

USUAL: tuple[TransientKind, ...] = ("serialization", "deadlock", "lock", "busy", "connection")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often and how long.

    Attributes:
        attempts: how many times at most, the first one included.
        budget: seconds after which no further attempt begins.
        base, cap: the wait before attempt n+1 is random between 0 and ``base × 2ⁿ``, at most
            `cap` seconds (full jitter).
        on: the kinds of `transient_of` that are retried; ``timeout`` only if you add it, because
            57014 is also a person's cancel.
        unknown_commit: run again although the write may be there already; safe by itself when
            the function uses `operation`, which is then noticed.
    """

    attempts: int = 5
    budget: float = 2.0
    base: float = 0.02
    cap: float = 0.5
    on: Iterable[TransientKind] = USUAL
    unknown_commit: bool = False

    def delay(self, attempt: int) -> float:
        """A random wait after the given attempt (the first is 1)."""
        return random.uniform(0, min(self.cap, self.base * 2**attempt))


# -- what has been seen of a transaction ---------------------------------------------------------

_with_operation: WeakSet[Any] = WeakSet()
_inside: ContextVar[tuple[tuple[Any, int, int], ...]] = ContextVar("onerow_inside", default=())
_sleeping = True


def mark_operation(session: Any) -> None:
    """This transaction holds an operation row, so running it again is harmless."""
    _with_operation.add(session)


@contextlib.contextmanager
def no_sleep() -> Iterator[None]:
    """For tests: retries wait for nothing (attempts and budget stay)."""
    global _sleeping
    before, _sleeping = _sleeping, False
    try:
        yield
    finally:
        _sleeping = before


def _place(sessions: Any) -> tuple[Any, int, int]:
    """The database, the thread and the task that a transaction runs in."""
    bind = getattr(sessions, "kw", {}).get("bind") or sessions
    try:
        task = id(asyncio.current_task())
    except RuntimeError:
        task = 0
    return bind, threading.get_ident(), task


@contextlib.contextmanager
def not_nested(sessions: Any, name: str) -> Iterator[None]:
    """Refuse to run inside another transactional function over the same database."""
    place = _place(sessions)
    if place in _inside.get():
        raise NestedTransaction(
            f"{name} was called inside another transactional function.",
            hint="Its retry would commit and repeat a part; pass the session to a plain function.",
        )
    token = _inside.set((*_inside.get(), place))
    try:
        yield
    finally:
        _inside.reset(token)


class Course:
    """The attempts of one call: decides after each failure. No I/O, no sleep."""

    def __init__(self, retry: Retry, name: str, clock: Callable[[], float] = time.monotonic):
        self.retry = retry
        self.name = name
        self.clock = clock
        self.attempt = 1
        self.started = clock()

    def failed(self, exc: Exception, session: Any, committing: bool) -> float:
        """The seconds to wait before the next attempt.

        Raises:
            UnknownCommit: the connection broke during COMMIT, and repeating may not be safe.
            Exception: the error itself, when it does not pass or enough was tried.
        """
        transient = transient_of(exc)
        unknown = committing and transient is not None and transient.unreachable
        unknown = unknown or (transient is not None and transient.kind == "unknown_commit")
        if unknown and not (self.retry.unknown_commit or session in _with_operation):
            self._end("unknown")
            raise UnknownCommit(
                hint="Use operation(session, op_id) in the function, and it is run again safely."
            ) from exc
        if transient is None or not self._again(transient, unknown):
            self._end("failed" if transient is None else "given_up")
            raise exc
        delay = self.retry.delay(self.attempt)
        kind = "unknown_commit" if unknown else transient.kind
        listeners.retried(self.name, kind, self.attempt, delay)
        self.attempt += 1
        return delay if _sleeping else 0.0

    def _again(self, transient: Transient, unknown: bool) -> bool:
        if self.attempt >= self.retry.attempts:
            return False
        if self.clock() - self.started > self.retry.budget:
            return False
        return unknown or transient.kind in tuple(self.retry.on)

    def done(self) -> None:
        self._end("done")

    def _end(self, result: str) -> None:
        listeners.finished(self.name, result, self.attempt, self.clock() - self.started)


def begin(target: Any, isolation: str | None, read_only: bool) -> None:
    """Begin the transaction as it should be: at its isolation level; IMMEDIATE on SQLite.

    A DEFERRED transaction that read first cannot always become a writer: SQLite answers
    BUSY_SNAPSHOT at once, without waiting (isolation.html; rescode.html#busy_snapshot).
    """
    options = {"isolation_level": isolation} if isolation else {}
    if isinstance(target, Connection):
        connection = target
        if options and target.dialect.name != "sqlite":
            target.execution_options(isolation_level=isolation)
    elif options and target.get_bind().dialect.name != "sqlite":
        connection = target.connection(execution_options=options)
    else:
        connection = target.connection()
    if connection.dialect.name == "sqlite" and not read_only:
        begin_immediate(connection)


def begin_immediate(connection: sa.Connection) -> None:
    """Take SQLite's write lock now. An application's own BEGIN hook is undone first."""
    if not connection.in_transaction():
        connection.begin()  # now, so that the hook is not called by our own statement
    driver: Any = connection.connection.driver_connection
    if driver.in_transaction:
        connection.exec_driver_sql("ROLLBACK")
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def transactional(
    sessions: Callable[[], Any] | Engine,
    *,
    retry: Retry | None = None,
    isolation: str | None = None,
    read_only: bool = False,
    name: str | None = None,
) -> Callable[[Callable[Concatenate[Any, P], R]], Callable[P, R]]:
    """Run a function in a transaction of its own, again when it fails for something that passes.

    Args:
        sessions: a sessionmaker (the function gets a new Session for each attempt) or an Engine
            (a Connection).
        retry: how often; `Retry()` if absent.
        isolation: the isolation level, such as ``SERIALIZABLE``; ignored on SQLite, which is.
        read_only: on SQLite: do not take the write lock.
        name: for metrics and log; the function's name if absent.

    Returns:
        a decorator; the function's first parameter, the session, is filled in.

    Raises:
        NestedTransaction: called inside another one over the same database.
        UnknownCommit: the connection broke during COMMIT and the function has no operation row.
        TypeError: the function is a coroutine function; use `onerow.aio.transactional`.
    """
    policy = retry or Retry()

    def decorate(function: Callable[Concatenate[Any, P], R]) -> Callable[P, R]:
        if asyncio.iscoroutinefunction(function):
            raise TypeError("use onerow.aio.transactional for a coroutine function")
        label = name or function.__name__

        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            with not_nested(sessions, label):
                course = Course(policy, label)
                while True:
                    state = _State()
                    try:
                        result = _attempt(
                            sessions, state, isolation, read_only, function, *args, **kwargs
                        )
                    except Exception as exc:
                        time.sleep(course.failed(exc, state.session, state.committing))
                    else:
                        course.done()
                        return result

        return run

    return decorate


@dataclass(slots=True)
class _State:
    """How far an attempt came."""

    session: Any = None
    committing: bool = False


def _attempt(
    sessions: Any,
    state: _State,
    isolation: str | None,
    read_only: bool,
    function: Callable[..., R],
    /,
    *args: Any,
    **kwargs: Any,
) -> R:
    with sessions.connect() if isinstance(sessions, Engine) else sessions() as session:
        state.session = session
        begin(session, isolation, read_only)
        result = function(session, *args, **kwargs)
        if not isinstance(session, Connection):
            session.flush()  # so that what fails from here on is COMMIT itself
        state.committing = True
        session.commit()
        return result
