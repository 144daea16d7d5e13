"""What becomes of the columns of merged rows, by every policy on every fitting type."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from onerow import api
from onerow.errors import DatabaseError, RuleError
from onerow.rules import POLICIES, Key
from tests.support.sandbox import Sandbox
from tests.support.story import applied, blockers, planned, there_and_back


@dataclass(frozen=True)
class Case:
    """Values of one column in the rows of a group, the best row's first, and what must come out."""

    kind: str
    policy: str
    values: tuple[str | None, ...]
    result: object


def case(kind: str, policy: str, values: list[str | None], result: object) -> Case:
    return Case(kind, policy, tuple(values), result)


def merge_all(box: Sandbox, cases: list[Case]) -> None:
    """One table with a column for each case; the first row of the group is kept.

    A group of one row and a row without values beside it must stay as they are.
    """
    rows = max(len(c.values) for c in cases) + 1
    columns = ", ".join(f"v{i} {c.kind}" for i, c in enumerate(cases))
    box.execute(f"CREATE TABLE t (id integer PRIMARY KEY, k integer NOT NULL, {columns});")
    for row in range(rows):
        box.execute(f"INSERT INTO t VALUES ({row + 1}, 1, {_values(cases, row)})")
    box.execute(f"INSERT INTO t VALUES (90, 2, {_values(cases, 0)})")
    box.execute(f"INSERT INTO t VALUES (91, 3, {', '.join('NULL' for _ in cases)})")
    alone = {r for r in box.contents()[box.called("t")] if "90," in r or "91," in r}
    assert len(alone) == 2
    there_and_back(box, Key("t", "k", merge={f"v{i}": c.policy for i, c in enumerate(cases)}))
    assert alone < set(box.contents()[box.called("t")])


def _values(cases: list[Case], row: int) -> str:
    return ", ".join((c.values[row] if row < len(c.values) else None) or "NULL" for c in cases)


N = ["4", None, "7", "2", "7"]
PLAIN = [
    case("integer", "keep", N, 4),
    case("integer", "keep", [None, "7"], None),
    case("integer", "fill", N, 4),
    case("integer", "fill", [None, None, "7", "9"], 7),
    case("integer", "fill", [None, None], None),
    case("integer", "error", [None, "7", None, "7"], 7),
    case("integer", "sum", N, 20),
    case("integer", "sum", [None, None], None),
    case("integer", "sum", ["0", None], 0),
    case("integer", "max", N, 7),
    case("integer", "min", N, 2),
    case("integer", "min", [None, "-3"], -3),
    case("integer", "max", [None, None], None),
    case("text", "keep", ["'b'", "'a'"], "b"),
    case("text", "fill", [None, "''", "'a'"], ""),
    case("text", "max", ["'b'", "'a'", None], "b"),
    case("text", "min", ["'b'", "'a'", None], "a"),
    case("text", "concat", ["'b'", None, "'a'", "'b'", "''"], "b\na\n"),
    case("text", "concat", [None, None], None),
    case("text", "concat", ["'a'", "'A'"], "a\nA"),
    case("text", "concat", ["'it''s 100% :x \\'"], "it's 100% :x \\"),
    case("text", "error", ["'b'", None, "'b'"], "b"),
]


def test_numbers_and_texts(every_url: str) -> None:
    """NULL counts as nothing; concatenation takes each text once, the best row's first."""
    box = Sandbox(every_url)
    merge_all(box, PLAIN)
    (found,) = box.rows("SELECT * FROM t WHERE k = 1")
    assert dict(enumerate(found[2:])) == {i: c.result for i, c in enumerate(PLAIN)}


JSON = [
    ("union", ["[1, 2]", "[2, 3]", '["2", null, {"a": [1]}, 3]'], [1, 2, 3, "2", None, {"a": [1]}]),
    ("union", [None, "[true, 1, 1.5]"], [True, 1, 1.5]),
    ("union", ['{"a": 1}', "[1]"], {"a": 1}),
    ("union", [None, None], None),
    ("union", ["[]", "[]"], []),
    ("union", [None, "[]"], []),
    ("json", ['{"a": 1}', '{"a": 2, "b": null}', '{"b": 5, "c": "x"}'], {"a": 1, "b": None, "c": "x"}),
    ("json", [None, '{"a": {"b": []}}'], {"a": {"b": []}}),
    ("json", ["[1]", '{"a": 1}'], [1]),
    ("json", ["{}", "{}"], {}),
    ("json", [None, "{}"], {}),
    ("json", ['{"a": false}', "7"], {"a": False}),
    ("keep", ['{"a": 1}', "{}"], {"a": 1}),
    ("fill", [None, '{"a": 1}'], {"a": 1}),
]  # fmt: skip


