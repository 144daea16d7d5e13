"""`explore` and `replay`, by the race that everybody has: look, and insert if there is none."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from onerow.errors import InputError
from onerow.race import explore, replay

metadata = sa.MetaData()
users = sa.Table(
    "users", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("email", sa.Text)
)
keyed = sa.Table(
    "keyed",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("email", sa.Text, unique=True),
)


def setup(connection: Connection) -> None:
    metadata.create_all(connection)
    connection.execute(sa.delete(users))
    connection.execute(sa.delete(keyed))


def at_most_one(connection: Connection) -> bool:
    return connection.execute(sa.select(sa.func.count()).select_from(users)).scalar_one() <= 1


def write(session: Session, table: sa.Table = users) -> None:
    if session.execute(sa.select(table.c.id).where(table.c.email == "a")).first() is None:
        session.execute(sa.insert(table).values(email="a"))
    session.commit()


def writer(factory: Any) -> None:
    with factory() as session:
        write(session)


def strict_writer(factory: Any) -> None:
    with factory() as session:
        write(session, keyed)


def careful_writer(factory: Any) -> None:
    with factory() as session:
        try:
            write(session, keyed)
        except IntegrityError:
            session.rollback()


async def async_writer(factory: Any) -> None:
    async with factory() as session:
        await session.run_sync(write)


@pytest.fixture(autouse=True, scope="module")
def _tables(pg: Engine, lite: Engine) -> None:
    for engine in (pg, lite):
        with engine.begin() as connection:
            metadata.create_all(connection)


def test_one_after_the_other_holds(engine: Engine) -> None:
    """Without a preemption no schedule fails, and the answer says that this is its bound."""
    result = explore(engine, [writer, writer], setup=setup, invariant=at_most_one, preemptions=0)
    assert (result.verdict, result.exhausted, result.bound) == ("holds", False, 0)
    assert result.schedules == 2


def test_duplicate_is_found(engine: Engine) -> None:
    """The duplicate is found with one preemption, told in SQL, and found again ten times of ten."""
    result = explore(engine, [writer, writer], setup=setup, invariant=at_most_one)
    assert result.verdict == "broken"
    failure = result.failure
    assert failure is not None
    assert failure.script == "A1 B1 B2 B3 A2 A3"
    assert failure.anomaly == "duplicate insert"
    again = [
        replay(engine, [writer, writer], failure.script, setup=setup, invariant=at_most_one)
        for _ in range(10)
    ]
    assert [r.verdict for r in again] == ["broken"] * 10
    assert {r.failure.script for r in again if r.failure} == {failure.script}


def test_async_duplicate_is_found(async_engine: Any) -> None:
    """The same by drivers that need an event loop."""
    workers = [async_writer, async_writer]
    result = explore(async_engine, workers, setup=setup, invariant=at_most_one)
    assert result.verdict == "broken"
    assert result.failure is not None
    assert result.failure.script == "A1 B1 B2 B3 A2 A3"
    script = result.failure.script
    again = [
        replay(async_engine, workers, script, setup=setup, invariant=at_most_one).verdict
        for _ in range(10)
    ]
    assert again == ["broken"] * 10


def made_by_setup(connection: Connection, name: str) -> sa.Table:
    table = users.to_metadata(sa.MetaData(), name=name)
    table.drop(connection, checkfirst=True)
    table.create(connection)
    return table


def test_tables_are_known_when_setup_makes_them(engine: Engine) -> None:
    """Tables that no one knew before the first setup are pruned and shown like all others."""
    name = "made_later"
    table = users.to_metadata(sa.MetaData(), name=name)
    with engine.begin() as connection:
        table.drop(connection, checkfirst=True)

    def worker(factory: Any) -> None:
        with factory() as session:
            write(session, table)

    def holds(connection: Connection) -> bool:
        return connection.execute(sa.select(table.c.id)).all() == [(1,)]

    def make(connection: Connection) -> None:
        made_by_setup(connection, name)

    options = {"setup": make, "invariant": holds, "keep_going": True}
    first = explore(engine, [worker, worker], **options)
    again = explore(engine, [worker, worker], **options)
    assert first.schedules == again.schedules
    assert first.failure is not None
    assert [(s.name, s.rows) for s in first.failure.state] == [(name, ((1, "a"), (2, "a")))]


def test_code_that_setup_brings_is_known(pg: Engine) -> None:
    """A trigger that the first setup makes is no secret to pruning: nothing is left out then."""
    name = "made_with_trigger"
    table = users.to_metadata(sa.MetaData(), name=name)
    with pg.begin() as connection:
        made_by_setup(connection, name)

    def worker(factory: Any) -> None:
        with factory() as session:
            write(session, table)

    def make(connection: Connection) -> None:
        made_by_setup(connection, name)
        connection.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION let_it() RETURNS trigger LANGUAGE plpgsql "
            "AS 'BEGIN RETURN NEW; END'"
        )
        connection.exec_driver_sql(
            f"CREATE TRIGGER t BEFORE INSERT ON {name} FOR EACH ROW EXECUTE FUNCTION let_it()"
        )

    explored = [
        explore(pg, [worker, worker], setup=s, invariant=lambda c: True, keep_going=True)
        for s in (make, lambda c: made_by_setup(c, name))
    ]
    assert [r.schedules for r in explored] == [20, 6]


def test_update_then_insert_is_a_duplicate(pg: Engine) -> None:
    """An UPDATE that finds no row is a look, too: two inserts after it have the same name."""

    def save(factory: Any) -> None:
        with factory() as session:
            changed = session.execute(sa.update(users).values(email="a"))
            if not changed.rowcount:
                session.execute(sa.insert(users).values(email="a"))
            session.commit()

    result = explore(pg, [save, save], setup=setup, invariant=at_most_one)
    assert result.failure is not None
    assert (result.failure.verdict, result.failure.anomaly) == ("broken", "duplicate insert")


def test_all_schedules_are_counted(pg: Engine) -> None:
    """Two workers of three steps have 20 schedules, of which 18 fail; 6 of them tell all."""
    found = [
        explore(
            pg, [writer, writer], setup=setup, invariant=at_most_one, prune=prune, keep_going=True
        )
        for prune in (False, True)
    ]
    assert [(r.schedules, r.outcomes) for r in found] == [
        (20, {"holds": 2, "broken": 18}),
        (6, {"holds": 2, "broken": 4}),
    ]
    assert all(r.exhausted for r in found)


def test_how_invariants_are_broken(pg: Engine) -> None:
    """By something false, by an assertion, by any exception; each is told in a sentence."""

    def nothing(_connection: Connection) -> None:
        """Forgot to return."""

    def asserting(_connection: Connection) -> bool:
        raise AssertionError("two rows")

    def failing(connection: Connection) -> object:
        return connection.execute(sa.select(users.c.id).where(users.c.id < 0)).one()

    said = [
        explore(pg, [writer, writer], setup=setup, invariant=each).reason
        for each in (nothing, asserting, failing)
    ]
    assert said == [
        "nothing returned None; return True where it holds",
        "asserting: two rows",
        "failing raised NoResultFound: No row was found when one was required",
    ]


def test_exception_is_an_outcome(engine: Engine) -> None:
    """A violation that the worker does not catch is `raised`, with its code and its schedule."""
    result = explore(engine, [strict_writer, strict_writer], setup=setup)
    assert result.verdict == "raised"
    assert result.failure is not None
    assert result.failure.anomaly == "unhandled duplicate key"
    assert "IntegrityError" in result.reason


def test_allowed_exceptions_are_none(pg: Engine) -> None:
    """Exceptions that are declared may leave a worker, by class or by SQLSTATE."""
    for allowed in (IntegrityError, "23505"):
        result = explore(pg, [strict_writer, strict_writer], setup=setup, allow=[allowed])
        assert (result.verdict, result.exhausted) == ("holds", True), result


def test_caught_violation_holds(engine: Engine) -> None:
    """With a key, and its violation caught, every schedule holds."""
    result = explore(engine, [careful_writer, careful_writer], setup=setup)
    assert (result.verdict, result.exhausted) == ("holds", True), result


def test_out_of_budget_is_no_pass(pg: Engine) -> None:
    """When schedules are left that were not run, nothing is said to hold."""
    result = explore(pg, [careful_writer, careful_writer], setup=setup, max_schedules=2)
    assert (result.verdict, result.exhausted, result.schedules) == ("inconclusive", False, 2)
    result = explore(pg, [careful_writer, careful_writer], setup=setup, max_seconds=0.0)
    assert result.verdict == "inconclusive"


def test_a_failure_stays_one_when_the_budget_ends(pg: Engine) -> None:
    """A failure that was found before the budget was used up is not taken back."""
    result = explore(
        pg,
        [writer, writer],
        setup=setup,
        invariant=at_most_one,
        keep_going=True,
        prune=False,
        max_schedules=5,
    )
    assert (result.verdict, result.exhausted, result.schedules) == ("broken", False, 5)


def test_stall_is_no_pass(pg: Engine) -> None:
    """Workers that wait for each other outside of the database are told so, and ended."""
    lock = threading.Lock()

    def locked(factory: Any) -> None:
        with lock:
            writer(factory)

    result = explore(pg, [locked, locked], setup=setup, stall=0.5)
    assert result.verdict == "inconclusive"
    assert "came to no gate" in result.reason
    assert not lock.locked()


def test_work_on_other_threads_is_no_pass(pg: Engine) -> None:
    """Statements of a thread that a worker starts are not scheduled, so nothing is said to hold."""

    def helped(factory: Any) -> None:
        thread = threading.Thread(target=careful_writer, args=(factory,))
        thread.start()
        thread.join()
        writer(factory)

    result = explore(pg, [helped, writer], setup=setup)
    assert result.verdict == "inconclusive"
    assert "outside of the workers" in result.reason


def test_connection_behind_our_back_is_no_pass(pg: Engine) -> None:
    """A worker with a driver's connection of its own is not seen, which is said."""
    import psycopg

    address = pg.url.set(drivername="postgresql").render_as_string(hide_password=False)

    def raw(_factory: Any) -> None:
        with psycopg.connect(address) as connection:
            connection.execute("INSERT INTO users (email) VALUES ('a')")

    def partly_raw(factory: Any) -> None:
        careful_writer(factory)
        raw(factory)

    result = explore(pg, [raw, writer], setup=setup)
    assert result.verdict == "inconclusive"
    assert "without a statement" in result.reason
    result = explore(pg, [partly_raw, writer], setup=setup)
    assert result.verdict == "inconclusive"
    assert "A opened a connection that SQLAlchemy did not" in result.reason
    assert psycopg.connect == psycopg.Connection.connect


