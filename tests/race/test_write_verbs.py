"""The write library's verbs, explored: no schedule of their statements breaks a key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from onerow import Key
from onerow.race import Result, explore, one_row
from onerow.write import (
    Retry,
    advance,
    bulk_upsert,
    claim,
    create_tables,
    get_or_create,
    operation,
    patch,
    restore_or_create,
    singleton,
    transactional,
    upsert,
)
from onerow.write.operations import operations

metadata = sa.MetaData()
items = sa.Table(
    "verb_items",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("slug", sa.Text, nullable=False),
    sa.Column("n", sa.Integer, nullable=False, server_default="0"),
    sa.Column("version", sa.Integer, nullable=False, server_default="0"),
    sa.UniqueConstraint("slug", name="verb_items_slug"),
)
pages = sa.Table(
    "verb_pages",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("slug", sa.Text, nullable=False),
    sa.Column("deleted_at", sa.DateTime),
)
sa.Index(
    "verb_pages_live",
    pages.c.slug,
    unique=True,
    postgresql_where=pages.c.deleted_at.is_(None),
    sqlite_where=pages.c.deleted_at.is_(None),
)
settings = sa.Table(
    "verb_settings",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("n", sa.Integer, nullable=False, server_default="0"),
)
sa.Index("verb_settings_one", sa.text("(1)"), unique=True, _table=settings)

jobs = sa.Table(
    "verb_jobs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("claimed_by", sa.Text),
    sa.Column("claimed_until", sa.DateTime(timezone=True)),
    sa.Column("claim_token", sa.Integer, nullable=False, server_default="0"),
)
done = sa.Table(
    "verb_done",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("what", sa.Text, nullable=False),
)

ITEM = Key(items, "slug")
PAGE = Key(pages, "slug", where=pages.c.deleted_at.is_(None))
KEYS_HOLD = [one_row(key) for key in (ITEM, PAGE, Key(settings))]
LEVELS = ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")


def use_upsert(session: Session) -> None:
    upsert(session, ITEM, {"slug": "a", "n": 1}, update=("n",))


def use_get_or_create(session: Session) -> None:
    get_or_create(session, ITEM, {"slug": "a"}, defaults={"n": 1})


def use_patch(session: Session) -> None:
    patch(session, ITEM, {"slug": "there"}, {"n": 7})


def use_restore(session: Session) -> None:
    restore_or_create(session, PAGE, {"slug": "home"})


def use_singleton(session: Session) -> None:
    singleton(session, settings, defaults={"n": 1})


def use_bulk(session: Session) -> None:
    bulk_upsert(session, ITEM, [{"slug": "a", "n": 1}, {"slug": "b", "n": 1}], update=("n",))


def use_advance(session: Session) -> None:
    advance(session, ITEM, {"slug": "there"}, {"n": (0, 1)}, version="version")


def use_claim(session: Session) -> None:
    for job in claim(session, jobs, owner="somebody"):
        session.execute(done.insert().values(what=f"job {job.id}"))


def use_operation(session: Session) -> None:
    op = operation(session, "op-1", "fingerprint")
    if not op.replay:
        session.execute(done.insert().values(what="the operation"))
        op.store({"ok": True})


VERBS = (
    use_upsert,
    use_get_or_create,
    use_patch,
    use_restore,
    use_singleton,
    use_bulk,
    use_advance,
    use_claim,
    use_operation,
)


def setup(connection: Connection) -> None:
    for table in (items, pages, settings, jobs, done, operations):
        connection.execute(table.delete())
    connection.execute(jobs.insert(), [{"id": 1}, {"id": 2}])
    connection.execute(items.insert().values(slug="there"))
    connection.execute(pages.insert().values(slug="home", deleted_at=sa.func.now()))


def all_keys_hold(connection: Connection) -> bool:
    """Keys are true, nothing was done twice, and what is counted was counted once."""
    said = list(connection.execute(sa.select(done.c.what)).scalars())
    assert len(said) == len(set(said)), said
    moved = connection.execute(sa.select(items.c.n, items.c.version).where(items.c.slug == "there"))
    assert moved.one() in ((0, 0), (1, 1), (7, 0))
    return all(holds(connection) for holds in KEYS_HOLD)


def holding(engine: Engine, verb: Callable[[Session], None], workers: int, **more: Any) -> Result:
    """Explore a verb under `transactional`."""
    level = more.pop("level", None)

    def worker(factory: Any) -> None:
        transactional(factory, retry=Retry(attempts=8), isolation=level)(verb)()

    return explore(engine, [worker] * workers, setup=setup, invariant=all_keys_hold, **more)


@pytest.fixture(scope="module", autouse=True)
def _tables(pg: Engine, lite: Engine) -> None:
    for engine in (pg, lite):
        metadata.create_all(engine)
        create_tables(engine)


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("verb", VERBS, ids=lambda v: v.__name__.removeprefix("use_"))
def test_two_workers(pg: Engine, verb: Any, level: str) -> None:
    """Two workers, every schedule, at every isolation level: it holds, and nothing is raised."""
    result = holding(pg, verb, 2, level=level)
    assert (result.verdict, result.exhausted) == ("holds", True), result


@pytest.mark.parametrize("verb", VERBS, ids=lambda v: v.__name__.removeprefix("use_"))
def test_two_workers_on_sqlite(lite: Engine, verb: Any) -> None:
    """The same on SQLite, where writers take turns."""
    result = holding(lite, verb, 2)
    assert (result.verdict, result.exhausted) == ("holds", True), result


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("verb", VERBS, ids=lambda v: v.__name__.removeprefix("use_"))
def test_three_workers(pg: Engine, verb: Any) -> None:
    """Three workers with at most two preemptions: it holds."""
    result = holding(pg, verb, 3, preemptions=2)
    assert (result.verdict, result.bound) == ("holds", 2), result
