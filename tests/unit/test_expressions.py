"""Expressions: which are the same, what follows from what, and what is no expression."""

from __future__ import annotations

import pytest

from onerow.expressions import Reading, columns_in, compares_exactly, is_one_expression, parse
from onerow.expressions.reading import not_null
from onerow.schema import Column


def column(name: str, type_: str, category: str, **more: object) -> Column:
    return Column(name=name, type=type_, type_name=type_, type_category=category, **more)  # type: ignore[arg-type]


POSTGRESQL = Reading(
    "postgresql",
    [
        column("status", "character varying", "S"),
        column("Name", "text", "S"),
        column("ci", "public.citext", "S", case_insensitive=True),
        column("a", "integer", "N"),
        column("price", "numeric", "N"),
        column("gone", "boolean", "B"),
        column("mood", "public.mood", "E"),
        column("doc", "jsonb", "U"),
        column("at", "timestamp without time zone", "D"),
        column("day", "date", "D"),
        column("code", "character", "S"),
        column("filled", "text", "S", not_null=True),
        column("span", "int4range", "R", not_null=True),
        column("json_filled", "jsonb", "U", not_null=True),
    ],
)
SQLITE = Reading(
    "sqlite",
    [
        column("x", "INTEGER", "INTEGER"),
        column("t", "TEXT", "TEXT"),
        column("Big", "TEXT", "TEXT"),
        column("n", "TEXT", "TEXT", case_insensitive=True, collation="NOCASE"),
    ],
)


def forms(reading: Reading, text: str) -> list[str]:
    conditions = reading.conditions(text)
    assert conditions is not None, text
    return sorted(map(reading.text, conditions))


def follows(reading: Reading, given: str, wanted: str) -> bool:
    conditions, asked = reading.conditions(given), reading.conditions(wanted)
    assert conditions is not None
    assert asked is not None
    return all(reading.implied(one, conditions) for one in asked)


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("status = 'ACTIVE'", "((status)::text = 'ACTIVE'::text)"),
        ("'ACTIVE' = status", "status::text = 'ACTIVE'::text"),
        (
            "status IN ('b', 'a')",
            "status::text = ANY (ARRAY['a'::character varying, 'b'::character varying]::text[])",
        ),
        ("status IN ('a')", "status::text = 'a'::text"),
        ("status NOT IN ('a', 'b')", "status::text <> ALL (ARRAY['b'::text, 'a'::text])"),
        ("status LIKE 'a%'", "status::text ~~ 'a%'::text"),
        ("status NOT LIKE 'a%'", "status::text !~~ 'a%'::text"),
        ("lower(status) = 'a'", "lower(status::text) = 'a'::text"),
        ("trim(status) = ''", "TRIM(BOTH FROM status) = ''::text"),
        ("substring(status from 1 for 2) = 'a'", "\"substring\"(status::text, 1, 2) = 'a'::text"),
        (
            "coalesce(status, 'x') = 'a'",
            "COALESCE(status, 'x'::character varying)::text = 'a'::text",
        ),
        ("gone = false", "NOT gone"),
        ("gone IS FALSE", "NOT gone"),
        ("NOT gone", "gone <> true"),
        ("gone IS TRUE", "gone"),
        ("a BETWEEN 1 AND 3", "a >= 1 AND a <= 3"),
        ("a = -1", "a = '-1'::integer"),
        ("price > 0", "price > 0::numeric"),
        (
            "price > -2.5 AND price < -1",
            "price > '-2.5'::numeric AND price < '-1'::integer::numeric",
        ),
        ("coalesce(price, 0) > 1", "COALESCE(price, 0::numeric) > 1::numeric"),
        ("mood = 'A'", "mood = 'A'::mood"),
        ("mood = 'A'", "mood = 'A'::public.mood"),
        ("ci = 'x'", "ci = 'x'::citext"),
        ("day > '2024-01-01'", "day > '2024-01-01'::date"),
        ("code = 'x'", "code = 'x'::bpchar"),
        ("doc ->> 'k' = 'x'", "(doc ->> 'k'::text) = 'x'::text"),
        ("doc -> 'j' ->> 'k' = 'x'", "((doc -> 'j'::text) ->> 'k'::text) = 'x'::text"),
        ("date_trunc('day', at) = at", "date_trunc('day'::text, at) = at"),
        ("MyFunction(a) = 1", "myfunction(a) = 1"),
        ("\"Name\" = 'a'", "(\"Name\" = 'a'::text)"),
        ("a = 1 OR a = 2 OR gone", "gone OR (a = 2 OR a = 1)"),
        ("NOT (a = 1 AND status IS NULL)", "a <> 1 OR status IS NOT NULL"),
        ("NOT (a > 1 OR gone)", "a <= 1 AND NOT gone"),
        ("STATUS = 'a'", "status::text = 'a'::text"),
        ("a = 1 AND a = 1", "a = 1"),
        ("status NOTNULL", "status IS NOT NULL"),
    ],
)
def test_the_same(written: str, printed: str) -> None:
    """What PostgreSQL prints is what was written."""
    assert forms(POSTGRESQL, written) == forms(POSTGRESQL, printed)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("status = 'ACTIVE'", "status = 'active'"),
        ("Name = 'a'", "\"Name\" = 'a'"),
        ("ci = 'x'", "ci::text = 'x'::text"),
        ("status = 'x'", "status = 'x'::citext"),
        ("a::text = '1'", "a = 1"),
        ("at::date = '2024-01-01'", "at = '2024-01-01'"),
        ("(a + 1) * 2 > 3", "a + 1 * 2 > 3"),
        ("a - (1 - 2) = 0", "a - 1 - 2 = 0"),
        ("a > 5 / 2", "a > 5 / 2::numeric"),
        ("price > 1.5::integer", "price > 1.5"),
        ("status = 'abc'::varchar(2)", "status = 'abc'"),
        ("code = 'abc'::character", "code = 'abc'"),
        ("gone IS NOT TRUE", "NOT gone"),
        ("a = '1'::text::integer", "a = 2"),
        ("lower(status) = 'a'", "upper(status) = 'a'"),
        ("a BETWEEN SYMMETRIC 3 AND 1", "a BETWEEN 3 AND 1"),
        ("doc #>> '{a,B}' = 'x'", "doc #>> '{a,b}' = 'x'"),
        ("doc -> 'A' ->> 'b' = 'x'", "doc -> 'a' ->> 'b' = 'x'"),
    ],
)
def test_not_the_same(one: str, two: str) -> None:
    """What differs in meaning differs in form."""
    assert forms(POSTGRESQL, one) != forms(POSTGRESQL, two)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("x == 1", "x = 1"),
        ("X = 1", '"x" = 1'),
        ("[x] = 1", "`x` = 1"),
        ("x IS 1", "x = 1"),
        ("x = true", "x = 1"),
        ("t = \"ACTIVE\"", "t = 'ACTIVE'"),
        ("big = 'a'", "\"BIG\" = 'a'"),
        ("t NOTNULL", "t IS NOT NULL"),
        ("ifnull(t, '') = ''", "coalesce(t, '') = ''"),
        ("t COLLATE nocase = 'a'", "t COLLATE \"NOCASE\" = 'a'"),
    ],
)  # fmt: skip
def test_the_same_on_sqlite(one: str, two: str) -> None:
    """SQLite keeps what was written; it can be written in many ways."""
    assert forms(SQLITE, one) == forms(SQLITE, two)


