"""The connection that changes things: it exists only while its holder is the one runner.

Every statement that takes a strong lock goes through `Session.short`, which bounds the wait and
tries again; concurrent index builds go through `Session.alone`, without a lock timeout.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import filelock
from sqlalchemy import Connection, RootTransaction
from sqlalchemy.exc import DBAPIError

from onerow.database import Database, is_lock_failure, run
from onerow.dialects import Dialect, dialect
from onerow.errors import AnotherRunner, Stopped
from onerow.interrupt import finishing
from onerow.journal import Journal, advisory_lock_sql
from onerow.pooler import refuse_pooler
from onerow.throttle import POLL, Throttle

T = TypeVar("T")

BUSY_SECONDS = 30  #: SQLite: patience with other writers
BEGIN_MILLISECONDS = 100  #: SQLite: one wait for the write lock
CHECK_MILLISECONDS = 500  #: PostgreSQL: between looks whether the client is still there
LOCK_SECONDS = 2.0  #: PostgreSQL: patience with a runner that was killed

_OF_A_BATCH = (
    "SELECT set_config('lock_timeout', '{timeout}', true), set_config('random_page_cost',"
    " least(current_setting('random_page_cost')::float8, 1.1)::text, true),"
    " set_config('synchronous_commit', 'off', true)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a change may get in the way. Times in seconds."""

    lock_timeout: float = 0.5  #: how long readers and writers may stand behind us, per try
    lock_tries: int = 40
    every_nth_long: int = 5  #: this try outlasts deadlock_timeout, so that autovacuum gives way
    long_timeout: float = 1.5
    batch_time: float = 0.08  #: target of one batch
    batch_rows: int = 1_000  #: rows of the first batch, of which nobody knows how long it takes
    least_batch_rows: int = 250  #: what a batch costs besides its rows is not paid for fewer
    most_batch_rows: int = 20_000
    passes: int = 8  #: merge and build again when duplicates keep arriving
    build_budget: float = 3_600.0  #: wall clock of one concurrent build
    budget: float | None = None  #: wall clock of the whole run
    max_lag: float | None = None  #: how far a standby may be behind before batches wait
    pause_when: str | None = None  #: SQL; while it is true no batch begins


