"""Transitional keys, explored: before their index is there, while it is made, and after.

Each worker has an engine of its own, as a process of its own would have: what is known of the key
is known to one engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import NullPool

from onerow import Key
from onerow.race import Result, explore, replay
from onerow.write import Retry, bulk_upsert, get_or_create, transactional, upsert

metadata = sa.MetaData()
tags = sa.Table(
    "later_tags",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("n", sa.Integer, nullable=False, server_default="0"),
)
INDEX = "CREATE UNIQUE INDEX later_tags_name ON later_tags (name)"


def use_upsert(session: Session, key: Key) -> None:
    upsert(session, key, {"name": "a", "n": 1}, update=("n",))


def use_get_or_create(session: Session, key: Key) -> None:
    get_or_create(session, key, {"name": "a"}, defaults={"n": 1})


def use_bulk(session: Session, key: Key) -> None:
    bulk_upsert(session, key, [{"name": "a", "n": 1}, {"name": "b", "n": 1}], update=("n",))


VERBS = (use_upsert, use_get_or_create, use_bulk)
by_verb = pytest.mark.parametrize("verb", VERBS, ids=lambda v: v.__name__.removeprefix("use_"))


def setup(connection: Connection, *, index: bool) -> None:
    connection.execute(tags.delete())
    connection.exec_driver_sql("DROP INDEX IF EXISTS later_tags_name")
    if index:
        connection.exec_driver_sql(INDEX)


def one_of_each(connection: Connection) -> bool:
    found = list(connection.execute(sa.select(tags.c.name)).scalars())
    return len(found) == len(set(found))


def writer(engine: Engine, verb: Callable[[Session, Key], None], level: str | None) -> Any:
    """Uses the verb as a process does that has just started."""

    def worker(_factory: Any) -> None:
        own = create_engine(engine.url, poolclass=NullPool)
        retry = Retry(attempts=8)
        key = Key(tags, "name", transitional=True)
        transactional(sessionmaker(own), retry=retry, isolation=level)(verb)(key)

    return worker


def make_index(factory: Any) -> None:
    with factory() as session:
        session.execute(sa.text(INDEX))
        session.commit()


def make_index_at_once(factory: Any) -> None:
    """In autocommit: two writers that its end lets go at once could not be told what to do."""
    with factory() as session:
        session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        session.execute(sa.text(INDEX))


@pytest.fixture(scope="module", autouse=True)
def _tables(pg: Engine, lite: Engine) -> Iterator[None]:
    for engine in (pg, lite):
        metadata.create_all(engine)
    yield
    for engine in (pg, lite):
        metadata.drop_all(engine)


def explored(
    engine: Engine, verb: Any, *, index: bool, level: str | None = None, **more: Any
) -> Result:
    workers = [writer(engine, verb, level)] * 2
    start = partial(setup, index=index)
    return explore(engine, workers, setup=start, invariant=one_of_each, **more)


def during(
    engine: Engine, verb: Any, writers: int, *, make: Any = make_index, **more: Any
) -> Result:
    workers = [*[writer(engine, verb, None)] * writers, make]
    start = partial(setup, index=False)
    return explore(engine, workers, setup=start, invariant=one_of_each, **more)


@by_verb
def test_before_on_sqlite(lite: Engine, verb: Any) -> None:
    """Without its index the key holds, in every schedule of two writers."""
    result = explored(lite, verb, index=False)
    assert (result.verdict, result.exhausted) == ("holds", True), result


def test_before(pg: Engine) -> None:
    """The same on PostgreSQL, where an advisory lock keeps it."""
    result = explored(pg, use_get_or_create, index=False)
    assert (result.verdict, result.exhausted) == ("holds", True), result


def test_during(pg: Engine) -> None:
    """A writer and the one who makes the index: every schedule holds, and nothing is raised."""
    result = during(pg, use_get_or_create, 1)
    assert (result.verdict, result.exhausted) == ("holds", True), result


def test_batch_meets_the_new_index(pg: Engine) -> None:
    """A batch that looked before the index came, and is overtaken by one that looked after it."""
    workers = [*[writer(pg, use_bulk, None)] * 2, make_index]
    schedule = "B1 C1 C2 A1 A2 A3 A4 A5 A6 A7 B2 B3 B4 B5 B6 B7 B8 A8 A9"
    start = partial(setup, index=False)
    result = replay(pg, workers, schedule, setup=start, invariant=one_of_each)
    assert (result.verdict, result.notes) == ("holds", []), result


@pytest.mark.slow
@pytest.mark.parametrize("index", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("level", ["READ COMMITTED", "SERIALIZABLE"])
@by_verb
def test_two_writers(pg: Engine, verb: Any, level: str, index: bool) -> None:
    """Two writers, every schedule, with the index and without."""
    result = explored(pg, verb, index=index, level=level)
    assert (result.verdict, result.exhausted) == ("holds", True), result


@pytest.mark.slow
@pytest.mark.timeout(600)
@by_verb
def test_two_writers_while_the_index_is_made(pg: Engine, verb: Any) -> None:
    """Two writers and the one who makes the index, with at most two preemptions."""
    result = during(pg, verb, 2, make=make_index_at_once, preemptions=2)
    assert (result.verdict, result.bound) == ("holds", 2), result


@pytest.mark.slow
@by_verb
def test_during_on_sqlite(lite: Engine, verb: Any) -> None:
    """The same on SQLite, where a file has one writer."""
    result = during(lite, verb, 2, preemptions=2)
    assert (result.verdict, result.bound) == ("holds", 2), result
