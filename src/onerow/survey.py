"""Questions put to the rows for rules that are no keys. Read-only, but for what is rolled back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from onerow import mapping
from onerow.codes import code_of
from onerow.database import Database, driver_text, run
from onerow.errors import RuleError
from onerow.facts import ColumnFacts, OrphanFacts, PopulationFacts, RowFacts
from onerow.keys import BoundKey
from onerow.measure import plain
from onerow.planning.column import BoundColumn
from onerow.planning.fill import Source
from onerow.planning.population import BoundPopulation
from onerow.planning.reference import BoundReference
from onerow.schema import ForeignKey, Snapshot, Table
from onerow.sql import Name, comma, conjunction, quote
from onerow.steps.archive_orphans import orphaned

SAMPLES = 5
LISTED = 20  #: rows that a person is shown when they must be mended by hand


@contextmanager
def rule_errors(rule: str) -> Iterator[None]:
    """An error in the SQL that a rule brings along is the rule's, not the server's."""
    try:
        yield
    except DBAPIError as error:
        code, text = code_of(error), driver_text(error)
        if code == "SQLITE_ERROR" or (code.startswith(("42", "22")) and code != "42501"):
            raise RuleError(f"the server cannot evaluate it: {text}.", rule=rule) from error
        raise


def rows_where(
    connection: Connection, table: Table, condition: str, *, limit: int = SAMPLES, source: str = ""
) -> RowFacts:
    """How many rows meet a condition, and the keys of a few; `source` stands in for the table."""
    where = source or table.sql
    sql = f"SELECT count(*) FROM {where} WHERE {condition}"
    rows = int(run(connection, sql).scalar_one())
    return RowFacts(
        rows=rows,
        samples=_samples(connection, table, where, condition, limit) if rows else (),
        sql=sql,
    )


def _samples(
    connection: Connection, table: Table, source: str, condition: str, limit: int
) -> tuple[Mapping[str, object], ...]:
    key = table.row_identity
    if not key:
        return ()
    columns = comma(map(quote, key))
    found = run(
        connection,
        f"SELECT {columns} FROM {source} WHERE {condition} ORDER BY {columns} LIMIT {limit}",
    )
    return tuple(dict(zip(key, map(plain, row), strict=True)) for row in found)


# -- references, populations -------------------------------------------------------------------


def orphan_facts(connection: Connection, bound: BoundReference, key: ForeignKey) -> OrphanFacts:
    """Rows that refer to nothing; for those that would go, the rows that refer to them."""
    condition = conjunction(orphaned(key, bound.table.sql))
    with rule_errors(bound.label):
        found = rows_where(connection, bound.table, condition, limit=LISTED)
    return OrphanFacts(orphans=found)


def children_of_orphans(
    connection: Connection, bound: BoundReference, key: ForeignKey, snapshot: Snapshot
) -> dict[str, int]:
    """Rows of each foreign key that refer to orphans, which cannot go before they do."""
    return {
        f"{fk.table}.{fk.name}": int(run(connection, grandchildren(key, fk)).scalar_one())
        for fk in snapshot.references_to(bound.table.ident)
    }


def grandchildren(key: ForeignKey, child: ForeignKey) -> str:
    """Counts the rows of one foreign key that refer to orphans of another."""
    same = conjunction(
        f"c.{quote(c)} = o.{quote(t)}"
        for c, t in zip(child.columns, child.target_columns, strict=True)
    )
    lost = conjunction(orphaned(key, "o"))
    return (
        f"SELECT count(*) FROM {child.table.sql} AS c"
        f" WHERE EXISTS (SELECT 1 FROM {key.table.sql} AS o WHERE {same} AND {lost})"
    )


def population_facts(connection: Connection, bound: BoundPopulation) -> PopulationFacts:
    with rule_errors(bound.label):
        total, populated = run(connection, bound.sql).one()
    return PopulationFacts(total=int(total), populated=int(populated), sql=bound.sql)


# -- columns -----------------------------------------------------------------------------------


def column_facts(connection: Connection, bound: BoundColumn, base: str) -> ColumnFacts:
    """What a backfill would meet. Needs a transaction that may make session tables.

    Raises:
        RuleError: a type, an expression or a file that cannot be used.
    """
    with rule_errors(bound.label):
        facts = _type_facts(connection, bound)
        if bound.there is None and bound.rule.generated is not None:
            return replace(facts, uncovered=_not_generated(connection, bound))
        empty = f"{quote(bound.there.name)} IS NULL" if bound.there else "1 = 1"
        rows = rows_where(connection, bound.table, empty).rows
        if not rows:
            return facts
        if bound.source is None:
            return replace(
                facts, rows=rows, uncovered=rows_where(connection, bound.table, empty, limit=LISTED)
            )
        return _covered(connection, bound, replace(facts, rows=rows), empty, base)


def _covered(
    connection: Connection, bound: BoundColumn, facts: ColumnFacts, empty: str, base: str
) -> ColumnFacts:
    source = bound.source
    assert source is not None
    if source.kind == "csv":
        kept = mapping.load(connection, bound.table, bound.rule.name, facts.type, source, base)
        kept.refuse_unknown(connection, bound.label)
    value = source.value(bound.table.name, bound.dialect)
    typed = f"CAST(({value}) AS {facts.type})" if bound.dialect == "postgresql" else f"({value})"
    left = rows_where(connection, bound.table, f"{empty} AND {typed} IS NULL", limit=LISTED)
    if source.references is None:
        return replace(facts, uncovered=left)
    parent, column = source.references
    found = f"SELECT 1 FROM {parent} AS q WHERE q.{column} = {typed}"
    lost = f"{empty} AND {typed} IS NOT NULL AND NOT EXISTS ({found})"
    misfits = rows_where(connection, bound.table, lost, limit=LISTED)
    return replace(facts, uncovered=left, misfits=misfits)


def _not_generated(connection: Connection, bound: BoundColumn) -> RowFacts:
    """Rows for which the expression gives NULL, where that is not allowed."""
    if not bound.rule.not_null:
        run(connection, f"SELECT ({bound.rule.generated}) FROM {bound.table.sql} LIMIT 1")
        return RowFacts()
    empty = f"({bound.rule.generated}) IS NULL"
    return rows_where(connection, bound.table, empty, limit=LISTED)


_TYPE = """
SELECT format_type(a.atttypid, a.atttypmod), b.typcategory::text, b.typname::text
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
WHERE a.attrelid = 'pg_temp.onerow_type'::regclass AND a.attnum = 1
"""


def _type_facts(connection: Connection, bound: BoundColumn) -> ColumnFacts:
    """The type as the server writes it; the server refuses one that it does not know."""
    if bound.dialect == "sqlite":
        return ColumnFacts(type=bound.rule.type)
    run(connection, "DROP TABLE IF EXISTS pg_temp.onerow_type")
    run(connection, f"CREATE TEMPORARY TABLE onerow_type (c {bound.rule.type})")
    type_, category, name = run(connection, _TYPE).one()
    return ColumnFacts(type=type_, type_category=category, type_name=name)


# -- rows as they will be ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """Values that columns will have once the plan has run; None where only a file tells."""

    values: Mapping[tuple[Name, str], str | None] = field(default_factory=dict)

    def touches(self, table: Table, columns: Sequence[str]) -> bool:
        return any((table.ident, c) in self.values for c in columns)

    def unknown(self, table: Table, columns: Sequence[str]) -> bool:
        """A value that cannot be told beforehand."""
        found = [(table.ident, c) for c in columns]
        return any(key in self.values and self.values[key] is None for key in found)

    def view(self, connection: Connection, table: Table, number: int = 0) -> Table:
        """A view of the session that shows the table's rows as they will be.

        `number` tells several of them apart.
        """
        values = {c: v for (t, c), v in self.values.items() if t == table.ident}
        if not values:
            return table
        shown = comma(
            f"{values[c.name] or 'NULL'} AS {quote(c.name)}" if c.name in values else quote(c.name)
            for c in table.columns
        )
        schema = "pg_temp" if connection.dialect.name == "postgresql" else "temp"
        name = f"onerow_ahead_{number}" if number else "onerow_ahead"
        run(connection, f"DROP VIEW IF EXISTS {schema}.{name}")
        run(connection, f"CREATE TEMPORARY VIEW {name} AS SELECT {shown} FROM {table.sql}")
        return replace(table, schema=schema, name=name)


def value_ahead(bound: BoundColumn, facts: ColumnFacts) -> str | None:
    """The expression of a column's value once it is filled; None where only a file tells."""
    rule, source = bound.rule, bound.source
    if rule.generated is not None:
        return f"({rule.generated})"
    if source is not None and source.kind == "csv":
        return None
    value = f"({_in_type(source, bound, facts)})" if source else "NULL"
    return f"coalesce({quote(bound.there.name)}, {value})" if bound.there else value


