"""What the checks find on real databases: when they fire, when they are silent, when they skip."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from onerow import api
from onerow.checks import registry
from onerow.database import Database
from onerow.errors import InputError, RuleError
from onerow.finding import CheckReport, Finding
from onerow.rules import Column, Key
from onerow.testing import Server, find_servers

SERVERS = [s.name for s in find_servers()]


@dataclass(frozen=True)
class Case:
    """A table `t` (and what belongs to it), and what one check says of it."""

    check: str
    what: str
    ddl: str
    expected: Mapping[str, Any] | None = None  #: None: silent
    key: Mapping[str, Any] | None = None  #: a declared key: columns and options
    engine: str = ""
    since: int = 0

    @property
    def table(self) -> str:
        word = "".join(c if c.isalnum() else "_" for c in self.what.lower())
        return f"{self.check.lower()}_{word}"

    def runs_on(self, engine: str, major: int = 99) -> bool:
        return self.engine in ("", engine) and self.since <= major


def fires(check: str, what: str, ddl: str, message: str, **more: Any) -> Case:
    own = {n: more.pop(n) for n in ("key", "engine", "since") if n in more}
    return Case(check, what, ddl, {"message": message, **more}, **own)


def silent(check: str, what: str, ddl: str, **own: Any) -> Case:
    return Case(check, what, ddl, None, **own)


def rows(*values: str) -> str:
    return f"insert into t values {', '.join(values)}"


def many(count: int, text: str) -> str:
    """Rows from a text with {i}."""
    return rows(*(text.format(i=i, last=count) for i in range(1, count + 1)))


PARENT = "create table t_p (id integer primary key, name text);"
PARENTS = PARENT + " insert into t_p values " + ", ".join(f"({i}, 'p')" for i in range(1, 61)) + ";"
CHILD = PARENTS + "create table t (id integer primary key, p_id integer references t_p (id), n text"
PAIR = (
    f"{PARENTS} create table t (a_id integer not null references t_p (id),"
    " b_id integer not null references t_p (id)"
)

UNWRITTEN = ": nobody has written the same twice yet, and nothing would stop it."
LOST = " to a row of SCHEMA.t_p that is not there: joins drop them without a word."
UNINDEXED = (
    "No index leads with p_id: every row that is deleted from SCHEMA.t_p reads the whole of"
    " SCHEMA.t"
)
NOT_KEPT = "Nothing keeps a second row with the same (a) out of SCHEMA.t: "

CASES = [
    # -- U101, U102 --------------------------------------------------------------------------
    fires("U101", "duplicates", "create table t (id integer primary key, a integer, b text);"
          + rows("(1, 1, 'x')", "(2, 1, 'x')", "(3, 1, 'x')", "(4, 2, 'y')", "(5, 2, 'y')",
                 "(6, 3, 'z')", "(7, null, 'z')", "(8, null, 'z')"),
          "2 values of (a, b) have more than one row, 3 rows too many: which of them a reader gets"
          " is luck.",
          key={"columns": ["a", "b"]}, severity="error", confidence="proven", groups=2, rows=3,
          samples=[{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], verdict="not enforced"),
    fires("U101", "of a singleton", "create table t (id integer primary key, a integer);"
          + rows("(1, 1)", "(2, 1)"),
          "The table has more than one row, 1 row too many: which of them a reader gets is luck.",
          key={"columns": []}, groups=1, rows=1),
    fires("U101", "without case", "create table t (id integer primary key, a text);"
          + rows("(1, 'x')", "(2, 'X')"),
          "1 value of (a) has more than one row, 1 row too many: which of them a reader gets is"
          " luck.", key={"columns": ["a"], "ignore_case": ["a"]}, samples=[{"a": "x"}]),
    fires("U101", "NULL forbidden", "create table t (id integer primary key, a integer);"
          + rows("(1, 1)", "(2, null)", "(3, null)"),
          "2 rows hold NULL in a key that forbids it.",
          key={"columns": ["a"], "nulls": "forbidden"}, groups=0, rows=2),
    silent("U101", "enforced", "create table t (id integer primary key, a integer unique);"
           + rows("(1, 1)", "(2, 2)"), key={"columns": ["a"]}),
    silent("U101", "only beside the filter",
           "create table t (id integer primary key, a integer, gone integer);"
           + rows("(1, 1, 0)", "(2, 1, 1)"), key={"columns": ["a"], "where": "gone = 0"}),
    silent("U101", "only NULL", "create table t (id integer primary key, a integer);"
           + rows("(1, null)", "(2, null)"), key={"columns": ["a"]}),
    fires("U102", "missing", "create table t (id integer primary key, a integer, b text);"
          + rows("(1, 1, 'x')"),
          "Nothing keeps a second row with the same (a, b) out of SCHEMA.t: SCHEMA.t has no unique"
          " index on a, b.", key={"columns": ["a", "b"]}, severity="error", confidence="proven",
          groups=0, rows=0, verdict="not enforced",
          fix="`onerow plan`: a unique index, built while writers write."),
    fires("U102", "with rows in the way",
          "create table t (id integer primary key, a integer);" + rows("(1, 1)", "(2, 1)"),
          "Nothing keeps a second row with the same (a) out of SCHEMA.t: SCHEMA.t has no unique"
          " index on a.", key={"columns": ["a"]}, rows=1,
          fix="`onerow plan`: 1 row to mend first, then a unique index."),
    fires("U102", "partial", "create table t (id integer primary key, a integer, b integer);"
          "create unique index t_a on t (a) where b = 1",
          NOT_KEPT + "the unique index t_a covers only rows where b = 1.",
          key={"columns": ["a"]}, verdict="enforced except filter"),
    silent("U102", "a stricter one", "create table t (id integer primary key, a integer unique,"
           " b integer)", key={"columns": ["a", "b"]}),
    silent("U102", "the primary key", "create table t (id integer primary key, a integer)",
           key={"columns": ["id"]}),
    silent("U102", "told by U103", "create table t (id integer primary key, a integer not null,"
           " b integer, unique (a, b))", key={"columns": ["a", "b"], "nulls": "equal"}),
    silent("U101", "told by U103", "create table t (id integer primary key, a integer not null,"
           " b integer, unique (a, b));" + rows("(1, 1, null)", "(2, 1, null)"),
           key={"columns": ["a", "b"], "nulls": "equal"}),
    silent("U102", "told by U112",
           "create table t (id integer primary key, a integer);" + rows("(1, 1)", "(2, 1)")
           + "; create unique index concurrently t_a on t (a)", key={"columns": ["a"]},
           engine="postgresql"),
    # -- U103 --------------------------------------------------------------------------------
    fires("U103", "repeated", "create table t (id integer primary key, a integer not null,"
          " b integer); create unique index t_ab on t (a, b);"
          + rows("(1, 1, null)", "(2, 1, null)", "(3, 1, null)", "(4, 2, null)", "(5, 2, 1)"),
          "t_ab does not keep rows apart whose b is NULL: 1 value of the key repeats, 2 rows too"
          " many.", severity="error", confidence="proven", groups=1, rows=2,
          samples=[{"a": 1, "b": None}],
          rule={"columns": ["a", "b"], "nulls": "equal", "replaces": ["t_ab"]}),
    fires("U103", "not yet repeated", "create table t (id integer primary key, a integer not null,"
          " b integer); create unique index t_ab on t (a, b);" + rows("(1, 1, null)", "(2, 2, 1)"),
          "t_ab does not keep rows apart whose b is NULL" + UNWRITTEN,
          severity="warning", confidence="likely", groups=0),
    fires("U103", "soft delete", "create table t (id integer primary key, a integer not null,"
          " deleted_at timestamp); create unique index t_ab on t (a, deleted_at);"
          + rows("(1, 1, null)", "(2, 1, null)"),
          "t_ab does not keep rows apart whose deleted_at is NULL: 1 value of the key repeats,"
          " 1 row too many.", fix="A key over the rows that stand (deleted_at IS NULL), without"
          " deleted_at in it.",
          rule={"columns": ["a"], "where": "deleted_at IS NULL", "nulls": "equal",
                "replaces": ["t_ab"]}),
    fires("U103", "a rule wants more", "create table t (id integer primary key, a integer not null,"
          " b integer, c integer); create unique index t_ab on t (a, b)",
          "t_ab does not keep rows apart whose b is NULL" + UNWRITTEN,
          severity="error", confidence="proven",
          key={"columns": ["a", "b"], "nulls": "equal"}),
    fires("U103", "a rule wants no more", "create table t (id integer primary key, a integer"
          " not null, b integer); create unique index t_ab on t (a, b);"
          + rows("(1, 1, null)", "(2, 1, null)"),
          "t_ab does not keep rows apart whose b is NULL: 1 value of the key repeats, 1 row too"
          " many.", severity="info", key={"columns": ["a", "b"]}),
    silent("U103", "one column", "create table t (id integer primary key, a integer unique);"
           + rows("(1, null)", "(2, null)")),
    silent("U103", "not null", "create table t (id integer primary key, a integer not null,"
           " b integer not null, unique (a, b))"),
    silent("U103", "by a check", "create table t (id integer primary key, a integer not null,"
           " b integer check (b is not null), unique (a, b))"),
    silent("U103", "completed", "create table t (id integer primary key, a integer not null,"
           " b integer, unique (a, b)); create unique index t_a on t (a) where b is null"),
    silent("U103", "coalesced", "create table t (id integer primary key, a integer not null,"
           " b integer); create unique index t_ab on t (a, coalesce(b, 0))"),
    silent("U103", "a stricter one beside", "create table t (id integer primary key, a integer"
           " not null unique, b integer, unique (a, b))"),
    silent("U103", "with the primary key in it", "create table t (id integer primary key,"
           " tenant integer, unique (tenant, id))"),
    silent("U103", "partial over the filled", "create table t (id integer primary key, a integer"
           " not null, b integer); create unique index t_ab on t (a, b) where b is not null"),
    silent("U103", "nulls not distinct", "create table t (id integer primary key, a integer,"
           " b integer, unique nulls not distinct (a, b))", engine="postgresql", since=15),
    fires("U103", "all NULL is unset", "create table t (id integer primary key, a integer,"
          " b integer); create unique index t_ab on t (a, b);"
          + rows("(1, null, null)", "(2, null, null)"),
          "t_ab does not keep rows apart whose a, b is NULL" + UNWRITTEN, severity="warning"),
    # -- U110 --------------------------------------------------------------------------------
    fires("U110", "nearly one to one", f"{CHILD}, updated_at timestamp);"
          + many(40, "({i}, {i}, 'x', null)") + ", (41, 1, 'x', null), (42, null, 'x', null)",
          "39 rows of SCHEMA.t_p have one row here by p_id, and 1 has more (1 row too many), as if"
          " two had written at once.", severity="warning", confidence="hint", groups=1, rows=1,
          samples=[{"p_id": 1}], rule={"columns": ["p_id"], "keep": "latest updated_at"}),
    fires("U110", "one to one so far", f"{CHILD});" + many(40, "({i}, {i}, 'x')"),
          "Each of 40 rows has its own row of SCHEMA.t_p by p_id, as in one to one; nothing keeps a"
          " second one out.", severity="info", confidence="hint", groups=0, samples=[]),
    fires("U110", "named after its parent", PARENTS.replace("t_p", "t_thing")
          .replace("t_thing", "u110_named_after_its_parent") + "create table t_p (id integer"
          " primary key, t_id integer references u110_named_after_its_parent (id));"
          + many(6, "({i}, {i})").replace("into t ", "into t_p "),
          "Each of 6 rows has its own row of SCHEMA.t by t_id, as in one to one; nothing keeps a"
          " second one out.", made_of="t_p"),
    silent("U110", "one to many", f"{CHILD});" + many(40, "({i}, 1 + {i} / 4, 'x')")),
    silent("U110", "unique", f"{CHILD}, unique (p_id));" + many(40, "({i}, {i}, 'x')")),
    silent("U110", "few rows", f"{CHILD});" + many(8, "({i}, {i}, 'x')")),
    silent("U110", "a wider key says it repeats", f"{CHILD}, unique (p_id, n));"
           + many(40, "({i}, {i}, 'x')")),
    silent("U110", "to itself", "create table t (id integer primary key, p_id integer references"
           " t (id));" + many(40, "({i}, {i})")),
    silent("U110", "who made it", f"{PARENTS} create table t (id integer primary key, created_by"
           " integer references t_p (id));" + many(40, "({i}, {i})")),
    # -- U111 --------------------------------------------------------------------------------
    fires("U111", "pairs twice", f"{PAIR});" + rows("(1, 1)", "(1, 1)", "(1, 2)", "(2, 1)"),
          "SCHEMA.t links two tables, and no key keeps a pair from standing in it twice: 1 pair"
          " stands in it more than once, 1 row too many.", severity="warning", confidence="hint",
          groups=1, rows=1, samples=[{"a_id": 1, "b_id": 1}], rule={"columns": ["a_id", "b_id"]}),
    fires("U111", "no pair twice", f"{PAIR}, id integer primary key, created_at timestamp);"
          + rows("(1, 1, 1, null)", "(1, 2, 2, null)"),
          "SCHEMA.t links two tables, and no key keeps a pair from standing in it twice.",
          severity="info", confidence="hint", groups=0),
    silent("U111", "primary key", f"{PAIR}, primary key (a_id, b_id))"),
    silent("U111", "unique the other way", f"{PAIR}, id integer primary key, unique (b_id, a_id))"),
    silent("U111", "with something to say", f"{PAIR}, amount integer);" + rows("(1, 1, 5)")),
    silent("U111", "one foreign key", f"{CHILD})"),
    # -- U112 --------------------------------------------------------------------------------
    fires("U112", "left behind", "create table t (id integer primary key, a integer);"
          + rows("(1, 1)", "(2, 1)", "(3, 2)") + "; create unique index concurrently t_a on t (a)",
          "The unique index t_a is invalid, so it vouches for nothing: 1 value of its key repeats,"
          " 1 row too many.", severity="error", confidence="proven", groups=1, rows=1,
          samples=[{"a": 1}], drop="t_a", rule={"columns": ["a"], "replaces": ["t_a"]},
          engine="postgresql"),
    fires("U112", "left behind and mended", "create table t (id integer primary key, a text);"
          + rows("(1, 'x')", "(2, 'X')")
          + "; create unique index concurrently t_a on t (lower(a)) where id > 0;"
          " delete from t where id = 2",
          "The unique index t_a is invalid, so it vouches for nothing; no row breaks its key now.",
          fix="REINDEX INDEX CONCURRENTLY makes it valid; or let the rule build the key anew.",
          rule={"columns": ["(lower(a))"], "where": "id > 0", "replaces": ["t_a"]},
          engine="postgresql"),
    silent("U112", "valid", "create table t (id integer primary key, a integer unique)"),
    silent("U112", "not unique", "create table t (id integer primary key, a integer);"
           "create index t_a on t (a)"),
    silent("U112", "a partitioned parent", "create table t (id integer, a integer) partition by"
           " list (a); create table t_1 partition of t for values in (1);"
           "create unique index t_a on only t (a)", engine="postgresql"),
    # -- U115 --------------------------------------------------------------------------------
    fires("U115", "rows agree", "create table t (a integer, b text);"
          + rows("(1, 'x')", "(1, 'x')", "(1, 'y')", "(null, null)", "(null, null)"),
          "SCHEMA.t has no primary key and no other NOT NULL key, and 2 rows repeat another one in"
          " every column: neither can be changed or removed alone.", severity="error", groups=2,
          rows=2),
    fires("U115", "rows differ", "create table t (a integer unique, b text);" + rows("(1, 'x')"),
          "SCHEMA.t has no primary key and no other NOT NULL key: its rows can be told apart only"
          " as long as no two agree in every column.", severity="warning", groups=0),
    fires("U115", "a type without equality", "create table t (a integer, b json);"
          + rows("(1, '{}')", "(1, '{}')"),
          "SCHEMA.t has no primary key and no other NOT NULL key, and 1 row repeats another one in"
          " every column: neither can be changed or removed alone.", severity="error", samples=[],
          engine="postgresql"),
    silent("U115", "primary key", "create table t (a integer primary key, b text)"),
    silent("U115", "another key", "create table t (a integer not null unique, b text)"),
    silent("U115", "nulls not distinct", "create table t (a integer, unique nulls not distinct"
           " (a))", engine="postgresql", since=15),
    silent("U115", "a partition", "create table t (a integer primary key) partition by list (a);"
           "create table t_1 partition of t for values in (1)", engine="postgresql"),
    # -- U116 --------------------------------------------------------------------------------
    fires("U116", "rows without", "create table t (k text primary key, a integer);"
          + rows("(null, 1)", "(null, 2)", "('x', 3)"),
          "The primary key of SCHEMA.t takes NULL in k, and 2 rows have it: the key does not tell"
          " them apart.", severity="error", rows=2, engine="sqlite"),
    fires("U116", "none yet", "create table t (k text, a integer, primary key (k, a))",
          "The primary key of SCHEMA.t takes NULL in k, a: nothing keeps rows without a key out.",
          severity="warning", rows=0, engine="sqlite"),
    silent("U116", "the rowid", "create table t (k integer primary key)", engine="sqlite"),
    silent("U116", "not null", "create table t (k text not null primary key)", engine="sqlite"),
    silent("U116", "without rowid", "create table t (k text primary key) without rowid",
           engine="sqlite"),
    # -- R202, R203 --------------------------------------------------------------------------
    fires("R202", "orphans", f"{CHILD}, unique (p_id, n));"
          + rows("(1, 1, 'x')", "(2, 900, 'x')", "(3, 901, 'x')", "(4, null, 'x')"),
          "2 rows of SCHEMA.t refer" + LOST, severity="error", confidence="proven", rows=2,
          samples=[{"p_id": 900}, {"p_id": 901}],
          rule={"columns": ["p_id"], "to": "t_p(id)", "orphans": "null"}, engine="sqlite"),
    fires("R202", "a stand-in", f"{CHILD}, unique (p_id, n));" + rows("(1, 0, 'x')"),
          "1 row of SCHEMA.t refers" + LOST
          + " The value 0 among them looks like a stand-in for NULL.",
          engine="sqlite"),
    fires("R202", "two columns without rowid", "create table t_p (a integer, b text, primary key"
          " (a, b)) without rowid; create table t (k integer primary key, x integer, y text,"
          " foreign key (x, y) references t_p) without rowid;" + rows("(1, 5, 'x')"),
          "1 row of SCHEMA.t refers" + LOST, rows=1, samples=[], engine="sqlite"),
    silent("R202", "one NULL in two columns", "create table t_p (a integer, b text, primary key"
           " (a, b)) without rowid; create table t (k integer primary key, x integer, y text,"
           " foreign key (x, y) references t_p);" + rows("(1, 5, null)"), engine="sqlite"),
    silent("R202", "all there", f"{CHILD});" + rows("(1, 1, 'x')", "(2, null, 'x')")),
    silent("R202", "told by R203", f"{PARENTS} create table t (id integer primary key, p_id"
           " integer);" + rows("(1, 99)")
           + "; alter table t add foreign key (p_id) references t_p not valid",
           engine="postgresql"),
    fires("R203", "with orphans", f"{PARENTS} create table t (id integer primary key, p_id integer"
          " not null);" + rows("(1, 1)", "(2, 99)", "(3, 99)")
          + "; alter table t add constraint fk foreign key (p_id) references t_p on delete cascade"
          " not valid",
          "The foreign key fk of SCHEMA.t is NOT VALID, and 2 rows refer to no row of SCHEMA.t_p.",
          severity="error", groups=1, rows=2, samples=[{"p_id": 99}],
          fix='Mend the orphans, then ALTER TABLE "public"."t" VALIDATE CONSTRAINT "fk".',
          rule={"columns": ["p_id"], "to": "t_p(id)", "orphans": "archive", "name": "fk",
                "on_delete": "cascade"}, engine="postgresql"),
    fires("R203", "without orphans", f"{PARENTS} create table t (id integer primary key, p_id"
          " integer);" + rows("(1, 1)", "(2, null)")
          + "; alter table t add constraint fk foreign key (p_id) references t_p not valid",
          "The foreign key fk of SCHEMA.t is NOT VALID; every row refers to one that is there, so"
          " it could be validated now.", severity="warning", groups=0,
          fix='ALTER TABLE "public"."t" VALIDATE CONSTRAINT "fk".', engine="postgresql"),
    fires("R203", "match full", "create table t_p (a integer, b integer, primary key (a, b));"
          "create table t (id integer primary key, x integer, y integer);"
          + rows("(1, 1, null)", "(2, null, null)")
          + "; alter table t add constraint fk foreign key (x, y) references t_p match full not"
          " valid",
          "The foreign key fk of SCHEMA.t is NOT VALID, and 1 row refers to no row of SCHEMA.t_p.",
          engine="postgresql"),
    fires("R203", "not enforced", f"{PARENTS} create table t (id integer primary key, p_id integer,"
          " constraint fk foreign key (p_id) references t_p not enforced);" + rows("(1, 99)"),
          "The foreign key fk of SCHEMA.t is NOT ENFORCED, and 1 row refers to no row of"
          " SCHEMA.t_p.",
          fix='Mend the orphans, then ALTER TABLE "public"."t" ALTER CONSTRAINT "fk" ENFORCED.',
          engine="postgresql", since=18),
    silent("R203", "valid", f"{CHILD})", engine="postgresql"),
    silent("R203", "on a partition", f"{PARENTS} create table t (id integer, p_id integer"
           " references t_p) partition by list (id); create table t_1 partition of t for values in"
           " (1)", engine="postgresql"),
    # -- I402 --------------------------------------------------------------------------------
    fires("I402", "cascade", f"{PARENTS} create table t (id integer primary key, p_id integer"
          " references t_p (id) on delete cascade)",
          UNINDEXED + ", to cascade.", severity="warning", confidence="proven",
          rule={"columns": ["p_id"]}),
    fires("I402", "no action", f"{CHILD})",
          UNINDEXED + ".", severity="info"),
    fires("I402", "partial", f"{CHILD}); create index t_i on t (p_id) where n = 'x'",
          UNINDEXED + "."),
    fires("I402", "second in the index", f"{CHILD}); create index t_i on t (n, p_id)",
          UNINDEXED + "."),
    silent("I402", "indexed", f"{CHILD}); create index t_i on t (p_id, n)"),
    silent("I402", "unique", f"{CHILD}, unique (p_id))"),
    silent("I402", "in the primary key", f"{PAIR}, primary key (a_id, b_id));"
           "create index t_i on t (b_id)"),
    silent("I402", "partial over the filled",
           f"{CHILD}); create index t_i on t (p_id) where p_id is not null"),
    silent("I402", "two columns in any order", "create table t_p (a integer not null, b integer"
           " not null, primary key (a, b)); create table t (x integer, y integer, z integer,"
           " foreign key (x, y) references t_p (a, b)); create index t_i on t (y, x, z)"),
    silent("I402", "by hash", f"{CHILD}); create index t_i on t using hash (p_id)",
           engine="postgresql"),
]  # fmt: skip


def statements(case: Case) -> list[str]:
    """The case's statements with its own names: `t` and what begins with `t_`."""
    text, word, quoted = "", "", ""
    for character in f"{case.ddl} ":
        if character.isalnum() or character == "_":
            word += character
            continue
        own = word == "t" or word.startswith("t_")
        text += (case.table + word[1:] if own and not quoted else word) + character
        word = ""
        if character == "'":
            quoted = "" if quoted else character
    return [s for s in text.split(";") if s.strip()]


