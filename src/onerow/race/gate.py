"""Where workers are held: before every statement, COMMIT and ROLLBACK of any SQLAlchemy engine.

The events are of the class `Engine`, so that an engine that the worker made itself is gated too.
Who is at work is told by a context variable, which goes along into tasks, into SQLAlchemy's
greenlets and into `asyncio.to_thread`. What runs SQL without being a worker is noted as a stray.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.cursor import FullyBufferedCursorFetchStrategy
from sqlalchemy.engine.interfaces import ExecuteStyle
from sqlalchemy.pool import Pool

from onerow.codes import code_of
from onerow.race.codes import first_line, is_busy
from onerow.race.dependency import (
    LOCAL,
    Facts,
    Footprint,
    footprint_of,
    is_of_session,
    is_rollback_to,
    sets_isolation,
    widened,
)
from onerow.race.session import Abandoned, Session, State, current, ours
from onerow.race.trace import Operation

ROWS_KEPT = 20
#: Key of a pooled connection's `info`.
NOTE = "onerow_race"


class Gates:
    """The event hooks of one exploration.

    Args:
        prepare: run once on every connection that a worker opens; returns what is noted of it.
        hurry: run once on every connection that is for setup and invariant.
        same_database: whether an engine's work concerns the explored database.
    """

    def __init__(
        self,
        prepare: Callable[[Any, Any], dict[str, Any]],
        hurry: Callable[[Any], None],
        same_database: Callable[[Engine], bool],
    ) -> None:
        self.prepare = prepare
        self.hurry = hurry
        self.same_database = same_database
        self.strays: list[str] = []
        self._changed: list[Any] = []  #: pooled connections that carry our settings
        self.pids: set[int] = set()  #: of every connection that SQLAlchemy opened

    @contextmanager
    def installed(self) -> Iterator[None]:
        hooks: list[tuple[Any, str, Any, dict[str, Any]]] = [
            (Engine, "before_cursor_execute", self._before, {}),
            (Engine, "after_cursor_execute", self._after, {}),
            (Engine, "commit", self._commit, {}),
            (Engine, "rollback", self._rollback, {}),
            (Engine, "handle_error", self._error, {}),
            (Engine, "do_execute", self._do_execute, {}),
            (Engine, "do_executemany", self._do_executemany, {}),
            (Engine, "do_execute_no_params", self._do_execute_no_params, {}),
            (Pool, "checkout", self._checkout, {}),
            (Pool, "connect", self._connect, {}),
        ]
        for target, name, function, options in hooks:
            event.listen(target, name, function, **options)
        try:
            yield
        finally:
            for target, name, function, _ in hooks:
                event.remove(target, name, function)
            for record in self._changed:
                # An application's own pool opens another one in its place when it is asked.
                record.invalidate(soft=True)

    def _mine(self) -> Session | None:
        """The session at work, if it is of this exploration's database."""
        session = current.get()
        return session if session is not None and session.gates is self else None

    # -- the pool

    def _connect(self, _dbapi: Any, record: Any) -> None:
        if (session := self._mine()) is not None:
            session.raw -= 1
        if (pid := pid_of(record.driver_connection)) is not None:
            self.pids.add(pid)

    def _checkout(self, dbapi: Any, record: Any, _fairy: Any) -> None:
        session = self._mine()
        if session is None:
            if ours.get() and NOTE not in record.info:
                record.info[NOTE] = {}
                self.hurry(dbapi)
            return
        if "pid" not in record.info.get(NOTE, {}):
            record.info[NOTE] = self.prepare(dbapi, record)
            self._changed.append(record)
        self._adopt(session, record.info[NOTE])

    def _adopt(self, session: Session, note: dict[str, Any]) -> None:
        session.pid = note.get("pid")
        if session.pid is not None:
            session.pids.add(session.pid)

    # -- statements

    def _before(
        self, conn: Connection, _cursor: Any, sql: str, parameters: Any, _context: Any, many: bool
    ) -> None:
        session = self._mine()
        if session is None:
            stray = current.get() is None and not ours.get()
            if stray and self.same_database(conn.engine):
                self.strays.append(sql)
            return
        self._adopt(session, conn.connection.info.get(NOTE, {}))
        footprint = self._footprint(session, conn, sql, None if many else parameters)
        session.gate(Operation("statement", sql, parameters, many, footprint))
        session.in_transaction = True
        session.touched |= footprint

    def _footprint(
        self, session: Session, conn: Connection, sql: str, parameters: Any
    ) -> Footprint:
        facts = session.facts
        if is_rollback_to(sql):
            return self._ending(session, facts)
        found = footprint_of(sql, facts, parameters)
        if facts.lite:
            return _lite(found, _alone(conn, sql))
        if is_of_session(sql):
            if sets_isolation(sql):
                session.touched |= Footprint(strict=True)
            return found
        level = _level(conn)
        strict = level == "SERIALIZABLE" or session.touched.strict
        fixed = strict or level == "REPEATABLE READ"
        first = fixed and not (session.touched.snapshot or session.touched.touched)
        found = widened(found) if strict else found
        found |= Footprint(snapshot=first, strict=strict)
        if level == "AUTOCOMMIT":
            found |= Footprint(ends=found.writes | found.shares)
        return found

    def _ending(self, session: Session, facts: Facts) -> Footprint:
        """What the end of its transaction lets go."""
        t = session.touched
        ends = t.writes | t.shares
        if t.strict or (facts.lite and not facts.wal):
            ends |= t.reads
        writes = ends & facts.deferrable
        return Footprint(ends=ends, writes=writes, strict=t.strict, everything=t.everything)

    def _after(
        self, _conn: Any, cursor: Any, _sql: str, _parameters: Any, context: Any, many: bool
    ) -> None:
        session = self._mine()
        if session is None or session.step is None or session.abandoned:
            return
        step = session.step
        step.rowcount = cursor.rowcount if cursor.description is None else -1
        if cursor.description is not None:
            step.columns = tuple(c[0] for c in cursor.description)
            if not many and context.execute_style is ExecuteStyle.EXECUTE and _whole(context):
                rows = cursor.fetchall()
                step.rowcount = len(rows)
                step.rows = tuple(tuple(r) for r in rows[:ROWS_KEPT])
                context.cursor_fetch_strategy = FullyBufferedCursorFetchStrategy(
                    cursor, cursor.description, rows
                )

    def _error(self, context: Any) -> None:
        session = self._mine()
        if session is None or session.step is None or session.abandoned:
            return
        error = context.original_exception
        if isinstance(error, Abandoned):
            return
        session.step.error = code_of(error) or type(error).__name__
        session.step.message = first_line(error)

    # -- ends of transactions

    def _commit(self, conn: Connection) -> None:
        self._end(conn, "commit")

    def _rollback(self, conn: Connection) -> None:
        self._end(conn, "rollback")

    def _end(self, conn: Connection, kind: Any) -> None:
        session = self._mine()
        if session is None:
            return
        lite = session.facts.lite
        open_ = _in_lite_transaction(conn) if lite else session.in_transaction
        if _autocommit(conn) or not open_:
            self._forget(session)
            return
        ending = self._ending(session, session.facts)
        if kind == "rollback" and not ending.everything:
            ending = Footprint(ends=ending.ends, strict=ending.strict)
        session.gate(Operation(kind, kind.upper(), footprint=ending))
        if lite and kind == "commit":
            dbapi: Any = conn.connection.dbapi_connection
            self._until_free(session, dbapi.commit, again=True)
        self._forget(session)

    def _forget(self, session: Session) -> None:
        session.in_transaction = False
        session.has_read_lock = False
        session.touched = LOCAL

    # -- SQLite's locks, which nobody can be asked about

    def _do_execute(self, cursor: Any, sql: str, parameters: Any, context: Any) -> bool:
        return self._lite_run(context, lambda: cursor.execute(sql, parameters))

    def _do_executemany(self, cursor: Any, sql: str, parameters: Any, context: Any) -> bool:
        return self._lite_run(context, lambda: cursor.executemany(sql, parameters))

    def _do_execute_no_params(self, cursor: Any, sql: str, context: Any) -> bool:
        return self._lite_run(context, lambda: cursor.execute(sql))

    def _lite_run(self, context: Any, run: Callable[[], object]) -> bool:
        session = self._mine()
        if session is None or context is None or context.dialect.name != "sqlite":
            return False
        inside = _in_lite_transaction(context.root_connection)
        done = self._until_free(session, run)
        # A ROLLBACK in SQL's own words ends it, too.
        still = _in_lite_transaction(context.root_connection)
        session.has_read_lock = still and (session.has_read_lock or inside)
        return done

    def _until_free(
        self, session: Session, run: Callable[[], object], *, again: bool = False
    ) -> bool:
        """Runs it, as often as it takes: after a step of another session the lock may be free.

        SQLite itself does not wait where a transaction that has read wants to write: it could
        wait for ever (https://www.sqlite.org/c3ref/busy_handler.html).

        Args:
            again: let SQLAlchemy run it once more when it fails, and tell the error its own way.
        """
        while not session.abandoned:
            try:
                run()
            except sqlite3.Error as error:
                upgrade = session.has_read_lock and not again
                if not is_busy(error) or session.give_up_file or upgrade:
                    session.give_up_file = False
                    if again:
                        return False
                    raise
                session.park(State.BUSY)
            else:
                return True
        raise Abandoned


