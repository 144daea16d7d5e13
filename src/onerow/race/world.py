"""The database of an exploration: engines, pools of its own, setup, invariant, end state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, cast

from sqlalchemy import URL, Connection, Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
from sqlalchemy.orm import sessionmaker
from sqlalchemy.pool import AssertionPool, SingletonThreadPool, StaticPool

from onerow.errors import InputError
from onerow.race.codes import first_line
from onerow.race.gate import Gates
from onerow.race.launch import Launcher, Loop, Threads
from onerow.race.oracle import Oracle, PostgreSQL, SQLite
from onerow.race.runner import Run, told_stranger
from onerow.race.session import count_raw, napping, ours
from onerow.race.sleeps import virtual_sleep
from onerow.race.strays import watched_drivers
from onerow.race.verdict import TableState
from onerow.sql import quote

Setup = Callable[[Connection], object]
Invariant = Callable[[Connection], object]
Worker = Callable[[Any], Any]

#: A driver that can be used without a loop, for each that cannot.
SYNC_DRIVERS = {"postgresql+asyncpg": "postgresql+psycopg", "sqlite+aiosqlite": "sqlite"}
SHARED_POOLS = (StaticPool, SingletonThreadPool, AssertionPool)
ROWS_SHOWN = 10


class World:
    """What all runs of an exploration share.

    Args:
        engine: Engine or AsyncEngine; it is used with its listeners and arguments, but with a pool
            of its own, which is closed at the end.
        setup, invariant: plain functions of a connection.
        admin: the engine for setup, invariant and the questions to the server, where none can be
            made from the URL of an AsyncEngine.
    """

    def __init__(
        self,
        engine: Any,
        workers: Sequence[Worker],
        *,
        setup: Setup | None,
        invariant: Invariant | None,
        admin: Engine | None = None,
        stall: float = 10.0,
        most_steps: int = 400,
    ) -> None:
        self.engine = engine
        self.sync_engine: Engine = sync_engine_of(engine)
        self.workers = workers
        self.setup = setup
        self.invariant = invariant
        self.stall = stall
        self.most_steps = most_steps
        self._given_admin = admin
        self.admin: Engine = self.sync_engine
        self.gates = Gates(self._prepare, self._hurry, self._same_database)
        self.launcher: Launcher
        self.oracle: Oracle

    @contextmanager
    def opened(self) -> Iterator[World]:
        """Everything that is needed while schedules run; put back as it was afterwards."""
        with ExitStack() as stack:
            stack.enter_context(_own_pool(self.sync_engine))
            self._choose_admin(stack)
            stack.enter_context(self.gates.installed())
            self.oracle = stack.enter_context(self._oracle())
            self.launcher = stack.enter_context(self._launcher())
            yield self

    def _choose_admin(self, stack: ExitStack) -> None:
        if self._given_admin is not None:
            self.admin = self._given_admin
        elif isinstance(self.engine, AsyncEngine):
            self.admin = create_engine(sync_url(self.engine.url))
            stack.callback(self.admin.dispose)

    @contextmanager
    def _oracle(self) -> Iterator[Oracle]:
        token = ours.set(True)
        try:
            oracle: Oracle
            if self.sync_engine.dialect.name == "sqlite":
                oracle = SQLite(self.admin)
            else:
                oracle = PostgreSQL(self.admin)
        finally:
            ours.reset(token)
        try:
            yield oracle
        finally:
            oracle.close()

    @contextmanager
    def _launcher(self) -> Iterator[Launcher]:
        if not isinstance(self.engine, AsyncEngine):
            threads = Threads(sessionmaker(self.engine))
            yield threads
            threads.close()
            return
        loop = Loop(async_sessionmaker(self.engine))
        try:
            yield loop
        finally:
            loop.finish(self.engine.dispose())
            loop.close()

    def _prepare(self, dbapi: Any, record: Any) -> dict[str, Any]:
        return self.oracle.prepare(dbapi, record)

    def _hurry(self, dbapi: Any) -> None:
        if self._given_admin is None and hasattr(self, "oracle"):
            self.oracle.hurry(dbapi)

    def _same_database(self, engine: Engine) -> bool:
        a, b = engine.url, self.sync_engine.url
        return (a.host, a.port, a.database) == (b.host, b.port, b.database)

    # -- one run

    def prepare_run(self) -> None:
        """Run `setup`, in a transaction that is committed."""
        if self.setup is not None:
            with self.connection() as connection:
                self.setup(connection)
                connection.commit()

    def learn_tables(self) -> None:
        """Ask what the tables are, once `setup` has made them."""
        self.prepare_run()
        token = ours.set(True)
        try:
            self.oracle.learn()
        finally:
            ours.reset(token)

    def run(self) -> Run:
        return Run(
            self.workers,
            self.launcher,
            self.oracle,
            self.gates,
            stall=self.stall,
            most_steps=self.most_steps,
        )

    def strangers(self) -> str:
        """Who else is at work on the database by now, in a sentence; '' if nobody is."""
        others = self.oracle.strangers(self.gates.pids, now=True)
        return told_stranger(others[0]) if others else ""

    def broken(self) -> str | None:
        """How the invariant is broken, None if it holds."""
        if self.invariant is None:
            return None
        name = name_of(self.invariant)
        with self.connection() as connection:
            try:
                answer = self.invariant(connection)
            except AssertionError as error:
                return f"{name}: {error}" if str(error) else f"{name} does not hold"
            except Exception as error:
                return f"{name} raised {type(error).__name__}: {first_line(error)}"
        if answer:
            return None
        extra = "; return True where it holds" if answer is None else ""
        return f"{name} returned {answer!r}{extra}"

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection whose statements are ours, not a worker's."""
        token = ours.set(True)
        try:
            with self.admin.connect() as connection:
                yield connection
        finally:
            ours.reset(token)

    def state(self, tables: Iterable[str]) -> tuple[TableState, ...]:
        """The rows of tables, as far as they can be shown."""
        with self.connection() as connection:
            return tuple(_state(connection, name) for name in tables)


