"""Stored CREATE texts of SQLite, the nasty ones among them, taken apart."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onerow.dialects.sqlite.ddl import (
    element_expression,
    parse_column,
    parse_constraint,
    parse_create_trigger,
    split_create_index,
    split_create_table,
)
from onerow.dialects.sqlite.tokens import NotUnderstood, tokens

NASTY_TABLES = [
    "CREATE TABLE t(a)",
    "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT) ",
    "CREATE TABLE t(\n  a INT, -- first, with (parens\n  b INT /* second ) , */\n)",
    "CREATE TABLE t(a TEXT DEFAULT 'x,y(', b DEFAULT ')')",
    "CREATE TABLE t(a TEXT DEFAULT 'it''s, so', b)",
    'CREATE TABLE "t ""q"" (x"("a, ""b"" )(" INT, [c,d( ] TEXT, `e``,(` BLOB, \'f, g\' REAL)',
    "CREATE TABLE t(a DECIMAL(10, 2) DEFAULT (round(1.5, (2))), b CHECK (b IN (1, 2, 3)))",
    "CREATE TABLE t(a, b, CHECK (a > 0) UNIQUE (a) FOREIGN KEY (b) REFERENCES p(x))",
    "CREATE TABLE t(a, CONSTRAINT one CHECK (a <> '),('), CONSTRAINT two UNIQUE (a))",
    "CREATE TABLE t(a TEXT PRIMARY KEY, b INT) WITHOUT ROWID, STRICT",
    "CREATE TABLE t(a INT, b INT GENERATED ALWAYS AS (a * (2 + 1)) STORED, c AS (a || ','))",
    "CREATE TABLE t(a DEFAULT x'2c28', b DEFAULT -1.5e3, c DEFAULT CURRENT_TIMESTAMP)",
    "CREATE TABLE t(größe TEXT COLLATE NOCASE, \u00a0 INT)",
    "CREATE TABLE t(a REFERENCES p ON DELETE SET NULL ON UPDATE SET DEFAULT NOT NULL)",
    "CREATE TABLE t(a, UNIQUE(a) ON CONFLICT REPLACE)",
    "CREATE TABLE t(a CONSTRAINT n NOT NULL CONSTRAINT u UNIQUE CONSTRAINT c CHECK(a <> ''))",
]


def _stored(sql: str) -> str:
    """The text as SQLite keeps it, which also proves that it accepts it."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("CREATE TABLE p(x PRIMARY KEY)")
        connection.execute(sql)
        query = "SELECT sql FROM sqlite_master WHERE name <> 'p' AND sql IS NOT NULL"
        return str(connection.execute(query).fetchone()[0])
    finally:
        connection.close()


def _columns(sql: str) -> list[str]:
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("CREATE TABLE p(x PRIMARY KEY)")
        connection.execute(sql)
        name = connection.execute("SELECT max(name) FROM sqlite_master WHERE sql = ?", [sql])
        query = "SELECT name FROM pragma_table_xinfo(?)"
        return [row[0] for row in connection.execute(query, name.fetchone())]
    finally:
        connection.close()


# -- tokens ----------------------------------------------------------------------------------


def test_all_four_kinds_of_quotes_are_names() -> None:
    """Double quotes, backticks, brackets, and strings where a name is due."""
    found = [t.name for t in tokens("""a "b ""c" `d``e` [f"g] 'h''i'""") if t.kind != "space"]
    assert found == ["a", 'b "c', "d`e", 'f"g', "h'i"]


@pytest.mark.parametrize("sql", ["'", '"a', "`a``", "[a", "'a''"])
def test_an_open_quote_is_refused(sql: str) -> None:
    """It would swallow the rest in silence."""
    with pytest.raises(NotUnderstood, match="unclosed"):
        tokens(sql)


