"""Many writers at once: threads and tasks × verb × isolation level × driver × key shape.

The end state is compared with what any serial order gives, and no call may end in an error that
the documentation does not name. The default run takes a part of the matrix; `slow` the rest.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from onerow.rules import Key
from onerow.write import (
    advance,
    get_or_create,
    patch,
    restore_or_create,
    singleton,
    transactional,
    upsert,
)
from tests.write.arena import KEYS, PATIENT, ROUNDS, Arena, everywhere, in_threads
from tests.write.support import (
    EMAIL,
    LOOSE,
    PAGE,
    PLAN,
    SELECTION,
    USER,
    Loose,
    Page,
    Plan,
    Selection,
    State,
    Two,
    User,
    count,
    engine_of,
    sessions,
)


@everywhere
def test_upsert(arena: Arena) -> None:
    """Each key gets one row, each insert is told once, and counters lose nothing."""

    def work(session: Session, w: int, r: int) -> str:
        values = {"tenant_id": 1, "slug": f"s{r % KEYS}", "hits": 1, "title": None}
        # The title never changes, so that only the counter can tell that a change is due.
        return upsert(session, USER, values, update={"hits": User.hits + 1, "title": None}).outcome

    outcomes = arena.run(work)
    with engine_of(arena.url) as engine, Session(engine) as session:
        assert count(engine, User) == KEYS == outcomes["inserted"]
        assert session.scalar(sa.select(sa.func.sum(User.hits))) == arena.workers * ROUNDS
    assert set(outcomes) == {"inserted", "updated"}


@everywhere
def test_get_or_create_with_everything(arena: Arena) -> None:
    """A key with scope, case and filter gets one row, found by all."""

    def work(session: Session, w: int, r: int) -> str:
        name = ("Gold", "GOLD", "gold")[w % 3] + str(r % KEYS)
        values = {"tenant_id": "t", "branch_id": None, "name": name}
        return get_or_create(session, PLAN, values).outcome

    outcomes = arena.run(work)
    with engine_of(arena.url) as engine:
        assert count(engine, Plan) == KEYS == outcomes["inserted"]
    assert set(outcomes) == {"inserted", "unchanged"}


@everywhere
def test_two_unique_keys(arena: Arena) -> None:
    """Equal rows with two unique keys never collide in the second one."""

    def work(session: Session, w: int, r: int) -> str:
        values = {"email": f"e{r}", "handle": f"h{r}"}
        return upsert(session, EMAIL, values).outcome

    outcomes = arena.run(work, rounds=10)
    with engine_of(arena.url) as engine:
        assert count(engine, Two) == 10 == outcomes["inserted"]


@everywhere
def test_partial_updates(arena: Arena) -> None:
    """Writers of different fields all survive, and the version counts the changes."""

    def work(session: Session, w: int, r: int) -> str:
        field = "day" if w % 2 else "slot"
        return upsert(session, SELECTION, {"workout_id": r % KEYS, field: f"{w}-{r}"}).outcome

    outcomes = arena.run(work)
    with engine_of(arena.url) as engine, Session(engine) as session:
        rows = session.scalars(sa.select(Selection)).all()
    assert len(rows) == KEYS == outcomes["inserted"]
    assert all(row.day is not None and row.slot is not None for row in rows)
    assert sum(row.version for row in rows) == outcomes["inserted"] + outcomes["updated"]


@everywhere
def test_advance(arena: Arena) -> None:
    """Of all who would move the state from n exactly one does."""
    with engine_of(arena.url) as engine, Session(engine) as session:
        singleton(session, State, defaults={"sprint_index": 0})
        session.commit()

    def work(session: Session, w: int, r: int) -> str:
        return advance(session, State, {}, {"sprint_index": (r, r + 1)}).outcome

    outcomes = arena.run(work)
    with engine_of(arena.url) as engine, Session(engine) as session:
        assert session.scalar(sa.select(State.sprint_index)) == outcomes["updated"] <= ROUNDS
    assert outcomes["updated"] >= 1


@everywhere
def test_patch_with_version(arena: Arena) -> None:
    """Readers who write with the version that they read lose no change."""
    with engine_of(arena.url) as engine, Session(engine) as session:
        upsert(session, USER, {"tenant_id": 1, "slug": "a", "hits": 0, "title": "0"})
        session.commit()

    def work(session: Session, w: int, r: int) -> str:
        from onerow.write import Stale

        ident = {"tenant_id": 1, "slug": "a"}
        seen = session.execute(sa.select(User.hits, User.title)).one()
        title = str(int(seen.title) + 1)
        try:
            return patch(session, USER, ident, {"title": title}, expect={"hits": seen.hits}).outcome
        except Stale:
            return "stale"

    outcomes = arena.run(work)
    with engine_of(arena.url) as engine, Session(engine) as session:
        row = session.execute(sa.select(User.hits, User.title)).one()
    assert row.hits == int(row.title) == outcomes["updated"]
    assert outcomes["updated"] + outcomes["stale"] == arena.workers * ROUNDS


@everywhere
def test_restore(arena: Arena) -> None:
    """One deleted page comes back once, however many ask, and one page lives."""
    with engine_of(arena.url) as engine, Session(engine) as session:
        stamp = datetime.now(UTC).replace(tzinfo=None)
        session.add_all(Page(slug="a", deleted_at=stamp) for _ in range(3))
        session.commit()

    def work(session: Session, w: int, r: int) -> str:
        return restore_or_create(session, PAGE, {"slug": "a"}).outcome

    outcomes = arena.run(work)
    with engine_of(arena.url) as engine, Session(engine) as session:
        living = session.scalars(sa.select(Page).where(Page.deleted_at.is_(None))).all()
    assert len(living) == 1
    assert (outcomes["restored"], outcomes["inserted"]) == (1, 0)


@everywhere
def test_transitional(arena: Arena) -> None:
    """Before its index exists a transitional key is kept all the same."""
    if arena.isolation == "REPEATABLE READ":
        arena.isolation = "SERIALIZABLE"  # refused, see test_transitional_refuses

    def work(session: Session, w: int, r: int) -> str:
        key = LOOSE if w % 2 else Key(Loose, "name", transitional=True, ignore_case=("name",))
        if w % 2:
            return get_or_create(session, key, {"name": f"n{r}"}).outcome
        return upsert(session, LOOSE, {"name": f"n{r}", "n": w}).outcome

    outcomes = arena.run(work)
    with engine_of(arena.url) as engine:
        assert count(engine, Loose) == ROUNDS == outcomes["inserted"]


@pytest.mark.parametrize("kind", ["upsert", "get_or_create"])
def test_transitional_before_during_after(db_url: str, kind: str) -> None:
    """The index is built while writers write: no error, no duplicate, no restart."""
    stop = threading.Event()
    with engine_of(db_url, pool_size=10) as engine:

        @transactional(sessions(engine), retry=PATIENT)
        def work(session: Session, name: str, n: int) -> str:
            if kind == "upsert":
                return upsert(session, LOOSE, {"name": name, "n": n}).outcome
            return get_or_create(session, LOOSE, {"name": name}).outcome

        def one(i: int) -> None:
            n = 0
            if i == 6:
                stop.wait(0.4)
                _build(engine)
                stop.wait(0.9)
                stop.set()
            while not stop.is_set():
                n += 1
                work(f"k{n % 40}-{n // 40}", i)

        in_threads(7, one)
        with engine.connect() as connection:
            doubles = connection.execute(
                sa.select(Loose.name).group_by(Loose.name).having(sa.func.count() > 1)
            ).all()
        assert doubles == []
        assert count(engine, Loose) > 40


def _build(engine: sa.Engine) -> None:
    if engine.dialect.name == "sqlite":
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE UNIQUE INDEX loose_name ON loose (name)")
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("CREATE UNIQUE INDEX CONCURRENTLY loose_name ON loose (name)")


def test_transitional_refuses(pg_url: str) -> None:
    """Under REPEATABLE READ a key without index is refused, because the lock comes too late."""
    from onerow.write import TransitionalIsolation

    with engine_of(pg_url) as engine:
        place = transactional(sessions(engine), isolation="REPEATABLE READ")(
            lambda session: upsert(session, LOOSE, {"name": "a"})
        )
        with pytest.raises(TransitionalIsolation, match="READ COMMITTED"):
            place()


def test_own_transaction_above_read_committed(pg_url: str) -> None:
    """In a caller's own REPEATABLE READ transaction a lost race is 40001, nothing else."""
    from onerow.write import transient_of

    with engine_of(pg_url) as engine:
        level = {"isolation_level": "REPEATABLE READ"}
        with Session(engine) as late, Session(engine) as early:
            late.connection(execution_options=level).execute(sa.select(User.id)).all()
            upsert(early, USER, {"tenant_id": 1, "slug": "a"})
            early.commit()
            with pytest.raises(sa.exc.DBAPIError) as caught:
                upsert(late, USER, {"tenant_id": 1, "slug": "a"})
    transient = transient_of(caught.value)
    assert transient is not None
    assert (transient.kind, transient.code) == ("serialization", "40001")
