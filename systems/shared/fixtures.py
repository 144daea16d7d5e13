"""A state of a system's database: its schema and its rows, and how they get there.

Everything happens in one transaction, so a call that was killed leaves nothing behind. The rows of
all tables come out of one generator, in any order, and only a chunk of them is held at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.schema import AddConstraint, CreateIndex, CreateTable

from systems.shared.address import open_engine
from systems.shared.columns import Money
from systems.shared.errors import SystemFailure, SystemRefusal

Row = tuple[Any, ...]
Tell = Callable[[str], None]

#: A row and the table that it is for. Values are neutral: ids, texts, ISO dates, moments in UTC,
#: money in minor units.
Made = tuple[str, Row]

CHUNK = 20_000  #: rows that are sent at once
WORD = 250_000  #: rows of a table after which a word of progress is said


@dataclass(frozen=True, slots=True)
class State:
    """A schema and the rows in it.

    Attributes:
        columns: of each table that gets rows, in the order in which its rows have them.
        finish: statements per dialect for what metadata cannot say, run when the rows are there.
    """

    schema: sa.MetaData
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    rows: Iterable[Made] = ()
    finish: Mapping[str, Sequence[str]] = field(default_factory=dict)


def silent(_text: str) -> None:
    """Nobody listens."""


def build(url: str, state: State, *, force: bool = False, tell: Tell = silent) -> None:
    """Make a state in a database.

    Args:
        force: drop the system's own tables first.
        tell: is told what happens.

    Raises:
        SystemRefusal: a table is there already.
        SystemFailure: the database cannot be reached, or refuses a statement.
    """
    engine = open_engine(url, create=True)
    try:
        with _one_transaction(engine) as connection:
            _make_room(connection, state.schema, force)
            _create(connection, state, tell)
    except sa.exc.DBAPIError as error:
        said = " ".join(str(error.orig).split())
        raise SystemFailure(f"The database refuses: {said}") from error
    finally:
        engine.dispose()


@contextmanager
def _one_transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            # Inside of a transaction the pragma is ignored (pragma.html#pragma_foreign_keys).
            # The generators are trusted while they load; tests check what they leave.
            _dbapi(connection).execute("PRAGMA foreign_keys = OFF")
            connection = connection.execution_options(begin="IMMEDIATE")
        with connection.begin():
            yield connection


def _dbapi(connection: sa.Connection) -> Any:
    return connection.connection.driver_connection


def _make_room(connection: sa.Connection, schema: sa.MetaData, force: bool) -> None:
    there = set(sa.inspect(connection).get_table_names())
    taken = [t for t in reversed(schema.sorted_tables) if t.name in there]
    if taken and not force:
        names = ", ".join(sorted(t.name for t in taken))
        raise SystemRefusal(f"The database has {names} already. --force drops what is ours.")
    for table in taken:
        connection.execute(sa.schema.DropTable(table))


def _create(connection: sa.Connection, state: State, tell: Tell) -> None:
    dialect = connection.dialect.name
    tables = state.schema.sorted_tables
    # References and indexes after the rows: each row would otherwise pay for them by itself.
    later = dialect == "postgresql"
    for table in tables:
        keys: list[sa.ForeignKeyConstraint] | None = [] if later else None
        connection.execute(CreateTable(table, include_foreign_key_constraints=keys))
    _fill(connection, state, tell)
    for table in tables:
        for index in sorted(table.indexes, key=lambda i: str(i.name)):
            connection.execute(CreateIndex(index))
        for key in table.foreign_key_constraints if later else ():
            connection.execute(AddConstraint(key, isolate_from_table=False))
    for statement in state.finish.get(dialect, ()):
        connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
    if dialect == "postgresql":
        _count_on(connection, tables)
    connection.exec_driver_sql(_analyze(dialect, tables))


def _analyze(dialect: str, tables: Sequence[sa.Table]) -> str:
    names = ", ".join(t.name for t in tables)
    return f"ANALYZE {names}" if dialect == "postgresql" else "ANALYZE"


def _count_on(connection: sa.Connection, tables: Iterable[sa.Table]) -> None:
    """The next id comes after those that were given."""
    for table in tables:
        if "id" in table.c and table.c.id.identity is not None:
            connection.exec_driver_sql(
                f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), max(id))"
                f" FROM {table.name} HAVING count(*) > 0"
            )


# -- rows ---------------------------------------------------------------------------------------


def _fill(connection: sa.Connection, state: State, tell: Tell) -> None:
    began = time.monotonic()
    targets = {t: _Target(connection, state.schema.tables[t], c) for t, c in state.columns.items()}
    for name, row in state.rows:
        target = targets[name]
        target.waiting.append(row)
        if len(target.waiting) == CHUNK and target.send() % WORD < CHUNK:
            tell(f"{name}: {target.sent:,} rows")
    for name, target in targets.items():
        tell(f"{name}: {target.send():,} rows in all")
    if targets:
        tell(f"rows in after {time.monotonic() - began:.1f} s; references, indexes, statistics")


class _Target:
    """A table, and the rows that are on their way to it."""

    def __init__(self, connection: sa.Connection, table: sa.Table, columns: Sequence[str]) -> None:
        self.driver = _dbapi(connection)
        self.copies = connection.dialect.name == "postgresql"
        self.waiting: list[Row] = []
        self.sent = 0
        names = ", ".join(columns)
        marks = ", ".join("?" * len(columns))
        insert = f"INSERT INTO {table.name} ({names}) VALUES ({marks})"
        self.sql = f"COPY {table.name} ({names}) FROM STDIN" if self.copies else insert
        self.money = [i for i, c in enumerate(columns) if isinstance(table.c[c].type, Money)]

    def send(self) -> int:
        """Send what is waiting; the number of rows sent so far."""
        if self.copies:
            self._copy()
        else:
            self.driver.executemany(self.sql, self.waiting)
        self.sent += len(self.waiting)
        self.waiting.clear()
        return self.sent

    def _copy(self) -> None:
        with self.driver.cursor() as cursor, cursor.copy(self.sql) as out:
            for row in self.waiting:
                out.write_row(_with_decimals(row, self.money) if self.money else row)


def _with_decimals(row: Row, where: Sequence[int]) -> Row:
    """Minor units as PostgreSQL's numeric reads them."""
    out = list(row)
    for i in where:
        value = out[i]
        if value is not None:
            out[i] = f"{value // 100}.{value % 100:02d}"
    return tuple(out)
