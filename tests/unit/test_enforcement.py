"""What the catalog enforces of a key: the table of cases, on snapshots of real servers."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from onerow.catalog import read_snapshot
from onerow.database import Database
from onerow.enforcement import Verdict, null_check, null_checked, verdict
from onerow.keys import bind_key
from onerow.rules import Key
from onerow.schema import Snapshot
from onerow.testing import find_servers

NO = "not enforced"
YES = "enforced"


@dataclass(frozen=True)
class Case:
    """A table `t`, a key on it, and how far it is enforced."""

    what: str
    ddl: str
    columns: tuple[str, ...]
    expected: str
    options: Mapping[str, Any]
    engine: str = ""
    since: int = 0

    @property
    def table(self) -> str:
        return "t_" + "".join(c if c.isalnum() else "_" for c in self.what)


def case(
    what: str,
    ddl: str,
    columns: str,
    expected: str,
    *,
    engine: str = "",
    since: int = 0,
    **options: Any,
) -> Case:
    """A case; columns are parted by semicolons."""
    names = tuple(c.strip() for c in columns.split(";") if c.strip())
    return Case(what, ddl, names, expected, options, engine, since)


ABC = "create table t (a integer not null, b integer, c integer not null"
WORDS = "create table t (a integer not null, name varchar(20), status varchar(10) not null"

CASES = [
    # -- which columns ---------------------------------------------------------------------
    case("nothing", f"{ABC})", "a; c", NO),
    case("a plain index", f"{ABC}); create index on_t on t (a, c)", "a; c", NO),
    case("unique on the same", f"{ABC}, unique (a, c))", "a; c", YES),
    case("in another order", f"{ABC}, unique (c, a))", "a; c", YES),
    case("a stricter one", f"{ABC}, unique (a))", "a; c", YES),
    case("a wider one", f"{ABC}, unique (a, b, c))", "a; c", NO),
    case("primary key", f"{ABC}, primary key (a, c))", "a; c", YES),
    case("primary key of one", "create table t (id integer primary key, a integer)", "id; a", YES),
    case("the other column", f"{ABC}, unique (a))", "c", NO),
    case("unique index", f"{ABC}); create unique index on_t on t (a desc, c)", "a; c", YES),
    # -- NULL ------------------------------------------------------------------------------
    case("distinct and nullable", f"{ABC}, unique (a, b))", "a; b", YES),
    case("equal and nullable", f"{ABC}, unique (a, b))", "a; b", "enforced except nulls",
         nulls="equal"),
    case("equal and filled", f"{ABC}, unique (a, c))", "a; c", YES, nulls="equal"),
    case("equal and coalesced",
         f"{ABC}); create unique index on_t on t (a, coalesce(b, 0))", "a; b", YES, nulls="equal"),
    case("equal and coalesced with its mark",
         f"{ABC}); create unique index on_t on t (a, coalesce(b, 0), (b is null))", "a; b", YES,
         nulls="equal"),
    case("equal and completed by a partial one",
         f"{ABC}, unique (a, b)); create unique index on_t on t (a) where b is null", "a; b", YES,
         nulls="equal"),
    case("equal and two partial ones",
         f"{ABC}); create unique index on_t on t (a, b) where b is not null;"
         " create unique index on_t2 on t (a) where b is null", "a; b", YES, nulls="equal"),
    case("equal and half of it",
         f"{ABC}); create unique index on_t on t (a, b) where b is not null", "a; b",
         "enforced except nulls", nulls="equal"),
    case("equal and two nullable",
         "create table t (a integer, b integer, c integer not null, unique (a, b, c));"
         " create unique index on_t on t (a, c) where b is null;"
         " create unique index on_t2 on t (b, c) where a is null;"
         " create unique index on_t3 on t (c) where a is null and b is null",
         "a; b; c", YES, nulls="equal"),
    case("equal and one shape missing",
         "create table t (a integer, b integer, c integer not null, unique (a, b, c));"
         " create unique index on_t on t (a, c) where b is null;"
         " create unique index on_t2 on t (b, c) where a is null and b is not null",
         "a; b; c", "enforced except nulls", nulls="equal"),
    case("equal and the filter asks for a value", f"{ABC}, unique (a, b))", "a; b", YES,
         nulls="equal", where="b > 0"),
    case("equal and a check",
         f"{ABC}, check (b is not null), unique (a, b))", "a; b", YES, nulls="equal"),
    case("distinct and the partial one of values",
         f"{ABC}); create unique index on_t on t (a, b) where b is not null", "a; b", YES),
    case("forbidden and nullable", f"{ABC}, unique (a, b))", "a; b", "enforced except nulls",
         nulls="forbidden"),
    case("forbidden and filled", f"{ABC}, unique (a, c))", "a; c", YES, nulls="forbidden"),
    case("forbidden by a check", f"{ABC}, check (b is not null), unique (a, b))", "a; b", YES,
         nulls="forbidden"),
    case("forbidden where the filter says",
         f"{ABC}, check ((c > 0) is not true or b is not null), unique (a, b))", "a; b", YES,
         nulls="forbidden", where="c > 0"),
    case("forbidden and an expression that can be null",
         f"{ABC}); create unique index on_t on t (nullif(a, 0))", "a", "enforced except nulls",
         nulls="forbidden"),
    case("an expression that can be null",
         f"{ABC}); create unique index on_t on t ((case when c > 0 then a end))", "a; c",
         "enforced except nulls"),
    # -- case ------------------------------------------------------------------------------
    case("case by lower", f"{WORDS}); create unique index on_t on t (lower(name))", "name", YES,
         ignore_case=["name"]),
    case("case and a raw index", f"{WORDS}, unique (name))", "name", "enforced except case",
         ignore_case=["name"]),
    case("a raw key and lower", f"{WORDS}); create unique index on_t on t (lower(name))", "name",
         YES),
    case("case and upper", f"{WORDS}); create unique index on_t on t (upper(name))", "name",
         "enforced except case", ignore_case=["name"]),
    case("case and coalesce",
         f"{WORDS}); create unique index on_t on t (a, coalesce(lower(name), ''))", "a; name", YES,
         ignore_case=["name"], nulls="equal"),
    case("case and the inner coalesce",
         f"{WORDS}); create unique index on_t on t (a, lower(coalesce(name, '')))", "a; name",
         "enforced except case", ignore_case=["name"], nulls="equal"),
    case("case and two columns",
         f"{WORDS}); create unique index on_t on t (lower(name), status)", "name; status",
         "enforced except case", ignore_case=["name", "status"]),
    # -- filter ----------------------------------------------------------------------------
    case("a filter and a whole index", f"{WORDS}, unique (a))", "a", YES, where="status = 'A'"),
    case("no filter and a partial index",
         f"{WORDS}); create unique index on_t on t (a) where status = 'A'", "a",
         "enforced except filter"),
    case("the same filter",
         f"{WORDS}); create unique index on_t on t (a) where status = 'A'", "a", YES,
         where="status = 'A'"),
    case("the same with parentheses and order",
         f"{WORDS}); create unique index on_t on t (a) where (status = 'A') and (a > 3)", "a", YES,
         where="a > 3 AND status='A'"),
    case("another value",
         f"{WORDS}); create unique index on_t on t (a) where status = 'A'", "a",
         "enforced except filter", where="status = 'B'"),
    case("another spelling of the value",
         f"{WORDS}); create unique index on_t on t (a) where status = 'a'", "a",
         "enforced except filter", where="status = 'A'"),
    case("a narrower key",
         f"{WORDS}); create unique index on_t on t (a) where a > 3", "a", YES, where="a > 5"),
    case("a wider key",
         f"{WORDS}); create unique index on_t on t (a) where a > 5", "a", "enforced except filter",
         where="a > 3"),
    case("one of a list",
         f"{WORDS}); create unique index on_t on t (a) where status in ('A', 'B')", "a", YES,
         where="status = 'B'"),
    case("a list in another order",
         f"{WORDS}); create unique index on_t on t (a) where status in ('A', 'B')", "a", YES,
         where="status in ('B', 'A')"),
    case("a longer list",
         f"{WORDS}); create unique index on_t on t (a) where status in ('A', 'B')", "a",
         "enforced except filter", where="status in ('B', 'A', 'C')"),
    case("not one of a list",
         f"{WORDS}); create unique index on_t on t (a) where status not in ('A', 'B')", "a", YES,
         where="status NOT IN ('B', 'A')"),
    case("a value that the index excludes not",
         f"{WORDS}); create unique index on_t on t (a) where status <> 'X'", "a", YES,
         where="status = 'A'"),
    case("either of two",
         f"{WORDS}); create unique index on_t on t (a) where status = 'A' or name is null", "a",
         YES, where="name IS NULL"),
    case("from either of two",
         f"{WORDS}); create unique index on_t on t (a) where status is not null", "a", YES,
         where="status = 'A' or status = 'B'"),
    case("a value is not null",
         f"{WORDS}); create unique index on_t on t (a) where name is not null", "a", YES,
         where="lower(name) = 'x'"),
    case("soft delete",
         "create table t (a integer not null, gone timestamp);"
         " create unique index on_t on t (a) where gone is null", "a", YES, where="gone IS NULL"),
    case("soft delete and all rows",
         "create table t (a integer not null, gone timestamp);"
         " create unique index on_t on t (a) where gone is null", "a", "enforced except filter"),
    case("between",
         f"{WORDS}); create unique index on_t on t (a) where a between 1 and 9", "a", YES,
         where="a >= 1 and a <= 9"),
    case("a column that the filter holds fast", f"{WORDS}, unique (a, status))", "a", YES,
         where="status = 'A'"),
    case("a column that the filter does not hold fast", f"{WORDS}, unique (a, status))", "a", NO,
         where="status in ('A', 'B')"),
    case("a column that the filter holds at null", f"{WORDS}, unique (a, name))", "a",
         "enforced except nulls", where="name is null"),
    case("filter and nulls", f"{ABC}); create unique index on_t on t (a, b) where c = 1", "a; b",
         "enforced except nulls, filter", nulls="equal"),
    # -- expressions -----------------------------------------------------------------------
    case("the same expression", f"{ABC}); create unique index on_t on t ((a + c))", "(a + c)", YES),
    case("a column is finer than the expression", f"{ABC}, unique (a))", "(a + c)", NO),
    case("the expression of key columns", f"{ABC}); create unique index on_t on t ((a + c))",
         "a; c", YES, engine="postgresql"),
    case("the expression of key columns which may end in NaN",
         f"{ABC}); create unique index on_t on t (a + c)", "a; c", "enforced except nulls",
         engine="sqlite"),
    case("where the parentheses stand", f"{ABC}); create unique index on_t on t ((a + b * c))",
         "((a + b) * c)", NO),
    case("a generated column",
         "create table t (a integer not null, name varchar(9) not null,"
         " folded varchar(9) generated always as (lower(name)) stored, unique (a, folded))",
         "a; name", YES, ignore_case=["name"]),
    case("the expression of a generated column",
         "create table t (name varchar(9), folded varchar(9)"
         " generated always as (lower(name)) stored);"
         " create unique index on_t on t (lower(name))", "folded", YES),
    case("a generated column of another one",
         "create table t (a integer not null, b integer,"
         " g integer generated always as (a + b) stored, unique (g))", "a", NO),
    # -- singletons ------------------------------------------------------------------------
    case("singleton without", f"{ABC})", "", NO),
    case("singleton with any key", f"{ABC}, unique (a))", "", NO),
    case("singleton by a constant", f"{ABC}); create unique index on_t on t ((1))", "", YES),
    case("singleton by a check", "create table t (id integer primary key check (id = 1), a text)",
         "", YES),
    case("singleton by a check that null passes",
         "create table t (id integer unique check (id = 1), a text)", "", NO),
    case("singleton of some", f"{ABC}); create unique index on_t on t (c) where c = 1", "", YES,
         where="c = 1"),
    # -- names -----------------------------------------------------------------------------
    case("names in quotes",
         'create table t ("A b" integer not null, "C""d" integer not null);'
         ' create unique index on_t on t ("C""d") where "A b" > 1', 'C"d', YES, where='"A b" > 1'),
    # -- PostgreSQL ------------------------------------------------------------------------
    case("include", f"{ABC}); create unique index on_t on t (a) include (c)", "c", NO,
         engine="postgresql"),
    case("include besides", f"{ABC}); create unique index on_t on t (a) include (c)", "a", YES,
         engine="postgresql"),
    case("singleton by a boolean",
         "create table t (id boolean primary key default true check (id), a text)", "", YES,
         engine="postgresql"),
    case("singleton by true", f"{ABC}); create unique index on_t on t ((true))", "", YES,
         engine="postgresql"),
    case("invalid",
         f"{ABC}); insert into t values (1, 1, 1), (1, 2, 1);"
         " create unique index concurrently on_t on t (a)", "a", NO, engine="postgresql"),
    case("on only the root",
         f"{ABC}) partition by list (c); create table t_p1 partition of t for values in (1);"
         " create unique index on_t on only t (a, c)", "a; c", NO, engine="postgresql"),
    case("on only the root and attached",
         f"{ABC}) partition by list (c); create table t_p1 partition of t for values in (1);"
         " create unique index on_t on only t (a, c); create unique index on_p1 on t_p1 (a, c);"
         " alter index on_t attach partition on_p1", "a; c", YES, engine="postgresql"),
    case("on the root", f"{ABC}, unique (a, c)) partition by list (c);"
         " create table t_p1 partition of t for values in (1)", "a; c", YES, engine="postgresql"),
    case("on the leaves only",
         f"{ABC}) partition by list (c); create table t_p1 partition of t for values in (1);"
         " create unique index on_p1 on t_p1 (a)", "a", NO, engine="postgresql"),
    case("inherited by others", f"{ABC}, unique (a)); create table t_heir () inherits (t)", "a",
         "enforced except partitions", engine="postgresql"),
    case("nulls not distinct", f"{ABC}, unique nulls not distinct (a, b))", "a; b", YES,
         nulls="equal", engine="postgresql", since=15),
    case("nulls not distinct by an index",
         f"{ABC}); create unique index on_t on t (b) nulls not distinct", "a; b", YES,
         nulls="equal", engine="postgresql", since=15),
    case("deferrable", f"{ABC}, unique (a) deferrable)", "a", "enforced except deferrable",
         engine="postgresql"),
    case("deferrable and another", f"{ABC}, unique (a) deferrable, unique (a))", "a", YES,
         engine="postgresql"),
    case("exclusion", f"{ABC}, exclude (a with =, c with =))", "a; c", YES, engine="postgresql"),
    case("exclusion by hash", f"{ABC}, exclude using hash (a with =) where (c > 0))", "a", YES,
         where="c = 1", engine="postgresql"),
    case("exclusion by ranges",
         "create table t (r int4range not null, exclude using gist (r with &&))", "r", NO,
         engine="postgresql"),
    case("citext", "create table t (name public.citext, unique (name))", "name", YES,
         ignore_case=["name"], engine="postgresql"),
    case("citext raw", "create table t (name public.citext, unique (name))", "name", YES,
         engine="postgresql"),
    case("citext as text",
         "create table t (name public.citext); create unique index on_t on t ((name::text))",
         "name", "enforced except case", engine="postgresql"),
    case("citext by another class",
         "create table t (name public.citext);"
         " create unique index on_t on t (name text_pattern_ops)", "name", "enforced except case",
         engine="postgresql"),
    case("citext and lower",
         "create table t (name public.citext); create unique index on_t on t (lower(name))",
         "name", YES, engine="postgresql"),
    case("citext hashed",
         "create table t (name public.citext); create unique index on_t on t (md5(name))", "name",
         "enforced except case", engine="postgresql"),
    case("citext in the filter",
         "create table t (a integer not null, s public.citext);"
         " create unique index on_t on t (a) where s = 'x'", "a", YES, where="s = 'x'",
         engine="postgresql"),
    case("pattern class",
         f"{WORDS}); create unique index on_t on t (name varchar_pattern_ops)", "name", YES,
         engine="postgresql"),
    case("another collation", f'{WORDS}); create unique index on_t on t (name collate "C")',
         "name", YES, engine="postgresql"),
    case("an enum in the filter",
         "create type t_mood as enum ('A', 'B'); create table t (a integer, mood t_mood);"
         " create unique index on_t on t (a) where mood in ('A', 'B')", "a", YES,
         where="mood = 'B'", engine="postgresql"),
    case("a number in the filter",
         "create table t (a integer, price numeric(8, 2));"
         " create unique index on_t on t (a) where price > -1 and price < 0.5", "a", YES,
         where="price > -1 and price < 0.5", engine="postgresql"),
    case("a flag in the filter",
         "create table t (a integer, gone boolean);"
         " create unique index on_t on t (a) where not gone", "a", YES, where="gone = false",
         engine="postgresql"),
    case("a flag that may be unknown",
         "create table t (a integer, gone boolean);"
         " create unique index on_t on t (a) where not gone", "a", "enforced except filter",
         where="gone is not true", engine="postgresql"),
    case("json in the filter",
         "create table t (a integer, doc jsonb);"
         " create unique index on_t on t (a) where doc ->> 'kind' = 'x'", "a", YES,
         where="doc->>'kind' = 'x'", engine="postgresql"),
    case("json as the key",
         "create table t (doc jsonb); create unique index on_t on t ((doc ->> 'id'))",
         "(doc->>'id')", YES, engine="postgresql"),
    case("the day of a time",
         "create table t (at timestamp); create unique index on_t on t ((at::date))", "at", YES,
         engine="postgresql"),
    case("the time of a day", "create table t (at timestamp, unique (at))", "(at::date)", NO,
         engine="postgresql"),
    case("a number as text",
         "create table t (n numeric not null); create unique index on_t on t ((n::text))", "n", NO,
         engine="postgresql"),
    case("an integer as text",
         "create table t (n integer not null); create unique index on_t on t ((n::text))", "n",
         YES, engine="postgresql"),
    case("a cast that cuts",
         "create table t (s text not null);"
         " create unique index on_t on t ((s::varchar(3)))", "(s::varchar(2))", NO,
         engine="postgresql"),
    case("without overlaps",
         "create table t (a int4range not null, span int4range not null,"
         " unique (a, span without overlaps))", "a; span", YES, engine="postgresql", since=18),
    case("a check that is not enforced",
         f"{ABC}, check (b is not null) not enforced, unique (a, b))", "a; b",
         "enforced except nulls", nulls="equal", engine="postgresql", since=18),
    case("a check that is not validated",
         f"{ABC}, unique (a, b)); alter table t add check (b is not null) not valid", "a; b",
         "enforced except nulls", nulls="equal", engine="postgresql"),
    # -- SQLite ----------------------------------------------------------------------------
    case("NOCASE column", "create table t (name text collate nocase, unique (name))", "name", YES,
         ignore_case=["name"], engine="sqlite"),
    case("NOCASE column and a binary index",
         "create table t (name text collate nocase);"
         " create unique index on_t on t (name collate binary)", "name", "enforced except case",
         engine="sqlite"),
    case("NOCASE index",
         "create table t (name text); create unique index on_t on t (name collate nocase)", "name",
         YES, ignore_case=["name"], engine="sqlite"),
    case("NOCASE column lost in a function",
         "create table t (name text collate nocase);"
         " create unique index on_t on t (coalesce(name, ''))", "name", "enforced except case",
         engine="sqlite"),
    case("NOCASE key", "create table t (name text);"
         " create unique index on_t on t (name collate nocase)", "(name COLLATE NOCASE)", YES,
         engine="sqlite"),
    case("NOCASE key and a binary index", "create table t (name text unique)",
         "(name COLLATE NOCASE)", NO, engine="sqlite"),
    case("a primary key that takes null",
         "create table t (k text, a integer, primary key (k, a))", "k; a",
         "enforced except nulls", nulls="equal", engine="sqlite"),
    case("a primary key without rowid",
         "create table t (k text, a integer, primary key (k, a)) without rowid", "k; a", YES,
         nulls="equal", engine="sqlite"),
    case("a flag as a number",
         "create table t (a integer, gone integer);"
         " create unique index on_t on t (a) where not gone", "a", YES, where="gone = 0",
         engine="sqlite"),
    case("a truth as a number",
         "create table t (a integer, good integer);"
         " create unique index on_t on t (a) where good = true", "a", "enforced except filter",
         where="good", engine="sqlite"),
    case("a string in double quotes",
         "create table t (a integer, s text);"
         " create unique index on_t on t (a) where s = 'x'", "a", YES, where="s = 'x'",
         engine="sqlite"),
    case("a value without affinity as text",
         "create table t (v, a integer);"
         " create unique index on_t on t (cast(v as text))", "v", NO, engine="sqlite"),
    case("the rowid", "create table t (a integer)", "a", NO, engine="sqlite"),
]  # fmt: skip


def _statements(one: Case) -> list[str]:
    """The case's statements, with its own names in place of t and on_t."""
    names = {"t": one.table, "t_p1": f"{one.table}_p1", "t_mood": f"{one.table}_mood",
             "t_heir": f"{one.table}_heir"}  # fmt: skip
    words = []
    for word in _words(one.ddl):
        known = names.get(word)
        index = f"{one.table}_{word}" if word.startswith("on_") else None
        words.append(f'"{known or index}"' if known or index else word)
    return [s for s in "".join(words).split(";") if s.strip()]


