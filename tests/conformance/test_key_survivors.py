"""Which row of a group stays."""

from __future__ import annotations

from onerow.rules import Key
from tests.support.sandbox import Sandbox
from tests.support.story import there_and_back

ROWS = """
CREATE TABLE {table} (id integer PRIMARY KEY, k text NOT NULL, at text, n integer);
INSERT INTO {table} VALUES
    (1, 'a', NULL, 5), (2, 'a', '2026-01-02', 1), (3, 'a', '2026-01-03', NULL),
    (4, 'a', '2026-01-03', 1), (5, 'b', NULL, NULL), (6, 'b', NULL, NULL),
    (7, 'c', '2026-01-01', -3), (8, 'c', NULL, -9), (9, 'c', '2025-12-31', 0),
    (10, 'd', '2026-01-01', 1);
"""

SURVIVORS = {
    "first": [1, 5, 7, 10],
    "latest at": [3, 5, 7, 10],
    "earliest at": [2, 5, 9, 10],
    "max n": [1, 5, 9, 10],
    "min n": [2, 5, 8, 10],
    "max n % 3": [1, 5, 7, 10],
    "min coalesce(n, -100)": [3, 5, 8, 10],
    "max (case when at is null then 1 else 0 end)": [1, 5, 8, 10],
    "max id": [4, 6, 9, 10],
    "latest k": [1, 5, 7, 10],
}


def test_every_form_of_keep(every_url: str) -> None:
    """NULL ranks last whichever way, and ties go to the lowest primary key."""
    box = Sandbox(every_url)
    tables = {f"t{i}": keep for i, keep in enumerate(SURVIVORS)}
    box.execute(*(ROWS.format(table=t) for t in tables))
    there_and_back(box, *(Key(t, "k", keep=keep) for t, keep in tables.items()))
    found = {
        keep: [r[0] for r in box.rows(f"SELECT id FROM {t} ORDER BY id")]
        for t, keep in tables.items()
    }
    assert found == SURVIVORS


def test_fill_follows_the_ranking(every_url: str) -> None:
    """An empty column is taken from the next best row that has it, not from the lowest."""
    box = Sandbox(every_url)
    box.execute(
        """CREATE TABLE t (id integer PRIMARY KEY, k integer NOT NULL, n integer, v text);
        INSERT INTO t VALUES (1, 1, 1, 'worst'), (2, 1, 3, NULL), (3, 1, 2, 'next');"""
    )
    there_and_back(box, Key("t", "k", keep="max n"))
    assert box.rows("SELECT * FROM t") == [(2, 1, 3, "next")]


def test_ties_by_a_composite_primary_key(every_url: str) -> None:
    """Column by column, in the order of the key."""
    box = Sandbox(every_url)
    box.execute(
        """CREATE TABLE t (b integer NOT NULL, a text NOT NULL, k integer NOT NULL, PRIMARY KEY (a, b));
        INSERT INTO t VALUES (1, 'z', 1), (9, 'a', 1), (2, 'a', 1), (1, 'b', 2), (1, 'a', 2);"""
    )
    there_and_back(box, Key("t", "k"))
    assert box.rows("SELECT a, b, k FROM t ORDER BY k") == [("a", 2, 1), ("a", 1, 2)]


def test_text_primary_key(every_url: str) -> None:
    """Quotes, percent signs and other letters in the values."""
    box = Sandbox(every_url)
    box.execute(
        """CREATE TABLE t (id text PRIMARY KEY NOT NULL, k text NOT NULL);
        INSERT INTO t VALUES ('it''s', 'a'), ('100%', 'a'), ('Ω:x', 'a'), ('"', 'b'), ('\\', 'b'), ('', 'c');"""
    )
    there_and_back(box, Key("t", "k"))
    assert box.count("t") == 3


def test_uuid_primary_key(every_pg_url: str) -> None:
    """Ordered as the server orders them."""
    box = Sandbox(every_pg_url)
    box.execute(
        """CREATE TABLE t (id uuid PRIMARY KEY, k integer NOT NULL);
        INSERT INTO t SELECT md5(i::text)::uuid, i % 7 FROM generate_series(1, 50) AS i;"""
    )
    first = box.rows("SELECT DISTINCT ON (k) id FROM t ORDER BY k, id")
    there_and_back(box, Key("t", "k"))
    assert box.rows("SELECT id FROM t ORDER BY k") == first


def test_rows_known_by_a_unique_key_only(every_url: str) -> None:
    """Without a primary key a NOT NULL unique one serves."""
    box = Sandbox(every_url)
    box.execute(
        """CREATE TABLE t (no integer NOT NULL UNIQUE, k integer NOT NULL, v text);
        INSERT INTO t VALUES (3, 1, 'x'), (1, 1, NULL), (2, 2, NULL);"""
    )
    there_and_back(box, Key("t", "k"))
    assert box.rows("SELECT * FROM t ORDER BY no") == [(1, 1, "x"), (2, 2, None)]


def test_one_great_group(every_url: str) -> None:
    """Larger than a batch; it is merged whole all the same."""
    box = Sandbox(every_url)
    series = "WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 60) SELECT i, 1, i"
    box.execute("CREATE TABLE t (id integer PRIMARY KEY, k integer NOT NULL, n integer);")
    box.execute(f"INSERT INTO t {series} FROM g")
    there_and_back(box, Key("t", "k", merge={"n": "sum"}))
    assert box.rows("SELECT * FROM t") == [(1, 1, 1830)]