def _state(connection: Connection, name: str) -> TableState:
    sql = f"SELECT * FROM {quote(name)} ORDER BY 1 LIMIT {ROWS_SHOWN + 1}"
    result = connection.exec_driver_sql(sql)
    rows = tuple(tuple(r) for r in result)
    return TableState(name, tuple(result.keys()), rows[:ROWS_SHOWN], len(rows) > ROWS_SHOWN)


@contextmanager
def _own_pool(engine: Engine) -> Iterator[None]:
    """Connections that carry our settings are nobody else's afterwards; nor are theirs ours."""
    before = engine.pool
    engine.pool = before.recreate()
    try:
        yield
    finally:
        engine.pool.dispose()
        engine.pool = before


@contextmanager
def patched() -> Iterator[None]:
    """Workers' sleeps take no time, and connections that they open themselves are counted."""
    opened, failed = partial(count_raw, 1), partial(count_raw, -1)
    with virtual_sleep(napping), watched_drivers(opened, failed):
        yield


def sync_engine_of(engine: Any) -> Engine:
    """The engine proper.

    Raises:
        InputError: it is none, not of an engine that we know, or all sessions would share one
            connection.
    """
    if not isinstance(engine, (Engine, AsyncEngine)):
        raise InputError(
            f"explore() takes an Engine or AsyncEngine of SQLAlchemy, not {type(engine).__name__}.",
            hint="create_engine(URL) makes one.",
        )
    inner = cast(Engine, getattr(engine, "sync_engine", engine))
    if inner.dialect.name not in ("postgresql", "sqlite"):
        raise InputError(f"Races are explored on PostgreSQL and SQLite, not {inner.dialect.name}.")
    if isinstance(inner.pool, SHARED_POOLS) or in_memory(inner.url):
        raise InputError(
            "All sessions of this engine share one connection, so nothing can race.",
            hint="Use a file for SQLite, and the default pool.",
        )
    return inner


def in_memory(url: URL) -> bool:
    """It is SQLite without a file."""
    if url.get_backend_name() != "sqlite":
        return False
    return not url.database or ":memory:" in url.database or "mode=memory" in url.database


def sync_url(url: URL) -> URL:
    """The same database by a driver that needs no loop."""
    return url.set(drivername=SYNC_DRIVERS.get(url.drivername, url.drivername))


def name_of(function: Any) -> str:
    """How a worker or an invariant is called in reports."""
    return str(getattr(function, "__name__", None) or function)
