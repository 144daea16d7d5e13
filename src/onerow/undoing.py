"""Takes a run back: its steps in reverse, its rows from the archive."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

from sqlalchemy.exc import DBAPIError

from onerow.database import Database, driver_text, errors, is_unique_violation
from onerow.errors import Refused, Stopped, nearest
from onerow.journal import RunRecord
from onerow.plan import Step
from onerow.planning.binding import with_table
from onerow.restoring import put_back
from onerow.running import ROWS_MODES, Listener, Outcome, Run, conclude, outcome_of, waiting_told
from onerow.schema import Snapshot
from onerow.session import Limits, Session, one_runner, run_all
from onerow.steps import Action, kind


def take_back(
    database: Database, run_id: str, limits: Limits, listen: Listener, *, force: bool = False
) -> Outcome:
    """Undo a run: steps in reverse, rows from the archive. It can be stopped and gone on with.

    Raises:
        Refused: no such run.
    """
    with errors(database), one_runner(database, limits) as session:
        record = _find(session, run_id)
        _refuse_pruned(session, record)
        if record.status == "undone" and not force:
            return Outcome(
                run=record.id, status="undone", message=f"Run {record.id} is undone already."
            )
        run = Run(session, record.id, record.plan, listen, record.plan.tables)
        with session.transaction():
            session.journal.set_run(record.id, "running", direction="undo")
        session.again = f"onerow undo {record.id}"
        return conclude(run, lambda r: _backward(r, force=force))


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


def _refuse_pruned(session: Session, record: RunRecord) -> None:
    with session.reading():
        pruned = session.journal.pruned(record.id)
    if pruned is not None:
        raise Refused(
            f"The archive of run {record.id} was pruned on {pruned:%Y-%m-%d}: it cannot be undone."
        )


def _backward(run: Run, *, force: bool) -> Outcome:
    restored = 0
    for step in reversed(run.plan.steps):
        with run.session.reading():
            record = run.session.journal.run(run.id)
        assert record is not None
        if record.step(step.id).status == "pending":
            continue
        run.tell(step, "begin")
        with waiting_told(run, step):
            restored += _undo_step(run, step, force=force)
        run.note(step, "undone")
        run.tell(step, "end")
    with run.session.transaction():
        left = run.session.journal.left_alone(run.id)
        message = f"{len(left)} row(s) were changed by others since and left alone." if left else ""
        run.session.journal.set_run(run.id, "undone", message=message)
    return outcome_of(
        run,
        "undone",
        restored=restored,
        left_alone=tuple(left),
        message=message or "Every step is taken back.",
        exit_code=1 if left else 0,
    )


def _undo_step(run: Run, step: Step, *, force: bool) -> int:
    for action in kind(step.kind).undo(step, run.snapshot()):
        _take(run, step, action)
    if kind(step.kind).MODE not in ROWS_MODES:
        return 0
    return _put_rows_back(run, step, force=force)


def _take(run: Run, step: Step, action: Action) -> None:
    """Take an action of the way back; what it leaves when it fails is taken away.

    Raises:
        Stopped: rows that came since break a key that is to come back.
    """
    try:
        if action.concurrent:
            for sql in action.sql:
                run.session.alone(sql)
        else:
            run.short(step, action)
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


def _put_rows_back(run: Run, step: Step, *, force: bool) -> int:
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
            run.session.breathe()
            restored += put_back(run.session, run.id, due, snapshot, force=force)
        done += sum(o.rows for o in batch)
        run.tell(step, "progress", done=done, total=total)
    return restored