@contextmanager
def one_runner(database: Database, limits: Limits) -> Iterator[Session]:
    """A session that holds the runner's lock.

    Raises:
        AnotherRunner: somebody else holds it.
        Refused: a pooler stands in between, and nobody could hold it.
        InputError: the limits cannot be used here.
    """
    if database.dialect == "sqlite":
        with _file_lock(database), database.connect() as connection:
            run(connection, "PRAGMA foreign_keys = OFF")
            run(connection, f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
            connection.rollback()
            yield _checked(Session(database, connection, limits))
        return
    refuse_pooler(database)
    with database.connect() as connection:
        _notice_our_end(connection)
        run(connection, "SET onerow.at_work = 'on'")  # guards let us pass
        connection.commit()
        if not _got_lock(connection):
            raise AnotherRunner(
                f"Another onerow is at work on {database}.", hint="`onerow status` tells on what."
            )
        yield _checked(Session(database, connection, limits))


def _checked(session: Session) -> Session:
    session.throttle.check(session.connection)
    return session


def _notice_our_end(connection: Connection) -> None:
    """Let the server look, in the midst of a long statement, whether we are still there.

    Else a build goes on, and holds the runner's lock, for a process that was killed. Not every
    platform of the server can.
    """
    try:
        run(connection, f"SET client_connection_check_interval = {CHECK_MILLISECONDS}")
    except DBAPIError:
        connection.rollback()
    connection.commit()


def _got_lock(connection: Connection) -> bool:
    """Take the runner's lock; one who was killed just now holds it until the server has seen it."""
    until = time.monotonic() + LOCK_SECONDS
    while True:
        if run(connection, advisory_lock_sql()).scalar_one():
            connection.commit()
            return True
        connection.commit()
        if time.monotonic() > until:
            return False
        time.sleep(0.1)


@contextmanager
def _file_lock(database: Database) -> Iterator[None]:
    path = database.path.absolute()
    lock = filelock.FileLock(f"{path}.onerow-lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise AnotherRunner(
            f"Another onerow is at work on {database}.", hint="`onerow status` tells on what."
        ) from None
    try:
        yield
    finally:
        lock.release()


class Session:
    """A connection under the runner's lock, and the ways to use it."""

    def __init__(self, database: Database, connection: Connection, limits: Limits) -> None:
        self.database = database
        self.connection = connection
        self.limits = limits
        self.dialect: Dialect = dialect(database.dialect)
        self.journal = Journal(connection, database.dialect)
        self.started = time.monotonic()
        self.throttle = Throttle(database.dialect, limits.max_lag, limits.pause_when)
        self.say: Callable[[str], None] = lambda _text: None  #: of what delays a step
        self.again = "onerow apply"  #: the command that goes on
        self.held_up_by = ""  #: the last sentence on who did
        self._long: float | None = None

    @contextmanager
    def transaction(self, lock_timeout: float | None = None) -> Iterator[Connection]:
        """One writing transaction."""
        if self.database.dialect == "sqlite":
            self.connection.execution_options(onerow_begin="IMMEDIATE")
        with self._begun():
            if lock_timeout is not None and self.database.dialect == "postgresql":
                run(self.connection, f"SET LOCAL lock_timeout = {int(lock_timeout * 1000)}")
            yield self.connection

    def _begun(self) -> RootTransaction:
        """A transaction that has begun.

        SQLite's own waiting soon looks ten times a second only, and nobody queues for the write
        lock (sqlite3_busy_timeout, wal.html §2.2): beside a busy writer that may be never. So short
        waits, again and again; what comes after the beginning is waited for as long as ever.
        """
        if self.database.dialect != "sqlite":
            return self.connection.begin()
        until = time.monotonic() + BUSY_SECONDS
        self._be_patient(BEGIN_MILLISECONDS)
        try:
            while True:
                try:
                    return self.connection.begin()
                except DBAPIError as error:
                    if not is_lock_failure(error) or time.monotonic() > until:
                        raise
                    time.sleep(random.uniform(0.0, 0.01))
        finally:
            self._be_patient(BUSY_SECONDS * 1000)

    def _be_patient(self, milliseconds: int) -> None:
        """Past SQLAlchemy, which would begin a transaction for it."""
        driver: Any = self.connection.connection.driver_connection
        driver.execute(f"PRAGMA busy_timeout = {milliseconds}")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        if self.database.dialect == "sqlite":
            self.connection.execution_options(onerow_begin="DEFERRED")
        with self.connection.begin():
            yield self.connection

    def short(self, work: Callable[[Connection], T], on_wait: Callable[[int], None]) -> T:
        """Run `work` in a transaction that waits for locks only shortly, and again if in vain.

        PostgreSQL queues everybody else behind a waiting ACCESS EXCLUSIVE, so the timeout is how
        long each try stops the application. Autovacuum gives way only after deadlock_timeout
        (manual §20.12), which is why some tries wait longer than that.

        Raises:
            Stopped: every try was in vain.
        """
        limits, self.held_up_by = self.limits, ""
        for attempt in range(1, limits.lock_tries + 1):
            long = attempt % limits.every_nth_long == 0
            try:
                with self.transaction(self._long_timeout() if long else limits.lock_timeout):
                    return work(self.connection)
            except DBAPIError as error:
                if not is_lock_failure(error):
                    raise
                on_wait(attempt)
                time.sleep(backoff(attempt))
        raise Stopped(
            f"Could not get the lock in {limits.lock_tries} tries: "
            f"{self.held_up_by or 'somebody holds it'}.",
            hint=f"`{self.again}` tries again.",
        )

    def batch(self, work: Callable[[], T], what: str) -> T:
        """Run one batch in one transaction, and again while others hold its rows.

        Ctrl-C waits for its end, so that what was done is not done twice.

        Args:
            what: its rows, for the message.

        Raises:
            Stopped: every try was in vain.
            KeyboardInterrupt: after the batch, or after a try that was in vain.
        """
        with finishing() as asked:
            for attempt in range(1, self.limits.lock_tries + 1):
                try:
                    with self.transaction():
                        self._settle()
                        return work()
                except DBAPIError as error:
                    if not is_lock_failure(error):
                        raise
                    if asked():
                        break
                    time.sleep(backoff(attempt))
            if not asked():
                raise Stopped(f"{what} could not be locked.", hint=f"`{self.again}` goes on.")
        raise KeyboardInterrupt

    def _settle(self) -> None:
        """The settings of a batch, in one go.

        It is a few rows, that were read just now: where a server takes what is in its cache for as
        dear as a disk (the default), its plans would read whole tables for every batch.

        Its commit does not wait for the disk. A crash of the server takes the last batches back
        whole, with their entries in the journal, and so they are done again; whatever commits
        after them and waits, as the end of a step does, has them on the disk first (manual, chapter
        "Asynchronous Commit").
        """
        if self.database.dialect == "postgresql":
            timeout = int(self.limits.long_timeout * 2 * 1000)
            run(self.connection, _OF_A_BATCH.format(timeout=timeout))

    def _long_timeout(self) -> float:
        """A try that outlasts deadlock_timeout, whatever the server has there."""
        if self._long is None:
            self._long = max(self.limits.long_timeout, self.limits.lock_timeout)
            if self.database.dialect == "postgresql":
                asked = "SELECT extract(epoch FROM current_setting('deadlock_timeout')::interval)"
                with self.reading() as connection:
                    seconds = float(run(connection, asked).scalar_one())
                self._long = max(self._long, seconds * 1.25 + 0.25)
        return self._long

    def alone(self, sql: str, timeout: float | None = None) -> None:
        """Run one statement outside of any transaction, without a lock timeout (PostgreSQL).

        Args:
            timeout: seconds of the wall clock after which the server cancels it.
        """
        connection = self.connection.execution_options(isolation_level="AUTOCOMMIT")
        try:
            run(connection, "SET lock_timeout = 0")
            run(connection, f"SET statement_timeout = {int((timeout or 0) * 1000)}")
            run(connection, sql)
        finally:
            if not connection.invalidated:
                connection.rollback()
                run(connection, "SET statement_timeout = 0")
                connection.rollback()
                connection.execution_options(isolation_level="READ COMMITTED")

    def breathe(self) -> None:
        """Between two batches: wait while standbys lag or the operator's condition holds.

        Raises:
            Stopped: the run has used up its time, or the condition cannot be asked any more.
        """
        self.check_budget()
        while reason := self.throttle.reason(self.connection):
            self.say(reason)
            time.sleep(POLL)
            self.check_budget()

    def check_budget(self) -> None:
        """Raises Stopped when the run has used up its time."""
        budget = self.limits.budget
        if budget is not None and time.monotonic() - self.started > budget:
            raise Stopped(
                f"The budget of {budget:g} s is used up.", hint=f"`{self.again}` goes on."
            )


def backoff(attempt: int) -> float:
    """Seconds to wait before the next try: exponential, with full jitter, at most 2 s."""
    return float(random.uniform(0.05, min(2.0, 0.05 * 2 ** min(attempt, 6))))


def guarded(connection: Connection, statements: Sequence[str]) -> None:
    """Run statements that must not break a foreign key (SQLite, with enforcement off).

    Raises:
        Stopped: some row would refer to one that is not there, and did not before.
    """
    if run(connection, "PRAGMA foreign_keys").scalar():
        # Inside a transaction the pragma is ignored, and DROP TABLE would delete the children.
        raise Stopped("foreign_keys is on, so no table can be made again.")
    count = "SELECT count(*) FROM pragma_foreign_key_check"
    before = run(connection, count).scalar_one()
    run_all(connection, statements)
    if run(connection, count).scalar_one() > before:
        raise Stopped("The rebuild would break a foreign key; nothing was changed.")


def run_all(connection: Connection, statements: Sequence[str]) -> None:
    for sql in statements:
        run(connection, sql)
