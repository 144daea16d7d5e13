"""Names that need care, in every place where a name can stand."""

from __future__ import annotations

import pytest

from onerow import api
from onerow.rules import Key
from onerow.sql import quote
from tests.support.sandbox import Sandbox
from tests.support.story import there_and_back

NAMES = [
    'Weird ""Name" ',
    "select",
    "UPPER lower",
    "a.b",
    "a, b",
    'x", "y',
    "100%s :id %(x)s",
    "Größe Ω 名前 🙂",
    "back\\slash 'single'",
    "x" * 63,
    "ü" * 31,
    "(brackets)",
    "1digit",
    "line\nbreak",
]


@pytest.mark.parametrize("name", NAMES)
def test_name(every_url: str, name: str) -> None:
    """Of tables, columns, keys, foreign keys and triggers; in filters and orders."""
    box = Sandbox(every_url)
    q, child = quote(name), quote(name[:20] + "2")
    box.execute(
        f"""CREATE TABLE {q} (id integer PRIMARY KEY, {q} integer NOT NULL, {child} text, note text);
        CREATE TABLE {child} ({q} integer PRIMARY KEY, {child} integer,
            CONSTRAINT {q} FOREIGN KEY ({child}) REFERENCES {q} ON DELETE CASCADE);
        INSERT INTO {q} VALUES (1, 1, NULL, 'a%b:c'), (2, 1, 'x', 'a%b:c'), (3, 2, NULL, '');
        INSERT INTO {child} VALUES (1, 2), (2, 3), (3, NULL);"""
    )
    if not box.sqlite:
        box.execute(
            f"""CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE 'fired'; END $$;
            CREATE TRIGGER {q} BEFORE UPDATE OR DELETE ON {q}
                FOR EACH ROW EXECUTE FUNCTION stop();"""
        )
    else:
        box.execute(
            f"CREATE TRIGGER {quote(name + '_t')} AFTER DELETE ON {q}"
            " BEGIN SELECT raise(ABORT, 'fired'); END;"
        )
    key = Key(
        name,
        name,
        name=name[:20] + "_key",
        where=f"note LIKE 'a%b:c' OR {q} % 2 = 0 OR note = ':x %s'",
        keep=f"min {q} + 0",
        merge={"default": "fill", name[:20] + "2": "max"},
    )
    there_and_back(box, key)
    assert box.rows(f"SELECT {child} FROM {child} ORDER BY {q}") == [(1,), (3,), (None,)]
    assert box.rows(f"SELECT {child} FROM {q} ORDER BY id") == [("x",), (None,)]


@pytest.mark.parametrize("name", ["other", "Other One", "a.b", "select"])
def test_schema(every_pg_url: str, name: str) -> None:
    """Outside of the search path, named in the rule; a table of the same name in public stays."""
    box = Sandbox(every_pg_url)
    q = quote(name)
    box.execute(
        f"""CREATE SCHEMA {q};
        CREATE TABLE {q}.t (id integer PRIMARY KEY, a integer NOT NULL);
        INSERT INTO {q}.t VALUES (1, 1), (2, 1);
        CREATE TABLE t (id integer PRIMARY KEY, a integer NOT NULL);
        INSERT INTO t VALUES (1, 1), (2, 1);"""
    )
    there_and_back(box, Key(f"{q}.t", "a"))
    assert (box.count(f"{q}.t"), box.count("t")) == (1, 2)


def test_types_and_functions_outside_of_the_search_path(every_pg_url: str) -> None:
    """Columns of such types are archived and put back; such functions may stand in a filter."""
    box = Sandbox(every_pg_url)
    box.execute(
        """CREATE SCHEMA lib;
        CREATE TYPE lib."Mood" AS ENUM ('sad', 'ok');
        CREATE FUNCTION lib.yes(integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
        CREATE TABLE t (id integer PRIMARY KEY, a integer NOT NULL, m lib."Mood", ms lib."Mood"[]);
        INSERT INTO t VALUES (1, 1, NULL, '{ok}'), (2, 1, 'ok', '{sad}');"""
    )
    there_and_back(box, Key("t", "a", where="lib.yes(a)", merge={"ms": "union", "m": "max"}))
    assert box.rows("SELECT id, m::text, ms::text FROM t") == [(1, "ok", "{ok,sad}")]


def test_names_of_our_own_are_refused(every_url: str) -> None:
    """A column that begins like the archive's own would be mixed up with them."""
    box = Sandbox(every_url)
    box.execute(
        """CREATE TABLE t (id integer PRIMARY KEY, a integer NOT NULL, onerow_op integer);
        INSERT INTO t VALUES (1, 1, 5), (2, 1, NULL);"""
    )
    before = box.state()
    outcome = api.apply(box.url, [Key("t", "a")])
    assert outcome.exit_code == 1
    assert box.state() == before
