"""Runs a plan: lock, journal, step by step, resume, undo. It knows steps by their kind only.

pending ──► running ──► done ──► running (undo) ──► undone
              │  ▲
              ▼  │
      stopped, failed          (see journal.TRANSITIONS for the reasons)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext

from sqlalchemy.exc import DBAPIError

from onerow import decisions, ways
from onerow.build import build
from onerow.database import Database, driver_text, errors
from onerow.dialects import MergeSpec
from onerow.errors import ForeignPlan, Refused, Stopped
from onerow.journal import RunRecord
from onerow.keys import bind_key
from onerow.merging import merge
from onerow.partitions import build_parts
from onerow.plan import Plan, Step
from onerow.planning import fingerprint, invariant, merge_spec
from onerow.rules import Key, rule_from_dict
from onerow.running import (
    ROWS_MODES,
    Event,
    Listener,
    Outcome,
    Run,
    conclude,
    outcome_of,
    waiting_told,
)
from onerow.schema import Snapshot
from onerow.session import Limits, Session, one_runner
from onerow.steps import Action, kind, names_changed
from onerow.undoing import take_back


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
        return conclude(run, _forward)


def _open_or_begin(session: Session, plan: Plan | None, listen: Listener) -> Run:
    with session.reading():
        going = next((r for r in session.journal.runs() if r.open), None)
    if going is not None:
        return _take_up(session, going, plan, listen)
    if plan is None:
        raise Refused("There is no open run to go on with.")
    names = plan.tables
    run = Run(session, "", plan, listen, names)
    _refuse_foreign(plan, run.snapshot())
    with session.transaction():
        run.id = session.journal.begin(plan)
    return run


def _take_up(session: Session, going: RunRecord, plan: Plan | None, listen: Listener) -> Run:
    if plan is not None and plan.id != going.plan_id:
        raise ForeignPlan(
            f"Run {going.id} of another plan is {going.status}.",
            hint=f"Finish it with `onerow apply`, or take it back with `onerow undo {going.id}`.",
        )
    if going.direction == "undo":
        raise Refused(
            f"Run {going.id} is being undone.", hint=f"Finish it: `onerow undo {going.id}`."
        )
    run = Run(session, going.id, going.plan, listen, going.plan.tables)
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


def _forward(run: Run) -> Outcome:
    for step in run.plan.steps:
        with run.session.reading():
            record = run.session.journal.run(run.id)
        assert record is not None
        if record.step(step.id).status != "done":
            _step(run, step)
        run.session.check_budget()
    with run.session.transaction():
        run.session.journal.drop_empty_archives(run.id)
        run.session.journal.set_run(run.id, "done")
    return outcome_of(run, "done", message="Every step is done.")


def _step(run: Run, step: Step) -> None:
    run.tell(step, "begin", total=step.rows)
    run.note(step, "running")
    began = time.monotonic()
    try:
        mode = kind(step.kind).MODE
        # A build of an index is watched by one who sees its phases, too.
        with nullcontext() if step.kind == "create_index" else waiting_told(run, step):
            _WAYS[mode](run, step)
    except (Stopped, Refused, KeyboardInterrupt) as stop:
        run.session.connection.rollback()
        run.note(step, "stopped", message=str(stop) or "Interrupted.")
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


def _merge(run: Run, step: Step) -> None:
    snapshot = run.snapshot()
    rules = [rule_from_dict(r) for r in run.plan.rules]
    spec = merge_spec(bind_key(_key(step), snapshot), snapshot, run.session.dialect, rules)
    if spec.bound.key.keep.how == "manual":
        _load_decisions(run, step, spec)

    def advance(done: int, total: int | None) -> None:
        run.tell(step, "progress", done=done, total=total)

    merge(run.session, run.id, step, spec, advance)


def _load_decisions(run: Run, step: Step, spec: MergeSpec) -> None:
    chosen = decisions.read(spec.bound, spec.identity, run.plan.base)
    if chosen.digest != step.args.get("decisions"):
        raise Refused("The decisions file was changed since the plan was made.", hint="Plan again.")
    with run.session.transaction() as connection:
        decisions.load(connection, spec, chosen)


def _in_transaction(run: Run, step: Step) -> None:
    if kind(step.kind).is_done(step, run.snapshot()):
        return
    # All or nothing: a successor takes the place of what is dropped in one transaction.
    run.short(step, Action(step.sql))


def _concurrently(run: Run, step: Step) -> None:
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
        with waiting_told(run, merging):
            _merge(run, merging)
        run.note(merging, "done")

    work = build_parts if step.args.get("partitioned") else build
    work(run.session, step, run.snapshot, again, lambda text: run.tell(step, "wait", message=text))


def _in_transaction_or_alone(run: Run, step: Step) -> None:
    if kind(step.kind).is_done(step, run.snapshot()):
        return
    if step.transactional:
        _in_transaction(run, step)
    else:
        for sql in step.sql:
            run.session.alone(sql)


_WAYS: dict[str, Callable[[Run, Step], None]] = {
    "merge": _merge,
    "transaction": _in_transaction,
    "concurrent": _concurrently,
    "rebuild": ways.rebuild,
    "backfill": ways.fill,
    "orphans": ways.mend,
    "validate": ways.validate,
    "verify": ways.verify,
}


__all__ = ["Event", "Listener", "Outcome", "execute", "take_back"]
