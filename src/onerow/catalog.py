"""From a connection to a Snapshot: the catalog read in one transaction, in a handful of queries.

The rows are fetched here and made into values by `dialects/ENGINE/snapshot.py`, after the
transaction has ended.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Row, exc, text

from onerow.codes import code_of
from onerow.database import run
from onerow.dialects.postgresql import snapshot as postgresql
from onerow.dialects.postgresql.snapshot import CatalogMoved
from onerow.dialects.queries import load
from onerow.dialects.sqlite import snapshot as sqlite
from onerow.errors import DatabaseError
from onerow.schema import Snapshot
from onerow.sql import Name, comma, literal

TRIES = 10
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.4  #: seconds; doubles from try to try
LOCK_TIMEOUT = "1s"  #: printing a definition waits for whoever alters the table

#: What the printing functions raise when an object goes away under them (XX000 "cache lookup
#: failed", 42P01), what a standby raises (40001), and a lock that is held for long (55P03).
_CATALOG_MOVES = ("XX000", "42P01", "40001", "55P03")

_OF_TABLES = (
    "columns", "types", "indexes", "constraints", "foreign_keys", "triggers", "publications",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Scope:
    """What to read: whole schemas, or some tables. Without schemas, those of the search path."""

    schemas: tuple[str, ...] | None
    tables: frozenset[Name] | None


def read_snapshot(
    engine: Engine,
    *,
    schemas: Sequence[str] | None = None,
    tables: Collection[Name] | None = None,
) -> Snapshot:
    """Read the catalog in a read-only transaction of its own.

    Args:
        engine: of PostgreSQL or SQLite.
        schemas: to read; by default those of the search path that exist. SQLite has `main` alone.
        tables: to read in place of whole schemas, wherever they are.

    Tables that hang on these by foreign keys (also from other schemas), partitions or inheritance
    are read with them, and marked as not `asked` for. Our own schema is left out.

    Raises:
        DatabaseError: definitions kept changing, or stayed locked, through all tries.
        sqlalchemy.exc.DBAPIError: the database refused; `onerow.database.errors` translates it.
    """
    scope = _scope(schemas, tables)
    if engine.dialect.name == "sqlite":
        return _sqlite_snapshot(engine, scope)
    return _postgresql_snapshot(engine, scope)


def snapshot_of(
    connection: Connection,
    *,
    schemas: Sequence[str] | None = None,
    tables: Collection[Name] | None = None,
) -> Snapshot:
    """Read the catalog inside the transaction that is open on the connection, once.

    It sees what the transaction has changed. Arguments and result as of `read_snapshot`.

    Raises:
        ValueError: the connection is in autocommit mode, so that there is no transaction.
        DatabaseError: a definition was dropped while it was read.
        sqlalchemy.exc.DBAPIError: the database refused.
    """
    scope = _scope(schemas, tables)
    if connection.dialect.name == "sqlite":
        rows = _sqlite_rows(connection)
        return sqlite.build(rows, scope.tables, read_only=_is_read_only(connection, rows))
    rows = _postgresql_rows(connection, scope)
    _set(
        connection,
        search_path=rows["server"][0].search_path_setting,
        jit=rows["server"][0].jit_setting,
    )
    try:
        return postgresql.build(rows, scope.schemas)
    except CatalogMoved as error:
        raise _moving(error, tries=1) from error


def _scope(schemas: Sequence[str] | None, tables: Collection[Name] | None) -> _Scope:
    return _Scope(
        None if schemas is None else tuple(schemas),
        None if tables is None else frozenset(tables),
    )


# -- PostgreSQL ------------------------------------------------------------------------------


def _postgresql_snapshot(engine: Engine, scope: _Scope) -> Snapshot:
    error: Exception | None = None
    for pause in _pauses():
        time.sleep(pause)
        try:
            return postgresql.build(_rows_of_own_transaction(engine, scope), scope.schemas)
        except CatalogMoved as moved:
            error = moved
        except exc.DBAPIError as refused:
            if code_of(refused) not in _CATALOG_MOVES:
                raise
            error = refused
    raise _moving(error, tries=TRIES) from error


def _pauses() -> Iterator[float]:
    yield 0
    for attempt in range(TRIES - 1):
        # Spread, so that two readers do not meet the same migration in step.
        yield min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE) * random.uniform(0.5, 1.0)


def _moving(error: Exception | None, *, tries: int) -> DatabaseError:
    said = getattr(getattr(getattr(error, "orig", None), "diag", None), "message_primary", None)
    how_often = "once" if tries == 1 else f"{tries} times"
    return DatabaseError(
        "The catalog could not be read: definitions are changed or locked by others, tried "
        f"{how_often}{f' ({said})' if said else ''}.",
        sqlstate=(code_of(error) or None) if error is not None else None,
        hint="Try again when no migration is running.",
    )


def _rows_of_own_transaction(engine: Engine, scope: _Scope) -> postgresql.Rows:
    with engine.connect() as connection:
        connection = connection.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        return _postgresql_rows(connection, scope, lock_timeout=LOCK_TIMEOUT)


def _postgresql_rows(connection: Connection, scope: _Scope, **settings: str) -> postgresql.Rows:
    """All answers. Leaves the transaction with settings of its own, the search path among them."""
    answers = {"server": _ask(connection, "server")}
    server = answers["server"][0]
    version = (server.version_number // 10000,)
    # Compiling takes longer than these queries do, and the planner is tempted by their size.
    _set(connection, jit="off", **settings)
    answers["trigger_suppression"] = _ask(connection, "trigger_suppression", version)
    answers["tables"] = _ask(
        connection,
        "tables",
        version,
        whole=str(scope.tables is None).lower(),
        schemas=json.dumps(postgresql.schemas_to_read(server, scope.schemas)),
        names=json.dumps([[t.schema, t.name] for t in scope.tables or ()]),
    )
    relations = f"{{{','.join(str(t.oid) for t in answers['tables'])}}}"
    for name in _OF_TABLES:
        answers[name] = _ask(connection, name, version, relations=relations)
    folding = postgresql.folding_query(answers["columns"])
    answers["collations"] = run(connection, folding).all() if folding else []
    # Printed with an empty search path a definition names its schemas, so that it can be run
    # again whatever the path is then; pg_dump does so too.
    _set(connection, search_path="")
    answers["definitions"] = _ask(connection, "definitions", relations=relations)
    if not all(row.qualified for row in answers["definitions"][:1]):
        raise ValueError("A snapshot needs a transaction; this connection is in autocommit mode.")
    return answers


def _set(connection: Connection, **settings: str) -> None:
    """Settings of this transaction."""
    calls = [f"set_config('{name}', {literal(value)}, true)" for name, value in settings.items()]
    run(connection, f"SELECT {comma(calls)}")


def _ask(
    connection: Connection, query: str, version: tuple[int, ...] = (), **parameters: str
) -> Sequence[Row[Any]]:
    sql = load(connection.dialect.name, query, version)
    return connection.execute(text(sql), parameters).all()


# -- SQLite ----------------------------------------------------------------------------------


def _sqlite_snapshot(engine: Engine, scope: _Scope) -> Snapshot:
    with engine.connect() as connection, connection.begin():
        # Python's own transactions begin with the first write (sqlite3, "Transaction control"),
        # so without this each query would see the schema of its own moment.
        if not connection.connection.dbapi_connection.in_transaction:  # type: ignore[union-attr]
            run(connection, "BEGIN")
        rows = _sqlite_rows(connection)
        read_only = _is_read_only(connection, rows)
    return sqlite.build(rows, scope.tables, read_only=read_only)


def _sqlite_rows(connection: Connection) -> sqlite.Rows:
    answers = {"server": _ask(connection, "server")}
    server = answers["server"][0]
    version = tuple(map(int, server.version.split(".")))
    for name in ("objects", "kinds", "columns", "indexes", "foreign_keys"):
        answers[name] = _ask(connection, name, version)
    answers["view_columns"] = _view_columns(connection, answers["objects"])
    answers["statistics"] = _ask(connection, "statistics") if server.analysed else []
    return answers


def _view_columns(connection: Connection, objects: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
    """Columns of views and virtual tables, without those of a broken one.

    SQLite keeps a view whose table is gone and a virtual table whose module is not loaded; to
    ask for its columns is an error, which must not hide the rest of the schema.
    """
    try:
        return _ask(connection, "view_columns")
    except exc.OperationalError:
        found: list[Row[Any]] = []
        for row in objects:
            if row.type in ("table", "view") and row.rootpage == 0:
                with suppress(exc.OperationalError):
                    found += _ask(connection, "view_columns_of", name=row.name)
        return found


def _is_read_only(connection: Connection, rows: sqlite.Rows) -> bool:
    """The file, or the folder that its journal goes to, may not be written."""
    url = connection.engine.url.query
    if url.get("mode") == "ro" or url.get("immutable"):
        return True
    file = rows["server"][0].file
    return bool(file) and not (
        os.access(file, os.W_OK) and os.access(os.path.dirname(file), os.W_OK)
    )