def keys(engine: str, major: int) -> list[Key]:
    return [
        Key(c.table, *c.key["columns"], **{k: v for k, v in c.key.items() if k != "columns"})
        for c in CASES
        if c.key is not None and c.runs_on(engine, major)
    ]


@pytest.fixture(scope="module")
def reports(
    open_server: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], CheckReport]:
    """All cases of an engine in one database, checked once."""
    made: dict[str, CheckReport] = {}

    def report(engine: str) -> CheckReport:
        if engine not in made:
            made[engine] = (
                _sqlite(tmp_path_factory.mktemp("checks"))
                if engine == "sqlite"
                else _postgresql(open_server(engine)[0])
            )
        return made[engine]

    return report


def _sqlite(folder: Path) -> CheckReport:
    file = folder / "checks.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("begin")
        for case in CASES:
            if case.runs_on("sqlite"):
                for statement in statements(case):
                    connection.execute(statement)
        connection.execute("commit")
    return api.check(f"sqlite:///{file}", keys("sqlite", 99))


def _postgresql(server: Server) -> CheckReport:
    with server.database() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            for case in CASES:
                if case.runs_on("postgresql", server.major):
                    for statement in statements(case):
                        # A concurrent build that fails leaves the index that U112 is about.
                        with suppress(psycopg.errors.UniqueViolation):
                            connection.execute(statement.encode())
        return api.check(url, keys("postgresql", server.major))