@pytest.mark.parametrize("kind", ["json", "jsonb"])
def test_json(every_url: str, kind: str) -> None:
    """Elements once each; fields of the best row that has them; what is neither stays."""
    box = Sandbox(every_url)
    merge_all(box, [case(kind, p, [v and f"'{v}'" for v in vs], r) for p, vs, r in JSON])
    (found,) = box.rows("SELECT * FROM t WHERE k = 1")
    values = [json.loads(v) if isinstance(v, str) else v for v in found[2:]]
    assert dict(enumerate(values)) == {i: c[2] for i, c in enumerate(JSON)}


def test_json_that_gains_nothing_stays_as_it_was_written(every_url: str) -> None:
    """Spaces, order and doubled fields are not washed away for nothing, nor archived."""
    box = Sandbox(every_url)
    box.execute(
        """CREATE TABLE t (id integer PRIMARY KEY, k integer NOT NULL, v json, w json);
        INSERT INTO t VALUES (1, 1, '{"b" :1,   "a":2.50}', '[1,   2]'),
            (2, 1, '{"a":9}', '[2]'), (3, 1, NULL, NULL);"""
    )
    there_and_back(box, Key("t", "k", merge={"v": "json", "w": "union"}))
    found = box.rows("SELECT CAST(v AS text), CAST(w AS text) FROM t")
    assert found == [('{"b" :1,   "a":2.50}', "[1,   2]")]
    assert box.archived("t", "updated") == 0


def test_columns_named_like_our_own_aliases(every_url: str) -> None:
    """Nothing that a column is called can be taken for a name inside our statements."""
    names = ["k1", "p1", "s1", "rank", "size", "e", "i", "r", "x", "d", "j", "v1", "w1", "c1", "n"]
    names += ["grp", "old1", "new1", "m", "o", "a", "t", "u", "q", "h", "survivor", "groups", "key"]
    box = Sandbox(every_url)
    for policy, kind, one, two in [
        ("union", "json", "'[1]'", "'[2]'"),
        ("json", "json", "NULL", "'{\"a\": 1}'"),
        ("concat", "text", "'a'", "'b'"),
        ("sum", "integer", "1", "2"),
        ("max", "integer", "1", "2"),
        ("fill", "integer", "NULL", "2"),
    ]:
        table = f"t_{policy}"
        columns = ", ".join(f'"{n}" {kind}' for n in names)
        box.execute(
            f"CREATE TABLE {table} (id integer PRIMARY KEY, k integer NOT NULL, {columns});"
            f"INSERT INTO {table} VALUES (1, 1, {', '.join([one] * len(names))});"
            f"INSERT INTO {table} VALUES (2, 1, {', '.join([two] * len(names))});"
        )
        there_and_back(box, Key(table, "k", merge={"default": policy}))
        (found,) = box.rows(f"SELECT * FROM {table}")
        assert len(set(map(str, found[2:]))) == 1, found