def test_keywords_are_ascii() -> None:
    """The Turkish dotless i in upper case is an I, and no SQLite keyword."""
    assert [t.word for t in tokens("prımary")] == [""]
    assert [t.word for t in tokens("Primary")] == ["PRIMARY"]


def test_a_comment_may_run_to_the_end() -> None:
    """SQLite lets a block comment be left open."""
    assert [t.kind for t in tokens("a /* b ' c")] == ["word", "space", "comment"]


@given(st.text(st.sampled_from("ab'\"`[]()-/*, \n\u00e9\ufeff1.x"), max_size=30))
def test_no_character_is_lost(sql: str) -> None:
    """The texts of the tokens joined are the text."""
    try:
        found = tokens(sql)
    except NotUnderstood:
        return
    assert "".join(t.text for t in found) == sql


# -- tables ----------------------------------------------------------------------------------


@pytest.mark.parametrize("sql", NASTY_TABLES)
def test_the_pieces_make_the_table_again(sql: str) -> None:
    """To the letter, but for commas between constraints, which SQLite does without."""
    parts = split_create_table(sql)
    assert parts.sql.replace(",", "") == sql.replace(",", "")
    if "UNIQUE (a) FOREIGN" not in sql:
        assert parts.sql == sql


@pytest.mark.parametrize("sql", NASTY_TABLES)
def test_the_columns_are_those_that_sqlite_sees(sql: str) -> None:
    """Names and number, whatever stands in quotes and comments."""
    names = [parse_column(c).name for c in split_create_table(sql).columns]
    assert names == _columns(_stored(sql))


@pytest.mark.parametrize("sql", NASTY_TABLES)
def test_the_pieces_make_the_same_table(sql: str) -> None:
    """SQLite accepts what was put together again."""
    assert _columns(_stored(split_create_table(sql).sql)) == _columns(_stored(sql))


def test_a_tuple_of_four() -> None:
    """Head, columns, constraints, tail."""
    head, columns, constraints, tail = split_create_table(
        "CREATE TABLE t (a INT,b INT, PRIMARY KEY (a, b))WITHOUT ROWID"
    )
    assert head == "CREATE TABLE t "
    assert columns == ("a INT", "b INT")
    assert constraints == (" PRIMARY KEY (a, b)",)
    assert tail == "WITHOUT ROWID"


def test_options_of_the_tail() -> None:
    """In any case and spacing, with comments."""
    sql = "CREATE TABLE t(a INT) Strict , /* and */ without\n rowid -- end"
    assert split_create_table(sql).options == ("STRICT", "WITHOUT ROWID")


def test_constraints_without_commas_are_parted() -> None:
    """`CHECK (…) UNIQUE (…)` are two; the name belongs to what follows it."""
    sql = "CREATE TABLE t(a, CHECK (a > 0) CONSTRAINT u UNIQUE (a) FOREIGN KEY (a) REFERENCES p(x))"
    clauses = [parse_constraint(c) for c in split_create_table(sql).constraints]
    assert [(c.kind, c.name) for c in clauses if c] == [
        ("check", None),
        ("unique", "u"),
        ("foreign key", None),
    ]


@pytest.mark.parametrize(
    "sql", ["", "CREATE INDEX i ON t(a)", "CREATE TABLE t", "CREATE TABLE t(a"]
)
def test_what_is_no_table_is_refused(sql: str) -> None:
    """Rather than guessed at."""
    with pytest.raises(NotUnderstood):
        split_create_table(sql)


# -- columns ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("definition", "name", "kind"),
    [
        ("a", "a", ""),
        (" a /* x */ INTEGER", "a", "INTEGER"),
        ("a DECIMAL(10, 2) NOT NULL", "a", "DECIMAL(10, 2)"),
        ("a UNSIGNED BIG INT DEFAULT 1", "a", "UNSIGNED BIG INT"),
        ("a 'my type' CHECK (1)", "a", "'my type'"),
        ("a INT GENERATED ALWAYS AS (1)", "a", "INT"),
        ("a GENERATED", "a", "GENERATED"),
        ("generated INT", "generated", "INT"),
        ('"check" TEXT', "check", "TEXT"),
        ("[a b] AS (1)", "a b", ""),
    ],
)
def test_name_and_type(definition: str, name: str, kind: str) -> None:
    """The type ends where the first constraint begins."""
    column = parse_column(definition)
    assert (column.name, column.type) == (name, kind)


