"""From an address to connections: URLs, engines, session settings, and errors in our own words.

The one place where a driver's exception becomes an `OnerowError`. It is decided by SQLSTATE on
PostgreSQL and by the extended result code on SQLite.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, exc, make_url
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from onerow.codes import DEADLOCK, SERIALIZATION, UNIQUE, code_of
from onerow.errors import (
    ConnectionFailed,
    ConnectionLost,
    DatabaseError,
    InputError,
    NoPrivilege,
    OnerowError,
    ReadOnlyDatabase,
    UrlError,
)

SQLITE_MINIMUM = (3, 35, 0)  #: RETURNING
POSTGRESQL_MINIMUM = (14,)
CONNECT_SECONDS = 10
APPLICATION_NAME = "onerow"

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SECRET = re.compile(r"(?i)(pass|pwd|secret|token|key)")

#: Text forms of values must not depend on the role's settings: row hashes are made of them.
_SESSION_SETTINGS = {
    "application_name": APPLICATION_NAME,
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "timezone": "UTC",
    "lc_monetary": "C",
    "standard_conforming_strings": "on",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}


def expand(text: str, environment: dict[str, str] | None = None) -> str:
    """Put environment variables in place of ``${NAME}``; UrlError for one that is not set."""
    values = os.environ if environment is None else environment

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if not values.get(name):
            raise UrlError(
                f"The environment variable {name}, which the database URL names, is not set."
            )
        return values[name]

    return _VARIABLE.sub(value, text)


def parse_url(text: str) -> URL:
    """An SQLAlchemy URL with the drivers that we use: psycopg 3 and sqlite3.

    `postgres://`, `postgresql://` and every other PostgreSQL driver's URL mean psycopg 3; a path
    of a file that is there means SQLite.

    Raises:
        UrlError: empty, not a URL, or another engine's.
    """
    text = text.strip()
    if not text:
        raise UrlError(
            "No database URL.",
            hint="Give --url URL, or write url under [database] in the rule file.",
        )
    if "://" not in text and Path(text).is_file():
        return URL.create("sqlite", database=text)
    if text.startswith("postgres://"):
        text = "postgresql://" + text.removeprefix("postgres://")
    try:
        url = make_url(text)
        backend = url.get_backend_name()
    except (exc.ArgumentError, ValueError):
        raise UrlError(
            "The database URL cannot be read.",
            hint="It should look like postgresql://user@host:5432/name or sqlite:///file.db.",
        ) from None
    if backend == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if backend == "sqlite":
        return url.set(drivername="sqlite")
    raise UrlError(
        f"onerow works on PostgreSQL and SQLite; the URL names {backend!r}.",
    )


def show_url(url: URL) -> str:
    """The URL without anything secret in it."""
    shown = url.set(query={k: "***" if _SECRET.search(k) else v for k, v in url.query.items()})
    if shown.password is not None:
        shown = shown.set(password="***")
    return shown.render_as_string(hide_password=False).replace("postgresql+psycopg", "postgresql")


def _sqlite_path(url: URL) -> str:
    if url.database in (None, "", ":memory:"):
        raise UrlError("onerow needs a SQLite file; an in-memory database ends with its process.")
    path = str(url.database)
    path = path.removeprefix("file:").split("?")[0]
    if not Path(path).is_file():
        raise ConnectionFailed(
            f"There is no SQLite file {path!r}.", hint="onerow never makes a new database."
        )
    return path


def _check_sqlite_file(path: str) -> None:
    """Through SQLite: to open and close the file by ourselves would drop the locks of every other
    connection that this process has to it (howtocorrupt.html §2.2)."""
    if not os.access(path, os.R_OK):
        raise ConnectionFailed(f"The file {path!r} may not be read.")
    address = Path(path).absolute().as_uri() + "?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=0)) as file:
            file.execute("PRAGMA schema_version")
    except sqlite3.Error as error:
        # Whatever else there is will be told by the connection that does the work.
        if code_of(error) == "SQLITE_NOTADB":
            raise ConnectionFailed(f"{path!r} is not a SQLite database.") from None


def _sqlite_engine(url: URL) -> Engine:
    path = _sqlite_path(url)
    _check_sqlite_file(path)
    if sqlite3.sqlite_version_info < SQLITE_MINIMUM:
        raise DatabaseError(
            f"SQLite {sqlite3.sqlite_version} is too old; onerow needs 3.35 or newer."
        )

    def connect() -> sqlite3.Connection:
        # rw, never rwc: a mistyped path must not leave an empty file behind.
        mode = "rw" if os.access(path, os.W_OK) else "ro"
        address = Path(path).absolute().as_uri() + f"?mode={mode}"
        return sqlite3.connect(
            address, uri=True, isolation_level=None, timeout=5.0, check_same_thread=False
        )

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # Read-then-write upgrades fail at once whatever the busy timeout (SQLITE_BUSY_SNAPSHOT),
        # so a transaction that will write says so at its start.
        how = connection.get_execution_options().get("onerow_begin", "DEFERRED")
        connection.exec_driver_sql(f"BEGIN {how}")

    return engine


def _postgresql_engine(url: URL) -> Engine:
    options = {"connect_timeout": CONNECT_SECONDS, "prepare_threshold": None}
    query = dict(url.query)
    options = {k: v for k, v in options.items() if k not in query}
    engine = create_engine(url, poolclass=NullPool, connect_args=options)

    @event.listens_for(engine, "connect")
    def settings(dbapi: Any, _record: Any) -> None:
        before, dbapi.autocommit = dbapi.autocommit, True
        calls = ", ".join(
            f"set_config('{name}', '{value}', false)" for name, value in _SESSION_SETTINGS.items()
        )
        dbapi.execute(f"SELECT {calls}")
        dbapi.autocommit = before
        _read_leniently(dbapi.adapters)

    return engine


def _read_leniently(adapters: Any) -> None:
    """Let times that Python's types cannot hold (infinity, before Christ, 24:00) come as text."""
    from psycopg import DataError
    from psycopg.types import datetime

    def lenient(loader: Any) -> Any:
        class Lenient(loader):  # type: ignore[misc]
            def load(self, data: Any) -> Any:
                try:
                    return super().load(data)
                except DataError:
                    return bytes(data).decode()

        return Lenient

    for name in ("Date", "Time", "Timestamp", "Timestamptz", "Interval"):
        adapters.register_loader(name.lower(), lenient(getattr(datetime, f"{name}Loader")))