def _words(text: str) -> Iterator[str]:
    """Words and what is between them; quoted text stays whole."""
    word, quoted = "", ""
    for character in text:
        if quoted:
            word += character
            quoted = "" if character == quoted else quoted
        elif character in "'\"":
            word, quoted = word + character, character
        elif character.isalnum() or character == "_":
            if word and not (word[-1].isalnum() or word[-1] == "_"):
                yield word
                word = ""
            word += character
        else:
            yield word
            word = character
    yield word


@pytest.fixture(scope="module")
def snapshots(
    open_server: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Snapshot]:
    """All cases of an engine in one database, read once."""
    made: dict[str, Snapshot] = {}

    def snapshot(engine: str) -> Snapshot:
        if engine not in made:
            make = _sqlite if engine == "sqlite" else _postgresql
            place = tmp_path_factory.mktemp("cases") if engine == "sqlite" else open_server(engine)
            made[engine] = make(place)
        return made[engine]

    return snapshot


def _sqlite(folder: Path) -> Snapshot:
    file = folder / "cases.db"
    with closing(sqlite3.connect(file)) as connection:
        for one in CASES:
            if one.engine in ("", "sqlite"):
                connection.executescript(";".join(_statements(one)))
    return read_snapshot(Database(f"sqlite:///{file}").engine)