POSTGRESQL = [
    case("numeric(8,2)", "sum", ["1.10", "2.205", None], "'3.31'::numeric"),
    case("numeric", "max", ["1.10", "'NaN'", "5"], "'NaN'"),
    case("real", "sum", ["0.5", "0.25"], "0.75"),
    case("double precision", "max", ["0.1", "'-Infinity'"], "0.1"),
    case("money", "sum", ["'1.50'", "'2'"], "'3.50'::money"),
    case("interval", "sum", ["'1 day'", "'25 hours'"], "'1 day 25 hours'::interval"),
    case(
        "timestamptz",
        "max",
        ["'2026-01-01 00:00+02'", "'2025-12-31 23:00Z'"],
        "'2025-12-31 23:00Z'::timestamptz",
    ),
    case("timestamptz", "max", ["'infinity'", "'2025-12-31 23:00Z'"], "'infinity'::timestamptz"),
    case("date", "min", ["'2026-01-02'", "'2026-01-01'", None], "'2026-01-01'::date"),
    case("time", "max", ["'10:00'", "'23:59:59.5'"], "'23:59:59.5'::time"),
    case("boolean", "max", ["false", "true", None], "true"),
    case(
        "uuid",
        "min",
        ["'b0000000-0000-0000-0000-000000000000'", "'a0000000-0000-0000-0000-000000000000'"],
        "'a0000000-0000-0000-0000-000000000000'::uuid",
    ),
    case("bytea", "fill", [None, "'\\x00ff'"], "'\\x00ff'::bytea"),
    case("bytea", "max", ["'\\x01'", "'\\x00ff'"], "'\\x01'::bytea"),
    case("mood", "max", ["'ok'", "'sad'", "'happy'"], "'happy'::mood"),
    case("mood", "fill", [None, "'sad'"], "'sad'::mood"),
    case("posint", "sum", ["1", "2"], "3"),
    case("label", "concat", ["'a'", "'b'"], "E'a\\nb'"),
    case("tags", "union", ["'{a,b}'", "'{c,a}'"], "'{a,b,c}'::text[]"),
    case("int4range", "fill", [None, "'[1,5)'"], "'[1,5)'::int4range"),
    case("int4range", "max", ["'[1,5)'", "'[2,3)'"], "'[2,3)'::int4range"),
    case("int4multirange", "fill", [None, "'{[1,5)}'"], "'{[1,5)}'::int4multirange"),
    case("integer[]", "union", ["'{2,1}'", None, "'{1,NULL,3}'"], "'{2,1,NULL,3}'::int[]"),
    case("integer[]", "union", ["'{}'", None], "'{}'::int[]"),
    case("integer[]", "union", ["'{{1,2},{3,4}}'", "'{5}'"], "'{{1,2},{3,4}}'::int[]"),
    case("integer[]", "max", ["'{1}'", "'{1,2}'"], "'{1,2}'::int[]"),
    case("varchar(9)[]", "union", ["'{b}'", "'{a}'"], "'{b,a}'::varchar[]"),
    case("short", "fill", [None, "'x'"], "'x'"),
    case("varchar(20)", "concat", ["'a'", "'b'"], "E'a\\nb'"),
    case("char(3)", "fill", [None, "'ab'"], "'ab '::char(3)"),
    case("name", "fill", [None, "'ab'"], "'ab'::name"),
    case("inet", "max", ["'10.0.0.1'", "'10.0.0.2'"], "'10.0.0.2'::inet"),
    case("bit(3)", "fill", [None, "B'101'"], "B'101'"),
    case("point", "fill", [None, "'(1,2)'"], "'(1,2)'"),
    case("tsvector", "fill", [None, "'a b'"], "'a b'::tsvector"),
    case("pair", "fill", [None, "ROW(1, NULL)::pair"], "ROW(1, NULL)::pair"),
    case("pair", "fill", ["ROW(NULL, NULL)::pair", "ROW(1, 2)::pair"], "ROW(NULL, NULL)::pair"),
    case("pair", "max", ["ROW(1, 3)::pair", "ROW(2, NULL)::pair"], "ROW(2, NULL)::pair"),
    case("citext", "concat", ["'a'", "'A'"], "E'a\\nA'"),
    case("citext", "max", ["'b'", "'B'"], "'b'::text"),
]


def test_types_of_postgresql(every_pg_url: str) -> None:
    """Each is merged by its own rules, archived in its own type, and put back bit for bit."""
    box = Sandbox(every_pg_url)
    box.execute(
        """CREATE EXTENSION IF NOT EXISTS citext;
        CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
        CREATE TYPE pair AS (a integer, b integer);
        CREATE DOMAIN posint AS integer CHECK (value > 0);
        CREATE DOMAIN label AS text CHECK (length(value) < 9);
        CREATE DOMAIN short AS varchar(5);
        CREATE DOMAIN tags AS text[] CHECK (cardinality(value) < 9);"""
    )
    merge_all(box, POSTGRESQL)
    tests = [
        # A point knows no equality.
        f"v{i}{'::text' if c.kind == 'point' else ''} IS NOT DISTINCT FROM {c.result}"
        for i, c in enumerate(POSTGRESQL)
    ]
    columns = [f"CASE WHEN {t} THEN NULL ELSE v{i}::text END" for i, t in enumerate(tests)]
    (found,) = box.rows(f"SELECT {', '.join(columns)} FROM t WHERE k = 1")
    assert {str(POSTGRESQL[i]): v for i, v in enumerate(found) if v is not None} == {}