def test_a_column_that_the_parser_loses() -> None:
    """Where a column is taken for a word of the language, the expression is not understood."""
    assert POSTGRESQL.tree("date_trunc(status, at)") is None
    assert POSTGRESQL.tree("date_trunc('day', at)") is not None
    assert POSTGRESQL.conditions("date_trunc(status, at) = at") is None


def test_a_path_in_json_knows_case() -> None:
    """SQLite's path is text, and read by its parts."""
    assert forms(SQLITE, "json_extract(t, '$.A.b') = 1") != forms(
        SQLITE, "json_extract(t, '$.a.b') = 1"
    )


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("status = 'a'", "status IS NOT NULL"),
        ("status = 'a'", "status IN ('a', 'b')"),
        ("status IN ('a', 'b')", "status IN ('c', 'b', 'a')"),
        ("status = 'a'", "status <> 'b'"),
        ("status IN ('a', 'b')", "status NOT IN ('c', 'd')"),
        ("status NOT IN ('a', 'b')", "status <> 'a'"),
        ("mood = 'A'", "mood <> 'B'"),
        ("a = 5", "a > 3"),
        ("a > 5", "a >= 3"),
        ("a >= 5", "a > 3"),
        ("a < 5", "a <= 5"),
        ("a IN (4, 5)", "a > 3"),
        ("a = 1 OR a = 2", "a IN (1, 2)"),
        ("a = 1 OR a = 2", "a IS NOT NULL"),
        ("a = 1", "a = 1 OR gone"),
        ("a = 1 AND gone", "gone AND a = 1"),
        ("lower(status) = 'x'", "status IS NOT NULL"),
        ("status LIKE 'x%'", "status IS NOT NULL"),
        ("NOT gone", "gone IS NOT NULL"),
        ("NOT (status IN ('a', 'b'))", "status IS NOT NULL"),
        ("a = 1", "filled IS NOT NULL"),
        ("a = 1", "true"),
    ],
)
def test_follows(given: str, wanted: str) -> None:
    """Every row that passes the first filter passes the second."""
    assert follows(POSTGRESQL, given, wanted)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("status IN ('a', 'b')", "status = 'a'"),
        ("status <> 'a'", "status NOT IN ('a', 'b')"),
        ("ci = 'a'", "ci <> 'A'"),
        ("day = '2024-01-01'", "day <> '2024-1-1'"),
        ("a > 3", "a > 5"),
        ("a <= 5", "a < 5"),
        ("a > 3", "a < 9"),
        ("a > 3", "price > 1"),
        ("a = 1 OR gone", "a = 1"),
        ("coalesce(a, 0) = 0", "a IS NOT NULL"),
        ("a IS NULL", "a IS NOT NULL"),
        ("gone IS NOT TRUE", "NOT gone"),
        ("a = 1 OR gone IS NULL", "a IS NOT NULL"),
        ("a = 1", "false"),
    ],
)
def test_does_not_follow(given: str, wanted: str) -> None:
    """Where a row could pass the first and not the second, nothing is said."""
    assert not follows(POSTGRESQL, given, wanted)