def test_raw_connection_to_a_file_is_no_pass(lite: Engine) -> None:
    """The same on SQLite."""
    import sqlite3

    def partly_raw(factory: Any) -> None:
        careful_writer(factory)
        sqlite3.connect(lite.url.database or "").close()

    result = explore(lite, [partly_raw, careful_writer], setup=setup)
    assert result.verdict == "inconclusive"
    assert "opened a connection" in result.reason
    assert explore(lite, [careful_writer] * 2, setup=setup).verdict == "holds"


def test_an_open_connection_of_others_is_no_pass(pg: Engine) -> None:
    """Somebody else who begins to work on the database while it is explored is noticed."""
    import psycopg

    address = pg.url.set(drivername="postgresql").render_as_string(hide_password=False)
    others: list[psycopg.Connection[Any]] = []

    def disturbed(connection: Connection) -> None:
        setup(connection)
        if not others:
            others.append(psycopg.connect(address, application_name="somebody"))

    result = explore(pg, [careful_writer] * 2, setup=disturbed)
    assert result.verdict == "inconclusive"
    assert "somebody" in result.reason
    # One that was there before and does nothing is left alone; its next statement is noticed.
    assert explore(pg, [careful_writer] * 2, setup=setup).verdict == "holds"

    def busy(connection: Connection) -> None:
        setup(connection)
        others[0].execute("SELECT 1")

    result = explore(pg, [careful_writer] * 2, setup=busy)
    others[0].close()
    assert result.verdict == "inconclusive"
    assert "somebody" in result.reason


