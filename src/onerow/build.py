"""Building a unique index while writers write, watched from a second connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError

from onerow.database import Database, code_of, is_unique_violation, run
from onerow.errors import NameTaken, Stopped
from onerow.plan import Step
from onerow.schema import Index, Snapshot
from onerow.session import Session, run_all
from onerow.sql import quote
from onerow.steps import kind
from onerow.waits import holds_up

Tell = Callable[[str], None]


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
    for attempt in range(1, session.limits.passes + 1):
        if kind(step.kind).is_done(step, snapshot()):
            return
        _clear_away(session, step, snapshot())
        try:
            _create(session, step, tell)
            return
        except DBAPIError as error:
            if not is_unique_violation(error):
                raise explained(error, session, step) from error
        tell(f"duplicates have arrived while the index was built (attempt {attempt}): merging them")
        # An index that is ready but not valid refuses the application's rows already.
        _clear_away(session, step, snapshot())
        merge()
    raise Stopped(
        f"Duplicates keep arriving in {step.table}: {session.limits.passes} builds met some.",
        hint="Deploy the safe writer first, or set guard = true; then `onerow apply` goes on.",
    )


def explained(error: DBAPIError, session: Session, step: Step) -> Exception:
    """What is raised in place of the driver's error."""
    if code_of(error) == "57014":
        return Stopped(
            f"The build of {step.args['name']} used up its {session.limits.build_budget:g} s.",
            hint="End what it waited for, or raise --build-budget; then `onerow apply` goes on.",
        )
    return error


def _clear_away(session: Session, step: Step, snapshot: Snapshot) -> None:
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
        _drop(session, index)


def _drop(session: Session, index: Index) -> None:
    session.alone(f"DROP INDEX CONCURRENTLY IF EXISTS {quote(index.schema)}.{quote(index.name)}")


def _create(session: Session, step: Step, tell: Tell) -> None:
    if session.database.dialect == "sqlite":
        with session.transaction() as connection:
            run_all(connection, step.sql)
        return
    with watched(session, tell):
        for sql in step.sql:
            session.alone(sql)


_PROGRESS = """
SELECT p.phase, p.blocks_done, p.blocks_total, p.tuples_done, p.tuples_total,
       p.current_locker_pid, a.application_name, left(a.query, 1000),
       extract(epoch FROM now() - a.xact_start)
FROM pg_stat_progress_create_index AS p
LEFT JOIN pg_stat_activity AS a ON a.pid = p.current_locker_pid
WHERE p.pid = {pid}
"""


@contextmanager
def watched(session: Session, tell: Tell) -> Iterator[None]:
    """Watch the build from a second connection; cancel it when its time is used up."""
    pid = int(run(session.connection, "SELECT pg_backend_pid()").scalar_one())
    session.connection.rollback()
    stop = threading.Event()
    thread = threading.Thread(
        target=_watch, args=(session.database, pid, stop, tell, session.limits.build_budget)
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _watch(database: Database, pid: int, stop: threading.Event, tell: Tell, budget: float) -> None:
    began, told = time.monotonic(), ""
    if stop.wait(0.5):
        return
    with database.connect(autocommit=True) as connection:
        while not stop.wait(0.5):
            row = run(connection, _PROGRESS.format(pid=pid)).first()
            text = _sentence(tuple(row)) if row else ""
            if text and text != told:
                tell(text)
                told = text
            if time.monotonic() - began > budget:
                run(connection, f"SELECT pg_cancel_backend({pid})")
                return


def _sentence(row: tuple[object, ...]) -> str:
    phase, blocks, all_blocks, tuples, all_tuples, *locker = row
    if locker[0]:
        return f"{phase}: {holds_up(*locker)}"
    if all_blocks:
        return f"{phase}: {blocks:,} of {all_blocks:,} blocks"
    if all_tuples:
        return f"{phase}: {tuples:,} of {all_tuples:,} rows"
    return str(phase)
