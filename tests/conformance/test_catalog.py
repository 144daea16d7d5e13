"""The Snapshot is what the database has: every engine, every server found."""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import NullPool

from onerow import catalog
from onerow.catalog import read_snapshot, snapshot_of
from onerow.database import Database
from onerow.dialects.queries import load
from onerow.errors import DatabaseError
from onerow.schema import (
    FOREIGN,
    MATERIALIZED_VIEW,
    ORDINARY,
    PARTITIONED,
    VIEW,
    VIRTUAL,
    Column,
    ForeignKey,
    Index,
    IndexColumn,
    Snapshot,
    Table,
)
from onerow.sql import Name, quote
from onerow.testing import Server, find_servers

WEIRD = 'Weird ""Name" %s :x é'.replace('""', '"')
LONGEST = "N" * 62 + "x"  # 63 bytes, PostgreSQL's limit


@pytest.fixture(
    params=[pytest.param(s.name, marks=pytest.mark.pg) for s in find_servers()] or ["none"]
)
def server(request: pytest.FixtureRequest, open_server: Callable[..., Any]) -> Server:
    """Each PostgreSQL server found."""
    found: Server = open_server(request.param)[0]
    return found


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    """A fresh database on each PostgreSQL server found."""
    with server.database() as address:
        yield address


def execute(url: str, *statements: str) -> None:
    """Run statements, each in a transaction of its own."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(Database(url).path)) as file:
            file.executescript(";\n".join(statements))
        return
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def read(url: str, **scope: Any) -> Snapshot:
    return read_snapshot(Database(url).engine, **scope)


def table_of(snapshot: Snapshot, name: str, schema: str | None = None) -> Table:
    schema = schema or ("main" if snapshot.dialect == "sqlite" else "public")
    found = snapshot.get(Name(schema, name))
    assert found is not None, f"no {schema}.{name} in {[str(t) for t in snapshot]}"
    return found


def column(table: Table, name: str) -> Column:
    found = table.column(name)
    assert found is not None
    return found


def index(table: Table, name: str) -> Index:
    found = table.index(name)
    assert found is not None, f"no {name} in {[i.name for i in table.indexes]}"
    return found


def key(table: Table, name: str) -> ForeignKey:
    return next(k for k in table.foreign_keys if k.name == name)


def names(snapshot: Snapshot) -> list[str]:
    return [t.name for t in snapshot]


@contextmanager
def counted(engine: Engine) -> Iterator[list[str]]:
    """The statements that the block sends."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        sent.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