def test_storage_classes_of_sqlite(sqlite_url: str) -> None:
    """A column without a type keeps what it was given: integers, reals, texts, blobs."""
    box = Sandbox(sqlite_url)
    box.execute(
        """CREATE TABLE t (id INTEGER PRIMARY KEY, k, v, w BLOB, x NUMERIC, y REAL);
        INSERT INTO t VALUES (1, 'a', NULL, x'00', '1.50', 2), (2, 'a', x'61', 'text', 3, 1e300),
            (3, 'b', 1, 1, 1, 1), (4, 'b', '1', '1', '1', '1'), (5, 1, 1.0, 1.0, 1e40, 9007199254740993),
            (6, '1', 1, NULL, NULL, NULL), (7, x'31', 5, 5, 5, 5);"""
    )
    there_and_back(box, Key("t", "k"))
    assert box.count("t") == 5


@pytest.mark.parametrize("kind", ["GENERATED ALWAYS", "GENERATED BY DEFAULT"])
def test_identity_columns(every_pg_url: str, kind: str) -> None:
    """A primary key or another column: numbers come back as they were, the sequence stays."""
    box = Sandbox(every_pg_url)
    box.execute(
        f"""CREATE TABLE t (id bigint {kind} AS IDENTITY PRIMARY KEY, k integer NOT NULL, v text);
        INSERT INTO t (k, v) VALUES (1, NULL), (1, 'b'), (2, NULL), (2, 'd');
        CREATE TABLE u (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), k integer NOT NULL,
            no bigint {kind} AS IDENTITY, v text);
        INSERT INTO u (k, v) VALUES (1, NULL), (1, 'b'), (2, NULL), (2, 'd');"""
    )
    there_and_back(box, Key("t", "k"), Key("u", "k", keep="min no"))
    assert box.rows("SELECT * FROM t") == [(1, 1, "b"), (3, 2, "d")]
    assert box.rows("SELECT k, no, v FROM u ORDER BY k") == [(1, 1, "b"), (2, 3, "d")]


def test_generated_columns(every_url: str) -> None:
    """They follow by themselves, and are not written."""
    box = Sandbox(every_url)
    virtual = ", u integer GENERATED ALWAYS AS (n + 1) VIRTUAL" if box.sqlite else ""
    box.execute(
        f"""CREATE TABLE t (id integer PRIMARY KEY, k integer NOT NULL, n integer,
            g integer GENERATED ALWAYS AS (n * 2) STORED{virtual});
        INSERT INTO t (id, k, n) VALUES (1, 1, NULL), (2, 1, 4), (3, 2, 5), (4, 2, NULL);"""
    )
    there_and_back(box, Key("t", "k"))
    assert box.rows("SELECT id, n, g FROM t ORDER BY id") == [(1, 4, 8), (3, 5, 10)]
    with pytest.raises(RuleError, match="generated"):
        planned(box, Key("t", "id", "k", merge={"g": "max"}))


def test_virtual_columns_of_postgresql(every_pg_url: str) -> None:
    """PostgreSQL 18 keeps nothing of them; older ones know stored ones only."""
    box = Sandbox(every_pg_url)
    kind = "VIRTUAL" if int(box.value("SHOW server_version_num")) >= 180000 else "STORED"
    box.execute(
        f"""CREATE TABLE t (id integer PRIMARY KEY, k integer NOT NULL, n integer,
            g integer GENERATED ALWAYS AS (n * 2) {kind});
        INSERT INTO t (id, k, n) VALUES (1, 1, NULL), (2, 1, 4);"""
    )
    there_and_back(box, Key("t", "k"))
    assert box.rows("SELECT id, n, g FROM t") == [(1, 4, 8)]


def test_a_key_on_a_generated_column(every_url: str) -> None:
    """The survivor's is as good as the other's."""
    box = Sandbox(every_url)
    box.execute(
        """CREATE TABLE t (id integer PRIMARY KEY, branch text,
            scope text GENERATED ALWAYS AS (coalesce(branch, 'ALL')) STORED NOT NULL, v integer);
        INSERT INTO t (id, branch, v) VALUES (1, NULL, 1), (2, 'ALL', 2), (3, 'x', 3);"""
    )
    there_and_back(box, Key("t", "scope", keep="latest v"))
    assert box.rows("SELECT id, branch, scope FROM t ORDER BY id") == [
        (2, "ALL", "ALL"), (3, "x", "x"),
    ]  # fmt: skip


