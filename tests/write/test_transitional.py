"""A transitional key through a whole `onerow apply`: before it, while it runs, and after it."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

import onerow
from onerow import Key
from onerow.write import Retry, bulk_upsert, get_or_create, transactional, upsert
from tests.write.support import LOOSE, Loose, engine_of, sessions

PATIENT = Retry(attempts=500, budget=60, base=0.002, cap=0.05)
RULE = Key("loose", "name", name="loose_name", keep="max n", merge={"n": "keep"})
SEEDED, WRITERS, NAMES = 150, 6, 12
Write = Callable[[Session, str], object]


def counted(session: Session, name: str) -> object:
    """One more, so that a lost or a doubled write would show in the sum."""
    return upsert(session, LOOSE, {"name": name, "n": 1}, update={"n": Loose.n + 1})


def found(session: Session, name: str) -> object:
    return get_or_create(session, LOOSE, {"name": name})


def batched(session: Session, name: str) -> object:
    return bulk_upsert(session, LOOSE, [{"name": name, "n": 7}, {"name": f"{name}!", "n": 7}])


class Writers:
    """Threads that write until they are told to stop; each keeps to one verb."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.written: Counter[str] = Counter()
        self.errors: list[BaseException] = []
        self.threads = [threading.Thread(target=self._run, args=(w,)) for w in range(WRITERS)]

    def _run(self, w: int) -> None:
        kind, verb = (("c", counted), ("g", found), ("b", batched))[w % 3]
        place = transactional(sessions(self.engine), retry=PATIENT)(verb)
        chosen = random.Random(w)
        try:
            while not self.stop.is_set():
                name = f"{kind}{chosen.randrange(NAMES * (1 + sum(self.written.values()) // 50))}"
                place(name)
                with self.lock:
                    self.written[name] += 1
                # A name that has two rows is written, too: by all of them, so that rows differ.
                seeded = f"s{chosen.randrange(SEEDED)}"
                transactional(sessions(self.engine), retry=PATIENT)(found)(seeded)
        except BaseException as exc:
            self.errors.append(exc)

    def __enter__(self) -> Writers:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def wait(self, more: int) -> None:
        """Until so many more writes were done."""
        target = sum(self.written.values()) + more
        while sum(self.written.values()) < target and not self.errors:
            time.sleep(0.01)


@pytest.fixture
def statements() -> list[str]:
    """What is sent, in order."""
    return []


@pytest.fixture
def engine(db_url: str, statements: list[str]) -> Iterator[sa.Engine]:
    """An engine over a table with duplicates, and no index; its statements are kept."""
    with engine_of(db_url, pool_size=WRITERS, max_overflow=0) as engine:
        with engine.begin() as connection:
            rows = [{"name": f"s{i % SEEDED}", "n": i} for i in range(2 * SEEDED)]
            connection.execute(sa.insert(Loose), rows)

        @sa.event.listens_for(engine, "before_cursor_execute")
        def keep(_c: object, _cursor: object, statement: str, *_: object) -> None:
            statements.append(statement)

        yield engine


def _names_the_index(statement: str) -> bool:
    return statement.startswith("INSERT") and "ON CONFLICT (name)" in statement.replace('"', "")


def test_through_an_apply(engine: sa.Engine, statements: list[str], db_url: str) -> None:
    """No error, no duplicate, no lost write; and the verbs use the index as soon as it is there."""
    with Writers(engine) as writers:
        writers.wait(60)
        before = list(statements)
        outcome = onerow.apply(db_url, [RULE])
        assert outcome.status == "done", outcome.message
        time.sleep(0.6)  # how long a verb may go on without looking for the index
        writers.wait(20)
        statements.clear()
        writers.wait(60)
        after = list(statements)
    assert writers.errors == []
    locks = [sum("pg_advisory_xact_lock" in s for s in part) for part in (before, after)]
    targets = [sum(map(_names_the_index, part)) for part in (before, after)]
    assert (targets[0], locks[1]) == (0, 0)
    assert targets[1] > 0
    assert (locks[0] > 0) == (engine.dialect.name == "postgresql")
    with engine.connect() as connection:
        rows = connection.execute(sa.select(Loose.name, Loose.n)).all()
    assert len({r.name for r in rows}) == len(rows)
    names = {*writers.written, *(f"{n}!" for n in writers.written if n[0] == "b")}
    assert {r.name for r in rows} == names | {f"s{i}" for i in range(SEEDED)}
    counts = {r.name: r.n for r in rows if r.name[0] == "c"}
    assert counts == {n: k for n, k in writers.written.items() if n[0] == "c"}
    proofs = onerow.verify(db_url, [RULE])
    assert proofs
    assert all(p.ok for p in proofs)


def test_back_through_an_undo(engine: sa.Engine, db_url: str) -> None:
    """When the key is taken back again under writers, they serialise as before, without restart."""
    assert onerow.apply(db_url, [RULE]).status == "done"
    with Writers(engine) as writers:
        writers.wait(30)
        outcome = onerow.undo(db_url)
        writers.wait(60)
    assert writers.errors == []
    assert outcome.status in ("undone", "done"), outcome.message
    with engine.connect() as connection:
        doubles = connection.execute(
            sa.select(Loose.name).group_by(Loose.name).having(sa.func.count() > 1)
        ).scalars()
        assert {name[0] for name in doubles} <= {"s"}
    assert {n[0] for n in writers.written} == {"c", "g", "b"}


def test_when_the_index_goes_and_rows_come_back(db_url: str) -> None:
    """As an undo does it: a write of the kept kind then goes into all rows of the key."""
    with engine_of(db_url) as engine:
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE UNIQUE INDEX loose_name ON loose (name)")
        for n in (1, 2, 3):
            with engine.begin() as connection:
                upsert(connection, LOOSE, {"name": "x", "n": n})
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP INDEX loose_name")
            connection.execute(sa.insert(Loose).values(name="x", n=9))
        change = transactional(engine)(
            lambda connection: upsert(connection, LOOSE, {"name": "x", "n": 4}).outcome
        )
        assert change() == "updated"
        with engine.connect() as connection:
            assert connection.scalars(sa.select(Loose.n)).all() == [4, 4]
