"""The first rule file: what is written for a database that is seen for the first time."""

from __future__ import annotations

import sqlite3
import time
import tomllib
from contextlib import closing
from typing import Any

import psycopg
import pytest

from onerow import api
from onerow.database import Database
from onerow.keys import bind_key
from onerow.rulefile import Rules, parse_rules
from onerow.rules import Key
from onerow.starter import Starter, look, starter_rules, toml

PARENT = "create table users (id integer primary key, email text, slug text)"
PROFILES = (
    "create table profiles (id integer primary key, user_id integer not null references users (id),"
    " bio text, updated_at timestamp)"
)


def execute(url: str, *scripts: str) -> None:
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(Database(url).path)) as connection:
            connection.executescript(";".join(scripts))
    else:
        with psycopg.connect(url, autocommit=True) as connection:
            for script in scripts:
                connection.execute(script.encode())


def fill(table: str, count: int, text: str) -> str:
    rows = ", ".join(text.format(i=i) for i in range(1, count + 1))
    return f"insert into {table} values {rows}"


def seen(url: str) -> Starter:
    return look(Database(url))


def rules_in(text: str) -> Rules:
    return parse_rules(text)


def keys_in(text: str) -> list[Key]:
    return [r for r in rules_in(text).rules if isinstance(r, Key)]


def uncommented(text: str) -> str:
    """The file with all of its guesses made rules."""
    out, inside = [], False
    for line in text.splitlines():
        bare = line.removeprefix("# ")
        if line.startswith("# An example"):
            break
        inside = bare == "[[key]]" or (inside and line.startswith("# "))
        out.append(bare if inside else line)
    return "\n".join(out)


def assert_usable(url: str, text: str) -> None:
    """It parses, and it can be planned; so can its guesses be parsed and bound."""
    api.make_plan(url, rules_in(text))
    snapshot = api.snapshot(Database(url), rules_in(text))
    for key in keys_in(uncommented(text)):
        bind_key(key, snapshot)


def test_empty_database(db_url: str) -> None:
    """There is a database section, an example, and nothing else."""
    starter = seen(db_url)
    assert (starter.active, starter.candidates, starter.tables) == (0, 0, 0)
    parsed = tomllib.loads(starter.text)
    assert parsed["database"]["url"] == "${DATABASE_URL}"
    assert parsed["database"].get("schemas") == (
        None if db_url.startswith("sqlite") else ["public"]
    )
    assert "# [[key]]" in starter.text
    assert_usable(db_url, starter.text)


def test_the_example_is_a_rule(sqlite_url: str) -> None:
    """What is shown as an example would be understood."""
    text = starter_rules(Database(sqlite_url))
    lines = text.partition("# An example")[2].splitlines()[1:]
    [key] = keys_in("\n".join(line.removeprefix("# ") for line in lines))
    assert key.columns == ("tenant_id", "scope_key", "name")
    assert str(key.keep) == "latest updated_at"


def test_no_secret(pg_url: str) -> None:
    """Neither the address nor its password is written down."""
    password = pg_url.partition("://")[2].partition("@")[0].partition(":")[2]
    text = starter_rules(Database(pg_url))
    assert "://" not in text
    assert not password or password not in text


def test_one_to_one_with_doubles_is_active(db_url: str) -> None:
    """Nearly every user has one profile, and two have more: that is a rule."""
    execute(db_url, PARENT, PROFILES, fill("users", 60, "({i}, null, null)"),
            fill("profiles", 58, "({i}, {i}, 'x', null)"),
            "insert into profiles values (100, 1, 'y', null), (101, 2, 'y', null)")  # fmt: skip
    starter = seen(db_url)
    [key] = keys_in(starter.text)
    assert (key.table, key.columns, str(key.keep)) == (
        "profiles",
        ("user_id",),
        "latest updated_at",
    )
    assert key.merge == {"default": "fill"}
    assert "2 have more (2 rows too many)" in starter.text.replace("\n# ", " ")
    plan = api.make_plan(db_url, rules_in(starter.text))
    assert not plan.blockers
    assert [s.kind for s in plan.steps][:2] == ["merge_duplicates", "create_index"]


def test_one_to_one_so_far_is_a_guess(db_url: str) -> None:
    """Without doubles it may be chance."""
    execute(db_url, PARENT, PROFILES, fill("users", 60, "({i}, null, null)"),
            fill("profiles", 50, "({i}, {i}, 'x', null)"))  # fmt: skip
    starter = seen(db_url)
    assert (starter.active, starter.candidates) == (0, 1)
    assert '# table = "profiles"' in starter.text
    assert_usable(db_url, starter.text)