def test_defaults_per_policy(every_url: str) -> None:
    """`default` speaks for columns that are not named; a misfit there is an error too."""
    box = Sandbox(every_url)
    box.execute(
        """CREATE TABLE t (id integer PRIMARY KEY, k integer NOT NULL, a integer, b integer, c integer);
        INSERT INTO t VALUES (1, 1, 1, 1, NULL), (2, 1, 2, 5, 9);"""
    )
    there_and_back(box, Key("t", "k", merge={"default": "sum", "b": "max", "c": "keep"}))
    assert box.rows("SELECT a, b, c FROM t") == [(3, 5, None)]


@pytest.mark.parametrize(
    ("kind", "policies"),
    [
        ("integer", ["union", "concat", "json"]),
        ("text", ["sum"]),
        ("bytea", ["sum", "concat", "union", "json"]),
        ("jsonb", ["sum", "concat"]),
        ("json", ["max", "min", "error", "sum", "concat"]),
        ("point", ["max", "error", "union"]),
        ("json[]", ["union"]),
    ],
)
def test_policies_that_do_not_fit(pg_url: str, kind: str, policies: list[str]) -> None:
    """They are refused when the plan is made, by name of column and type."""
    box = Sandbox(pg_url)
    box.execute(f"CREATE TABLE t (id integer PRIMARY KEY, k integer NOT NULL, v {kind});")
    for policy in POLICIES:
        key = Key("t", "k", merge={"v": policy})
        if policy in policies:
            with pytest.raises(RuleError, match=r"does not fit v \("):
                planned(box, key)
        elif policy in ("keep", "fill"):
            planned(box, key)


def test_a_column_that_must_agree(every_url: str) -> None:
    """Rows that differ stop the plan; NULL differs from nothing."""
    box = Sandbox(every_url)
    box.execute(
        """CREATE TABLE t (id integer PRIMARY KEY, k integer NOT NULL, v text);
        INSERT INTO t VALUES (1, 1, NULL), (2, 1, 'a'), (3, 1, 'a'), (4, 2, 'x'), (5, 2, 'y');"""
    )
    key = Key("t", "k", merge={"v": "error"})
    assert blockers(box, key) == ["undecided_groups"]
    box.execute("UPDATE t SET v = 'y' WHERE id = 4")
    applied(box, key)
    assert box.rows("SELECT id, v FROM t ORDER BY id") == [(1, "a"), (4, "y")]


def test_values_too_large_for_the_column(every_pg_url: str) -> None:
    """The batch is refused whole by the server: nothing is half merged, and undo is the way on."""
    box = Sandbox(every_pg_url)
    box.execute(
        """CREATE TABLE t (id integer PRIMARY KEY, k integer NOT NULL, v smallint);
        INSERT INTO t VALUES (1, 1, 30000), (2, 1, 30000);"""
    )
    key = Key("t", "k", merge={"v": "sum"})
    before = box.state()
    with pytest.raises(DatabaseError, match="out of range"):
        applied(box, key)
    assert box.contents() == before[1]
    (run,) = api.status(box.url)
    assert run.status == "failed"
    outcome = api.undo(box.url)
    assert (outcome.status, outcome.exit_code) == ("undone", 0)
    assert box.state() == before
    applied(box, Key("t", "k", merge={"v": "max"}))


def test_checks_on_merged_values(every_url: str) -> None:
    """A CHECK that the merged value breaks stops the batch, not the database."""
    box = Sandbox(every_url)
    box.execute(
        """CREATE TABLE t (id integer PRIMARY KEY, k integer NOT NULL, v integer CHECK (v < 10));
        INSERT INTO t VALUES (1, 1, 8), (2, 1, 8);"""
    )
    before = box.state()
    with pytest.raises(DatabaseError):
        applied(box, Key("t", "k", merge={"v": "sum"}))
    assert box.contents() == before[1]
    assert api.undo(box.url).exit_code == 0
    assert box.state() == before
