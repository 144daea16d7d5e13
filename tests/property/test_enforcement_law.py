"""The laws of a key: detector, definition and verdict cannot disagree.

1. No duplicates are found ⇔ the unique index that the key asks for can be built.
2. That index, once it stands, is seen to enforce the key.
3. What is said to enforce a key lets no duplicate in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from onerow.catalog import snapshot_of
from onerow.database import is_unique_violation, run
from onerow.dialects import dialect
from onerow.enforcement import Verdict, verdict
from onerow.keys import BoundKey, bind_key
from onerow.measure import key_facts
from onerow.rules import Key
from onerow.sql import Name, literal
from onerow.testing import find_servers

SERVERS = [pytest.param(s.name, marks=pytest.mark.pg) for s in find_servers()]

#: Every value that a column can take in these tests.
VALUES: dict[str, list[Any]] = {
    "a": [None, 0, 1],
    "b": [None, "", "x", "X"],
    "c": [0, 1],
    "d": [None, "A", "B"],
}
COLUMNS = {"a": "integer", "b": "text", "c": "integer", "d": "varchar(5)"}
#: Elements of an index that speak of a part of the key.
ELEMENTS = {
    "a": ["a", "a", "coalesce(a, 0)", "(a is null)", "nullif(a, 0)",
          "(case when c = 1 then a end)"],
    "b": ["b", "b", "lower(b)", "upper(b)", "coalesce(b, '')", "coalesce(lower(b), '')",
          "lower(coalesce(b, ''))", "(b is null)", "(b || 'z')"],
    "c": ["c", "c", "(c + 1)", "(-c)"],
    "d": ["d", "d", "lower(d)", "coalesce(d, 'A')", "(d = 'A')"],
    "(a + c)": ["(a + c)", "(c + a)", "a", "coalesce(a + c, 0)"],
    "(lower(b))": ["lower(b)", "b", "coalesce(lower(b), '')"],
    "(coalesce(a, 0))": ["coalesce(a, 0)", "a"],
}  # fmt: skip
ANY = ["(1)", *(e for several in ELEMENTS.values() for e in several)]
FILTERS = [
    "a is not null", "a is null", "b is not null", "b is null", "c = 1", "c > 0", "c >= 0",
    "d = 'A'", "d in ('A', 'B')", "d <> 'B'", "not (d = 'B')", "a = 1", "lower(b) = 'x'",
    "b = 'x'", "c = 1 or d is null", "a is null and b is null", "d = 'a'", "c between 1 and 5",
]  # fmt: skip
PARTS = ["a", "b", "c", "d", "(a + c)", "(lower(b))", "(coalesce(a, 0))"]


@dataclass(frozen=True)
class Shape:
    """A table: which columns take NULL, how b compares, and its unique indexes."""

    nullable: frozenset[str]
    blind: bool  #: b compares without case by itself
    indexes: tuple[tuple[tuple[str, ...], str | None, bool], ...] = ()  #: elements, filter, equal


@dataclass(frozen=True)
class Place:
    """A connection on which every example is rolled back."""

    connection: Connection
    name: str

    @property
    def schema(self) -> str:
        return "main" if self.name == "sqlite" else "public"

    @contextmanager
    def example(self) -> Iterator[None]:
        if self.name == "sqlite":
            run(self.connection, "BEGIN")
        try:
            yield
        finally:
            if self.name == "sqlite":
                run(self.connection, "ROLLBACK")
            self.connection.rollback()

    def create(self, shape: Shape) -> None:
        types = COLUMNS | ({"b": self.blind_type} if shape.blind else {})
        columns = ", ".join(
            f"{n} {t}{'' if n in shape.nullable else ' not null'}" for n, t in types.items()
        )
        run(self.connection, f"CREATE TABLE t (id integer primary key, {columns})")
        for number, (elements, where, equal) in enumerate(shape.indexes):
            tail = " NULLS NOT DISTINCT" if equal and self.knows_equal_nulls else ""
            tail += f" WHERE {where}" if where else ""
            inner = ", ".join(elements)
            run(self.connection, f"CREATE UNIQUE INDEX i{number} ON t ({inner}){tail}")

    @property
    def blind_type(self) -> str:
        return "text collate nocase" if self.name == "sqlite" else "citext"

    @property
    def knows_equal_nulls(self) -> bool:
        version = self.connection.dialect.server_version_info or (0,)
        return self.name != "sqlite" and version >= (15,)

    def insert(self, rows: list[dict[str, Any]]) -> None:
        """Every row that the table takes."""
        if not rows:
            return
        how = "INSERT OR IGNORE INTO t" if self.name == "sqlite" else "INSERT INTO t"
        tail = "" if self.name == "sqlite" else " ON CONFLICT DO NOTHING"
        values = ", ".join(
            f"({i}, {', '.join(_sql(row[c]) for c in COLUMNS)})" for i, row in enumerate(rows)
        )
        run(self.connection, f"{how} (id, a, b, c, d) VALUES {values}{tail}")

    def bind(self, key: Key) -> BoundKey:
        wanted = [Name(self.schema, "t")]
        return bind_key(key, snapshot_of(self.connection, tables=wanted))

    def duplicates(self, bound: BoundKey) -> int:
        return key_facts(self.connection, bound, dialect(bound.dialect)).violations.groups

    def build(self, bound: BoundKey) -> bool:
        """Whether the key's index can be built."""
        sql = dialect(bound.dialect).create_unique_index(bound, "wanted", online=False)
        run(self.connection, "SAVEPOINT before")
        try:
            run(self.connection, sql)
        except DBAPIError as error:
            if not is_unique_violation(error):
                raise
            run(self.connection, "ROLLBACK TO before")
            return False
        return True