def test_null_groups_are_active(db_url: str) -> None:
    """A unique key that NULL has slipped through."""
    execute(db_url, "create table m (id integer primary key, a integer not null, b integer)",
            "create unique index m_ab on m (a, b)",
            "insert into m values (1, 1, null), (2, 1, null), (3, 2, 1)")  # fmt: skip
    starter = seen(db_url)
    [key] = keys_in(starter.text)
    assert (key.nulls, key.replaces, str(key.keep)) == ("equal", ("m_ab",), "first")
    assert not api.make_plan(db_url, rules_in(starter.text)).blockers


def test_a_constraint_of_sqlite_stays(sqlite_url: str) -> None:
    """What stands inside of CREATE TABLE is not replaced."""
    execute(sqlite_url, "create table m (id integer primary key, a integer not null, b integer,"
            " unique (a, b))", "insert into m values (1, 1, null), (2, 1, null)")  # fmt: skip
    [key] = keys_in(starter_rules(Database(sqlite_url)))
    assert key.replaces == ()


def test_invalid_index_is_active(pg_url: str) -> None:
    """Somebody wanted that key already."""
    execute(pg_url, "create table t (id integer primary key, a integer, changed_at timestamptz)",
            "insert into t values (1, 1), (2, 1)")  # fmt: skip
    with pytest.raises(psycopg.errors.UniqueViolation):
        execute(pg_url, "create unique index concurrently t_a on t (a)")
    text = starter_rules(Database(pg_url))
    [key] = keys_in(text)
    assert (key.columns, key.replaces, str(key.keep)) == (("a",), ("t_a",), "latest changed_at")
    assert not api.make_plan(pg_url, rules_in(text)).blockers


def test_without_primary_key_is_a_guess(db_url: str) -> None:
    """Rows that nothing tells apart cannot be merged: the file says what is needed first."""
    execute(db_url, PARENT, "create table groups (id integer primary key)",
            "create table members (user_id integer references users (id), group_id integer"
            " references groups (id))", "insert into users (id) values (1)",
            "insert into groups values (1)",
            "insert into members values (1, 1), (1, 1)")  # fmt: skip
    starter = seen(db_url)
    assert (starter.active, starter.candidates) == (0, 1)
    assert "it needs a primary key" in starter.text.replace("\n# ", " ")
    assert_usable(db_url, starter.text)


def test_names_that_say_unique(db_url: str) -> None:
    """An e-mail, and a slug within its tenant: guesses with their counts."""
    execute(db_url, "create table people (id integer primary key, tenant_id integer, email text,"
            " slug text, note text)", fill("people", 40, "({i}, 1, 'e{i}', 's{i}', 'n')"),
            "insert into people values (100, 1, 'e1', 's1', 'n')")  # fmt: skip
    starter = seen(db_url)
    assert starter.active == 0
    guesses = keys_in(uncommented(starter.text))
    assert [k.columns for k in guesses] == [("email",), ("tenant_id", "slug")]
    flat = starter.text.replace("\n# ", " ")
    assert "people(email): 41 rows, 1 value repeats (1 row too many), and no key keeps" in flat
    assert_usable(db_url, starter.text)


def test_a_table_of_one_row(db_url: str) -> None:
    """By its name and its few rows; not one with a row for each user."""
    execute(db_url, "create table current_state (id integer primary key, sprint integer)",
            "insert into current_state values (1, 4), (2, 5)",
            "create table settings (id integer primary key, user_id integer, theme text)",
            "create table config (id integer primary key check (id = 1), theme text)")  # fmt: skip
    starter = seen(db_url)
    assert starter.active == 0
    [key] = keys_in(uncommented(starter.text))
    assert (key.table, key.columns) == ("current_state", ())
    assert "current_state: 2 rows. Is it a table of one row?" in starter.text
    assert_usable(db_url, starter.text)


def test_what_is_enforced_is_left_out(db_url: str) -> None:
    """Keys that are there need no rule."""
    execute(db_url, PARENT, PROFILES, fill("users", 60, "({i}, 'e{i}', 's{i}')"),
            fill("profiles", 60, "({i}, {i}, 'x', null)"),
            "create unique index p on profiles (user_id)",
            "create unique index e on users (email)",
            "create unique index s on users (slug)")  # fmt: skip
    starter = seen(db_url)
    assert (starter.active, starter.candidates) == (0, 0)


ODD = ['Odd "name"', "UPPER", "dot.ted", "s p a c e", "ünï–çödé ☃", "n" * 63, "tab\tand\nline", "#"]