def test_application_warms_up(pg: Engine) -> None:
    """What workers do only once in a process does not count."""
    cache: list[int] = []

    def cached(factory: Any) -> None:
        with factory() as session:
            if not cache:
                session.execute(sa.text("SELECT 1"))
                cache.append(1)
        careful_writer(factory)

    assert explore(pg, [cached, cached], setup=setup).verdict == "holds"


def test_worker_that_is_never_the_same(pg: Engine) -> None:
    """A worker that does something else each time cannot be explored, which is said."""
    import itertools

    counter = itertools.count()

    def moody(factory: Any) -> None:
        for _ in range(next(counter) % 7):
            with factory() as session:
                session.execute(sa.text("SELECT 1"))
        careful_writer(factory)

    result = explore(pg, [moody, careful_writer], setup=setup)
    assert result.verdict == "inconclusive"
    assert "does not do the same each time" in result.reason


def test_endless_worker_is_no_pass(pg: Engine) -> None:
    """A worker that polls for ever is ended after so many steps."""

    def polling(factory: Any) -> None:
        import time

        while True:
            with factory() as session:
                session.execute(sa.select(users.c.id)).all()
            time.sleep(1)

    result = explore(pg, [polling, careful_writer], setup=setup, max_steps=40)
    assert result.verdict == "inconclusive"
    assert "did not end within 40 steps" in result.reason