def _postgresql(place: Any) -> Snapshot:
    server, _ = place
    with server.database() as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create extension citext")
        for one in CASES:
            if one.engine in ("", "postgresql") and one.since <= server.major:
                for statement in _statements(one):
                    # Building `invalid` fails, which is what it is there for.
                    with suppress(psycopg.errors.UniqueViolation):
                        connection.execute(statement.encode())
        return read_snapshot(Database(url).engine)


def _every_case() -> Iterator[Any]:
    servers = [(s.name, int(s.version.split(".")[0])) for s in find_servers()] or [("none", 99)]
    for one in CASES:
        if one.engine in ("", "sqlite"):
            yield pytest.param("sqlite", one, id=f"sqlite-{one.what}")
        for name, major in servers:
            if one.engine in ("", "postgresql") and one.since <= major:
                yield pytest.param(name, one, id=f"{name}-{one.what}", marks=pytest.mark.pg)


def judged(snapshot: Snapshot, one: Case) -> Verdict:
    return verdict(bind_key(Key(one.table, *one.columns, **one.options), snapshot))


@pytest.mark.parametrize(("engine", "one"), list(_every_case()))
def test_verdict(engine: str, one: Case, snapshots: Callable[[str], Snapshot]) -> None:
    """Each case has the verdict that the engine's behaviour has."""
    assert str(judged(snapshots(engine), one)) == one.expected


