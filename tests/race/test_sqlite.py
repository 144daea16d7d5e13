"""SQLite's locks, which nobody can be asked about: met with a timeout of none, and tried again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from docs.races.gallery import queues
from docs.races.gallery.case import accounts, metadata, retried
from onerow import transactional
from onerow.race import explore, replay


@pytest.fixture(params=["delete", "wal"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """An engine on a file with this journal mode."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'races.sqlite3'}")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA journal_mode = {request.param}")
    metadata.create_all(engine)
    yield engine
    engine.dispose()


def setup(connection: Connection) -> None:
    connection.execute(accounts.delete())
    connection.execute(accounts.insert().values(id=1, balance=0))


def plain(factory: Any) -> None:
    with factory() as session:
        queues.read_in_transaction_then_write(session)


def again(factory: Any) -> None:
    with factory() as session:
        retried(queues.read_in_transaction_then_write)(session)


def immediate(factory: Any) -> None:
    with factory() as session:
        session.execute(sa.text("BEGIN IMMEDIATE"))
        balance = session.execute(sa.select(accounts.c.balance)).scalar_one()
        session.execute(accounts.update().values(balance=balance + 10))
        session.commit()


def test_writers_that_begin_immediate_hold(file: Engine) -> None:
    """Who takes the write lock first only waits: no error, and nothing lost."""
    result = explore(file, [immediate, immediate], setup=setup, invariant=queues.twenty)
    assert (result.verdict, result.exhausted) == ("holds", True), result


def test_writers_whose_engine_begins_by_a_hook_hold(file: Engine) -> None:
    """The hook's BEGIN is rolled back for an IMMEDIATE one, which then waits as any other does."""
    engine = sa.create_engine(file.url, connect_args={"isolation_level": None})
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))

    def deposit(factory: Any) -> None:
        @transactional(factory)
        def add(session: Any) -> None:
            balance = session.execute(sa.select(accounts.c.balance)).scalar_one()
            session.execute(accounts.update().values(balance=balance + 10))

        add()

    result = explore(engine, [deposit, deposit], setup=setup, invariant=queues.twenty)
    assert (result.verdict, result.exhausted) == ("holds", True), result
    engine.dispose()


def test_read_that_becomes_a_write(file: Engine) -> None:
    """Two that read and then write get in each other's way; the error comes at once, with its code."""
    result = explore(file, [plain, plain], setup=setup, invariant=queues.twenty)
    assert result.verdict == "raised", result
    assert result.failure is not None
    assert {r.code for r in result.failure.trace.raised} <= {"SQLITE_BUSY", "SQLITE_BUSY_SNAPSHOT"}
    script = result.failure.script
    again_ = [
        replay(file, [plain, plain], script, setup=setup, invariant=queues.twenty).reason
        for _ in range(5)
    ]
    assert set(again_) == {result.reason}


def test_read_that_becomes_a_write_and_again(file: Engine) -> None:
    """With the transaction run again every schedule holds, pruned or not."""
    found = [
        explore(file, [again, again], setup=setup, invariant=queues.twenty, prune=prune)
        for prune in (True, False)
    ]
    assert [(r.verdict, r.exhausted) for r in found] == [("holds", True)] * 2, found[0]
    assert found[0].schedules < found[1].schedules


def test_the_busy_timeout_is_given_back(file: Engine) -> None:
    """After an exploration the engine's connections wait as before."""
    explore(file, [immediate, immediate], setup=setup, max_schedules=1)
    with file.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 5000
