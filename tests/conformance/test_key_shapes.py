"""Keys of every shape: composite, by expression, without case, filtered, with NULLs, singletons."""

from __future__ import annotations

import psycopg
import pytest

from onerow import api
from onerow.rules import Key
from tests.support.sandbox import Sandbox
from tests.support.story import applied, blockers, planned, there_and_back

ROWS = """
CREATE TABLE t (id integer PRIMARY KEY, a text, b integer, status text, v integer);
INSERT INTO t VALUES
    (1, 'x', 1, 'on', 1), (2, 'x', 1, 'on', 2), (3, 'X', 1, 'on', 3), (4, 'x', 2, 'off', 4),
    (5, NULL, 1, 'on', 5), (6, NULL, 1, 'on', 6), (7, NULL, NULL, 'off', 7),
    (8, NULL, NULL, 'on', 8), (9, 'x', NULL, 'on', 9), (10, 'x', NULL, 'off', 10);
"""


def survivors(box: Sandbox) -> list[int]:
    return [r[0] for r in box.rows("SELECT id FROM t ORDER BY id")]


@pytest.mark.parametrize(
    ("key", "left"),
    [
        (Key("t", "a", "b"), [1, 3, 4, 5, 6, 7, 8, 9, 10]),
        (Key("t", "a", "b", nulls="equal"), [1, 3, 4, 5, 7, 9]),
        (Key("t", "a", "b", ignore_case=["a"]), [1, 4, 5, 6, 7, 8, 9, 10]),
        (Key("t", "a", "b", ignore_case=["a"], nulls="equal"), [1, 4, 5, 7, 9]),
        (Key("t", "a", where="status = 'on'"), [1, 3, 4, 5, 6, 7, 8, 10]),
        (Key("t", "a", where="status = 'on'", nulls="equal"), [1, 3, 4, 5, 7, 10]),
        (Key("t", "(coalesce(a, '-'))", "b"), [1, 3, 4, 5, 7, 8, 9, 10]),
        (Key("t", "(coalesce(a, '-') || '%:x')", "b", nulls="equal"), [1, 3, 4, 5, 7, 9]),
        (Key("t", "(b % 2)", where="b IS NOT NULL AND id <> 4"), [1, 4, 7, 8, 9, 10]),
        (Key("t", where="a IS NULL AND status = 'on'"), [1, 2, 3, 4, 5, 7, 9, 10]),
        (Key("t"), [1]),
        (Key("t", where="status LIKE 'o%f'"), [1, 2, 3, 4, 5, 6, 8, 9]),
    ],
    ids=str,
)
def test_shape(every_url: str, key: Key, left: list[int]) -> None:
    """What the key does not speak of is left alone; what it does ends with one row a value."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    there_and_back(box, key)
    assert survivors(box) == left
    again = api.make_plan(box.url, [key])
    assert not again.steps
    assert again.satisfied


def test_enforced_from_then_on(every_url: str) -> None:
    """The database refuses the next duplicate, and only that."""
    import sqlite3

    import psycopg

    box = Sandbox(every_url)
    box.execute(ROWS)
    applied(box, Key("t", "a", "b", nulls="equal", ignore_case=["a"], where="status = 'on'"))
    for row in ["20, 'x', 1, 'off', 0", "21, 'y', 1, 'on', 0", "22, 'y', NULL, 'on', 0"]:
        box.execute(f"INSERT INTO t VALUES ({row})")
    for row in ["30, 'X', 1, 'on', 0", "31, NULL, 1, 'on', 0", "32, 'Y', NULL, 'on', 0"]:
        with pytest.raises((sqlite3.IntegrityError, psycopg.errors.UniqueViolation)):
            box.execute(f"INSERT INTO t VALUES ({row})")


def test_forbidden_nulls(every_url: str) -> None:
    """Rows with NULL stop the plan; without them the key forbids them too, and undo allows them."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    key = Key("t", "a", "b", nulls="forbidden", name="t_a_b")
    assert blockers(box, key) == ["unmapped_rows"]
    box.execute("DELETE FROM t WHERE a IS NULL OR b IS NULL")
    there_and_back(box, key)
    assert survivors(box) == [1, 3, 4]