def test_case_names_are_their_own() -> None:
    """Two cases of one name would share a table."""
    assert len({c.table for c in CASES}) == len(CASES)


# -- what a verdict says ------------------------------------------------------------------------


def named(what: str) -> Case:
    return next(c for c in CASES if c.what == what)


def reason(snapshot: Snapshot, what: str) -> str:
    one = named(what)
    return judged(snapshot, one).reason.replace(one.table, "t").replace("t_on_t", "on_t")


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("nothing", "main.t has no unique index on a, c"),
        ("singleton without", "main.t has no unique index on it"),
        ("a wider one", "main.t has no unique index on a, c (sqlite_autoindex_t_1 has b besides)"),
        ("primary key", "the primary key sqlite_autoindex_t_1"),
        ("equal and nullable",
         "the unique sqlite_autoindex_t_1 lets rows in whose key holds NULL"),
        ("no filter and a partial index",
         "the unique index on_t covers only rows where status = 'A'"),
        ("case and a raw index",
         "the unique sqlite_autoindex_t_1 tells apart what the key takes for the same, such as"
         " upper and lower case (SQLite folds the case of ASCII letters only)"),
        ("equal and two partial ones", "the unique indexes on_t, on_t2"),
    ],
)  # fmt: skip
def test_reason(what: str, text: str, snapshots: Callable[[str], Snapshot]) -> None:
    """The verdict's sentence names the index and its flaw."""
    assert reason(snapshots("sqlite"), what) == text


