"""Other sessions at work while a change runs."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from onerow import api
from tests.support.sandbox import Sandbox

PATIENCE = 60.0


class InBackground:
    """A call in a thread; `result` waits for it and raises what it raised."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._result: Any = None
        self._error: BaseException | None = None
        self._call = call
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._call()
        except BaseException as error:
            self._error = error

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def result(self) -> Any:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "it has not ended"
        if self._error is not None:
            raise self._error
        return self._result


def until(condition: Callable[[], Any], what: str) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.02)


def waits_for_lock(box: Sandbox, statement: str = "") -> bool:
    """A session of onerow waits for a lock of somebody else (PostgreSQL)."""
    return bool(
        box.value(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'onerow'"
            " AND datname = current_database() AND wait_event_type IN ('Lock', 'VirtualXid')"
            f" AND cardinality(pg_blocking_pids(pid)) > 0 AND query LIKE '%{statement}%'"
        )
    )


@contextmanager
def transaction(box: Sandbox) -> Iterator[Any]:
    """An open transaction of another session; commit it with `execute("COMMIT")`."""
    with box.connect() as connection:
        connection.execute("BEGIN IMMEDIATE" if box.sqlite else "BEGIN")
        yield connection


class Writers:
    """Threads that insert rows until they are stopped, and count what was taken."""

    def __init__(
        self, box: Sandbox, statement: Callable[[int], str], pause: float, threads: int = 2
    ) -> None:
        self.box, self.statement, self.pause = box, statement, pause
        self.written = self.refused = 0
        self.errors: list[BaseException] = []
        self._count = threading.Lock()
        self._next = 1000
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write) for _ in range(threads)]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        assert not self.errors, self.errors

    def _write(self) -> None:
        try:
            with self.box.connect() as connection:
                while not self._stop.is_set():
                    self._one(connection)
                    time.sleep(self.pause)
        except BaseException as error:
            self.errors.append(error)

    def _one(self, connection: Any) -> None:
        with self._count:
            self._next += 1
            number = self._next
        try:
            connection.execute(self.statement(number))
        except (sqlite3.IntegrityError, psycopg.errors.UniqueViolation):
            self.refused += 1
        except psycopg.errors.DeadlockDetected:
            pass  # it was chosen to give way; an application would try again
        else:
            with self._count:
                self.written += 1


def at(kind: str, what: str, act: Callable[[], object]) -> Callable[[api.Event], None]:
    """A listener that acts at every event of a kind of step."""

    def listen(event: api.Event) -> None:
        if event.step is not None and (event.step.kind, event.what) == (kind, what):
            act()

    return listen