def test_transaction_left_open_is_told(pg: Engine) -> None:
    """A worker that keeps its transaction open blocks the other; that is said, and ended."""
    kept: list[Any] = []

    def leaking(factory: Any) -> None:
        session = factory()
        session.execute(sa.insert(keyed).values(email="a"))
        kept.append(session)

    result = explore(pg, [leaking, careful_writer], setup=setup, stall=1)
    for session in kept:
        session.invalidate()
    assert result.verdict == "inconclusive"
    assert "transaction left open" in result.reason


def test_sleeps_take_no_time(pg: Engine) -> None:
    """A worker's sleep returns at once, by whatever name it was imported."""
    import time
    from time import sleep

    def sleepy(factory: Any) -> None:
        time.sleep(30)
        careful_writer(factory)

    began = time.monotonic()
    assert explore(pg, [sleepy, careful_writer], setup=setup).verdict == "holds"
    assert time.monotonic() - began < 20
    assert time.sleep is sleep


def test_the_engine_is_given_back(pg: Engine) -> None:
    """The engine's own pool and its settings are untouched."""
    pool = pg.pool
    explore(pg, [writer, writer], setup=setup, invariant=at_most_one, max_schedules=1)
    assert pg.pool is pool
    with pg.connect() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"


@pytest.mark.parametrize(
    ("workers", "options", "said"),
    [
        ([writer], {}, "2 to 4 workers"),
        ([writer] * 5, {}, "2 to 4 workers"),
        ([writer, "writer"], {}, "is a function"),
        ([writer, async_writer], {}, "must be a plain function"),
        ([writer, writer], {"preemptions": -1}, "preemptions is -1"),
    ],
)
def test_bad_input(pg: Engine, workers: Any, options: Any, said: str) -> None:
    """What cannot be explored is refused with one sentence."""
    with pytest.raises(InputError, match=said):
        explore(pg, workers, **options)


def test_bad_engines() -> None:
    """An engine whose sessions share a connection cannot race; nor can what is no engine."""
    with pytest.raises(InputError, match="share one connection"):
        explore(sa.create_engine("sqlite://"), [writer, writer])
    with pytest.raises(InputError, match="takes an Engine"):
        explore("sqlite://", [writer, writer])
    with pytest.raises(InputError, match="share one connection"):
        explore(create_async_engine("sqlite+aiosqlite://"), [async_writer, async_writer])


def test_bad_script(pg: Engine) -> None:
    """A script that is none is refused; one that cannot be followed is followed as far as it goes."""
    with pytest.raises(InputError, match="'C1' is no step"):
        replay(pg, [writer, writer], "A1 C1", setup=setup)
    result = replay(pg, [writer, writer], "A1 A2 A3 A4 B1", setup=setup, invariant=at_most_one)
    assert result.verdict == "holds"
    assert result.notes == ["1 steps of the script could not be taken"]
