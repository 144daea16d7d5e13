"""Whether a database is the one that an application was written for."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import sqlalchemy as sa

from systems.shared.errors import SystemFailure


def lacking(engine: sa.Engine, schema: sa.MetaData) -> list[str]:
    """What a schema has and the database has not: tables, columns, unique keys by their columns.

    Raises:
        SystemFailure: the database cannot be reached.
    """
    try:
        with engine.connect() as connection, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Skipped unsupported reflection of expression-based")
            return list(_lacking(sa.inspect(connection), schema))
    except sa.exc.DBAPIError as error:
        said = " ".join(str(error.orig).split())
        raise SystemFailure(f"The database cannot be used: {said}") from error


def _lacking(there: sa.Inspector, schema: sa.MetaData) -> Iterator[str]:
    names = set(there.get_table_names())
    for table in schema.sorted_tables:
        if table.name not in names:
            yield f"table {table.name}"
            continue
        columns = {c["name"] for c in there.get_columns(table.name)}
        yield from (f"column {table.name}.{c.name}" for c in table.c if c.name not in columns)
        keys = _keys_of_database(there, table.name)
        yield from (f"unique key {table.name}({k})" for k in sorted(_keys(table)) if k not in keys)


def _keys(table: sa.Table) -> set[str]:
    """Of plain columns; what a key of expressions is called says more than its text."""
    uniques = [c for c in table.constraints if isinstance(c, sa.UniqueConstraint)]
    found = {_key(c.name for c in u.columns) for u in uniques}
    for index in table.indexes:
        plain = all(isinstance(e, sa.Column) for e in index.expressions)
        if index.unique:
            found.add(_key(c.name for c in index.columns) if plain else str(index.name))
    return found


def _keys_of_database(there: sa.Inspector, table: str) -> set[str]:
    found = {_key(u["column_names"]) for u in there.get_unique_constraints(table)}
    for index in there.get_indexes(table):
        if index["unique"]:
            found |= {_key(c for c in index["column_names"] if c), str(index["name"])}
    return found | _keys_of_expressions(there, table)


def _keys_of_expressions(there: sa.Inspector, table: str) -> set[str]:
    """The names of a SQLite table's unique indexes: SQLAlchemy passes over those of expressions."""
    engine = there.bind
    if engine.dialect.name != "sqlite":
        return set()
    assert isinstance(engine, sa.Connection)
    pragma = sa.text('SELECT name FROM pragma_index_list(:t) WHERE "unique"')
    return set(engine.execute(pragma, {"t": table}).scalars())


def _key(columns: object) -> str:
    return ", ".join(sorted(map(str, columns)))  # type: ignore[call-overload]