def _every_case() -> list[Any]:
    majors = {s.name: int(s.version.split(".")[0]) for s in find_servers()} or {"none": 99}
    out = []
    for case in CASES:
        name = f"{case.check}-{case.what}"
        if case.runs_on("sqlite"):
            out.append(pytest.param("sqlite", case, id=f"sqlite-{name}"))
        for server, major in majors.items():
            if case.runs_on("postgresql", major):
                out.append(pytest.param(server, case, id=f"{server}-{name}", marks=pytest.mark.pg))
    return out


def found(report: CheckReport, case: Case, table: str) -> list[Finding]:
    schema = "main" if report.dialect == "sqlite" else "public"
    place = f"{schema}.{table}"
    return [
        f
        for f in report.findings
        if f.check.startswith(case.check)
        and (f.object == place or f.object.startswith(f"{place}("))
    ]


@pytest.mark.parametrize(("engine", "case"), _every_case())
def test_case(engine: str, case: Case, reports: Callable[[str], CheckReport]) -> None:
    """The check says this, or nothing."""
    report = reports(engine)
    expected = dict(case.expected or {})
    table = case.table + str(expected.pop("made_of", "t"))[1:]
    findings = found(report, case, table)
    if case.expected is None:
        assert findings == []
        return
    assert len(findings) == 1
    assert _said(findings[0], case, expected) == expected