def _sql(value: Any) -> str:
    return "NULL" if value is None else literal(value) if isinstance(value, str) else str(value)


@pytest.fixture(scope="module", params=["sqlite", *(SERVERS or ["none"])])
def place(
    request: pytest.FixtureRequest,
    open_server: Callable[[str], Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Place]:
    """A database of each engine."""
    if request.param == "sqlite":
        yield from _connected(_sqlite(tmp_path_factory.mktemp("law")), "sqlite")
        return
    server, _ = open_server(request.param)
    with server.database() as url:
        engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
        with engine.begin() as connection:
            run(connection, "CREATE EXTENSION citext")
        yield from _connected(engine, "postgresql")


def _sqlite(folder: Path) -> Engine:
    # The transactions are the test's own.
    options = {"isolation_level": None}
    return create_engine(
        f"sqlite:///{folder / 'law.db'}", poolclass=StaticPool, connect_args=options
    )


def _connected(engine: Engine, name: str) -> Iterator[Place]:
    with engine.connect() as connection:
        yield Place(connection, name)
    engine.dispose()


# -- what is tried ---------------------------------------------------------------------------

_MOSTLY = st.sampled_from([True, True, True, False])
filters = st.none() | st.sampled_from(FILTERS)


@st.composite
def shapes(draw: st.DrawFn, key: Key | None = None) -> Shape:
    """A table, with some unique indexes that come near a key."""
    near = st.lists(near_indexes(key), min_size=1, max_size=3) if key else st.just([])
    return Shape(
        nullable=draw(st.frozensets(st.sampled_from(["a", "b", "d"]))),
        blind=draw(st.booleans()),
        indexes=tuple(draw(near)),
    )


@st.composite
def near_indexes(draw: st.DrawFn, key: Key) -> tuple[tuple[str, ...], str | None, bool]:
    """Elements, filter and NULL mode of an index."""
    elements = [draw(st.sampled_from(ELEMENTS[c])) for c in key.columns if draw(_MOSTLY)]
    elements += [] if draw(_MOSTLY) else [draw(st.sampled_from(ANY))]
    where = key.where if draw(_MOSTLY) else draw(filters)
    return tuple(dict.fromkeys(elements)) or ("(1)",), where, draw(st.booleans())


@st.composite
def keys(draw: st.DrawFn) -> Key:
    """A key on that table."""
    columns = draw(st.lists(st.sampled_from(PARTS), max_size=3, unique=True))
    texts = [c for c in columns if c in ("b", "d")]
    return Key(
        "t",
        *columns,
        where=draw(filters),
        nulls=draw(st.sampled_from(["distinct", "equal", "forbidden"])),
        ignore_case=[c for c in texts if draw(st.booleans())],
    )


def rows_of(shape: Shape) -> list[dict[str, Any]]:
    """Every row that the table could hold, by its columns' values."""
    domains = [
        [v for v in values if v is not None or name in shape.nullable]
        for name, values in VALUES.items()
    ]
    return [dict(zip(VALUES, values, strict=True)) for values in product(*domains)]


def several(shape: Shape) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(st.sampled_from(rows_of(shape)), max_size=7)


def standing(place: Place, key: Key) -> Verdict:
    return verdict(place.bind(key))


tried = settings(
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@tried
@given(data=st.data())
def test_found_or_buildable(place: Place, data: st.DataObject) -> None:
    """Laws 1 and 2: the index can be built just when nothing is found, and then enforces."""
    shape, key = data.draw(shapes()), data.draw(keys())
    rows = data.draw(several(shape))
    with place.example():
        place.create(shape)
        place.insert(rows)
        bound = place.bind(key)
        clean = place.duplicates(bound) == 0
        assert place.build(bound) is clean
        event("clean" if clean else "duplicates")
        if clean:
            assert _as_promised(standing(place, key), bound)


def _as_promised(found: Verdict, bound: BoundKey) -> bool:
    """Enforced; but that NULL is forbidden is not the index's to say."""
    may_gape = bound.key.nulls == "forbidden" and any(p.nullable for p in bound.parts)
    return found.enforced or (may_gape and found.gaps == ("nulls",))


@tried
@given(data=st.data())
def test_enforced_lets_no_duplicate_in(place: Place, data: st.DataObject) -> None:
    """Law 3, over every row that there could be, each offered twice."""
    key = data.draw(keys())
    shape = data.draw(shapes(key))
    with place.example():
        place.create(shape)
        found = standing(place, key)
        event(str(found))
        if found.enforced:
            rows = data.draw(st.permutations(rows_of(shape)))
            place.insert([*rows, *rows])
            assert place.duplicates(place.bind(key)) == 0, found.reason