def test_odd_names(db_url: str) -> None:
    """Whatever tables and columns are called, the file is TOML and its rules are about them."""
    for number, name in enumerate(ODD):
        quoted = '"' + name.replace('"', '""') + '"'
        execute(db_url, f"create table {quoted} (id integer primary key, {quoted} integer not null,"
                f' b integer, "Updated_At" timestamp)',
                f"create unique index odd{number} on {quoted} ({quoted}, b)",
                f"insert into {quoted} (id, {quoted}) values (1, 1), (2, 1)")  # fmt: skip
    text = starter_rules(Database(db_url))
    found = {key.table: key for key in keys_in(text)}
    assert set(found) == set(ODD)
    assert all(key.columns == (name, "b") for name, key in found.items())
    assert {str(key.keep) for key in found.values()} == {"latest Updated_At"}
    assert not api.make_plan(db_url, rules_in(text)).blockers


def test_schemas_that_the_search_path_has_not(pg_url: str) -> None:
    """They are looked at too, and named where the name alone would not do."""
    execute(
        pg_url,
        "create schema app",
        'create schema "Odd.Schema"',
        *(
            f"create table {s}.m (id integer primary key, a integer not null, b integer);"
            f" create unique index m_ab on {s}.m (a, b);"
            f" insert into {s}.m values (1, 1, null), (2, 1, null)"
            for s in ("public", "app", '"Odd.Schema"')
        ),
    )
    text = starter_rules(Database(pg_url))
    assert rules_in(text).schemas == ("Odd.Schema", "app", "public")
    assert sorted(k.table for k in keys_in(text)) == ['"Odd.Schema"."m"', "app.m", "m"]
    assert not api.make_plan(pg_url, rules_in(text)).blockers


def test_tables_that_we_may_not_read(pg_url: str) -> None:
    """They are named as not looked at."""
    execute(
        pg_url,
        "create table m (id integer primary key, a integer not null, b integer, unique (a, b))",
        "revoke all on m from public",
    )
    name = f"stranger_{abs(hash(pg_url)) % 10**9}"
    execute(pg_url, f"create role {name} login password 'x'")
    head, _, rest = pg_url.partition("//")
    try:
        starter = seen(f"{head}//{name}:x@{rest.rpartition('@')[2]}")
        assert starter.unseen
        assert f"{name} may not SELECT public.m" in starter.text.replace("\n# ", " ")
        assert starter.active == 0
        rules_in(starter.text)
    finally:
        execute(pg_url, f"drop role {name}")


def test_a_key_that_cannot_be_built_is_a_guess(pg_url: str, pg_server: Any) -> None:
    """A partitioned table: no key of ours can be built on it yet."""
    execute(pg_url, "create table t (id integer not null, a integer not null, b integer,"
            " primary key (id, a), unique (a, b)) partition by list (a)",
            "create table t1 partition of t for values in (1)",
            "insert into t values (1, 1, null), (2, 1, null)")  # fmt: skip
    starter = seen(pg_url)
    assert (starter.active, starter.candidates) == (0, 1)
    assert_usable(pg_url, starter.text)


def _a_thousand_tables(db_url: str) -> None:
    script = ["create table p (id integer primary key)", fill("p", 60, "({i})")]
    for n in range(1000):
        script.append(
            f"create table t{n} (id integer primary key, p_id integer references p (id), email"
            f" text, a integer not null, b integer, c integer, d text, unique (a, b))"
        )
        if n % 50 == 0:
            script.append(fill(f"t{n}", 30, "({i}, {i}, 'e{i}', {i}, null, 1, 'x')"))
    if db_url.startswith("sqlite"):
        script = ["begin", *script, "commit"]
    for start in range(0, len(script), 250):
        part = script if db_url.startswith("sqlite") else script[start : start + 250]
        execute(db_url, ";".join(part))
        if db_url.startswith("sqlite"):
            break


@pytest.mark.slow
def test_a_thousand_tables(db_url: str) -> None:
    """It is through in the time that somebody waits, and shows no more than somebody reads."""
    _a_thousand_tables(db_url)
    began = time.monotonic()
    starter = seen(db_url)
    assert time.monotonic() - began < 60
    assert starter.tables == 1001
    assert starter.candidates == 40
    assert_usable(db_url, starter.text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("line\nand\x7f\x01", '"line\\nand\\u007f\\u0001"'),
        ("é☃", '"é☃"'),
        (["a", "b"], '["a", "b"]'),
        ([], "[]"),
        ({"default": "fill", "odd name": "max"}, '{ default = "fill", "odd name" = "max" }'),
        ({}, "{}"),
        (True, "true"),
        (1.5, "1.5"),
    ],
)
def test_toml(value: Any, text: str) -> None:
    """Values are written so that they are read back the same."""
    assert toml(value) == text
    assert tomllib.loads(f"x = {text}")["x"] == value