def _said(finding: Finding, case: Case, expected: Mapping[str, Any]) -> dict[str, Any]:
    """What the finding says of what is expected, with the case's names taken back."""
    proof, fix = finding.evidence, finding.fix
    assert fix is not None
    own = lambda text: text.replace(case.table, "t")  # noqa: E731
    rule = {
        name: [own(v) for v in value] if isinstance(value, list) else own(value)
        for name, value in (fix.rule or {}).items()
    }
    said = {
        "message": own(finding.message)
        .replace("main.t", "SCHEMA.t")
        .replace("public.t", "SCHEMA.t"),
        "severity": finding.severity,
        "confidence": finding.confidence,
        "verdict": finding.verdict,
        "groups": proof.groups if proof else None,
        "rows": proof.rows if proof else None,
        "samples": list(map(dict, proof.samples)) if proof else None,
        "fix": own(fix.summary),
        "drop": own(fix.drop or ""),
        "rule": {k: rule.get(k) for k in expected.get("rule", {})},
    }
    return {name: said[name] for name in expected}


def test_case_names_are_their_own() -> None:
    """Two cases of one name would share a table."""
    assert len({c.table for c in CASES}) == len(CASES)


def test_every_check_has_its_cases() -> None:
    """Each check is seen to fire and, twice at least, to be silent."""
    for check in registry():
        own = [c for c in CASES if check.id.startswith(c.check)]
        assert [c for c in own if c.expected is not None], check.id
        assert len([c for c in own if c.expected is None]) >= 2, check.id


