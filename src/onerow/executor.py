"""Runs a plan: lock, journal, step by step, resume, undo. It knows steps by their kind only.

pending ──► running ──► done ──► running (undo) ──► undone
              │  ▲
              ▼  │
      stopped, failed          (see journal.TRANSITIONS for the reasons)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from sqlalchemy.exc import DBAPIError

from onerow import decisions, ways
from onerow.archive import merge, put_back
from onerow.build import build
from onerow.catalog import snapshot_of
from onerow.database import Database, driver_text, errors, is_unique_violation, translate
from onerow.dialects import MergeSpec
from onerow.errors import ForeignPlan, OnerowError, Refused, Stopped, nearest
from onerow.journal import RunRecord
from onerow.keys import bind_key
from onerow.plan import Plan, Step
from onerow.planning import fingerprint, invariant, merge_spec
from onerow.planning.binding import with_table
from onerow.rules import Key, rule_from_dict
from onerow.schema import Snapshot
from onerow.session import Limits, Session, guarded, one_runner, run_all
from onerow.sql import Name
from onerow.steps import Action, kind, names_changed
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
    message: str = ""
    exit_code: int = 0


@dataclass(slots=True)
class _Run:
    """One run under way."""

    session: Session
    id: str
    plan: Plan
    listen: Listener
    names: tuple[Name, ...] = field(default=())

    def snapshot(self) -> Snapshot:
        with self.session.reading() as connection:
            return snapshot_of(connection, tables=self.names)

    def tell(self, step: Step, what: str, **facts: Any) -> None:
        self.listen(Event(step=step, what=what, **facts))

    def short(self, step: Step, action: Action) -> None:
        _short(self, step, action)

    def note(self, step: Step, status: str, **facts: Any) -> None:
        with self.session.transaction():
            self.session.journal.set_step(self.id, step, status, **facts)


# -- apply --------------------------------------------------------------------------------------


def execute(database: Database, plan: Plan | None, limits: Limits, listen: Listener) -> Outcome:
    """Run a plan, or go on with the open run when `plan` is None.

    Raises:
        AnotherRunner, ForeignPlan: refused, nothing touched.
        OnerowError: could not run.
    """
    with errors(database), one_runner(database, limits) as session:
        with session.transaction():
            session.journal.create()
        run = _open_or_begin(session, plan, listen)
        return _conclude(run, _forward)


def _open_or_begin(session: Session, plan: Plan | None, listen: Listener) -> _Run:
    with session.reading():
        going = next((r for r in session.journal.runs() if r.open), None)
    if going is not None:
        return _take_up(session, going, plan, listen)
    if plan is None:
        raise Refused("There is no open run to go on with.")
    names = plan.tables
    run = _Run(session, "", plan, listen, names)
    _refuse_foreign(plan, run.snapshot())
    with session.transaction():
        run.id = session.journal.begin(plan)
    return run


def _take_up(session: Session, going: RunRecord, plan: Plan | None, listen: Listener) -> _Run:
    if plan is not None and plan.id != going.plan_id:
        raise ForeignPlan(
            f"Run {going.id} of another plan is {going.status}.",
            hint=f"Finish it with `onerow apply`, or take it back with `onerow undo {going.id}`.",
        )
    if going.direction == "undo":
        raise Refused(
            f"Run {going.id} is being undone.", hint=f"Finish it: `onerow undo {going.id}`."
        )
    run = _Run(session, going.id, going.plan, listen, going.plan.tables)
    _refuse_altered(going.plan, run.snapshot())
    with session.transaction():
        session.journal.set_run(going.id, "running")
    return run


def _refuse_foreign(plan: Plan, snapshot: Snapshot) -> None:
    if snapshot.dialect != plan.dialect:
        raise ForeignPlan(f"The plan is for {plan.dialect}; this is {snapshot.dialect}.")
    now = fingerprint(plan.rules, snapshot, plan.tables)
    if now != plan.fingerprint:
        raise ForeignPlan(
            "The plan was made for other rules or other definitions of the tables.",
            hint="Plan again.",
        )


def _refuse_altered(plan: Plan, snapshot: Snapshot) -> None:
    now = invariant(plan.rules, snapshot, plan.tables, names_changed(plan))
    if now != plan.invariant:
        raise ForeignPlan(
            "The tables of the open run were altered by somebody else since it was planned.",
            hint="Take the run back with `onerow undo`, and plan again.",
        )


def _conclude(run: _Run, work: Callable[[_Run], Outcome], again: str = "onerow apply") -> Outcome:
    """Do the work, and write down how it ended whatever happens."""
    try:
        return work(run)
    except KeyboardInterrupt:
        return _ended(run, "stopped", f"Interrupted; `{again}` goes on.")
    except (Stopped, Refused) as stop:
        return _ended(run, "stopped", str(stop))
    except DBAPIError as error:
        if not run.session.connection.invalidated:
            _ended(run, "failed", str(translate(error, run.session.database)))
        raise
    except OnerowError as error:
        _ended(run, "failed", str(error))
        raise


def _ended(run: _Run, status: str, message: str) -> Outcome:
    session = run.session
    session.connection.rollback()
    with session.transaction():
        session.journal.set_run(run.id, status, message=message)
    return _outcome(run, status, message=message, exit_code=1)


def _outcome(run: _Run, status: str, **facts: Any) -> Outcome:
    with run.session.reading():
        record = run.session.journal.run(run.id)
    assert record is not None
    facts.setdefault("archived", record.archived)
    return Outcome(run=run.id, status=status, steps=record.steps, **facts)


def _forward(run: _Run) -> Outcome:
    for step in run.plan.steps:
        with run.session.reading():
            record = run.session.journal.run(run.id)
        assert record is not None
        if record.step(step.id).status != "done":
            _step(run, step)
        run.session.check_budget()
    with run.session.transaction():
        run.session.journal.set_run(run.id, "done")
    return _outcome(run, "done", message="Every step is done.")


def _waits_told(run: _Run, step: Step) -> AbstractContextManager[None]:
    return waits_told(run.session, lambda text: run.tell(step, "wait", message=text))


def _step(run: _Run, step: Step) -> None:
    run.tell(step, "begin", total=step.rows)
    run.note(step, "running")
    began = time.monotonic()
    try:
        mode = kind(step.kind).MODE
        # A concurrent build is watched already, by one who sees its phases, too.
        with nullcontext() if mode == "concurrent" else _waits_told(run, step):
            _WAYS[mode](run, step)
    except (Stopped, Refused) as stop:
        run.session.connection.rollback()
        run.note(step, "stopped", message=str(stop))
        raise
    except DBAPIError as error:
        if not run.session.connection.invalidated:
            run.session.connection.rollback()
            run.note(step, "failed", message=driver_text(error))
        raise
    # Batches take their own time down as they commit.
    seconds = 0.0 if kind(step.kind).MODE in ROWS_MODES else time.monotonic() - began
    run.note(step, "done", add_seconds=seconds)
    run.tell(step, "end")


def _key(step: Step) -> Key:
    rule = rule_from_dict(step.args["rule"])
    assert isinstance(rule, Key)
    return rule


def _merge(run: _Run, step: Step) -> None:
    snapshot = run.snapshot()
    spec = merge_spec(bind_key(_key(step), snapshot), snapshot, run.session.dialect)
    if spec.bound.key.keep.how == "manual":
        _load_decisions(run, step, spec)

    def advance(done: int, total: int | None) -> None:
        run.tell(step, "progress", done=done, total=total)

    merge(run.session, run.id, step, spec, advance)


def _load_decisions(run: _Run, step: Step, spec: MergeSpec) -> None:
    chosen = decisions.read(spec.bound, spec.identity, run.plan.base)
    if chosen.digest != step.args.get("decisions"):
        raise Refused("The decisions file was changed since the plan was made.", hint="Plan again.")
    with run.session.transaction() as connection:
        decisions.load(connection, spec, chosen)


def _in_transaction(run: _Run, step: Step) -> None:
    if kind(step.kind).is_done(step, run.snapshot()):
        return
    # All or nothing: a successor takes the place of what is dropped in one transaction.
    _short(run, step, Action(step.sql))


def _short(run: _Run, step: Step, action: Action) -> None:
    def wait(attempt: int) -> None:
        run.tell(step, "wait", message=f"waiting for a lock on {step.table}, try {attempt}")

    work = guarded if action.guarded else run_all
    run.session.short(lambda connection: work(connection, action.sql), wait)


def _concurrently(run: _Run, step: Step) -> None:
    """Build the index; where duplicates have arrived meanwhile, merge them and build again."""
    if step.kind != "create_index":
        _in_transaction_or_alone(run, step)
        return
    merging = next(
        (s for s in run.plan.steps if s.kind == "merge_duplicates" and s.rule == step.rule), None
    )

    def again() -> None:
        if merging is None:
            raise Stopped(
                f"Duplicates have arrived in {step.table}, and the plan has no merge.",
                hint="Plan again.",
            )
        run.note(merging, "running")
        _merge(run, merging)
        run.note(merging, "done")

    build(run.session, step, run.snapshot, again, lambda text: run.tell(step, "wait", message=text))


def _in_transaction_or_alone(run: _Run, step: Step) -> None:
    if kind(step.kind).is_done(step, run.snapshot()):
        return
    if step.transactional:
        _in_transaction(run, step)
    else:
        for sql in step.sql:
            run.session.alone(sql)


_WAYS: dict[str, Callable[[_Run, Step], None]] = {
    "merge": _merge,
    "transaction": _in_transaction,
    "concurrent": _concurrently,
    "rebuild": ways.rebuild,
    "backfill": ways.fill,
    "orphans": ways.mend,
    "validate": ways.validate,
    "verify": ways.verify,
}


# -- undo ---------------------------------------------------------------------------------------


def take_back(
    database: Database, run_id: str, limits: Limits, listen: Listener, *, force: bool = False
) -> Outcome:
    """Undo a run: steps in reverse, rows from the archive. It can be stopped and gone on with.

    Raises:
        Refused: no such run.
    """
    with errors(database), one_runner(database, limits) as session:
        record = _find(session, run_id)
        if record.status == "undone" and not force:
            return Outcome(run=run_id, status="undone", message=f"Run {run_id} is undone already.")
        run = _Run(session, record.id, record.plan, listen, record.plan.tables)
        with session.transaction():
            session.journal.set_run(record.id, "running", direction="undo")
        again = f"onerow undo {record.id}"
        return _conclude(run, lambda r: _backward(r, force=force), again)


def _find(session: Session, run_id: str) -> RunRecord:
    with session.reading():
        runs = session.journal.runs() if session.journal.exists() else ()
    if not runs:
        raise Refused("There is no run to undo.")
    if run_id == "last":
        return runs[0]
    known = [r.id for r in runs]
    found = next((r for r in runs if r.id == run_id), None)
    if found is None:
        raise Refused(f"There is no run {run_id!r}.", hint=nearest(run_id, known))
    return found


def _backward(run: _Run, *, force: bool) -> Outcome:
    restored = 0
    for step in reversed(run.plan.steps):
        with run.session.reading():
            record = run.session.journal.run(run.id)
        assert record is not None
        if record.step(step.id).status == "pending":
            continue
        run.tell(step, "begin")
        with _waits_told(run, step):
            restored += _undo_step(run, step, force=force)
        run.note(step, "undone")
        run.tell(step, "end")
    with run.session.transaction():
        left = run.session.journal.left_alone(run.id)
        message = f"{len(left)} row(s) were changed by others since and left alone." if left else ""
        run.session.journal.set_run(run.id, "undone", message=message)
    return _outcome(
        run,
        "undone",
        restored=restored,
        left_alone=tuple(left),
        message=message or "Every step is taken back.",
        exit_code=1 if left else 0,
    )


def _undo_step(run: _Run, step: Step, *, force: bool) -> int:
    for action in kind(step.kind).undo(step, run.snapshot()):
        _take(run, step, action)
    if kind(step.kind).MODE not in ROWS_MODES:
        return 0
    return _put_rows_back(run, step, force=force)


def _take(run: _Run, step: Step, action: Action) -> None:
    """Take an action of the way back; what it leaves when it fails is taken away.

    Raises:
        Stopped: rows that came since break a key that is to come back.
    """
    try:
        if action.concurrent:
            for sql in action.sql:
                run.session.alone(sql)
        else:
            _short(run, step, action)
    except DBAPIError as error:
        if run.session.connection.invalidated:
            raise
        for sql in action.cleanup:
            run.session.alone(sql)
        if not is_unique_violation(error):
            raise
        raise Stopped(
            f"Rows of {step.table} that came since break the key that is to come back: "
            f"{driver_text(error)}.",
            hint="Settle them, and run the undo again.",
        ) from error


def _unbound(step: Step, snapshot: Snapshot) -> Snapshot:
    """Rows that referred to nothing may do so again: the reference that was mended is not asked."""
    table = snapshot.get(step.table)
    if step.kind != "archive_orphans" or table is None:
        return snapshot
    columns = tuple(step.args["columns"])
    rest = tuple(k for k in table.foreign_keys if k.columns != columns)
    return with_table(snapshot, replace(table, foreign_keys=rest))


def _put_rows_back(run: _Run, step: Step, *, force: bool) -> int:
    snapshot = _unbound(step, run.snapshot())
    with run.session.transaction():
        operations = run.session.journal.operations(run.id, step.id)
        for archive in run.session.journal.archives(run.id).values():
            run_all(run.session.connection, run.session.dialect.index_archive(archive))
        left_before = run.session.journal.operations_left_alone(run.id)
    total = sum(o.rows for o in operations)
    done = restored = 0
    for _, group in groupby(operations, key=lambda o: o.batch):
        batch = list(group)
        due = [o for o in batch if not o.undone or (force and o.op in left_before)]
        if due:
            restored += put_back(run.session, run.id, due, snapshot, force=force)
        done += sum(o.rows for o in batch)
        run.tell(step, "progress", done=done, total=total)
    return restored