class Database:
    """An address that connections can be had from.

    Args:
        url: an address as a person writes it, see `parse_url`.

    Raises:
        UrlError: it is no address.
        ConnectionFailed: nobody answers there, or the password is wrong.
    """

    def __init__(self, url: str | URL) -> None:
        self.url = parse_url(url) if isinstance(url, str) else url
        self.dialect = "sqlite" if self.url.get_backend_name() == "sqlite" else "postgresql"
        make = _sqlite_engine if self.dialect == "sqlite" else _postgresql_engine
        self.engine = make(self.url)

    def __str__(self) -> str:
        return show_url(self.url)

    @property
    def path(self) -> Path:
        """The file of a SQLite database."""
        return Path(_sqlite_path(self.url))

    @contextmanager
    def connect(self, *, autocommit: bool = False) -> Iterator[Connection]:
        """A connection of one's own; driver errors leave it as `OnerowError`."""
        with errors(self):
            engine = self.engine
            if autocommit and self.dialect == "postgresql":
                engine = engine.execution_options(isolation_level="AUTOCOMMIT")
            elif self.dialect == "postgresql":
                # Whatever default_transaction_isolation says: a batch must see what was
                # committed while it waited for its locks.
                engine = engine.execution_options(isolation_level="READ COMMITTED")
            with engine.connect() as connection:
                yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One writing transaction (BEGIN IMMEDIATE on SQLite), committed at the end."""
        with self.connect() as connection:
            if self.dialect == "sqlite":
                connection = connection.execution_options(onerow_begin="IMMEDIATE")
            with connection.begin():
                yield connection


def run(connection: Connection, sql: str) -> Any:
    """Execute SQL as it stands: no parameter syntax is looked for in it."""
    return connection.exec_driver_sql(sql, execution_options={"no_parameters": True})


def is_unique_violation(error: BaseException) -> bool:
    return code_of(error) in UNIQUE


def excludes_each_other(error: BaseException) -> bool:
    """Two rows that a key or an exclusion constraint does not let stand together."""
    return is_unique_violation(error) or code_of(error) == "23P01"


def is_lock_failure(error: BaseException) -> bool:
    """Waiting again may help: lock timeout, deadlock, serialization, busy."""
    code = code_of(error)
    again = code in ("55P03", DEADLOCK, SERIALIZATION)
    return again or code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def driver_text(error: BaseException) -> str:
    original = getattr(error, "orig", None) or error
    diag = getattr(original, "diag", None)
    text = getattr(diag, "message_primary", None) or str(original)
    return " ".join(str(text).split())


def _without_secrets(text: str, url: URL) -> str:
    secrets = [str(url.password)] if url.password else []
    secrets += [str(v) for k, v in url.query.items() if _SECRET.search(k)]
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


_CONNECTION_CODES = ("08", "57P", "53300", "28", "3D000")


def translate(error: exc.DBAPIError | sqlite3.Error, database: Database) -> OnerowError:
    """A driver's error as ours."""
    code = code_of(error)
    text = _without_secrets(driver_text(error), database.url)
    if code.startswith("28"):
        return ConnectionFailed(f"{database} refuses the login: {text}.", sqlstate=code)
    if code == "3D000":
        return ConnectionFailed(f"{database}: {text}.", sqlstate=code)
    if code == "42501":
        return NoPrivilege(f"The role may not do this: {text}.", sqlstate=code)
    if code == "25006" or code.startswith("SQLITE_READONLY"):
        return ReadOnlyDatabase(f"{database} takes no writes: {text}.", sqlstate=code)
    if code.startswith("SQLITE_BUSY"):
        return DatabaseError(
            f"{database} is locked by another process.", sqlstate=code, hint="Try again."
        )
    if code in ("53100", "53400", "SQLITE_FULL"):
        return DatabaseError(
            f"{database} has no room left: {text}.",
            sqlstate=code,
            hint="Make room (or raise the limit that is named); then the same command goes on.",
        )
    lost = bool(getattr(error, "connection_invalidated", False))
    if lost or code.startswith(("08", "57P")):
        return ConnectionLost(f"The connection to {database} was lost: {text}.", sqlstate=code)
    if not code and getattr(error, "statement", None) is None:
        return ConnectionFailed(f"{database} cannot be reached: {text}")
    return DatabaseError(f"The database refused a statement: {text}.", sqlstate=code or None)


@contextmanager
def errors(database: Database) -> Iterator[None]:
    """Let driver errors out as `OnerowError`, with the driver's as the cause."""
    try:
        yield
    except (exc.DBAPIError, sqlite3.Error) as error:
        raise translate(error, database) from error
    except exc.NoSuchModuleError as error:
        raise InputError(f"A database driver is missing: {error}.") from error