@pytest.mark.pg
@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("invalid", "the unique index on_t is invalid (a concurrent build failed), so it does not"
         " vouch for the rows"),
        ("on only the root", "on_t is not attached in every partition of public.t"),
        ("inherited by others", "the unique t_a_key does not reach the tables that inherit"),
        ("deferrable", "the unique t_a_key is checked at commit only, so no ON CONFLICT and no"
         " foreign key can use it"),
        ("exclusion", "the exclusion t_a_c_excl"),
    ],
)  # fmt: skip
def test_reason_on_postgresql(what: str, text: str, snapshots: Callable[[str], Snapshot]) -> None:
    """What only PostgreSQL has is named too."""
    engine = (find_servers() or [None])[0]
    assert reason(snapshots(engine.name if engine else "none"), what) == text


def test_invalid_candidate_is_told_from_unfit_ones(
    snapshots: Callable[[str], Snapshot],
) -> None:
    """An index that would serve, were it valid, can be told from one on other columns."""
    one = named("unique on the same")
    bound = bind_key(Key(one.table, *one.columns), snapshots("sqlite"))
    broken = tuple(replace(i, valid=False) for i in bound.table.indexes)
    found = verdict(replace(bound, table=replace(bound.table, indexes=broken)))
    assert [c.invalid for c in found.candidates] == [True]
    assert not found.enforced


def test_null_check_is_found_again(snapshots: Callable[[str], Snapshot]) -> None:
    """The CHECK that a plan makes is the CHECK that is looked for."""
    one = named("forbidden where the filter says")
    bound = bind_key(Key(one.table, *one.columns, **one.options), snapshots("sqlite"))
    assert [null_checked(p, bound) for p in bound.parts] == [False, True]
    assert null_check(bound.parts[1], bound.where) == '(c > 0) IS NOT TRUE OR "b" IS NOT NULL'
