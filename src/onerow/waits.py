"""Who holds a run up: asked from a second connection while a step is at work (PostgreSQL)."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from onerow.database import Database, run
from onerow.errors import OnerowError
from onerow.session import Session

EVERY = 0.25  #: seconds; shorter than a try for a lock, and nothing is asked of shorter steps

#: What `holds_up` wants to know of a session, as columns of pg_stat_activity AS a.
ABOUT = (
    "a.application_name, a.state, a.backend_type, extract(epoch FROM now() - a.xact_start),"
    " left(a.query, 1000)"
)

_BLOCKER = f"""
SELECT b.pid, {ABOUT}
FROM unnest(pg_blocking_pids({{pid}})) AS b (pid) LEFT JOIN pg_stat_activity AS a ON a.pid = b.pid
ORDER BY a.xact_start LIMIT 1
"""
#: Asks once: what there is to tell now.
Look = Callable[[Connection], str]


@contextmanager
def waits_told(session: Session, tell: Callable[[str], None]) -> Iterator[None]:
    """Tell who blocks the session's statements, as long as the block lasts."""

    def remembering(text: str) -> None:
        session.held_up_by = text
        tell(text)

    with watching(session, blocker_of, remembering):
        yield


def blocker_of(pid: int) -> Look:
    """Looks who blocks a session now: the one whose transaction is the oldest."""
    sql = _BLOCKER.format(pid=pid)

    def look(connection: Connection) -> str:
        row = run(connection, sql).first()
        return holds_up(*row) if row else ""

    return look


@contextmanager
def watching(
    session: Session, look: Callable[[int], Look], tell: Callable[[str], None]
) -> Iterator[None]:
    """Look again and again from a second connection, and tell what there is to tell.

    Args:
        look: makes a `Look` at the session with this process id.
    """
    if session.database.dialect == "sqlite":
        yield  # nobody can tell who has the file
        return
    pid = int(run(session.connection, "SELECT pg_backend_pid()").scalar_one())
    session.connection.rollback()
    stop = threading.Event()
    thread = threading.Thread(target=_watch, args=(session.database, look(pid), stop, tell))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _watch(
    database: Database, look: Look, stop: threading.Event, tell: Callable[[str], None]
) -> None:
    if stop.wait(EVERY):
        return
    try:
        with database.connect(autocommit=True) as connection:
            while not stop.wait(EVERY):
                if text := look(connection):
                    tell(text)
    except OnerowError:
        return  # a courtesy; the run itself does without


def holds_up(
    pid: object, app: object, state: object, kind: object, age: object, query: object
) -> str:
    """The sentence on a session that others wait for.

    Args:
        pid: of its server process; 0 for a prepared transaction.
        app, state, kind, query: as in pg_stat_activity; None where we may not see them.
        age: of its transaction, in seconds.
    """
    if not pid:
        return "a prepared transaction holds it up (see pg_prepared_xacts)"
    if kind == "autovacuum worker":
        return _vacuum(pid, str(query or ""))
    seconds = f"{float(str(age)):.0f} s" if age is not None else "unknown time"
    return (
        f"process {pid} ({app or 'no application name'}{f', {state}' if state else ''}) holds it"
        f" up, its transaction is open for {seconds}: {without_literals(str(query or ''))}"
    )


def _vacuum(pid: object, query: str) -> str:
    what = query.removeprefix("autovacuum: ")
    if "to prevent wraparound" in query:
        return (
            f"autovacuum (process {pid}) holds it up: {what}; it gives way to nobody, and the"
            " step has to wait until it is through"
        )
    return f"autovacuum (process {pid}) holds it up: {what}; it gives way to a long try"


def without_literals(query: str) -> str:
    """The first words of another session's statement; its values are none of our business.

    A text that was cut in the middle of a literal ends in an open quote.
    """
    shown = re.sub(r"\$(\w*)\$.*?(\$\1\$|\Z)", "'…'", query, flags=re.DOTALL)
    shown = re.sub(r"'(?:[^']|'')*(?:'|\Z)", "'…'", shown)
    shown = " ".join(re.sub(r"(?<![\w$])\d+(\.\d+)?", "…", shown).split())
    return shown if len(shown) <= 80 else shown[:79] + "…"
