"""Which unique index holds a key, and what is refused."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from onerow.rules import Key
from onerow.write import (
    NoUniqueIndex,
    WriteError,
    bind,
    bulk_upsert,
    conflict_of,
    get_or_create,
    transient_of,
    upsert,
)
from onerow.write.binding import Bound, normal
from onerow.write.errors import UnknownColumn
from onerow.write.live import _split_index
from onerow.write.run import bound_for, live_for
from tests.write.support import EMAIL, LOOSE, PAGE, PLAN, SELECTION, USER, Loose, State, Two, User

GOOD = [USER, EMAIL, PAGE, SELECTION, Key(User, "id"), Key(User, "tenant_id", "slug", "title")]


@pytest.mark.parametrize("key", GOOD, ids=lambda k: k.label)
def test_metadata_hold(key: Key) -> None:
    """A key that the metadata declare, or a wider one, is bound at import."""
    assert isinstance(bind(key), Bound)


@pytest.mark.parametrize(
    "key", [Key(User, "slug"), Key(Loose, "name"), Key(Two, "n"), Key(Two)], ids=lambda k: k.label
)
def test_metadata_refuse(key: Key) -> None:
    """A key that nothing declares is refused, and the message has the index to make."""
    with pytest.raises(NoUniqueIndex, match="CREATE UNIQUE INDEX ON"):
        bind(key)


def test_name_alone_cannot_bind() -> None:
    """A key over a table's name has no metadata to look at."""
    with pytest.raises(WriteError, match="give Key the model"):
        bind(Key("users", "slug"))


@pytest.mark.parametrize("key", [*GOOD, PLAN, Key(State)], ids=lambda k: k.label)
def test_live_hold(session: Session, key: Key) -> None:
    """The live database is asked and has an index for each of these keys."""
    live = live_for(session, bound_for(session, key))
    assert live.holder is not None


def test_live_refuses_what_metadata_promise(engine: sa.Engine) -> None:
    """A unique key that was never migrated is refused at first use, naming the rule."""
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE two")
        connection.exec_driver_sql("CREATE TABLE two (id integer PRIMARY KEY, email text)")
    with Session(engine) as session, pytest.raises(NoUniqueIndex, match=r"\[\[key\]\]"):
        upsert(session, EMAIL, {"email": "a", "handle": "b"})


@pytest.mark.parametrize(
    ("ddl", "key", "held"),
    [
        ("CREATE UNIQUE INDEX u ON t (a) WHERE b > 0", Key("t", "a"), False),
        ("CREATE UNIQUE INDEX u ON t (a) WHERE b > 0", Key("t", "a", where="b > 0"), True),
        ("CREATE UNIQUE INDEX u ON t (a) WHERE b > 0", Key("t", "a", where="b > 1"), None),
        ("CREATE UNIQUE INDEX u ON t (a)", Key("t", "a", where="b > 0"), True),
        ("CREATE UNIQUE INDEX u ON t (a)", Key("t", "a", "b"), True),
        ("CREATE UNIQUE INDEX u ON t (a, b)", Key("t", "a"), False),
        ("CREATE UNIQUE INDEX u ON t (lower(s))", Key("t", "s", ignore_case=("s",)), True),
        ("CREATE UNIQUE INDEX u ON t (lower(s))", Key("t", "s"), True),
        ("CREATE UNIQUE INDEX u ON t (s)", Key("t", "s", ignore_case=("s",)), False),
        ("CREATE UNIQUE INDEX u ON t (abs(b))", Key("t", "(abs(b))"), True),
        ("CREATE UNIQUE INDEX u ON t (a, b)", Key("t", "a", "b", nulls="equal"), False),
        (
            "CREATE UNIQUE INDEX u ON t (a, coalesce(b, 0), (b IS NULL))",
            Key("t", "a", "b", nulls="equal"),
            True,
        ),
        ("CREATE UNIQUE INDEX u ON t ((1))", Key("t"), True),
        ("CREATE UNIQUE INDEX u ON t (a) WHERE a = 1", Key("t", where="a = 1"), None),
        ("CREATE INDEX u ON t (a)", Key("t", "a"), False),
    ],
)
def test_shapes(engine: sa.Engine, ddl: str, key: Key, held: bool | None) -> None:
    """An index counts when it lets in at most one row per key, and only then (None: either)."""
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE t (id integer PRIMARY KEY, a integer NOT NULL, b integer, s text)"
        )
        connection.exec_driver_sql(ddl)
    with Session(engine) as session:
        try:
            found = live_for(session, bound_for(session, key)).holder is not None
        except NoUniqueIndex:
            found = False
    assert held is None or found is held


def test_deferrable_is_refused(pg_url: str) -> None:
    """A deferrable constraint cannot arbitrate ON CONFLICT, and the message says so."""
    from tests.write.support import engine_of

    with engine_of(pg_url) as engine, engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE d (id int, a int UNIQUE DEFERRABLE)")
        with pytest.raises(NoUniqueIndex, match="deferrable"):
            upsert(connection, Key("d", "a"), {"a": 1, "id": 1})