def _in_type(source: Source, bound: BoundColumn, facts: ColumnFacts) -> str:
    value = source.value(bound.table.name, bound.dialect)
    return f"CAST(({value}) AS {facts.type})" if bound.dialect == "postgresql" else value


# -- what the server would refuse --------------------------------------------------------------


def rehearse(database: Database, table: Table, rule: str, statement: str) -> None:
    """Tries to make an index on an empty copy of a table, and takes it back.

    Args:
        statement: with `{copy}` for the table's name, and `{place}` before the index's.

    Raises:
        RuleError: the server does not take it.
    """
    # SQLite wants the schema before the index's name, PostgreSQL before the table's.
    place, copy = ("", "pg_temp.") if database.dialect == "postgresql" else ("temp.", "")
    names = {"{place}": place, "{copy}": f"{copy}onerow_rehearsal"}
    for mark, text in names.items():
        statement = statement.replace(mark, text)
    _rehearse(database, table, rule, (), statement)


def rehearse_key(database: Database, bound: BoundKey, create: str) -> None:
    """The same for a key's index, on a copy that has the columns which are still to come."""
    on = f" ON {bound.table.sql} "
    if on in create:
        rehearse(database, bound.table, bound.label, create.replace(on, " ON {copy} ", 1))


def rehearse_check(database: Database, table: Table, rule: str, check: str) -> None:
    """The same for a CHECK."""
    _rehearse(database, table, rule, (f"CHECK ({check})",), "")


def _rehearse(
    database: Database, table: Table, rule: str, more: tuple[str, ...], statement: str
) -> None:
    columns = comma([*(f"{quote(c.name)} {c.type}" for c in table.columns), *more])
    with database.connect() as connection:
        if database.dialect == "postgresql" and not _may_make_tables(connection):
            return
        with rule_errors(rule):
            run(connection, f"CREATE TEMPORARY TABLE onerow_rehearsal ({columns})")
            if statement:
                run(connection, statement)
        connection.rollback()


def _may_make_tables(connection: Connection) -> bool:
    sql = (
        "SELECT has_database_privilege(current_database(), 'TEMPORARY')"
        " AND current_setting('transaction_read_only') = 'off'"
    )
    return bool(run(connection, sql).scalar_one())