def test_every_clause_of_a_column() -> None:
    """In the order as written, names with them."""
    column = parse_column(
        "a TEXT CONSTRAINT n NOT NULL DEFAULT NULL COLLATE [NoCase] CHECK (a <> ',') "
        "CONSTRAINT u UNIQUE ON CONFLICT IGNORE "
        'REFERENCES "P q"(x) ON DELETE SET NULL ON UPDATE SET DEFAULT DEFERRABLE INITIALLY DEFERRED'
    )
    assert [(c.kind, c.name) for c in column.clauses] == [
        ("not null", "n"),
        ("default", None),
        ("collate", None),
        ("check", None),
        ("unique", "u"),
        ("foreign key", None),
    ]
    key = column.clause("foreign key")
    assert key is not None
    assert (key.target, key.target_columns) == ("P q", ("x",))
    assert (key.deferrable, key.deferred) == (True, True)
    unique, collate = column.clause("unique"), column.clause("collate")
    assert unique is not None
    assert unique.on_conflict == "ignore"
    assert collate is not None
    assert collate.expression == "NoCase"


@pytest.mark.parametrize(
    ("definition", "expression", "stored"),
    [
        ("a AS (b || ')')", "b || ')'", False),
        ("a INT GENERATED ALWAYS AS ((b) + (c)) STORED NOT NULL", "(b) + (c)", True),
        ("a GENERATED ALWAYS AS (b) VIRTUAL", "b", False),
        ("a CONSTRAINT g AS (b) STORED", "b", True),
    ],
)
def test_generated_columns(definition: str, expression: str, stored: bool) -> None:
    """With and without GENERATED ALWAYS."""
    clause = parse_column(definition).clause("generated")
    assert clause is not None
    assert (clause.expression, clause.stored) == (expression, stored)


@pytest.mark.parametrize(
    ("definition", "default"),
    [
        ("a DEFAULT 'x COLLATE y' COLLATE NOCASE", "'x COLLATE y'"),
        ("a DEFAULT (1 + (2)) NOT NULL", "(1 + (2))"),
        ("a DEFAULT -1", "-1"),
        ("a DEFAULT NULL", "NULL"),
        ("a DEFAULT CURRENT_TIMESTAMP UNIQUE", "CURRENT_TIMESTAMP"),
    ],
)
def test_defaults_end_where_the_next_clause_begins(definition: str, default: str) -> None:
    """Words within a string or parentheses begin nothing."""
    clause = parse_column(definition).clause("default")
    assert clause is not None
    assert clause.expression == default


def test_not_deferrable_is_not_deferrable() -> None:
    """The NOT belongs to DEFERRABLE, and no NOT NULL is seen."""
    column = parse_column("a INT REFERENCES p NOT DEFERRABLE INITIALLY IMMEDIATE")
    assert [c.kind for c in column.clauses] == ["foreign key"]
    assert not column.clauses[0].deferrable


def test_primary_keys_of_columns() -> None:
    """With direction, conflict clause and AUTOINCREMENT."""
    clause = parse_column("a INTEGER PRIMARY KEY ASC ON CONFLICT REPLACE AUTOINCREMENT").clauses[0]
    assert (clause.kind, clause.on_conflict, clause.autoincrement) == (
        "primary key",
        "replace",
        True,
    )


# -- table constraints -----------------------------------------------------------------------