@pytest.mark.parametrize("engine", ["sqlite", *(pytest.param(s, marks=pytest.mark.pg)
                                                for s in SERVERS[:1] or ["none"])])  # fmt: skip
def test_every_check_has_an_end(engine: str, reports: Callable[[str], CheckReport]) -> None:
    """Nothing crashed, and what was left out says why."""
    report = reports(engine)
    assert [c.check for c in report.checks] == [c.id for c in registry()]
    assert not [c for c in report.checks if c.outcome == "error"]
    others = {"sqlite": {"R203", "U112"}}.get(engine, {"U116"})
    assert {c.check[:4] for c in report.checks if c.outcome == "skipped"} == others
    assert all(c.reason for c in report.checks if c.outcome == "skipped")


@pytest.mark.parametrize("engine", ["sqlite", *(pytest.param(s, marks=pytest.mark.pg)
                                                for s in SERVERS[:1] or ["none"])])  # fmt: skip
def test_report(engine: str, reports: Callable[[str], CheckReport]) -> None:
    """Worst first, each with its own fingerprint; every piece of SQL is there to run again."""
    findings = reports(engine).findings
    ranks = [("error", "warning", "info").index(f.severity) for f in findings]
    assert ranks == sorted(ranks)
    assert len({(f.check, f.fingerprint) for f in findings}) == len(findings)
    assert all(len(f.evidence.samples) <= 5 for f in findings if f.evidence)
    assert all(f.evidence.sql.lstrip().startswith("SELECT") for f in findings if f.evidence)