def test_a_key_that_is_enforced_already(every_url: str) -> None:
    """Nothing is done and nothing left behind."""
    box = Sandbox(every_url)
    box.execute("CREATE TABLE t (id integer PRIMARY KEY, a integer NOT NULL UNIQUE);")
    before = box.state()
    outcome = api.apply(box.url, [Key("t", "a")])
    assert (outcome.status, outcome.run, outcome.exit_code) == ("done", None, 0)
    assert box.state() == before
    assert api.status(box.url) == ()


@pytest.mark.parametrize("rows", ["", "INSERT INTO t VALUES (1, 1), (2, 2);"])
def test_nothing_to_merge(every_url: str, rows: str) -> None:
    """An empty table, and one without duplicates, get their key and keep their rows."""
    box = Sandbox(every_url)
    box.execute(f"CREATE TABLE t (id integer PRIMARY KEY, a integer NOT NULL); {rows}")
    outcome = there_and_back(box, Key("t", "a"))
    assert outcome.archived == 0


def test_no_primary_key(every_url: str) -> None:
    """Harmless without duplicates; with them the rows cannot be told apart."""
    box = Sandbox(every_url)
    box.execute("CREATE TABLE t (a integer NOT NULL, v text); INSERT INTO t VALUES (1, 'x');")
    assert blockers(box, Key("t", "a")) == []
    box.execute("INSERT INTO t VALUES (1, 'x')")
    before = box.state()
    assert blockers(box, Key("t", "a")) == ["no_primary_key"]
    assert api.apply(box.url, [Key("t", "a")]).status == "refused"
    assert box.state() == before


def test_primary_key_with_nulls_in_sqlite(sqlite_url: str) -> None:
    """Such rows cannot be told apart either."""
    box = Sandbox(sqlite_url)
    box.execute(
        """CREATE TABLE t (id text PRIMARY KEY, a integer NOT NULL);
        INSERT INTO t VALUES (NULL, 1), (NULL, 1), ('x', 1);"""
    )
    assert blockers(box, Key("t", "a")) == ["no_primary_key"]


def test_tables_of_sqlite(sqlite_url: str) -> None:
    """STRICT, WITHOUT ROWID, AUTOINCREMENT and collations."""
    box = Sandbox(sqlite_url)
    box.execute(
        """CREATE TABLE s (id INTEGER PRIMARY KEY, a TEXT COLLATE NOCASE NOT NULL, v ANY) STRICT;
        CREATE TABLE w (id TEXT NOT NULL, no INTEGER NOT NULL, a TEXT, v, PRIMARY KEY (id, no)) WITHOUT ROWID;
        CREATE TABLE i (id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT COLLATE RTRIM, v);
        INSERT INTO s VALUES (1, 'x', NULL), (2, 'X', 1.0), (3, 'y', x'00');
        INSERT INTO w VALUES ('a', 1, 'x', NULL), ('a', 2, 'x', 1), ('b', 1, 'X', 2);
        INSERT INTO i (a, v) VALUES ('x', NULL), ('x  ', 1), ('x ', 2), ('X', 3);
        DELETE FROM i WHERE id = 4;"""
    )
    there_and_back(box, Key("s", "a"), Key("w", "a"), Key("i", "a"))
    assert box.rows("SELECT * FROM s") == [(1, "x", 1.0), (3, "y", b"\x00")]
    assert box.rows("SELECT * FROM w") == [("a", 1, "x", 1), ("b", 1, "X", 2)]
    assert box.rows("SELECT * FROM i") == [(1, "x", 1)]