@pytest.mark.parametrize(
    ("given", "wanted", "answer"),
    [
        ("x = 1", "x", True),
        ("x = 2", "x", True),
        ("x", "x = 1", False),
        ("x = 0", "NOT x", True),
        ("x > 5", "x > 3", True),
        ("t > 5", "t > 3", False),  # compared as texts
        ("t = '01'", "t <> '1'", True),
        ("x = '01'", "x <> '1'", False),  # read as numbers
        ("n = 'a'", "n <> 'A'", False),
    ],
)
def test_follows_on_sqlite(given: str, wanted: str, answer: bool) -> None:
    """Affinity decides how a constant is compared."""
    assert follows(SQLITE, given, wanted) is answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("a", True),
        ("filled", False),
        ("lower(filled)", False),
        ("coalesce(a, 0)", False),
        ("coalesce(a, price)", True),
        ("a IS NULL", False),
        ("nullif(filled, '')", True),
        ("filled || status", True),
        ("filled || 'x'", False),
        ("CASE WHEN gone THEN 1 END", True),
        ("doc ->> 'x'", True),
        ("1", False),
        ("upper(lower(filled))", False),
        ("lower(span)", True),  # of a range without a lower end
        ("filled::varchar(3)", False),
        ("json_filled::text", True),
    ],
)
def test_may_be_null(text: str, answer: bool) -> None:
    """In doubt, an expression may be NULL."""
    tree = POSTGRESQL.tree(text)
    assert tree is not None
    assert POSTGRESQL.may_be_null(tree) is answer


def test_a_condition_keeps_null_out() -> None:
    """What the filter asks for is not NULL behind it."""
    tree = POSTGRESQL.tree("coalesce(status, mood)")
    given = POSTGRESQL.conditions("mood = 'A'")
    assert tree is not None
    assert given is not None
    assert not POSTGRESQL.may_be_null(tree, given)
    assert POSTGRESQL.implied(not_null(POSTGRESQL.tree("mood") or tree), given)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("a = 1", True),
        ("a = '--'", True),
        ("", False),
        ("a, b", False),
        ("a b", False),
        ("a AS b", False),
        ("*", False),
        ("a; DROP TABLE t", False),
        ("a FROM t", False),
        ("a LIMIT 1", False),
        ("a) OR (b", False),
        ("1 UNION SELECT 2", False),
        ("a -- and the rest", False),
        ("a /* b */ = 1", False),
        ("a = 'open", False),
    ],
)
@pytest.mark.parametrize("dialect", ["postgresql", "sqlite"])
def test_is_one_expression(text: str, answer: bool, dialect: str) -> None:
    """Nothing but one expression may stand where a rule's text goes."""
    assert is_one_expression(text, dialect) is answer


def test_columns_are_named_as_the_engine_reads_them() -> None:
    """PostgreSQL folds what is not quoted."""
    assert columns_in('Status = "Status"', "postgresql") == {"status", "Status"}
    assert columns_in("Status = 1", "sqlite") == {"Status"}
    assert columns_in("a b", "sqlite") is None
    assert parse("a b", "sqlite") is None


@pytest.mark.parametrize(
    ("one", "dialect", "answer"),
    [
        (column("a", "integer", "N"), "postgresql", True),
        (column("a", "numeric", "N"), "postgresql", False),
        (column("a", "text", "S"), "postgresql", True),
        (column("a", "text", "S", collation_deterministic=False), "postgresql", False),
        (column("a", "interval", "T"), "postgresql", False),
        (column("a", "TEXT", "TEXT"), "sqlite", True),
        (column("a", "TEXT", "TEXT", collation="RTRIM"), "sqlite", False),
        (column("a", "", "BLOB"), "sqlite", False),
    ],
)
def test_compares_exactly(one: Column, dialect: str, answer: bool) -> None:
    """Equal and the same are two things."""
    assert compares_exactly(one, dialect) is answer