def test_columns_of_a_constraint_without_collation_and_order() -> None:
    """`"a b" COLLATE NOCASE DESC` is the column `a b`."""
    clause = parse_constraint('CONSTRAINT [my key] UNIQUE ("a b" COLLATE NOCASE DESC, c)')
    assert clause is not None
    assert (clause.kind, clause.name, clause.columns) == ("unique", "my key", ("a b", "c"))


def test_composite_foreign_key() -> None:
    """Own columns, target, and the target's columns, with comments between."""
    clause = parse_constraint(
        "FOREIGN KEY (a, b) /* to */ REFERENCES [p q] (x, y) MATCH FULL ON DELETE CASCADE"
    )
    assert clause is not None
    assert (clause.columns, clause.target, clause.target_columns) == (("a", "b"), "p q", ("x", "y"))


def test_a_name_without_a_constraint_is_nothing() -> None:
    """SQLite lets it pass; and the last of two names counts."""
    assert parse_constraint("CONSTRAINT lonely") is None
    clause = parse_constraint("CONSTRAINT a CONSTRAINT b CHECK (x)")
    assert clause is not None
    assert clause.name == "b"


# -- indexes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "elements", "where"),
    [
        ("CREATE INDEX i ON t(a, b)", ("a", "b"), None),
        ('CREATE UNIQUE INDEX "i(" ON "t)" (lower(a), b DESC)', ("lower(a)", "b DESC"), None),
        (
            "CREATE INDEX i ON t(coalesce(a, ',)'), (b || ',')) WHERE a <> ') WHERE' AND (b)",
            ("coalesce(a, ',)')", "(b || ',')"),
            "a <> ') WHERE' AND (b)",
        ),
        ("CREATE INDEX i ON t(a) -- end\n where a is not null -- all", ("a",), "a is not null"),
    ],
)
def test_indexes_are_taken_apart(sql: str, elements: tuple[str, ...], where: str | None) -> None:
    """Elements at commas of the first level; the rest after WHERE, no comment trailing."""
    found = split_create_index(sql)
    assert found.elements == elements
    assert found.where == where


@pytest.mark.parametrize(
    ("element", "expression"),
    [
        ("a", "a"),
        ("lower(a) DESC", "lower(a)"),
        ("lower(a) COLLATE NOCASE ASC", "lower(a)"),
        ('lower("a ""DESC") COLLATE "my coll"', 'lower("a ""DESC")'),
        ("(a COLLATE NOCASE)", "(a COLLATE NOCASE)"),
        ("a + b NULLS LAST", "a + b"),
        ("a || 'DESC'", "a || 'DESC'"),
    ],
)
def test_elements_without_collation_and_order(element: str, expression: str) -> None:
    """Only what trails is taken off."""
    assert element_expression(element) == expression


# -- triggers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "timing", "event"),
    [
        ("CREATE TRIGGER r BEFORE INSERT ON t BEGIN SELECT 1; END", "before", "insert"),
        ("CREATE TRIGGER r AFTER UPDATE OF a, b ON t BEGIN SELECT 1; END", "after", "update"),
        ("CREATE TRIGGER r INSTEAD OF DELETE ON v BEGIN SELECT 1; END", "instead of", "delete"),
        ("CREATE TRIGGER r DELETE ON t BEGIN SELECT 1; END", "before", "delete"),
        ('CREATE TRIGGER "after" INSERT ON t BEGIN SELECT 1; END', "before", "insert"),
        ("CREATE TEMP TRIGGER IF NOT EXISTS main.r/**/AFTER INSERT ON t", "after", "insert"),
    ],
)
def test_triggers_are_understood(sql: str, timing: str, event: str) -> None:
    """When they fire, BEFORE being what is meant without a word."""
    assert parse_create_trigger(sql) == (timing, event)


def test_what_is_no_trigger_is_refused() -> None:
    """Rather than guessed at."""
    with pytest.raises(NotUnderstood):
        parse_create_trigger("CREATE TABLE t(a)")