def _whole(context: Any) -> bool:
    """The rows are all there, none is fetched later on purpose."""
    options = context.execution_options
    streams = options.get("stream_results") or options.get("yield_per")
    return not (streams or context._is_server_side)


def _lite(found: Footprint, alone: bool) -> Footprint:
    """A statement outside of a transaction ends one; a first read takes the snapshot."""
    if alone and found.writes:
        return found | Footprint(ends=found.writes)
    return found


def _alone(conn: Connection, sql: str) -> bool:
    """No transaction is open on SQLite, and the driver does not begin one for this statement.

    The sqlite3 module does so before INSERT, UPDATE, DELETE and REPLACE (its "legacy" control).
    """
    driver: Any = conn.connection.driver_connection
    if driver.in_transaction:
        return False
    changes = sql.lstrip()[:7].upper().startswith(("INSERT", "UPDATE", "DELETE", "REPLACE"))
    return driver.isolation_level is None or not changes


def _autocommit(conn: Connection) -> bool:
    detect = getattr(conn.dialect, "detect_autocommit_setting", None)
    dbapi: Any = conn.connection.dbapi_connection
    if detect is not None:
        return bool(detect(dbapi))
    return getattr(dbapi, "autocommit", False) is True


def _level(conn: Connection) -> str:
    if _autocommit(conn):
        return "AUTOCOMMIT"
    chosen = conn.get_execution_options().get("isolation_level")
    note: dict[str, Any] = conn.connection.info.get(NOTE, {})
    return str(chosen or note.get("level", "READ COMMITTED")).upper().replace("_", " ")


def _in_lite_transaction(conn: Connection) -> bool:
    driver: Any = conn.connection.driver_connection
    return bool(driver.in_transaction)


def pid_of(driver: Any) -> int | None:
    """The server process behind a connection of psycopg, psycopg2 or asyncpg."""
    for name in ("get_backend_pid", "get_server_pid"):
        if (ask := getattr(driver, name, None)) is not None:
            return int(ask())
    info = getattr(driver, "info", None)
    return getattr(info, "backend_pid", None)