# -- the ways around -----------------------------------------------------------------------------


def execute(url: str, *scripts: str) -> None:
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(Database(url).path)) as connection:
            connection.executescript(";".join(scripts))
    else:
        with psycopg.connect(url, autocommit=True) as connection:
            for script in scripts:
                connection.execute(script.encode())


def outcomes(report: CheckReport) -> dict[str, tuple[str, str]]:
    return {c.check[:4]: (c.outcome, c.reason) for c in report.checks}


def test_without_rules(db_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On an empty database, without rules, every check is through or says why not."""
    monkeypatch.chdir(tmp_path)
    report = api.check(db_url)
    assert report.findings == ()
    assert report.rules == ()
    assert not api.fails(report, "info")
    said = outcomes(report)
    assert said["U101"] == ("skipped", "no [[key]] rule declares a key")
    assert said["U115"] == ("ok", "")


def test_rules_of_the_folder(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`onerow.toml` is read when it is there and no rules are given."""
    execute(sqlite_url, "create table t (id integer primary key, a integer)")
    (tmp_path / "onerow.toml").write_text('[[key]]\ntable = "t"\ncolumns = ["a"]\n')
    monkeypatch.chdir(tmp_path)
    assert [f.check[:4] for f in api.check(sqlite_url).findings] == ["U102"]
    assert api.check(sqlite_url, ()).findings == ()


def test_only_and_skip(db_url: str) -> None:
    """Checks are chosen by id or its beginning; a rule that none of them speaks of is left out."""
    execute(db_url, "create table t (a integer, b integer)")
    key = Key("t", "a")
    report = api.check(db_url, [key], only=["u115", "I"])
    assert [c.check[:4] for c in report.checks] == ["I402", "U115"]
    assert report.rules == ()
    report = api.check(db_url, [key], only=["U"], skip=["U115-no-row-identity", "U11"])
    assert [c.check[:4] for c in report.checks] == ["U101", "U102", "U103"]
    assert [r.rule for r in report.rules] == ["t(a)"]


def test_unknown_check(sqlite_url: str) -> None:
    """A mistyped id is told with the nearest one."""
    with pytest.raises(InputError, match=r"no check 'U101-duplicate-rows'.*U101-duplicate-key"):
        api.check(sqlite_url, (), only=["U101-duplicate-rows"])


def test_hints_never_fail(db_url: str) -> None:
    """A guess does not break a build, whatever the threshold."""
    execute(
        db_url,
        "create table p (id integer primary key)",
        "create table t (id integer primary key, a integer not null references p (id),"
        " b integer not null references p (id))",
        "create index t_a on t (a)",
        "create index t_b on t (b)",
    )
    report = api.check(db_url, ())
    assert [f.check[:4] for f in report.findings] == ["U111"]
    assert not api.fails(report, "info")


def test_bad_rules_are_told(db_url: str) -> None:
    """A rule on nothing, and one that the server cannot evaluate, stop the run with a reason."""
    execute(db_url, "create table t (id integer primary key, a integer)")
    with pytest.raises(RuleError, match="no table 'u'"):
        api.check(db_url, [Key("u", "a")])
    with pytest.raises(RuleError, match="cannot evaluate"):
        api.check(db_url, [Key("t", "(no_such_function(a))")])


def test_a_column_that_is_to_come(db_url: str) -> None:
    """A key on a column that another rule brings is not enforced, and nothing crashes."""
    execute(db_url, "create table t (id integer primary key, a integer)")
    report = api.check(db_url, [Column(table="t", name="b", type="integer"), Key("t", "a", "b")])
    assert [r.ok for r in report.rules] == [False, False]
    assert api.fails(report)
    assert not [c for c in report.checks if c.outcome == "error"]


def test_tables_of_frameworks_are_silent(db_url: str) -> None:
    """Nobody can change what a migration tool keeps for itself; a rule on it counts yet."""
    execute(
        db_url,
        "create table alembic_version (version_num text)",
        "create table django_migrations (app text, name text)",
        "create view v as select * from django_migrations",
    )
    assert api.check(db_url, ()).findings == ()
    declared = api.check(db_url, [Key("django_migrations", "app", "name")])
    assert [f.check[:4] for f in declared.findings] == ["U102"]


def test_odd_names(db_url: str) -> None:
    """Quotes, dots, spaces and length do not break a question."""
    table, column = 'T "x".y', "c" * 60 + " é"
    quoted = '"T ""x"".y"'
    execute(
        db_url,
        f'create table {quoted} (id integer primary key, "{column}" integer references'
        f' {quoted} (id) on delete cascade, "a;b" text, unique ("{column}", "a;b"))',
        f"insert into {quoted} values (1, null, 'x'), (2, null, 'x'), (3, 1, 'y')",
    )
    report = api.check(db_url, [Key(table, "a;b")])
    assert {f.check[:4] for f in report.findings} == {"U101", "U102", "U103"}
    assert not [c for c in report.checks if c.outcome == "error"]
    rules = [f.fix.rule for f in report.findings if f.fix]
    assert all(r is not None and r["table"] == table for r in rules)


def test_questions_are_listed_and_not_asked(db_url: str) -> None:
    """Every question is there, once, with its SQL; nothing of it has to run."""
    execute(db_url, "create table t (a integer, b integer, unique (a, b))")
    listed = api.list_probes(db_url, [Key("t", "b")])
    about = [p.about for p in listed]
    schema = "main" if db_url.startswith("sqlite") else "public"
    assert f"duplicates of {schema}.t(b)" in about
    assert f"duplicates of {schema}.t(a, b)" in about
    assert f"rows of {schema}.t that agree in every column" in about
    assert len({p.sql for p in listed}) == len(listed)
    assert len({p.id for p in listed}) == len(listed)


def test_a_budget_that_is_used_up(db_url: str) -> None:
    """What was not asked for want of time is told, and is not called clean."""
    execute(db_url, "create table t (a integer)")
    said = outcomes(api.check(db_url, (), only=["U115"], budget=0))
    schema = "main" if db_url.startswith("sqlite") else "public"
    reason = (
        f"rows of {schema}.t that agree in every column: the budget of 0 s was used up before it"
    )
    # The table has no key, whatever its rows are.
    assert said["U115"] == ("found", reason)


SLOW = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 3000000)"


