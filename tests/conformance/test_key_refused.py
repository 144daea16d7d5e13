"""What the plan of a key refuses, because nothing would act on it."""

from __future__ import annotations

from onerow.rules import Key
from tests.support.sandbox import Sandbox
from tests.support.story import blockers

TABLE = "CREATE TABLE parent (id integer PRIMARY KEY, k integer NOT NULL);"


def test_null_in_a_primary_key_of_sqlite(sqlite_url: str) -> None:
    """SQLite lets NULL into a primary key; rows that cannot be told apart are not merged."""
    rows = "INSERT INTO named VALUES ('a', 1), ('b', 1), (NULL, 1);"
    box = Sandbox(sqlite_url)
    box.execute("CREATE TABLE named (id text PRIMARY KEY, k integer NOT NULL);" + rows)
    assert blockers(box, Key("named", "k")) == ["no_primary_key"]


def test_primary_key_of_sqlite_without_null(sqlite_url: str) -> None:
    """A primary key that could hold NULL, and does not, tells rows apart."""
    rows = "INSERT INTO named VALUES ('a', 1), ('b', 1);"
    box = Sandbox(sqlite_url)
    box.execute("CREATE TABLE named (id text PRIMARY KEY, k integer NOT NULL);" + rows)
    assert blockers(box, Key("named", "k")) == []