def test_types_that_ignore_case(every_pg_url: str) -> None:
    """What citext or lower() holds equal is one key; the archive tells the letters apart."""
    box = Sandbox(every_pg_url)
    box.execute(
        """CREATE EXTENSION citext;
        CREATE TABLE c (id citext PRIMARY KEY, a citext NOT NULL, v text);
        CREATE TABLE p (id integer PRIMARY KEY, a text COLLATE "C" NOT NULL, v text);
        INSERT INTO c VALUES ('I1', 'x', NULL), ('i2', 'X', 'v'), ('i3', 'y', NULL);
        INSERT INTO p SELECT row_number() OVER (ORDER BY id), a, v FROM c;"""
    )
    there_and_back(box, Key("c", "a"), Key("p", "a", ignore_case=["a"]))
    assert box.rows("SELECT id, a, v FROM c ORDER BY id") == [("I1", "x", "v"), ("i3", "y", None)]


def test_collations_that_ignore_case(every_pg_url: str) -> None:
    """The same for a nondeterministic collation, on servers that are built with ICU."""
    box = Sandbox(every_pg_url)
    try:
        box.execute(
            "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
        )
    except psycopg.errors.FeatureNotSupported:
        return  # there can be no such collation, so there is nothing to get wrong
    box.execute(
        """CREATE TABLE n (id text COLLATE ci PRIMARY KEY, a text COLLATE ci NOT NULL, v text COLLATE ci);
        INSERT INTO n VALUES ('I1', 'x', NULL), ('i2', 'X', 'v'), ('i3', 'y', NULL);
        CREATE TABLE r (id integer PRIMARY KEY, n text COLLATE ci REFERENCES n ON DELETE CASCADE);
        INSERT INTO r VALUES (1, 'i2'), (2, 'i1');"""
    )
    there_and_back(box, Key("n", "a"))
    assert box.rows("SELECT id, a, v FROM n ORDER BY id") == [("I1", "x", "v"), ("i3", "y", None)]
    assert box.rows("SELECT n FROM r ORDER BY id") == [("I1",), ("i1",)]


def test_values_that_no_python_date_can_hold(every_pg_url: str) -> None:
    """Keys, primary keys and samples with infinity, years before Christ and long intervals."""
    box = Sandbox(every_pg_url)
    box.execute(
        """CREATE TABLE t (id date PRIMARY KEY, till timestamptz NOT NULL, u timestamp, i interval);
        INSERT INTO t VALUES ('infinity', 'infinity', NULL, '300000 years'), ('0044-03-15 BC', 'infinity',
            '-infinity', NULL), ('2026-01-01', '20000-01-01', '0001-01-01 BC', '1 day');
        CREATE TABLE s (id integer PRIMARY KEY, i interval NOT NULL);
        INSERT INTO s VALUES (1, '300000 years'), (2, '300000 years');"""
    )
    there_and_back(box, Key("t", "till"), Key("s", "i"))
    assert box.rows("SELECT id::text FROM t ORDER BY id") == [("0044-03-15 BC",), ("2026-01-01",)]
    box.execute("UPDATE t SET i = '2 days' WHERE till = 'infinity'")
    outcome = api.undo(box.url)
    assert outcome.exit_code == 1
    assert [left["key"] for left in outcome.left_alone] == [{"id": "0044-03-15 BC"}]


OLD = {
    "constraint": "ALTER TABLE t ADD CONSTRAINT old_key UNIQUE (a);"
    "COMMENT ON CONSTRAINT old_key ON t IS 'the old one''s';",
    "deferrable": "ALTER TABLE t ADD CONSTRAINT old_key UNIQUE (a) DEFERRABLE INITIALLY DEFERRED;",
    "index": "CREATE UNIQUE INDEX old_key ON t (a) WITH (fillfactor = 70);"
    "COMMENT ON INDEX old_key IS '50% of it';",
    "partial": "CREATE UNIQUE INDEX old_key ON t (lower(a)) WHERE (b > 0);",
    "include": "CREATE UNIQUE INDEX old_key ON t (a) INCLUDE (v);",
}