def test_beside_a_deferrable_key(pg_url: str) -> None:
    """A table with a deferrable key besides is written with its target named."""
    from tests.write.support import engine_of

    with engine_of(pg_url) as engine, engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE d (id int PRIMARY KEY, a int UNIQUE DEFERRABLE)")
        assert upsert(connection, Key("d", "id"), {"a": 1, "id": 1}).outcome == "inserted"


def test_nulls_not_distinct(pg_url: str) -> None:
    """NULLS NOT DISTINCT holds a key whose NULLs are equal: one row for (1, NULL)."""
    from tests.write.support import engine_of

    with engine_of(pg_url) as engine, engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE d (id serial PRIMARY KEY, a int, b int, UNIQUE NULLS NOT DISTINCT (a, b))"
        )
        key = Key("d", "a", "b", nulls="equal")
        outcomes = [get_or_create(connection, key, {"a": 1, "b": None}).outcome for _ in "12"]
    assert outcomes == ["inserted", "unchanged"]


def test_unknown_column(session: Session) -> None:
    """A name that the table does not have is refused with the nearest one."""
    with pytest.raises(UnknownColumn, match="Did you mean 'title'"):
        upsert(session, USER, {"tenant_id": 1, "slug": "a", "titel": "x"})


def test_missing_key_value(session: Session) -> None:
    """A verb needs a value for each column of the key."""
    with pytest.raises(WriteError, match="needs a value for slug"):
        upsert(session, USER, {"tenant_id": 1})


def test_transitional_binds_without_index(session: Session) -> None:
    """A transitional key is bound before its index exists."""
    assert not live_for(session, bound_for(session, LOOSE)).enforced


def test_index_dropped_later(engine: sa.Engine) -> None:
    """When the index goes away a call says so, instead of writing duplicates."""
    key = Key(Loose, "name")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE UNIQUE INDEX loose_name ON loose (name)")
        upsert(connection, key, {"name": "a"})
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP INDEX loose_name")
    with engine.connect() as connection, pytest.raises(NoUniqueIndex, match="any more"):
        upsert(connection, key, {"name": "b"})


def test_transitional_goes_back(engine: sa.Engine) -> None:
    """A transitional key whose index was undone says so once, then serialises again."""
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE UNIQUE INDEX loose_name ON loose (name)")
        upsert(connection, LOOSE, {"name": "a"})
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP INDEX loose_name")
    with engine.connect() as connection, pytest.raises(NoUniqueIndex) as caught:
        upsert(connection, LOOSE, {"name": "b"})
    transient = transient_of(caught.value)
    assert transient is not None
    with engine.begin() as connection:
        assert upsert(connection, LOOSE, {"name": "b"}).outcome == "inserted"


def test_constraints_are_known_from_the_catalog(engine: sa.Engine) -> None:
    """The columns of a conflict come from the catalog where no metadata know the constraint."""
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE c (id integer PRIMARY KEY, a text, b text)")
        connection.exec_driver_sql("CREATE UNIQUE INDEX c_a ON c (lower(a), b)")
    key = Key("c", "id")
    with engine.connect() as connection:
        upsert(connection, key, {"id": 1, "a": "x", "b": "y"})
        with pytest.raises(sa.exc.IntegrityError) as caught:
            upsert(connection, key, {"id": 2, "a": "X", "b": "y"})
    conflict = conflict_of(caught.value)
    assert conflict is not None
    assert (conflict.constraint, conflict.columns) == ("c_a", ("a", "b"))
    assert dict(conflict.values) == {"a": "X", "b": "y"}


@pytest.mark.parametrize("level", ["import", "use"])
def test_on_every_server(every_url: str, level: str) -> None:
    """Keys are found, and every verb's first round works, on each server version."""
    from tests.write.support import engine_of

    with engine_of(every_url) as engine, Session(engine) as session:
        base = {"tenant_id": "t", "branch_id": None}
        outcomes = [
            upsert(session, PLAN, {**base, "name": name, "price": price}).outcome
            for name, price in (("Gold", 1), ("GOLD", 1), ("gold", 2))
        ]
        assert outcomes == ["inserted", "unchanged", "updated"]
        rows = [{**base, "name": f"p{i}"} for i in range(300)]
        assert bulk_upsert(session, PLAN, rows).inserted == 300
        assert get_or_create(session, SELECTION, {"workout_id": 1}, defaults={"version": 1}).created
        if level == "import":
            assert bind(PLAN).parts


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("lower((name)::text)", "lower(name)"),
        ('("a")', "a"),
        ("COALESCE(branch_id, 'x'::text)", "coalesce(branch_id,'x')"),
        ("(status = 'ACTIVE'::text)", "status='active'"),
        ("((b IS NULL))", "bisnull"),
    ],
)
def test_normal(text: str, clean: str) -> None:
    """What engines add to an expression is taken off again."""
    assert normal(text) == clean


def test_split_index() -> None:
    """The elements of an index with commas and quotes inside are told apart."""
    sql = "CREATE UNIQUE INDEX \"x(\" ON t (a, coalesce(b, ',)'), lower(c)) WHERE a IS NULL"
    assert _split_index(sql.replace('"x("', "x")) == (
        ["a", "coalesce(b, ',)')", "lower(c)"],
        "a IS NULL",
    )
