"""A run under way: what it holds, what it tells, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import DBAPIError

from onerow.catalog import snapshot_of
from onerow.database import translate
from onerow.errors import OnerowError, Refused, Stopped
from onerow.plan import Plan, Step
from onerow.schema import Snapshot
from onerow.session import Session, guarded, run_all
from onerow.sql import Name
from onerow.steps import Action
from onerow.waits import waits_told


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something worth telling while a run is at work."""

    step: Step | None
    what: str  #: 'begin', 'progress', 'wait', 'end'
    done: int = 0
    total: int | None = None
    message: str = ""


Listener = Callable[[Event], None]


ROWS_MODES = ("merge", "backfill", "orphans")
"""Those that change rows, batch by batch: they keep their own time, and their rows come back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an apply or an undo ended."""

    run: str | None
    status: str  #: 'done', 'stopped', 'refused', 'failed', 'undone'
    steps: tuple[Any, ...] = ()
    archived: int = 0
    restored: int = 0
    left_alone: tuple[dict[str, Any], ...] = ()
    set_aside: tuple[dict[str, Any], ...] = ()  #: what an undo archived: table, rows, reason
    message: str = ""
    exit_code: int = 0


@dataclass(slots=True)
class Run:
    """One run under way."""

    session: Session
    id: str
    plan: Plan
    listen: Listener
    names: tuple[Name, ...] = ()

    def snapshot(self) -> Snapshot:
        with self.session.reading() as connection:
            return snapshot_of(connection, tables=self.names)

    def tell(self, step: Step, what: str, **facts: Any) -> None:
        self.listen(Event(step=step, what=what, **facts))

    def short(self, step: Step, action: Action) -> None:
        """Do it under the regime of strong locks: short waits, and again."""

        def wait(attempt: int) -> None:
            self.tell(step, "wait", message=f"waiting for a lock on {step.table}, try {attempt}")

        work = guarded if action.guarded else run_all
        self.session.short(lambda connection: work(connection, action.sql), wait)

    def note(self, step: Step, status: str, **facts: Any) -> None:
        with self.session.transaction():
            self.session.journal.set_step(self.id, step, status, **facts)


def conclude(run: Run, work: Callable[[Run], Outcome]) -> Outcome:
    """Do the work, and write down how it ended whatever happens."""
    try:
        return work(run)
    except KeyboardInterrupt:
        return _ended(run, "stopped", f"Interrupted; `{run.session.again}` goes on.")
    except (Stopped, Refused) as stop:
        return _ended(run, "stopped", str(stop))
    except DBAPIError as error:
        if not run.session.connection.invalidated:
            _ended(run, "failed", str(translate(error, run.session.database)))
        raise
    except OnerowError as error:
        _ended(run, "failed", str(error))
        raise


def _ended(run: Run, status: str, message: str) -> Outcome:
    session = run.session
    session.connection.rollback()
    with session.transaction():
        session.journal.set_run(run.id, status, message=message)
    return outcome_of(run, status, message=message, exit_code=1)


def outcome_of(run: Run, status: str, **facts: Any) -> Outcome:
    with run.session.reading():
        record = run.session.journal.run(run.id)
    assert record is not None
    facts.setdefault("archived", record.archived)
    return Outcome(run=run.id, status=status, steps=record.steps, **facts)


def waiting_told(run: Run, step: Step) -> AbstractContextManager[None]:
    """Tell what delays a step: who holds a lock, and what batches wait for."""
    run.session.say = lambda text: run.tell(step, "wait", message=text)
    return waits_told(run.session, lambda text: run.tell(step, "wait", message=text))