@contextmanager
def before_query(engine: Engine, words: str, action: Callable[[], None]) -> Iterator[None]:
    """Run the action right before a statement that holds the words."""

    def interfere(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if words in statement:
            action()

    event.listen(engine, "before_cursor_execute", interfere)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", interfere)


# -- every engine ----------------------------------------------------------------------------


def test_an_empty_database_is_an_empty_snapshot(every_url: str) -> None:
    """With the facts of the server in it."""
    snapshot = read(every_url)
    assert snapshot.tables == ()
    assert snapshot.version >= (3, 35)
    assert snapshot.dialect in every_url
    assert not snapshot.read_only
    assert not snapshot.in_recovery


def test_columns_with_types_defaults_and_not_null(every_url: str) -> None:
    """In the order of the table."""
    execute(
        every_url,
        "CREATE TABLE t (id integer PRIMARY KEY, name varchar(20) NOT NULL, n numeric(10,2) "
        "DEFAULT 1.5, note text, CHECK (note IS NOT NULL))",
    )
    table = table_of(read(every_url), "t")
    assert [c.name for c in table.columns] == ["id", "name", "n", "note"]
    assert [c.position for c in table.columns] == [1, 2, 3, 4]
    assert [c.not_null for c in table.columns] == [True, True, False, True]
    assert not column(table, "note").not_null_declared
    assert column(table, "n").default == "1.5"
    assert column(table, "name").not_null_declared
    assert table.kind == ORDINARY
    assert table.primary_key == table.row_identity == ("id",)


def test_a_check_with_or_lets_null_in(every_url: str) -> None:
    """Only IS NOT NULL joined by AND demands it."""
    execute(
        every_url,
        "CREATE TABLE t (a int, b int, c int, d int, "
        "CHECK (a IS NOT NULL OR b IS NOT NULL), CHECK (c IS NOT NULL AND d > 0), CHECK (d > 0))",
    )
    table = table_of(read(every_url), "t")
    assert [c.name for c in table.columns if c.not_null] == ["c"]


def test_a_check_on_another_column_of_like_name(every_url: str) -> None:
    """Quotes and commas in a name do not make it another's."""
    execute(
        every_url,
        'CREATE TABLE t (a int, "a IS NOT NULL" int, CHECK ("a IS NOT NULL" IS NOT NULL))',
    )
    table = table_of(read(every_url), "t")
    assert [c.name for c in table.columns if c.not_null] == ["a IS NOT NULL"]


def test_named_constraints_give_their_name_to_the_index(every_url: str) -> None:
    """So that a plan knows what to drop."""
    execute(
        every_url,
        "CREATE TABLE t (a int, b int, c int UNIQUE, CONSTRAINT pair UNIQUE (a, b), "
        "CONSTRAINT main_key PRIMARY KEY (b, a))",
    )
    table = table_of(read(every_url), "t")
    by_columns = {tuple(c.expression for c in i.columns): i for i in table.indexes}
    assert by_columns["a", "b"].constraint == "pair"
    assert by_columns["a", "b"].constraint_kind == "unique"
    assert by_columns["b", "a"].constraint == "main_key"
    assert by_columns["b", "a"].constraint_kind == "primary key"
    assert by_columns["b", "a"].primary
    assert by_columns[("c",)].unique
    assert by_columns[("c",)].constraint_kind == "unique"
    assert {c.name for c in table.constraints if c.kind != "not null"} >= {"pair", "main_key"}


def test_partial_and_expression_indexes(every_url: str) -> None:
    """Expression and predicate as the engine prints them, order and definition with them."""
    execute(
        every_url,
        "CREATE TABLE t (a text, b text, n int)",
        "CREATE UNIQUE INDEX i ON t (lower(a), b DESC) WHERE b <> 'x, y) WHERE (' AND n IS NULL",
        "CREATE INDEX plain ON t (n)",
    )
    table = table_of(read(every_url), "t")
    found = index(table, "i")
    first, second = found.columns
    assert (first.expression, first.is_expression) == ("lower(a)", True)
    assert (second.expression, second.is_expression, second.descending) == ("b", False, True)
    assert found.predicate is not None
    assert "'x, y) WHERE ('" in found.predicate
    assert found.unique
    assert found.enforcing
    assert found.definition.startswith("CREATE UNIQUE INDEX")
    assert found.constraint is None
    assert found.constraint_kind == ""
    plain = index(table, "plain")
    assert not plain.unique
    assert plain.predicate is None
    assert plain.columns == (IndexColumn(expression="n", opclass=plain.columns[0].opclass),)


def test_foreign_keys_with_actions(every_url: str) -> None:
    """Single, composite, to the table itself, and without naming the target's columns."""
    execute(
        every_url,
        "CREATE TABLE parent (id int PRIMARY KEY, a int, b int, UNIQUE (a, b))",
        "CREATE TABLE child (id int PRIMARY KEY, p int CONSTRAINT to_parent REFERENCES parent "
        "ON DELETE SET NULL ON UPDATE CASCADE, a int, b int, up int REFERENCES child (id) "
        "DEFERRABLE INITIALLY DEFERRED, CONSTRAINT pair FOREIGN KEY (a, b) REFERENCES parent (a, b)"
        " ON DELETE CASCADE)",
    )
    snapshot = read(every_url)
    parent, child = table_of(snapshot, "parent"), table_of(snapshot, "child")
    to_parent, pair = key(child, "to_parent"), key(child, "pair")
    assert (to_parent.columns, to_parent.target) == (("p",), parent.ident)
    assert to_parent.target_columns == ("id",)
    assert (to_parent.on_delete, to_parent.on_update) == ("set null", "cascade")
    assert (pair.columns, pair.target_columns) == (("a", "b"), ("a", "b"))
    assert pair.on_delete == "cascade"
    assert pair.index is not None
    unique = index(parent, pair.index.name)
    assert tuple(c.expression for c in unique.columns) == ("a", "b")
    itself = next(k for k in child.foreign_keys if k.columns == ("up",))
    assert itself.target == child.ident
    assert itself.deferrable
    assert itself.deferred
    assert {k.name for k in snapshot.references_to(parent.ident)} == {"to_parent", "pair"}


def test_two_foreign_keys_on_the_same_column(every_url: str) -> None:
    """Each keeps its own name."""
    execute(
        every_url,
        "CREATE TABLE p (id int PRIMARY KEY)",
        "CREATE TABLE q (id int PRIMARY KEY)",
        "CREATE TABLE c (a int, CONSTRAINT one FOREIGN KEY (a) REFERENCES p (id), "
        "CONSTRAINT two FOREIGN KEY (a) REFERENCES p (id), "
        "CONSTRAINT three FOREIGN KEY (a) REFERENCES q (id))",
    )
    table = table_of(read(every_url), "c")
    assert {k.name: k.target.name for k in table.foreign_keys} == {
        "one": "p",
        "two": "p",
        "three": "q",
    }


def test_names_with_everything_in_them(every_url: str) -> None:
    """Quotes, spaces, upper case, percent, colon, and 63 bytes."""
    weird, longest = quote(WEIRD), quote(LONGEST)
    execute(
        every_url,
        f"CREATE TABLE {weird} ({weird} int NOT NULL, {longest} text, "
        f"CONSTRAINT {longest} UNIQUE ({weird}, {longest}), CHECK ({weird} > 0))",
        f'CREATE TABLE "Child %s" (a int, {weird} text, CONSTRAINT {weird} '
        f"FOREIGN KEY (a, {weird}) REFERENCES {weird} ({weird}, {longest}))",
        f"CREATE INDEX \"I %s\" ON {weird} (coalesce({longest}, '%s :y'))",
    )
    snapshot = read(every_url)
    table, child = table_of(snapshot, WEIRD), table_of(snapshot, "Child %s")
    assert [c.name for c in table.columns] == [WEIRD, LONGEST]
    unique = next(i for i in table.indexes if i.unique)
    assert unique.constraint == LONGEST
    assert tuple(c.expression for c in unique.columns) == (WEIRD, LONGEST)
    assert "'%s :y'" in index(table, "I %s").columns[0].expression
    reference = child.foreign_keys[0]
    assert (reference.name, reference.target) == (WEIRD, table.ident)
    assert (reference.columns, reference.target_columns) == (("a", WEIRD), (WEIRD, LONGEST))
    assert read(every_url, tables=[table.ident]).get(table.ident) is not None


def test_generated_columns(every_url: str) -> None:
    """Are told from defaults, and cannot be written."""
    execute(
        every_url,
        "CREATE TABLE t (a int DEFAULT 3, b int GENERATED ALWAYS AS (a * 2) STORED)",
    )
    table = table_of(read(every_url), "t")
    a, b = column(table, "a"), column(table, "b")
    assert (a.default, a.generated, a.generation, a.writable) == ("3", "", None, True)
    assert (b.default, b.generated, b.writable) == (None, "stored", False)
    assert b.generation is not None
    assert b.generation.strip("()") == "a * 2"


def test_checks(every_url: str) -> None:
    """With their names and expressions."""
    execute(every_url, "CREATE TABLE t (a int CHECK (a > 1), CONSTRAINT small CHECK (a < 9))")
    table = table_of(read(every_url), "t")
    small = table.constraint("small")
    assert small is not None
    assert (small.kind, small.expression, small.validated) == ("check", "a < 9", True)
    assert small.definition.upper().startswith("CHECK")
    assert sorted(c.expression for c in table.constraints) == ["a < 9", "a > 1"]
    assert len({c.name for c in table.constraints}) == 2


def test_views_are_told_from_tables(every_url: str) -> None:
    """With their columns."""
    execute(every_url, "CREATE TABLE t (a int, b text)", "CREATE VIEW v AS SELECT b, a AS c FROM t")
    view = table_of(read(every_url), "v")
    assert view.kind == VIEW
    assert [c.name for c in view.columns] == ["b", "c"]


def test_only_some_tables_and_what_hangs_on_them(every_url: str) -> None:
    """Children, their children, and the tables that these refer to; nothing else."""
    execute(
        every_url,
        "CREATE TABLE above (id int PRIMARY KEY)",
        "CREATE TABLE root (id int PRIMARY KEY, up int REFERENCES above (id))",
        "CREATE TABLE child (id int PRIMARY KEY, r int REFERENCES root (id))",
        "CREATE TABLE other_parent (id int PRIMARY KEY)",
        "CREATE TABLE grandchild (c int REFERENCES child (id), o int REFERENCES other_parent (id))",
        "CREATE TABLE beside (up int REFERENCES above (id))",
        "CREATE TABLE alone (id int)",
    )
    everything = read(every_url)
    assert all(t.asked for t in everything)
    root = table_of(everything, "root").ident
    snapshot = read(every_url, tables={root})
    assert set(names(snapshot)) == {"above", "root", "child", "grandchild", "other_parent"}
    assert [t.name for t in snapshot if t.asked] == ["root"]
    assert snapshot.get(root) == everything.get(root)
    assert read(every_url, tables=[]).tables == ()
    assert read(every_url, tables=[Name(root.schema, "nowhere")]).tables == ()


def test_inside_a_transaction_its_own_changes_are_seen(every_url: str) -> None:
    """And it goes on afterwards as before."""
    execute(every_url, "CREATE TABLE t (a int)")
    with Database(every_url).write() as connection:
        connection.exec_driver_sql("CREATE UNIQUE INDEX fresh ON t (a)")
        table = table_of(snapshot_of(connection), "t")
        assert index(table, "fresh").enforcing
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")
        connection.exec_driver_sql("DROP INDEX fresh")
        assert table_of(snapshot_of(connection), "t").indexes == ()


def test_a_connection_without_transactions_is_refused(url: str) -> None:
    """Its definitions would lack their schemas, and no two queries would see the same moment."""
    execute(url, "CREATE TABLE t (a int PRIMARY KEY)")
    with (
        Database(url).connect(autocommit=True) as connection,
        pytest.raises(ValueError, match="autocommit"),
    ):
        snapshot_of(connection)


def test_reading_leaves_nothing_open(every_url: str) -> None:
    """The table can be dropped at once, through the same engine."""
    execute(every_url, "CREATE TABLE t (a int CHECK (a > 0))")
    engine = Database(every_url).engine
    read_snapshot(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE t")
    assert read_snapshot(engine).tables == ()


def test_an_engine_with_a_pool_is_given_back_as_it_was(every_url: str) -> None:
    """Isolation, read-only mode, search path and timeouts are those of before."""
    if every_url.startswith("sqlite"):
        engine = create_engine(every_url)
    else:
        driver = every_url.replace("postgresql://", "postgresql+psycopg://")
        engine = create_engine(driver, pool_size=1, max_overflow=0)
    execute(every_url, "CREATE TABLE t (a int)")
    assert names(read_snapshot(engine)) == ["t"]
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")
    assert names(read_snapshot(engine)) == ["t"]
    engine.dispose()


def _many(url: str, count: int) -> None:
    more = ", ".join(f"c{n} int" for n in range(15))
    statements = [
        f"CREATE TABLE t{i} (id int PRIMARY KEY, a int NOT NULL, b text DEFAULT 'x', "
        f"p int REFERENCES t{max(i - 1, 0)} (id), {more}, UNIQUE (a, b), CHECK (a > 0));"
        f"CREATE INDEX i{i} ON t{i} (lower(b))"
        for i in range(count)
    ]
    execute(url, *(";".join(statements[i : i + 100]) for i in range(0, count, 100)))


@pytest.mark.parametrize("count", [3, 60, pytest.param(1000, marks=pytest.mark.slow)])
def test_the_number_of_queries_is_bounded(every_url: str, count: int) -> None:
    """A handful, whatever the number of tables."""
    _many(every_url, count)
    engine = Database(every_url).engine
    with counted(engine) as sent:
        snapshot = read_snapshot(engine)
    assert len(snapshot.tables) == count
    assert len(sent) <= 14
    assert all(len(t.columns) == 19 and len(t.indexes) == 3 for t in snapshot)


# -- PostgreSQL: what there is -----------------------------------------------------------------


def test_the_server_and_the_role(url: str, server: Server) -> None:
    """Version, database, user, rights and settings."""
    snapshot = read(url)
    assert snapshot.version[0] == server.major
    assert snapshot.version_text.startswith(str(server.major))
    assert snapshot.database == url.rpartition("/")[2].split("?")[0]
    assert snapshot.superuser
    assert snapshot.bypasses_row_security
    assert snapshot.may_suppress_triggers
    assert snapshot.may_create_schema
    assert snapshot.search_path == ("public",)
    assert set(snapshot.settings) == {
        "wal_level",
        "lock_timeout",
        "deadlock_timeout",
        "default_transaction_isolation",
        "session_replication_role",
        "server_encoding",
    }
    assert snapshot.settings["lock_timeout"] == "0"  # ours is not the session's


def test_types_and_their_bases(url: str) -> None:
    """Domains are followed to the type that they rest on, through domains."""
    execute(
        url,
        "CREATE DOMAIN word AS varchar(10)",
        "CREATE DOMAIN short_word AS word CHECK (length(VALUE) < 5)",
        "CREATE TYPE mood AS ENUM ('sad', 'glad')",
        "CREATE TABLE t (a varchar(20), b numeric(10,2), c timestamptz(3), d short_word, e mood, "
        "f text[], g char(3))",
    )
    table = table_of(read(url), "t")
    assert [(c.type, c.type_name, c.type_category) for c in table.columns] == [
        ("character varying(20)", "character varying", "S"),
        ("numeric(10,2)", "numeric", "N"),
        ("timestamp(3) with time zone", "timestamp with time zone", "D"),
        ("short_word", "character varying", "S"),
        ("mood", "mood", "E"),
        ("text[]", "text[]", "A"),
        ("character(3)", "character", "S"),
    ]


def test_which_types_know_equality(url: str) -> None:
    """What GROUP BY and a unique index need: also through domains, arrays and composites."""
    equal = ["int", "text", "varchar(3)", "jsonb", "int[]", "good_domain", "good_pair", "mood",
             "int4range", "int4multirange", "mood[]", "uuid", "bytea", "tsvector"]  # fmt: skip
    unequal = ["json", "xml", "point", "json[]", "bad_domain", "bad_pair", "point[]", "bad_deep"]
    execute(
        url,
        "CREATE TYPE mood AS ENUM ('sad', 'glad')",
        "CREATE DOMAIN good_domain AS varchar(9)",
        "CREATE DOMAIN bad_domain AS json",
        "CREATE TYPE good_pair AS (a int, b text[])",
        "CREATE TYPE bad_pair AS (a int, b json)",
        "CREATE DOMAIN bad_deep AS bad_pair[]",
        f"CREATE TABLE t ({', '.join(f'c{i} {t}' for i, t in enumerate(equal + unequal))})",
    )
    columns = table_of(read(url), "t").columns
    assert [c.type for c in columns if c.has_equality] == [c.type for c in columns[: len(equal)]]
    assert len([c for c in columns if not c.has_equality]) == len(unequal)


def test_citext_ignores_case(url: str) -> None:
    """Also behind a domain, and in another schema."""
    execute(
        url,
        "CREATE SCHEMA tools",
        "CREATE EXTENSION citext SCHEMA tools",
        "CREATE DOMAIN address AS tools.citext",
        "CREATE TABLE t (a tools.citext, b address, c text)",
        "CREATE UNIQUE INDEX blind ON t (a)",
        "CREATE UNIQUE INDEX sharp ON t (a text_ops)",
    )
    table = table_of(read(url), "t")
    assert [c.case_insensitive for c in table.columns] == [True, True, False]
    assert column(table, "a").has_equality
    assert index(table, "blind").columns[0].opclass_default
    assert not index(table, "sharp").columns[0].opclass_default


def test_collations(url: str) -> None:
    """The column's own is no news; another one is named."""
    execute(
        url,
        'CREATE TABLE t (a text, b text COLLATE "C", c int)',
        "CREATE INDEX same ON t (b)",
        'CREATE INDEX other ON t (a COLLATE "C", lower(b))',
    )
    table = table_of(read(url), "t")
    assert [c.collation for c in table.columns] == ["", "C", ""]
    assert all(c.collation_deterministic and not c.case_insensitive for c in table.columns)
    same, other = index(table, "same").columns[0], index(table, "other").columns
    assert (same.collation, same.collation_default) == ("C", True)
    assert (other[0].collation, other[0].collation_default) == ("C", False)
    assert other[1].collation_default


def test_collations_that_ignore_case(url: str) -> None:
    """The server is asked; a nondeterministic one may still tell case apart."""
    try:
        execute(url, "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2')")
    except psycopg.errors.FeatureNotSupported:
        # Built without ICU, so there can be no nondeterministic collation.
        execute(url, "CREATE TABLE t (a text)")
        assert not column(table_of(read(url), "t"), "a").case_insensitive
        return
    execute(
        url,
        "CREATE SCHEMA odd",
        'CREATE COLLATION odd."c%s i" '
        "(provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
        "CREATE COLLATION sharp (provider = icu, locale = 'und', deterministic = false)",
        'CREATE DOMAIN folded AS text COLLATE odd."c%s i"',
        'CREATE TABLE t (a text COLLATE odd."c%s i", b text COLLATE sharp, c folded, d text)',
    )
    columns = table_of(read(url), "t").columns
    assert [c.case_insensitive for c in columns] == [True, False, True, False]
    assert [c.collation_deterministic for c in columns] == [False, False, False, True]
    assert [c.collation for c in columns] == ["odd.c%s i", "sharp", "", ""]


def test_identities_and_defaults(url: str) -> None:
    """ALWAYS and BY DEFAULT, and serial as the default that it is."""
    execute(
        url,
        "CREATE TABLE t (a int GENERATED ALWAYS AS IDENTITY, b int GENERATED BY DEFAULT AS "
        "IDENTITY, c serial, d text DEFAULT 'a' || chr(37) || 's')",
    )
    table = table_of(read(url), "t")
    assert [c.identity for c in table.columns] == ["always", "by default", "", ""]
    assert "nextval" in (column(table, "c").default or "")
    assert column(table, "d").default == "('a'::text || chr(37)) || 's'::text"


def test_virtual_columns(url: str, server: Server) -> None:
    """From PostgreSQL 18."""
    definition = "CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a + 1) VIRTUAL)"
    if server.major < 18:
        with pytest.raises(psycopg.errors.SyntaxError):
            execute(url, definition)
        return
    execute(url, definition)
    generated = column(table_of(read(url), "t"), "b")
    assert (generated.generated, generated.generation) == ("virtual", "a + 1")


def test_not_null_by_a_check_that_is_not_validated(url: str) -> None:
    """Holds for new rows only, so it does not count until it is validated."""
    execute(
        url,
        "CREATE TABLE t (a int)",
        "ALTER TABLE t ADD CONSTRAINT filled CHECK (a IS NOT NULL) NOT VALID",
    )
    assert not column(table_of(read(url), "t"), "a").not_null
    execute(url, "ALTER TABLE t VALIDATE CONSTRAINT filled")
    a = column(table_of(read(url), "t"), "a")
    assert (a.not_null, a.not_null_declared) == (True, False)


def test_not_null_constraints_of_18(url: str, server: Server) -> None:
    """attnotnull is true at once, the rows are proven by the validation."""
    execute(url, "CREATE TABLE t (a int, b int NOT NULL)", "INSERT INTO t VALUES (NULL, 1)")
    if server.major < 18:
        assert all(c.kind != "not null" for c in table_of(read(url), "t").constraints)
        return
    execute(url, "ALTER TABLE t ADD CONSTRAINT nn NOT NULL a NOT VALID")
    table = table_of(read(url), "t")
    constraint = table.constraint("nn")
    assert constraint is not None
    assert (constraint.kind, constraint.columns, constraint.validated) == (
        "not null",
        ("a",),
        False,
    )
    assert not column(table, "a").not_null
    assert column(table, "b").not_null_declared
    execute(url, "DELETE FROM t", "ALTER TABLE t VALIDATE CONSTRAINT nn")
    assert column(table_of(read(url), "t"), "a").not_null_declared


def test_constraints_that_are_not_enforced(url: str, server: Server) -> None:
    """From PostgreSQL 18; such a check proves nothing."""
    execute(url, "CREATE TABLE p (id int PRIMARY KEY)", "CREATE TABLE t (a int)")
    if server.major < 18:
        with pytest.raises(psycopg.errors.SyntaxError):
            execute(url, "ALTER TABLE t ADD CONSTRAINT c CHECK (a IS NOT NULL) NOT ENFORCED")
        return
    execute(
        url,
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a IS NOT NULL) NOT ENFORCED",
        "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES p NOT ENFORCED",
    )
    table = table_of(read(url), "t")
    check = table.constraint("c")
    assert check is not None
    assert not check.enforced
    assert not key(table, "f").enforced
    assert not column(table, "a").not_null


def test_keys_without_overlaps(url: str, server: Server) -> None:
    """From PostgreSQL 18: unique by a GiST index, and a foreign key over a period."""
    execute(url, "CREATE EXTENSION btree_gist")
    statement = (
        "CREATE TABLE room (id int, during tsrange, "
        "CONSTRAINT once PRIMARY KEY (id, during WITHOUT OVERLAPS))"
    )
    if server.major < 18:
        with pytest.raises(psycopg.errors.SyntaxError):
            execute(url, statement)
        return
    execute(
        url,
        statement,
        "CREATE TABLE stay (room int, at tsrange, CONSTRAINT inside FOREIGN KEY (room, PERIOD at) "
        "REFERENCES room (id, PERIOD during))",
    )
    snapshot = read(url)
    once = index(table_of(snapshot, "room"), "once")
    assert (once.without_overlaps, once.method, once.primary) == (True, "gist", True)
    assert key(table_of(snapshot, "stay"), "inside").period


# -- PostgreSQL: indexes -----------------------------------------------------------------------


def test_include_columns_are_no_key_columns(url: str) -> None:
    """indnkeyatts parts them."""
    execute(
        url,
        "CREATE TABLE t (a int, b int, c int, UNIQUE (a) INCLUDE (c, b))",
        "CREATE UNIQUE INDEX e ON t ((a + b)) INCLUDE (c)",
    )
    table = table_of(read(url), "t")
    unique = index(table, "t_a_c_b_key")
    assert [c.expression for c in unique.columns] == ["a"]
    assert unique.include == ("c", "b")
    expression = index(table, "e")
    assert [c.expression for c in expression.columns] == ["(a + b)"]
    assert expression.include == ("c",)


def test_nulls_not_distinct(url: str, server: Server) -> None:
    """From 15; before, the column is not there and must not be named."""
    execute(url, "CREATE TABLE t (a int)", "CREATE UNIQUE INDEX plain ON t (a)")
    if server.major >= 15:
        execute(url, "CREATE UNIQUE INDEX equal ON t (a) NULLS NOT DISTINCT")
    table = table_of(read(url), "t")
    assert not index(table, "plain").nulls_not_distinct
    assert all(i.nulls_not_distinct for i in table.indexes if i.name == "equal")
    assert len(table.indexes) == (2 if server.major >= 15 else 1)


def test_order_opclass_and_method(url: str) -> None:
    """Of every key column."""
    execute(
        url,
        "CREATE TABLE t (a text, b varchar(9), c int, d int[])",
        "CREATE INDEX i ON t (a text_pattern_ops, b, c DESC NULLS LAST, c)",
        "CREATE INDEX g ON t USING gin (d)",
    )
    table = table_of(read(url), "t")
    a, b, down, up = index(table, "i").columns
    assert (a.opclass, a.opclass_default) == ("text_pattern_ops", False)
    assert (b.opclass, b.opclass_default) == ("text_ops", True)
    assert (down.descending, down.nulls_first) == (True, False)
    assert (up.descending, up.nulls_first) == (False, False)
    assert index(table, "g").method == "gin"
    assert index(table, "g").columns[0].opclass_default


def test_a_failed_concurrent_build_leaves_an_index_that_enforces_nothing(url: str) -> None:
    """Not valid, not ready."""
    execute(url, "CREATE TABLE t (a int)", "INSERT INTO t VALUES (1), (1)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        execute(url, "CREATE UNIQUE INDEX CONCURRENTLY broken ON t (a)")
    broken = index(table_of(read(url), "t"), "broken")
    assert broken.unique
    assert (broken.valid, broken.ready, broken.live) == (False, False, True)
    assert not broken.enforcing


def test_deferrable_keys_are_not_immediate(url: str) -> None:
    """No ON CONFLICT and no foreign key can use them."""
    execute(
        url,
        "CREATE TABLE t (a int, CONSTRAINT late UNIQUE (a) DEFERRABLE INITIALLY DEFERRED, b int)",
        "CREATE UNIQUE INDEX now ON t (b)",
    )
    table = table_of(read(url), "t")
    assert not index(table, "late").immediate
    assert index(table, "now").immediate
    constraint = table.constraint("late")
    assert constraint is not None
    assert (constraint.kind, constraint.index) == ("unique", "late")
    assert (constraint.deferrable, constraint.deferred) == (True, True)


def test_exclusion_constraints(url: str) -> None:
    """Only where every operator is an equality is one a unique key."""
    execute(
        url,
        "CREATE EXTENSION btree_gist",
        "CREATE TABLE t (a int, during tsrange, b box, "
        "CONSTRAINT equal EXCLUDE USING gist (a WITH =), "
        "CONSTRAINT hashed EXCLUDE USING hash (a WITH =), "
        "CONSTRAINT area EXCLUDE USING gist (a WITH =, b WITH &&), "
        "CONSTRAINT overlap EXCLUDE USING gist (a WITH =, during WITH &&))",
    )
    table = table_of(read(url), "t")
    found = {c.name: c.all_equality for c in table.constraints if c.kind == "exclusion"}
    assert found == {"equal": True, "hashed": True, "area": False, "overlap": False}
    backing = index(table, "overlap")
    assert (backing.unique, backing.constraint_kind) == (False, "exclusion")
    constraint = table.constraint("overlap")
    assert constraint is not None
    assert constraint.columns == ("a", "during")


def test_definitions_can_be_run_whatever_the_search_path(url: str) -> None:
    """They name the schemas of all that they use; expressions read as they are written."""
    execute(
        url,
        "CREATE FUNCTION fold(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT lower($1)'",
        "CREATE TABLE p (id int PRIMARY KEY)",
        "CREATE TABLE t (a text, p int REFERENCES p (id), CONSTRAINT c CHECK (fold(a) <> ''))",
        "CREATE INDEX i ON t (fold(a))",
        "CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW WHEN (fold(OLD.a) <> '') "
        "EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    )
    table = table_of(read(url), "t")
    found = index(table, "i")
    assert found.columns[0].expression == "fold(a)"
    assert found.definition == "CREATE INDEX i ON public.t USING btree (public.fold(a))"
    check = table.constraint("c")
    assert check is not None
    assert check.expression == "fold(a) <> ''::text"
    assert "public.fold(a)" in check.definition
    assert "REFERENCES public.p(id)" in table.foreign_keys[0].definition
    assert "public.fold(" in table.triggers[0].definition


def test_storage_of_an_index(url: str) -> None:
    """Options, size, comment, oid."""
    execute(
        url,
        "CREATE TABLE t (a int)",
        "CREATE INDEX i ON t (a) WITH (fillfactor = 70)",
        "COMMENT ON INDEX i IS 'ours'",
    )
    found = index(table_of(read(url), "t"), "i")
    assert found.options == ("fillfactor=70",)
    assert found.comment == "ours"
    assert found.size
    assert found.oid
    assert found.tablespace == ""


# -- PostgreSQL: tables ------------------------------------------------------------------------


def test_partitions_and_an_index_on_the_root_only(url: str) -> None:
    """Not valid until every leaf has its part of it attached."""
    execute(
        url,
        "CREATE TABLE root (id int, day date NOT NULL, p int) PARTITION BY RANGE (day, (id + 1))",
        "CREATE TABLE leaf1 PARTITION OF root FOR VALUES FROM ('2025-01-01', 0) "
        "TO ('2026-01-01', 0)",
        "CREATE TABLE mid PARTITION OF root FOR VALUES FROM ('2026-01-01', 0) TO ('2027-01-01', 0) "
        "PARTITION BY LIST (p)",
        "CREATE TABLE leaf2 PARTITION OF mid DEFAULT",
        "CREATE INDEX only_root ON ONLY root (p)",
        "CREATE INDEX i1 ON leaf1 (p)",
        "ALTER INDEX only_root ATTACH PARTITION i1",
        "CREATE INDEX everywhere ON root (id)",
    )
    snapshot = read(url)
    root, mid, leaf = (table_of(snapshot, n) for n in ("root", "mid", "leaf1"))
    assert root.kind == PARTITIONED
    assert root.partition_columns == ("day", "")
    assert set(root.partitions) == {leaf.ident, mid.ident}
    assert leaf.kind == ORDINARY
    assert leaf.partition_of == root.ident
    assert leaf.inherits == ()
    assert mid.partition_of == root.ident
    assert mid.partitions == (Name("public", "leaf2"),)
    assert not index(root, "only_root").valid
    assert index(root, "everywhere").valid
    assert index(leaf, "i1").parent == Name("public", "only_root")
    assert any(i.parent == Name("public", "everywhere") for i in leaf.indexes)


def test_sizes_of_a_partitioned_table_are_sums(url: str) -> None:
    """And unknown as long as one partition was never analysed."""
    execute(
        url,
        "CREATE TABLE root (id int) PARTITION BY LIST (id)",
        "CREATE TABLE one PARTITION OF root FOR VALUES IN (1)",
        "CREATE TABLE two PARTITION OF root FOR VALUES IN (2)",
        "INSERT INTO root SELECT 1 + n % 2 FROM generate_series(1, 1000) n",
        "VACUUM ANALYZE one",
    )
    assert table_of(read(url), "root").estimated_rows is None
    execute(url, "VACUUM ANALYZE two")
    root = table_of(read(url), "root")
    assert root.estimated_rows == 1000
    assert root.size == 2 * (table_of(read(url), "one").size or 0) > 0
    assert root.pages == (root.size or 0) // 8192


def test_estimated_rows_grow_with_the_file(url: str) -> None:
    """As the planner draws them out; nothing is known of what was analysed when empty."""
    execute(
        url,
        "CREATE TABLE never (a int)",
        "CREATE TABLE empty (a int)",
        "CREATE TABLE grown (a int)",
        "CREATE TABLE filled (a int)",
        "ALTER TABLE grown SET (autovacuum_enabled = off)",
        "ALTER TABLE filled SET (autovacuum_enabled = off)",
        "INSERT INTO grown SELECT generate_series(1, 10000)",
        "VACUUM ANALYZE grown, empty, filled",
        "INSERT INTO grown SELECT generate_series(1, 10000)",
        "INSERT INTO filled SELECT generate_series(1, 10000)",
    )
    found = {t.name: t.estimated_rows for t in read(url)}
    assert found["never"] is None
    assert found["empty"] == 0
    assert found["filled"] is None
    assert 19000 < (found["grown"] or 0) < 21000


def test_plain_inheritance(url: str) -> None:
    """Children and parents, by name."""
    execute(
        url,
        "CREATE TABLE a (id int, CONSTRAINT c CHECK (id > 0))",
        "CREATE TABLE b (n int)",
        "CREATE TABLE c (x int) INHERITS (a, b)",
    )
    snapshot = read(url)
    a, c = table_of(snapshot, "a"), table_of(snapshot, "c")
    assert a.inherited_by == (c.ident,)
    assert a.partitions == ()
    assert c.inherits == (a.ident, Name("public", "b"))
    assert c.partition_of is None
    inherited = c.constraint("c")
    assert inherited is not None
    assert inherited.inherited


def test_kinds_of_relations(url: str) -> None:
    """Materialised views and foreign tables; temporary tables are left out."""
    execute(
        url,
        "CREATE EXTENSION postgres_fdw",
        "CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw",
        "CREATE FOREIGN TABLE far (a int) SERVER elsewhere",
        "CREATE MATERIALIZED VIEW kept AS SELECT 1 AS a",
        "CREATE UNIQUE INDEX u ON kept (a)",
        "CREATE SEQUENCE s",
        "CREATE TYPE pair AS (a int, b int)",
    )
    with Database(url).write() as connection:
        connection.exec_driver_sql("CREATE TEMPORARY TABLE passing (a int)")
        connection.exec_driver_sql("CREATE TEMPORARY VIEW glance AS SELECT 1 AS a")
        snapshot = snapshot_of(connection)
    assert {t.name: t.kind for t in snapshot} == {"far": FOREIGN, "kept": MATERIALIZED_VIEW}
    assert index(table_of(snapshot, "kept"), "u").enforcing


def test_row_security_and_to_whom_it_applies(url: str, role: str) -> None:
    """Not to a superuser, nor to the owner unless it is forced; to others it does."""
    execute(
        url,
        "CREATE TABLE t (a int)",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE t FORCE ROW LEVEL SECURITY",
        "CREATE TABLE open (a int)",
        f"GRANT SELECT ON t, open TO {role}",
    )
    ours = read(url)
    assert (table_of(ours, "t").row_security, table_of(ours, "t").row_security_forced) == (
        True,
        True,
    )
    assert not table_of(ours, "t").row_security_applies
    theirs = read_snapshot(engine_as(url, role))
    assert table_of(theirs, "t").row_security_applies
    assert not table_of(theirs, "open").row_security_applies
    assert not theirs.bypasses_row_security


def test_triggers(url: str) -> None:
    """Timing, events, level and state; those of foreign keys are the server's own."""
    execute(
        url,
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE TABLE t (a int PRIMARY KEY, b int REFERENCES t (a))",
        "CREATE TRIGGER one BEFORE INSERT OR UPDATE OF b ON t FOR EACH ROW EXECUTE FUNCTION f()",
        "CREATE TRIGGER two AFTER DELETE OR TRUNCATE ON t FOR EACH STATEMENT EXECUTE FUNCTION f()",
        "CREATE CONSTRAINT TRIGGER three AFTER UPDATE ON t DEFERRABLE FOR EACH ROW "
        "EXECUTE FUNCTION f()",
        "ALTER TABLE t DISABLE TRIGGER two",
        "ALTER TABLE t ENABLE ALWAYS TRIGGER one",
        "CREATE VIEW v AS SELECT 1 AS a",
        "CREATE TRIGGER four INSTEAD OF INSERT ON v FOR EACH ROW EXECUTE FUNCTION f()",
    )
    snapshot = read(url)
    found = {x.name: x for t in snapshot for x in t.triggers}
    assert set(found) == {"one", "two", "three", "four"}
    assert (found["one"].timing, found["one"].events) == ("before", ("insert", "update"))
    assert (found["one"].level, found["one"].enabled) == ("row", "always")
    assert (found["two"].events, found["two"].level) == (("delete", "truncate"), "statement")
    assert found["two"].enabled == "disabled"
    assert found["three"].timing == "after"
    assert found["four"].timing == "instead of"
    assert found["one"].function == "public.f"
    assert found["one"].definition.startswith("CREATE TRIGGER one")


def test_publications_by_name_schema_partition_and_all(url: str, server: Server) -> None:
    """Each way that a table's changes can be sent."""
    execute(
        url,
        "CREATE SCHEMA s",
        "CREATE TABLE alone (a int PRIMARY KEY)",
        "CREATE TABLE s.inside (a int PRIMARY KEY)",
        "CREATE TABLE root (a int) PARTITION BY LIST (a)",
        "CREATE TABLE leaf PARTITION OF root DEFAULT",
        "CREATE UNLOGGED TABLE unlogged (a int)",
        "CREATE VIEW v AS SELECT 1 AS a",
        "CREATE PUBLICATION named FOR TABLE alone WITH (publish = 'insert, update')",
        "CREATE PUBLICATION parted FOR TABLE root",
    )
    if server.major >= 15:
        execute(url, "CREATE PUBLICATION of_schema FOR TABLES IN SCHEMA s")
    snapshot = read(url, schemas=["public", "s"])
    found = {t.name: {p.name for p in t.publications} for t in snapshot}
    assert found == {
        "alone": {"named"},
        "inside": {"of_schema"} if server.major >= 15 else set(),
        "root": {"parted"},
        "leaf": {"parted"},
        "unlogged": set(),
        "v": set(),
    }
    named = table_of(snapshot, "alone").publications[0]
    assert (named.updates, named.deletes) == (True, False)
    execute(url, "CREATE PUBLICATION everything FOR ALL TABLES")
    found = {t.name: {p.name for p in t.publications} for t in read(url)}
    assert found["alone"] == {"named", "everything"}
    assert found["leaf"] == {"parted", "everything"}
    assert found["unlogged"] == found["v"] == set()


def test_replica_identity(url: str) -> None:
    """Default, full, nothing, or an index."""
    execute(
        url,
        "CREATE TABLE t (a int NOT NULL)",
        "CREATE UNIQUE INDEX i ON t (a)",
        "ALTER TABLE t REPLICA IDENTITY USING INDEX i",
        "CREATE TABLE u (a int)",
        "ALTER TABLE u REPLICA IDENTITY FULL",
        "CREATE TABLE w (a int)",
    )
    snapshot = read(url)
    assert table_of(snapshot, "t").replica_identity == "index"
    assert index(table_of(snapshot, "t"), "i").replica_identity
    assert table_of(snapshot, "u").replica_identity == "full"
    assert table_of(snapshot, "w").replica_identity == "default"


def test_what_belongs_to_an_extension(url: str) -> None:
    """And what has options and comments."""
    execute(
        url,
        "CREATE TABLE t (a int) WITH (fillfactor = 80)",
        "COMMENT ON TABLE t IS 'a table'",
        "COMMENT ON COLUMN t.a IS 'a column'",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)",
        "COMMENT ON CONSTRAINT c ON t IS 'a check'",
        "CREATE TABLE u (a int)",
        "CREATE EXTENSION btree_gist",
        "ALTER EXTENSION btree_gist ADD TABLE u",
    )
    snapshot = read(url)
    table = table_of(snapshot, "t")
    assert table.options == ("fillfactor=80",)
    assert (table.comment, column(table, "a").comment) == ("a table", "a column")
    assert [c.comment for c in table.constraints] == ["a check"]
    assert table.extension is None
    assert table_of(snapshot, "u").extension == "btree_gist"


# -- PostgreSQL: foreign keys ------------------------------------------------------------------


def test_a_foreign_key_leans_on_one_index_among_twins(url: str) -> None:
    """pg_constraint.conindid tells which, and it alone cannot be dropped."""
    execute(
        url,
        "CREATE TABLE p (a int NOT NULL)",
        "CREATE UNIQUE INDEX one ON p (a)",
        "CREATE TABLE c (a int CONSTRAINT f REFERENCES p (a))",
        "CREATE UNIQUE INDEX two ON p (a)",
    )
    assert key(table_of(read(url), "c"), "f").index == Name("public", "one")


def test_match_validity_and_set_null_of_some_columns(url: str, server: Server) -> None:
    """What the foreign key says beside its columns."""
    execute(
        url,
        "CREATE TABLE p (a int, b int, UNIQUE (a, b))",
        "CREATE TABLE c (x int, y int, CONSTRAINT whole FOREIGN KEY (x, y) REFERENCES p (a, b) "
        "MATCH FULL ON UPDATE RESTRICT ON DELETE SET DEFAULT)",
        "ALTER TABLE c ADD CONSTRAINT later FOREIGN KEY (y, x) REFERENCES p (a, b) NOT VALID",
    )
    if server.major >= 15:
        execute(
            url,
            "ALTER TABLE c ADD CONSTRAINT partly FOREIGN KEY (x, y) REFERENCES p (a, b) "
            "ON DELETE SET NULL (y)",
        )
    table = table_of(read(url), "c")
    whole, later = key(table, "whole"), key(table, "later")
    assert (whole.match, whole.on_update, whole.on_delete) == ("full", "restrict", "set default")
    assert (later.match, later.validated, later.columns) == ("simple", False, ("y", "x"))
    assert whole.on_delete_columns == ()
    if server.major >= 15:
        assert key(table, "partly").on_delete_columns == ("y",)


def test_copies_on_partitions_are_marked(url: str) -> None:
    """Those below the child and those below the target."""
    execute(
        url,
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY LIST (id)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)",
        "CREATE TABLE c (p int CONSTRAINT f REFERENCES p (id)) PARTITION BY LIST (p)",
        "CREATE TABLE c1 PARTITION OF c FOR VALUES IN (1)",
    )
    snapshot = read(url)
    p, p1 = Name("public", "p"), Name("public", "p1")
    assert [(str(k.table), k.name) for k in snapshot.references_to(p)] == [("public.c", "f")]
    assert snapshot.references_to(p1) == ()
    assert any(k.inherited for k in table_of(snapshot, "c1").foreign_keys)


def test_a_child_in_another_schema_is_not_forgotten(url: str) -> None:
    """It is read with its own children, and marked as not asked for."""
    execute(
        url,
        "CREATE SCHEMA far",
        "CREATE TABLE p (id int PRIMARY KEY)",
        "CREATE TABLE far.c (id int PRIMARY KEY, p int REFERENCES p (id))",
        "CREATE TABLE far.d (c int REFERENCES far.c (id))",
        "CREATE TABLE far.unrelated (id int)",
    )
    snapshot = read(url)
    assert {str(t): t.asked for t in snapshot} == {
        "public.p": True,
        "far.c": False,
        "far.d": False,
    }
    assert [str(k.table) for k in snapshot.references_to(Name("public", "p"))] == ["far.c"]
    assert snapshot.schemas == ("public",)
    assert snapshot.other_schemas == ("far",)


def test_a_partition_brings_its_family(url: str) -> None:
    """The root, its other partitions, and who refers to any of them."""
    execute(
        url,
        "CREATE TABLE root (id int PRIMARY KEY) PARTITION BY LIST (id)",
        "CREATE TABLE one PARTITION OF root FOR VALUES IN (1)",
        "CREATE TABLE two PARTITION OF root FOR VALUES IN (2)",
        "CREATE TABLE c (r int REFERENCES root (id))",
        "CREATE TABLE alone (id int)",
    )
    assert set(names(read(url, tables=[Name("public", "one")]))) == {"root", "one", "two", "c"}


# -- PostgreSQL: schemas and rights ------------------------------------------------------------


@pytest.fixture
def role(server: Server, url: str) -> Iterator[str]:
    """A role without any right."""
    name = f"onerow_role_{secrets.token_hex(4)}"
    execute(url, f"CREATE ROLE {name}")
    yield name
    execute(url, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def engine_as(url: str, role: str, *options: str) -> Engine:
    """An engine whose sessions start as another role."""
    return create_engine(
        url.replace("postgresql://", "postgresql+psycopg://"),
        poolclass=NullPool,
        connect_args={"options": " ".join([f"-c role={role}", *options])},
    )


def test_only_the_schemas_of_the_search_path(url: str) -> None:
    """Unless others are named; never the system's, never our own."""
    execute(
        url,
        "CREATE SCHEMA a",
        'CREATE SCHEMA "B b"',
        "CREATE SCHEMA onerow",
        "CREATE TABLE a.t (x int)",
        'CREATE TABLE "B b".t (x int)',
        "CREATE TABLE onerow.journal (x int)",
    )
    default = read(url)
    assert default.tables == ()
    assert (default.schemas, default.other_schemas) == (("public",), ("B b", "a"))
    wanted = ["a", "B b", "onerow", "pg_catalog", "information_schema", "pg_toast", "nowhere"]
    snapshot = read(url, schemas=wanted)
    assert [str(t) for t in snapshot] == ["B b.t", "a.t"]
    assert (snapshot.schemas, snapshot.other_schemas) == (("B b", "a"), ("public",))
    by_name = read(url, tables=[Name("a", "t"), Name("onerow", "journal"), Name("pg_catalog", "x")])
    assert [str(t) for t in by_name] == ["a.t"]


def test_the_search_path_of_the_session(url: str) -> None:
    """Schemas that are in it and not there are left out; the first one comes first."""
    execute(url, "CREATE SCHEMA s", "CREATE TABLE s.t (a int)", "CREATE TABLE t (a int)")
    engine = engine_as(url, "none", "-c search_path=nowhere,s,pg_catalog,public")
    snapshot = read_snapshot(engine)
    assert snapshot.search_path == ("s", "public")
    assert {str(t) for t in snapshot} == {"s.t", "public.t"}


def test_a_role_without_rights_sees_the_catalog(url: str, role: str) -> None:
    """And what it may not do."""
    execute(
        url,
        "CREATE TABLE closed (a int CHECK (a > 0), b text DEFAULT 'x')",
        "CREATE INDEX i ON closed (lower(b)) WHERE a > 1",
        "CREATE TABLE open (a int)",
        f"GRANT SELECT, UPDATE ON open TO {role}",
        f"CREATE TABLE own (a int); ALTER TABLE own OWNER TO {role}",
        "CREATE SCHEMA locked; CREATE TABLE locked.t (a int)",
        f"GRANT ALL ON locked.t TO {role}",
    )
    snapshot = read_snapshot(engine_as(url, role), schemas=["public", "locked"])
    assert snapshot.user == role
    assert not snapshot.superuser
    assert not snapshot.may_suppress_triggers
    assert not snapshot.may_create_schema
    assert table_of(snapshot, "closed").privileges == frozenset()
    assert table_of(snapshot, "open").privileges == {"select", "update"}
    assert not table_of(snapshot, "open").we_own
    assert table_of(snapshot, "own").we_own
    assert table_of(snapshot, "own").owner == role
    # USAGE on the schema is missing, so the rights on the table are worth nothing.
    assert table_of(snapshot, "t", "locked").privileges == frozenset()
    assert index(table_of(snapshot, "closed"), "i").predicate == "a > 1"


def test_rights_that_can_be_given(url: str, role: str, server: Server) -> None:
    """To make our schema; to suppress triggers, from 15."""
    execute(url, "CREATE SCHEMA onerow", f"GRANT CREATE ON SCHEMA onerow TO {role}")
    assert read_snapshot(engine_as(url, role)).may_create_schema
    if server.major >= 15:
        execute(url, f"GRANT SET ON PARAMETER session_replication_role TO {role}")
        try:
            assert read_snapshot(engine_as(url, role)).may_suppress_triggers
        finally:
            execute(url, f"REVOKE SET ON PARAMETER session_replication_role FROM {role}")


def test_a_server_that_takes_no_writes(url: str) -> None:
    """By the setting; our own read-only transaction does not count."""
    assert not read(url).read_only
    engine = engine_as(url, "none", "-c default_transaction_read_only=on")
    assert read_snapshot(engine).read_only


# -- PostgreSQL: while others work -------------------------------------------------------------


def test_an_index_dropped_while_we_read_is_read_again(url: str) -> None:
    """The server prints NULL for it; half of an index must not get out."""
    execute(url, "CREATE TABLE t (a int)", "CREATE UNIQUE INDEX i ON t (a) WHERE a > 0")
    engine = Database(url).engine
    with before_query(engine, "pg_get_indexdef(i.indexrelid)", drop := Once(url, "DROP INDEX i")):
        assert table_of(read_snapshot(engine), "t").indexes == ()
    assert drop.calls == 1


def test_a_table_dropped_while_we_read_is_read_again(url: str) -> None:
    """Whether the server raises (cache lookup failed) or prints NULL."""
    execute(
        url,
        "CREATE TABLE p (id int PRIMARY KEY)",
        "CREATE TABLE t (a int REFERENCES p (id), CHECK (a > 0))",
        "CREATE TABLE left_over (a int)",
    )
    engine = Database(url).engine
    with before_query(engine, "pg_get_constraintdef", drop := Once(url, "DROP TABLE t, p")):
        assert names(read_snapshot(engine)) == ["left_over"]
    assert drop.calls == 1


def test_a_default_dropped_while_we_read_is_read_again(url: str) -> None:
    """A column without its default is not what anybody had."""
    execute(url, "CREATE TABLE t (a int DEFAULT 3)")
    engine = Database(url).engine
    with before_query(engine, "pg_attrdef", drop := Once(url, "DROP TABLE t")):
        assert read_snapshot(engine).tables == ()
    assert drop.calls == 1


class Once:
    """Runs statements the first time that it is called."""

    def __init__(self, url: str, *statements: str) -> None:
        self.url, self.statements, self.calls = url, statements, 0

    def __call__(self) -> None:
        if not self.calls:
            self.calls += 1
            execute(self.url, *self.statements)


def test_what_never_comes_to_rest_is_said(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a bounded number of tries, with the way out."""
    monkeypatch.setattr(catalog, "LONGEST_PAUSE", 0.001)
    execute(url, "CREATE TABLE t (a int)", "CREATE INDEX i ON t (a)")
    engine = Database(url).engine
    tries = []

    def drop() -> None:
        tries.append(1)
        execute(url, f"DROP INDEX {'i' * len(tries)}")
        execute(url, f"CREATE INDEX {'i' * (len(tries) + 1)} ON t (a)")

    with (
        before_query(engine, "pg_get_indexdef(i.indexrelid)", drop),
        pytest.raises(DatabaseError, match="definitions are changed or locked") as raised,
    ):
        read_snapshot(engine)
    assert len(tries) == catalog.TRIES
    assert "no migration is running" in raised.value.hint


def test_a_lock_that_is_held_is_not_waited_for_without_end(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Printing a check needs a lock on its table (ruleutils.c opens it)."""
    monkeypatch.setattr(catalog, "TRIES", 2)
    execute(url, "CREATE TABLE t (a int CHECK (a > 0))")
    with psycopg.connect(url) as holder:
        holder.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseError) as raised:
            read(url)
    assert raised.value.sqlstate == "55P03"
    assert names(read(url)) == ["t"]


def test_other_errors_are_not_tried_again(url: str) -> None:
    """What the database says comes out as it is."""
    engine = Database(url).engine
    tries = []

    def cancel() -> None:
        tries.append(1)
        raise KeyboardInterrupt

    with before_query(engine, "pg_attrdef", cancel), pytest.raises(KeyboardInterrupt):
        read_snapshot(engine)
    assert len(tries) == 1


def test_tables_made_and_dropped_all_the_time(url: str) -> None:
    """Every snapshot that is given out is whole."""
    stop = threading.Event()

    def churn() -> None:
        while not stop.wait(0.03):
            execute(
                url,
                "CREATE TABLE x (id int PRIMARY KEY, a int DEFAULT 1 CHECK (a > 0))",
                "CREATE UNIQUE INDEX x_i ON x (lower(a::text)) WHERE a > 3",
                "DROP TABLE x",
            )

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(15):
            for table in read(url):
                assert all(i.definition for i in table.indexes)
    finally:
        stop.set()
        thread.join()


# -- SQLite ------------------------------------------------------------------------------------


def test_an_integer_primary_key_is_a_key_without_an_index(sqlite_url: str) -> None:
    """It is the rowid; it never holds NULL and numbers itself."""
    execute(
        sqlite_url,
        "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT)",
        "CREATE TABLE u (id integer, a TEXT, CONSTRAINT pk PRIMARY KEY (id))",
        "CREATE TABLE v (id INTEGER PRIMARY KEY DESC)",
        "CREATE TABLE w (id INT PRIMARY KEY)",
    )
    snapshot = read(sqlite_url)
    for name, constraint in (("t", None), ("u", "pk")):
        table = table_of(snapshot, name)
        assert table.primary_key == table.row_identity == ("id",)
        assert column(table, "id").not_null
        assert column(table, "id").identity == "by default"
        synthetic = table.indexes[0]
        assert (synthetic.primary, synthetic.method) == (True, "rowid")
        assert (synthetic.definition, synthetic.constraint) == ("", constraint)
    for name in ("v", "w"):
        table = table_of(snapshot, name)
        assert table.primary_key == table.row_identity == ("id",)
        assert not column(table, "id").not_null


def test_which_primary_keys_keep_null_out(sqlite_url: str) -> None:
    """Those WITHOUT ROWID or STRICT, and those declared NOT NULL; checked against the engine."""
    execute(
        sqlite_url,
        "CREATE TABLE lax (a TEXT, b INT, PRIMARY KEY (a, b))",
        "CREATE TABLE declared (a TEXT NOT NULL, b INT NOT NULL, PRIMARY KEY (a, b))",
        "CREATE TABLE no_rowid (a TEXT, b INT, PRIMARY KEY (a, b)) WITHOUT ROWID",
        "CREATE TABLE firm (a TEXT, b INT, PRIMARY KEY (a, b)) STRICT",
    )
    snapshot = read(sqlite_url)
    with closing(sqlite3.connect(Database(sqlite_url).path)) as file:
        for table in snapshot:
            try:
                file.execute(f"INSERT INTO {table.sql} VALUES (NULL, NULL)")
                takes_null = True
            except sqlite3.IntegrityError:
                takes_null = False
            assert column(table, "a").not_null is not takes_null
            assert table.row_identity == ("a", "b")
    assert table_of(snapshot, "no_rowid").without_rowid
    assert table_of(snapshot, "firm").strict
    assert not table_of(snapshot, "lax").strict


def test_affinity_is_the_category(sqlite_url: str) -> None:
    """By the five rules in their order."""
    kinds = {
        "INT": "INTEGER",
        "CHARINT": "INTEGER",
        "VARCHAR(20)": "TEXT",
        "CLOB": "TEXT",
        "": "BLOB",
        "BLOB": "BLOB",
        "DOUBLE PRECISION": "REAL",
        "FLOATING POINT": "INTEGER",
        "DECIMAL(10, 2)": "NUMERIC",
        "BOOLEAN": "NUMERIC",
    }
    columns = ", ".join(f"c{i} {kind}" for i, kind in enumerate(kinds))
    execute(sqlite_url, f"CREATE TABLE t ({columns})")
    found = table_of(read(sqlite_url), "t").columns
    assert [c.type_category for c in found] == list(kinds.values())
    assert [c.type_name for c in found] == [k.partition("(")[0] for k in kinds]


def test_collations_of_columns_and_indexes(sqlite_url: str) -> None:
    """Only the text tells the column's."""
    execute(
        sqlite_url,
        "CREATE TABLE t (a TEXT COLLATE nocase, b TEXT COLLATE RTRIM, c TEXT COLLATE BINARY, d)",
        "CREATE INDEX own ON t (a, b, c, d)",
        "CREATE INDEX other ON t (a COLLATE BINARY, d COLLATE NOCASE, lower(d) COLLATE NOCASE)",
    )
    table = table_of(read(sqlite_url), "t")
    assert [c.collation.upper() for c in table.columns] == ["NOCASE", "RTRIM", "", ""]
    assert [c.case_insensitive for c in table.columns] == [True, False, False, False]
    own, other = index(table, "own").columns, index(table, "other").columns
    assert [(c.collation.upper(), c.collation_default) for c in own] == [
        ("NOCASE", True),
        ("RTRIM", True),
        ("", True),
        ("", True),
    ]
    assert [(c.expression, c.collation.upper(), c.collation_default) for c in other] == [
        ("a", "BINARY", False),
        ("d", "NOCASE", False),
        ("lower(d)", "NOCASE", False),
    ]


def test_virtual_generated_columns(sqlite_url: str) -> None:
    """Expressions come from the text."""
    execute(
        sqlite_url,
        "CREATE TABLE t (a INT, b INT AS (a + (1)) , c TEXT GENERATED ALWAYS AS (a || ')') STORED)",
    )
    table = table_of(read(sqlite_url), "t")
    assert [(c.generated, c.generation) for c in table.columns] == [
        ("", None),
        ("virtual", "a + (1)"),
        ("stored", "a || ')'"),
    ]


def test_names_without_regard_to_case(sqlite_url: str) -> None:
    """Foreign keys and constraints may spell them as they like; the table's spelling is given."""
    execute(
        sqlite_url,
        "CREATE TABLE Parent (Id INTEGER PRIMARY KEY, Code TEXT UNIQUE)",
        "CREATE TABLE Child (P INT REFERENCES PARENT, C TEXT REFERENCES parent (CODE), "
        "CONSTRAINT pair UNIQUE (p, c))",
    )
    snapshot = read(sqlite_url)
    child = table_of(snapshot, "Child")
    found = {k.columns: (k.target.name, k.target_columns) for k in child.foreign_keys}
    assert found == {("P",): ("Parent", ("Id",)), ("C",): ("Parent", ("Code",))}
    assert [i.constraint for i in child.indexes] == ["pair"]
    assert set(names(read(sqlite_url, tables=[Name("main", "PARENT")]))) == {"Parent", "Child"}


def test_a_foreign_key_to_nowhere(sqlite_url: str) -> None:
    """SQLite takes it; so does the reader."""
    execute(sqlite_url, "CREATE TABLE t (a INT REFERENCES nowhere, b INT REFERENCES gone (x))")
    found = {k.target.name: k.target_columns for k in table_of(read(sqlite_url), "t").foreign_keys}
    assert found == {"nowhere": (), "gone": ("x",)}


def test_triggers_of_sqlite(sqlite_url: str) -> None:
    """Timing and event from the text."""
    execute(
        sqlite_url,
        "CREATE TABLE t (a)",
        "CREATE VIEW v AS SELECT a FROM t",
        "CREATE TRIGGER one AFTER UPDATE OF a ON t BEGIN SELECT 1; END",
        "CREATE TRIGGER two INSTEAD OF DELETE ON v BEGIN SELECT 1; END",
    )
    found = {x.name: (x.timing, x.events) for t in read(sqlite_url) for x in t.triggers}
    assert found == {"one": ("after", ("update",)), "two": ("instead of", ("delete",))}


def test_virtual_tables_and_their_storage(sqlite_url: str) -> None:
    """Nothing that a rule could be made for."""
    execute(sqlite_url, "CREATE VIRTUAL TABLE words USING fts5(body)", "CREATE TABLE words_of (a)")
    found = {t.name: t.kind for t in read(sqlite_url)}
    assert found.pop("words_of") == ORDINARY
    assert "words_data" in found
    assert set(found.values()) == {VIRTUAL}
    assert [c.name for c in table_of(read(sqlite_url), "words").columns] == ["body"]


def test_broken_views_hide_nothing(sqlite_url: str) -> None:
    """A view whose table is gone has no columns; the other views have theirs."""
    execute(
        sqlite_url,
        "CREATE TABLE t (a)",
        "CREATE VIEW good AS SELECT a FROM t",
        "CREATE VIEW broken AS SELECT x FROM nowhere",
    )
    snapshot = read(sqlite_url)
    assert [c.name for c in table_of(snapshot, "good").columns] == ["a"]
    assert table_of(snapshot, "broken").columns == ()


def test_our_own_tables_are_left_out(sqlite_url: str) -> None:
    """And SQLite's."""
    execute(
        sqlite_url,
        "CREATE TABLE onerow_journal (id INTEGER PRIMARY KEY AUTOINCREMENT)",
        "CREATE TABLE OneRow_Archive (a)",
        "CREATE INDEX i ON onerow_journal (id)",
        "CREATE TABLE onerows (a)",
        "ANALYZE",
    )
    assert names(read(sqlite_url)) == ["onerows"]


def test_row_counts_of_analyze(sqlite_url: str) -> None:
    """Not those of a partial index."""
    execute(
        sqlite_url,
        "CREATE TABLE t (a, b)",
        "CREATE INDEX part ON t (a) WHERE a > 90",
        "CREATE INDEX whole ON t (b)",
        "CREATE TABLE plain (a)",
        "CREATE TABLE never (a)",
        "WITH n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 100) "
        "INSERT INTO t SELECT x, x FROM n",
        "INSERT INTO plain VALUES (1), (2)",
        "ANALYZE",
    )
    assert {t.name: t.estimated_rows for t in read(sqlite_url)} == {
        "t": 100,
        "plain": 2,
        "never": None,
    }


def test_conflict_clauses_are_told(sqlite_url: str) -> None:
    """A key that replaces or ignores in silence is another key."""
    execute(
        sqlite_url,
        "CREATE TABLE t (a UNIQUE ON CONFLICT REPLACE, b, UNIQUE (a, b) ON CONFLICT IGNORE)",
    )
    found = {len(i.columns): i.options for i in table_of(read(sqlite_url), "t").indexes}
    assert found == {1: ("on conflict replace",), 2: ("on conflict ignore",)}


def test_the_file_and_its_settings(sqlite_url: str) -> None:
    """There is one schema, and no user."""
    snapshot = read(sqlite_url)
    assert snapshot.dialect == "sqlite"
    assert snapshot.version == sqlite3.sqlite_version_info
    assert Path(snapshot.database) == Database(sqlite_url).path
    assert snapshot.schemas == snapshot.search_path == ("main",)
    assert not snapshot.may_suppress_triggers
    assert snapshot.settings["foreign_keys"] == "0"
    assert snapshot.settings["journal_mode"] == "delete"


def test_a_file_opened_for_reading(sqlite_url: str) -> None:
    """Takes no writes, nor does a connection that says query_only."""
    path = Database(sqlite_url).path
    engine = create_engine(f"sqlite:///file:{path}?mode=ro&uri=true", poolclass=NullPool)
    assert read_snapshot(engine).read_only
    with Database(sqlite_url).connect() as connection:
        assert not snapshot_of(connection).read_only
        connection.exec_driver_sql("PRAGMA query_only = on")
        assert snapshot_of(connection).read_only


def test_every_query_sees_the_same_moment(sqlite_url: str) -> None:
    """Also through an engine of SQLAlchemy's own making, which begins nothing for a SELECT."""
    execute(sqlite_url, "PRAGMA journal_mode = wal", "CREATE TABLE t (a)")
    engine = create_engine(sqlite_url, poolclass=NullPool)
    late = Once(sqlite_url, "CREATE INDEX late ON t (a)", "CREATE TABLE later (a)")
    with before_query(engine, "pragma_index_list", late):
        snapshot = read_snapshot(engine)
    assert names(snapshot) == ["t"]
    assert table_of(snapshot, "t").indexes == ()
    assert len(read_snapshot(engine).tables) == 2


def test_a_definition_that_is_not_understood_is_said(sqlite_url: str) -> None:
    """Which one, rather than a traceback; only by writing the schema by hand can there be one."""
    execute(
        sqlite_url,
        "CREATE TABLE t (a)",
        "CREATE INDEX i ON t (a) WHERE a > 0",
        "PRAGMA writable_schema = on",
        "UPDATE sqlite_master SET sql = 'CREATE INDEX i ON t (a) /* */ WHERE a > 0' "
        "WHERE name = 'i'",
    )
    assert index(table_of(read(sqlite_url), "t"), "i").predicate == "a > 0"


def test_storage_of_virtual_tables_is_known_before_table_list(sqlite_url: str) -> None:
    """The variant for SQLite 3.35 and 3.36 finds by name what newer ones are told."""
    execute(
        sqlite_url,
        "CREATE VIRTUAL TABLE words USING fts5(body)",
        "CREATE VIRTUAL TABLE old USING fts4(body)",
        "CREATE VIRTUAL TABLE places USING rtree(id, a, b)",
        "CREATE TABLE words_of (a)",
    )
    with Database(sqlite_url).connect() as connection:
        new, old = (
            set(connection.exec_driver_sql(load("sqlite", "kinds", version)).scalars())
            for version in ((3, 37), (3, 36))
        )
    assert new == old
    assert "places_node" in old