@pytest.mark.parametrize("name", ["new_key", "old_key"])
@pytest.mark.parametrize("old", OLD)
def test_replaced_keys_of_postgresql(every_pg_url: str, old: str, name: str) -> None:
    """They go last, and come back with comment, deferrability and storage parameters."""
    box = Sandbox(every_pg_url)
    box.execute(
        "CREATE TABLE t (id integer PRIMARY KEY, a text NOT NULL, b integer NOT NULL, v text);"
        "INSERT INTO t VALUES (1, 'x', 1, NULL), (2, 'y', 1, 'n'), (3, 'z', 2, NULL);",
        OLD[old],
    )
    there_and_back(box, Key("t", "b", name=name, replaces=["old_key"]))
    assert survivors(box) == [1, 3]
    assert ("old_key" in str(box.schema()["indexes"])) == (name == "old_key")


@pytest.mark.parametrize("name", ["new_key", "old_key", "user", 'Weird "key" ON x', "k" * 63])
def test_replaced_keys_of_odd_names(every_pg_url: str, name: str) -> None:
    """Whatever the old key is called, also when the new one takes its name."""
    box = Sandbox(every_pg_url)
    quoted = '"' + name.replace('"', '""') + '"'
    box.execute(
        f"""CREATE TABLE t (id integer PRIMARY KEY, a text NOT NULL, b integer NOT NULL);
        INSERT INTO t VALUES (1, 'x', 1), (2, 'y', 1);
        ALTER TABLE t ADD CONSTRAINT {quoted} UNIQUE (a);"""
    )
    there_and_back(box, Key("t", "b", name=name, replaces=[name]))


@pytest.mark.parametrize("name", ["new_key", "old_key"])
@pytest.mark.parametrize(
    "old",
    [
        "CREATE UNIQUE INDEX old_key ON t (a)",
        "CREATE UNIQUE INDEX old_key ON t (lower(a)) WHERE b > 0",
    ],
)
def test_replaced_keys_of_sqlite(sqlite_url: str, old: str, name: str) -> None:
    """An index goes and comes back, also when the new one takes its name."""
    box = Sandbox(sqlite_url)
    box.execute(
        "CREATE TABLE t (id integer PRIMARY KEY, a text NOT NULL, b integer NOT NULL, v text);"
        f"INSERT INTO t VALUES (1, 'x', 1, NULL), (2, 'y', 1, 'n'), (3, 'z', 2, NULL); {old};"
    )
    there_and_back(box, Key("t", "b", name=name, replaces=["old_key"]))
    assert survivors(box) == [1, 3]


def test_several_rules_in_one_plan(every_url: str) -> None:
    """Also two keys of one table, where merging by one changes what the other finds."""
    box = Sandbox(every_url)
    box.execute(
        """CREATE TABLE t (id integer PRIMARY KEY, a integer, b integer, v integer);
        INSERT INTO t VALUES (1, 1, NULL, 1), (2, 1, 7, 2), (3, 2, 7, 3), (4, 2, 8, 4), (5, 3, 8, 5);
        CREATE TABLE s (id integer PRIMARY KEY, a integer);
        INSERT INTO s VALUES (1, 1), (2, 1);"""
    )
    there_and_back(box, Key("t", "a"), Key("t", "b"), Key("s", "a"))
    planned(box, Key("t", "a"))


def test_a_key_that_merging_itself_breaks_again(every_url: str) -> None:
    """In a tree with unique names a folder, children that follow become duplicates in turn."""
    box = Sandbox(every_url)
    box.execute(
        """CREATE TABLE node (id integer PRIMARY KEY, up integer REFERENCES node ON DELETE CASCADE,
            name text NOT NULL);
        INSERT INTO node VALUES (1, NULL, 'root');
        INSERT INTO node VALUES (2, 1, 'a'), (3, 1, 'a');
        INSERT INTO node VALUES (4, 2, 'b'), (5, 3, 'b'), (6, 3, 'c');
        INSERT INTO node VALUES (7, 4, 'd'), (8, 5, 'd');
        INSERT INTO node VALUES (9, 8, 'e');"""
    )
    there_and_back(box, Key("node", "up", "name"))
    assert box.rows("SELECT * FROM node ORDER BY id") == [
        (1, None, "root"), (2, 1, "a"), (4, 2, "b"), (6, 2, "c"), (7, 4, "d"), (9, 7, "e"),
    ]  # fmt: skip