def test_a_question_that_takes_too_long(db_url: str) -> None:
    """It is cancelled, and the others are asked."""
    execute(
        db_url,
        f"create view slow as {SLOW} select i from n",
        "create table t (id integer primary key, a integer)",
        "insert into t values (1, 1)",
        "create table u (b integer)",
    )
    slow = Key("t", "a", where="(select count(*) from slow) > 0 or a > 0")
    # An index would not take such a filter; a question does.
    from onerow.catalog import read_snapshot
    from onerow.checks import ask, judge, select
    from onerow.probes import context_of, run_probes

    database = Database(db_url)
    snapshot = read_snapshot(database.engine)
    context = context_of(snapshot, [slow])
    inquiry = ask(context, select(only=["U101", "U115"]))
    answers = run_probes(database, inquiry.probes, snapshot, timeout=0.1)
    findings, results = judge(context, inquiry, answers)
    assert {r.check[:4]: r.outcome for r in results} == {"U101": "skipped", "U115": "found"}
    assert "took longer than 0.1 s" in results[0].reason
    assert [f.check[:4] for f in findings] == ["U115"]


def test_nothing_is_written(db_url: str) -> None:
    """A question that would write is refused by the engine itself."""
    from onerow.catalog import read_snapshot
    from onerow.checks.base import Probe
    from onerow.probes import run_probes

    execute(db_url, "create table t (a integer)")
    database = Database(db_url)
    snapshot = read_snapshot(database.engine)
    probe = Probe(about="x", sql="INSERT INTO t VALUES (1) RETURNING a")
    answers = run_probes(database, [probe], snapshot)
    assert "read" in answers[probe].reason
    second = Probe(about="y", sql="SELECT count(*) AS n FROM t")
    assert run_probes(database, [second], snapshot)[second].first == {"n": 0}


