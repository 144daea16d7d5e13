"""Building an index of a partitioned table: leaf by leaf, until the parent's index is valid."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sqlalchemy.exc import DBAPIError

from onerow.build import Tell, explained, watched
from onerow.database import is_unique_violation
from onerow.errors import Stopped
from onerow.plan import Step
from onerow.schema import Snapshot
from onerow.session import Session, run_all
from onerow.steps import Action, create_index, kind


def build_parts(
    session: Session,
    step: Step,
    snapshot: Callable[[], Snapshot],
    merge: Callable[[], None],
    tell: Tell,
) -> None:
    """Build until the parent's index is valid; partitions may come and go meanwhile.

    Raises:
        NameTaken: an index of that name is there and is another one.
        Stopped: duplicates or partitions keep arriving, or a build used up its time.
    """
    for _ in range(session.limits.passes):
        now = snapshot()
        if kind(step.kind).is_done(step, now):
            return
        try:
            _do(session, step, create_index.due(step, now), tell)
        except DBAPIError as error:
            if not is_unique_violation(error):
                raise explained(error, session, step) from error
            tell("duplicates have arrived while a partition's index was built: merging them")
            merge()
    if not kind(step.kind).is_done(step, snapshot()):
        raise Stopped(
            f"Duplicates or partitions keep arriving in {step.table}: {session.limits.passes} "
            "passes met some.",
            hint="Deploy the safe writer first; then `onerow apply` goes on.",
        )


def _do(session: Session, step: Step, actions: Iterable[Action], tell: Tell) -> None:
    for action in actions:
        session.check_budget()
        if action.concurrent:
            _alone(session, action, tell)
        else:
            _short(session, step, action, tell)


def _alone(session: Session, action: Action, tell: Tell) -> None:
    try:
        with watched(session, tell):
            for sql in action.sql:
                session.alone(sql, session.limits.build_budget)
    except DBAPIError as error:
        # An index that is ready but not valid refuses the application's rows already. A build that
        # waited too long is left for the next try: a drop would wait for the same.
        if is_unique_violation(error):
            for sql in action.cleanup:
                session.alone(sql)
        raise


def _short(session: Session, step: Step, action: Action, tell: Tell) -> None:
    session.short(
        lambda connection: run_all(connection, action.sql),
        lambda attempt: tell(f"waiting for a lock on {step.table}, try {attempt}"),
    )
