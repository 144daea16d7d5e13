"""Building a unique index while writers write, watched from a second connection."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from onerow.codes import code_of
from onerow.culprits import Culprits
from onerow.database import is_unique_violation, run
from onerow.errors import NameTaken, Stopped
from onerow.plan import Step
from onerow.schema import Index, Snapshot
from onerow.session import Session, run_all
from onerow.sql import quote
from onerow.steps import kind
from onerow.waits import ABOUT, Look, blocker_of, holds_up, watching

Tell = Callable[[str], None]

CLEARING = 20.0  #: seconds for dropping what a build that did not end has left


def build(
    session: Session,
    step: Step,
    snapshot: Callable[[], Snapshot],
    merge: Callable[[], None],
    tell: Tell,
) -> None:
    """Build until it stands: a violation means that duplicates have arrived, not that it failed.

    Raises:
        NameTaken: an index of that name is there and is another one.
        Stopped: duplicates keep arriving, or the build used up its time.
    """
    culprits, began = Culprits(session, step), time.monotonic()
    for attempt in range(1, session.limits.passes + 1):
        if kind(step.kind).is_done(step, snapshot()):
            return
        _clear_away(session, step, snapshot())
        try:
            _create(session, step, tell)
            return
        except DBAPIError as error:
            if not is_unique_violation(error):
                raise _given_up(error, session, step, snapshot) from error
        culprits.look(time.monotonic() - began)
        tell(
            f"duplicates have arrived while the index was built (attempt {attempt}"
            f"{f', {culprits}' if str(culprits) else ''}): merging them"
        )
        # An index that is ready but not valid refuses the application's rows already.
        _clear_away(session, step, snapshot())
        began = time.monotonic()
        merge()
    by = f" They are made by: {culprits}." if str(culprits) else ""
    raise Stopped(
        f"Duplicates keep arriving in {step.table}: {session.limits.passes} builds met some.{by}",
        hint="Deploy the safe writer first, or set guard = true (undo, and plan again); else"
        " `onerow apply` goes on.",
    )


def _given_up(
    error: DBAPIError, session: Session, step: Step, snapshot: Callable[[], Snapshot]
) -> Exception:
    """A build that did not end: what is left of it may refuse rows already, so it goes at once."""
    if session.connection.invalidated:
        return error
    left = ""
    try:
        _clear_away(session, step, snapshot(), CLEARING)
    except DBAPIError:
        left = " What it left may refuse rows; the next apply or undo drops it first."
    return explained(error, session, step, left)


def explained(error: DBAPIError, session: Session, step: Step, left: str = "") -> Exception:
    """What is raised in place of the driver's error; `left`: a sentence on what stays behind."""
    if code_of(error) != "57014":
        return error
    return Stopped(
        f"The build of {step.args['name']} used up its {session.limits.build_budget:g} s.{left}",
        hint="End what it waited for, or raise --build-budget; then `onerow apply` goes on.",
    )


def _clear_away(
    session: Session, step: Step, snapshot: Snapshot, timeout: float | None = None
) -> None:
    """Drop what a build of ours left behind. The step is in the journal, so the name is ours."""
    table = snapshot.get(step.table)
    if table is None:
        return
    name = step.args["name"]
    for index in table.indexes:
        if index.name != name:
            continue
        if index.valid or index.constraint:  # on SQLite always
            raise NameTaken(f"An index {name} is there, and it is another one.")
        _drop(session, index, timeout)


def _drop(session: Session, index: Index, timeout: float | None) -> None:
    name = f"{quote(index.schema)}.{quote(index.name)}"
    session.alone(f"DROP INDEX CONCURRENTLY IF EXISTS {name}", timeout)


def _create(session: Session, step: Step, tell: Tell) -> None:
    if session.database.dialect == "sqlite":
        with session.transaction() as connection:
            run_all(connection, step.sql)
        return
    with watched(session, tell):
        for sql in step.sql:
            session.alone(sql, session.limits.build_budget)


def watched(session: Session, tell: Tell) -> AbstractContextManager[None]:
    """Watch a build from a second connection: its phase, how far it is, and who holds it up."""
    return watching(session, _phase, _Told(tell))


class _Told:
    """Tells what is new."""

    def __init__(self, tell: Tell) -> None:
        self.tell, self.last = tell, ""

    def __call__(self, text: str) -> None:
        if text != self.last:
            self.tell(text)
        self.last = text


_PROGRESS = f"""
SELECT p.phase, p.blocks_done, p.blocks_total, p.tuples_done, p.tuples_total,
       p.current_locker_pid, {ABOUT}
FROM pg_stat_progress_create_index AS p
LEFT JOIN pg_stat_activity AS a ON a.pid = p.current_locker_pid
WHERE p.pid = {{pid}}
"""


def _phase(pid: int) -> Look:
    sql, blocker = _PROGRESS.format(pid=pid), blocker_of(pid)

    def look(connection: Connection) -> str:
        row = run(connection, sql).first()
        # Before it has the table it shows no phase.
        return _sentence(tuple(row)) if row else blocker(connection)

    return look


def _sentence(row: tuple[object, ...]) -> str:
    phase, blocks, all_blocks, tuples, all_tuples, *locker = row
    if locker[0]:
        pid, app, state, kind_, age, query = locker
        return f"{phase}: {holds_up(pid, app, state, kind_, age, query)}"
    if all_blocks:
        return f"{phase}: {blocks:,} of {all_blocks:,} blocks"
    if all_tuples:
        return f"{phase}: {tuples:,} of {all_tuples:,} rows"
    return str(phase)