@pytest.fixture
def reader(pg_server: Server, pg_url: str) -> Iterator[str]:
    """A role that may read one table and not the other, and not all rows of a third."""
    name = f"reader_{abs(hash(pg_url)) % 10**9}"
    execute(
        pg_url,
        f"create role {name} login password 'x'",
        "create table open (id integer primary key, a integer)",
        "create table closed (id integer primary key, a integer)",
        "create table veiled (a integer)",
        "alter table veiled enable row level security",
        f"grant select on open, veiled to {name}",
    )
    head, _, rest = pg_url.partition("//")
    yield f"{head}//{name}:x@{rest.rpartition('@')[2]}"
    execute(pg_url, f"drop owned by {name}", f"drop role {name}")


def test_tables_that_we_may_not_read(reader: str) -> None:
    """They are skipped with the reason; the others are looked at."""
    report = api.check(reader, [Key("open", "a"), Key("closed", "a")])
    said = outcomes(report)
    assert said["U101"][0] == "skipped"
    assert "may not SELECT public.closed" in said["U101"][1]
    assert "row security hides rows of public.veiled" in said["U115"][1]
    assert [r.verdict for r in report.rules] == ["not enforced", "not enforced"]
    assert "may not SELECT public.closed" in report.rules[1].reason


def test_an_index_that_is_being_built(pg_url: str) -> None:
    """It is invalid as long as it is built, and that is no finding."""
    execute(
        pg_url, "create table t (id integer primary key, a integer)", "insert into t values (1)"
    )
    with (
        psycopg.connect(pg_url) as writer,
        psycopg.connect(pg_url, autocommit=True) as builder,
    ):
        writer.execute("update t set a = 1")  # the build waits for it
        builder.execute("set lock_timeout = 0")
        pid = builder.info.backend_pid
        _build_in_background(builder, "create unique index concurrently t_a on t (a)")
        _wait_for_progress(pg_url, pid)
        assert [f.check[:4] for f in api.check(pg_url, (), only=["U112"]).findings] == []
        writer.rollback()


def _build_in_background(connection: Any, sql: str) -> None:
    import threading

    def build() -> None:
        with suppress(psycopg.Error):
            connection.execute(sql)

    threading.Thread(target=build, daemon=True).start()


def _wait_for_progress(url: str, pid: int) -> None:
    import time

    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(200):
            row = connection.execute(
                "select count(*) from pg_stat_progress_create_index p join pg_index i"
                " on i.indexrelid = p.index_relid where p.pid = %s",
                [pid],
            ).fetchone()
            if row is not None and row[0]:
                return
            time.sleep(0.02)
    raise AssertionError("the build did not begin")
