"""Upsert in one statement, and where that cannot be."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from onerow import Key, aio
from onerow.write import conflict_of, upsert
from tests.write.support import EMAIL, SELECTION, USER, User, async_engine_of, engine_of

REST = {"hits": 0, "touched": None}
CALLS = [
    {"tenant_id": 1, "slug": s, "title": t, **REST} for s in "abcdefgh" for t in ("x", "x", "y")
]


def test_the_same_outcomes_and_rows(session: Session) -> None:
    """It tells what it did, and burn no value of a sequence."""
    made = [upsert(session, USER, call) for call in CALLS]
    assert [w.outcome for w in made] == ["inserted", "unchanged", "updated"] * 8
    users = session.scalars(sa.select(User).order_by(User.id)).all()
    assert [(u.slug, u.title) for u in users] == [(slug, "y") for slug in "abcdefgh"]
    assert [u.id for u in users] == list(range(1, 9))
    assert {id(w.row) for w in made} == {id(u) for u in users}


def test_what_python_computes(session: Session) -> None:
    """Defaults and onupdate of the model are applied."""
    for call in CALLS:
        upsert(session, USER, {n: v for n, v in call.items() if n not in REST})
    users = session.scalars(sa.select(User)).all()
    assert {(u.title, u.hits, u.touched) for u in users} == {("y", 0, "touched")}


def test_a_core_row_has_the_columns_of_its_table(engine: sa.Engine) -> None:
    """No column of ours is in a row that was written."""
    key = Key(User.__table__, "tenant_id", "slug")
    with engine.begin() as connection:
        made = [upsert(connection, key, call) for call in CALLS]
    changed = [w.row._mapping for w in made if w.outcome != "unchanged"]
    assert {tuple(row) for row in changed} == {tuple(c.name for c in User.__table__.columns)}
    assert changed[-1][User.__table__.c.slug] == "h"


def test_a_version_is_raised(session: Session) -> None:
    """A version counts changes."""
    versions = [
        upsert(session, SELECTION, {"workout_id": 1, "day": day}).row.version for day in "aabc"
    ]
    assert versions == [1, 1, 2, 3]


def test_the_other_key_is_named(session: Session) -> None:
    """A second unique key in the way is an error of the database."""
    for name in "abc":
        upsert(session, EMAIL, {"email": name, "handle": name, "n": 1})
    with pytest.raises(IntegrityError) as caught:
        upsert(session, EMAIL, {"email": "d", "handle": "a", "n": 1})
    conflict = conflict_of(caught.value)
    assert conflict is not None
    assert conflict.columns == ("handle",)


async def test_async(db_url: str) -> None:
    """The async twin tells the same."""
    with engine_of(db_url):
        pass
    engine = async_engine_of(db_url)
    async with AsyncSession(engine) as session:
        made = [await aio.upsert(session, USER, call) for call in CALLS]
    await engine.dispose()
    assert [w.outcome for w in made] == ["inserted", "unchanged", "updated"] * 8


async def test_all_at_the_same_time(pg_url: str) -> None:
    """Whoever comes first: one row per key, and as many told that they inserted it."""
    with engine_of(pg_url):
        pass
    engine = async_engine_of(pg_url, pool_size=8)

    async def one(title: str) -> list[str]:
        outcomes = []
        for slug in "abcdefghijklmnopqrst":
            async with AsyncSession(engine) as session, session.begin():
                values = {"tenant_id": 1, "slug": slug, "title": title, **REST}
                outcomes.append((await aio.upsert(session, USER, values)).outcome)
        return outcomes

    told = await asyncio.gather(*(one(title) for title in "12345678"))
    await engine.dispose()
    assert sum(o.count("inserted") for o in told) == 20
    assert sum(o.count("updated") for o in told) == 7 * 20


def test_one_statement(pg_url: str) -> None:
    """Whatever it does, it is one statement; two where the model computes something."""
    with engine_of(pg_url) as engine, Session(engine) as session:
        upsert(session, USER, CALLS[0])  # looks the index up
        sent: list[str] = []
        sa.event.listen(engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
        for call in CALLS:
            upsert(session, USER, call)
        assert len(sent) == len(CALLS)
        upsert(session, USER, {"tenant_id": 2, "slug": "a", "title": "x"})
        assert len(sent) == len(CALLS) + 2
