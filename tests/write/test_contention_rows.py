"""Many writers at once, the rest of the verbs: batches, claims, operations, the one row, two keys."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from onerow.write import (
    bulk_upsert,
    claim,
    create_tables,
    get_or_create,
    operation,
    release,
    singleton,
    upsert,
)
from tests.write.arena import ROUNDS, Arena, everywhere
from tests.write.support import (
    EMAIL,
    LABEL,
    USER,
    Label,
    State,
    Ticket,
    Two,
    User,
    count,
    engine_of,
)

LEASE = timedelta(minutes=5)


@everywhere
def test_singleton(arena: Arena) -> None:
    """The one row is made once, whoever comes first."""
    outcomes = arena.run(lambda s, w, r: singleton(s, State, defaults={"lead": f"{w}"}).outcome)
    with engine_of(arena.url) as engine:
        assert count(engine, State) == 1 == outcomes["inserted"]
    assert set(outcomes) == {"inserted", "unchanged"}


@everywhere
def test_equal_nulls_without_case(arena: Arena) -> None:
    """NULL is one owner, and case makes no second label; a counter loses nothing."""

    def work(session: Session, w: int, r: int) -> str:
        values = {"owner": None, "name": ("a", "A")[w % 2], "n": 1}
        if r == 0:
            return get_or_create(session, LABEL, {"owner": None, "name": "B"}).outcome
        return upsert(session, LABEL, values, update={"n": Label.n + 1}).outcome

    outcomes = arena.run(work)
    with engine_of(arena.url) as engine, Session(engine) as session:
        rows = dict(session.execute(sa.select(sa.func.lower(Label.name), Label.n)).all())
    assert rows == {"a": arena.workers * (ROUNDS - 1), "b": 0}
    assert outcomes["inserted"] == 2


@everywhere
def test_adopt_and_merge(arena: Arena) -> None:
    """Rows that meet in the second key are one row in the end, under either policy."""

    def work(session: Session, w: int, r: int) -> str:
        values = {"email": f"e{w}-{r}", "handle": f"h{r}"}
        policy = "adopt" if r % 2 else "merge"
        return upsert(session, EMAIL, values, other_keys=policy).outcome

    outcomes = arena.run(work)
    with engine_of(arena.url) as engine, Session(engine) as session:
        handles = session.scalars(sa.select(Two.handle)).all()
    assert sorted(handles) == [f"h{r}" for r in range(ROUNDS)]
    assert outcomes["inserted"] == ROUNDS


@everywhere
def test_bulk(arena: Arena) -> None:
    """Batches that overlap, in any order, small and by COPY, insert each key once."""
    keys = 220

    def work(session: Session, w: int, r: int) -> str:
        size = keys if (w, r) == (0, 0) else 12
        numbers = [(w * 7 + r * 5 + i) % keys for i in range(size)]
        numbers = numbers[::-1] if w % 2 else numbers
        rows = [{"tenant_id": 1, "slug": f"s{n}", "title": f"{w}-{r}"} for n in numbers]
        written = bulk_upsert(session, USER, rows)
        assert written.inserted + written.updated + written.unchanged == size
        return str(written.inserted)

    outcomes = arena.run(work)
    with engine_of(arena.url) as engine:
        assert count(engine, User) == keys
    assert sum(int(inserted) * times for inserted, times in outcomes.items()) == keys


@everywhere
def test_claim(arena: Arena) -> None:
    """Each ticket is claimed and completed by one worker, once."""
    with engine_of(arena.url) as engine, Session(engine) as session:
        session.add_all(Ticket() for _ in range(arena.workers * ROUNDS // 2))
        session.commit()

    def work(session: Session, w: int, r: int) -> str:
        where = Ticket.status == "pending"
        found = claim(session, Ticket, owner=f"{w}", lease=LEASE, where=where)
        if not found:
            return "none"
        token = found[0].claim_token
        release(session, Ticket, found[0], token=token, set={"status": "done"})
        return f"ticket {found[0].id}"

    outcomes = arena.run(work)
    done = Counter({k: n for k, n in outcomes.items() if k != "none"})
    with engine_of(arena.url) as engine, Session(engine) as session:
        rows = session.execute(sa.select(Ticket.id, Ticket.status, Ticket.claim_token)).all()
    assert set(done.values()) == {1}
    assert {f"ticket {r.id}" for r in rows if r.status == "done"} == set(done)
    assert all((r.claim_token == 1) == (r.status == "done") for r in rows)


@everywhere
def test_operation(arena: Arena) -> None:
    """Each operation is done once, and all others get its result."""
    with engine_of(arena.url) as engine:
        create_tables(engine)

    def work(session: Session, w: int, r: int) -> str:
        op = operation(session, f"op-{r}", "print")
        if op.replay:
            assert op.result == {"slug": f"op-{r}"}
            return "replay"
        session.add(User(tenant_id=1, slug=f"op-{r}"))
        op.store({"slug": f"op-{r}"})
        return "fresh"

    outcomes = arena.run(work)
    with engine_of(arena.url) as engine:
        assert count(engine, User) == ROUNDS == outcomes["fresh"]
    assert outcomes["replay"] == (arena.workers - 1) * ROUNDS
