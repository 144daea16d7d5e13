"""Takes a run back: its steps in reverse, its rows from the archive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from sqlalchemy.exc import DBAPIError

from onerow import leaving
from onerow.database import Database, driver_text, errors, is_unique_violation
from onerow.errors import Refused, Stopped, nearest
from onerow.journal import RunRecord
from onerow.leaving import VALUE_SET_ASIDE
from onerow.newer import SET_ASIDE, settle
from onerow.plan import Step
from onerow.planning.binding import with_table
from onerow.restoring import put_back
from onerow.running import ROWS_MODES, Listener, Outcome, Run, conclude, outcome_of, waiting_told
from onerow.schema import Snapshot
from onerow.session import Limits, Session, one_runner, run_all
from onerow.steps import Action, kind


@dataclass(frozen=True, slots=True, kw_only=True)
class _How:
    """What the operator has said about what others did since."""

    force: bool
    archive_newer: bool


def take_back(
    database: Database,
    run_id: str,
    limits: Limits,
    listen: Listener,
    *,
    force: bool = False,
    archive_newer: bool = False,
) -> Outcome:
    """Undo a run: steps in reverse, rows from the archive. It can be stopped and gone on with.

    Args:
        force: put rows back over what others have changed since.
        archive_newer: put rows aside that came since and break a key that is to come back.

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
        how = _How(force=force, archive_newer=archive_newer)
        return conclude(run, lambda r: _backward(r, how))


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


def _backward(run: Run, how: _How) -> Outcome:
    restored = 0
    for step in reversed(run.plan.steps):
        with run.session.reading():
            record = run.session.journal.run(run.id)
        assert record is not None
        if record.step(step.id).status == "pending":
            continue
        run.tell(step, "begin")
        with waiting_told(run, step):
            restored += _undo_step(run, step, how)
        run.note(step, "undone")
        run.tell(step, "end")
    with run.session.transaction():
        left = run.session.journal.left_alone(run.id)
        aside = tuple(_set_aside(run))
        message = " ".join(_message(run, len(left), aside))
        run.session.journal.drop_empty_archives(run.id)
        run.session.journal.set_run(run.id, "undone", message=message)
    return outcome_of(
        run,
        "undone",
        restored=restored,
        left_alone=tuple(left),
        set_aside=aside,
        message=message or "Every step is taken back.",
        exit_code=1 if left else 0,
    )


_REASONS = {
    SET_ASIDE: "broke a key that came back",
    VALUE_SET_ASIDE: "held a value of others in {}, which went",
}


def _set_aside(run: Run) -> Iterator[dict[str, Any]]:
    """What the undo itself has put into the archive."""
    counts: Counter[tuple[str, str]] = Counter()
    for operation in run.session.journal.operations(run.id):
        if operation.action in _REASONS:
            reason = _REASONS[operation.action].format(operation.detail)
            counts[str(operation.table), reason] += operation.rows
    for (table, reason), rows in sorted(counts.items()):
        yield {"table": table, "rows": rows, "reason": reason}


def _message(run: Run, left: int, aside: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if left:
        yield f"{left} row(s) were changed by others since and left alone."
    for kept in aside:
        yield f"{kept['rows']:,} row(s) of {kept['table']} {kept['reason']}."
    if aside:
        yield f"`onerow archive show {run.id}` has them."


def _undo_step(run: Run, step: Step, how: _How) -> int:
    _take_schema_back(run, step, how)
    if kind(step.kind).MODE not in ROWS_MODES:
        return 0
    return _put_rows_back(run, step, force=how.force)


def _take_schema_back(run: Run, step: Step, how: _How) -> None:
    """Rows that break a key which is to come back may arrive while it is built: then again.

    Raises:
        Stopped: such rows are there and may not be put aside, or keep arriving.
    """
    for left in reversed(range(run.session.limits.passes)):
        snapshot = run.snapshot()
        actions = kind(step.kind).undo(step, snapshot)
        if actions:
            settle(run.session, run.id, step, snapshot, aside=how.archive_newer)
        try:
            for action in actions:
                _take(run, step, snapshot, action)
            return
        except DBAPIError as error:
            if not is_unique_violation(error):
                raise
            if not left:
                raise Stopped(
                    f"Rows of {step.table} that came since break the key that is to come back: "
                    f"{driver_text(error)}.",
                    hint="Settle them, and run the undo again.",
                ) from error


def _take(run: Run, step: Step, snapshot: Snapshot, action: Action) -> None:
    """Take an action of the way back; what it leaves when it fails is taken away."""
    try:
        if leaving.is_of(step):
            _drop_column(run, step, snapshot, action)
        elif action.concurrent:
            for sql in action.sql:
                run.session.alone(sql)
        else:
            run.short(step, action)
    except DBAPIError:
        if not run.session.connection.invalidated:
            for sql in action.cleanup:
                run.session.alone(sql)
        raise


def _drop_column(run: Run, step: Step, snapshot: Snapshot, drop: Action) -> None:
    def wait(attempt: int) -> None:
        run.tell(step, "wait", message=f"waiting for a lock on {step.table}, try {attempt}")

    leaving.drop_column(
        run.session,
        run.id,
        run.plan,
        step,
        snapshot,
        drop,
        lambda work: run.session.short(work, wait),
        lambda rows, message: run.tell(step, "progress", done=rows, message=message),
    )


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
