"""A role that may do little: what needs more is left out, and said."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from docs.races.gallery import locks
from docs.races.gallery.case import accounts, retried
from onerow.race import explore


@pytest.fixture
def plain_role(pg: Engine) -> Iterator[Engine]:
    """An engine of a role that owns one table and is no superuser."""
    name, password = f"racer_{secrets.token_hex(4)}", secrets.token_hex(8)
    accounts.create(pg, checkfirst=True)
    with pg.begin() as connection:
        connection.execute(sa.text(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'"))
        connection.execute(sa.text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON accounts TO {name}"))
    engine = sa.create_engine(pg.url.set(username=name, password=password))
    yield engine
    engine.dispose()
    with pg.begin() as connection:
        connection.execute(sa.text(f"DROP OWNED BY {name}"))
        connection.execute(sa.text(f"DROP ROLE {name}"))


def setup(connection: Connection) -> None:
    connection.execute(accounts.delete())
    connection.execute(accounts.insert(), [{"id": 1, "balance": 50}, {"id": 2, "balance": 50}])


def worker(body: Any) -> Any:
    def run(factory: Any) -> None:
        with factory() as session:
            body(session)

    return run


def test_deadlocks_take_the_server_s_time(plain_role: Engine) -> None:
    """Without the right to set deadlock_timeout deadlocks are found all the same, which is noted."""
    plain = [worker(locks.move(1, 2)), worker(locks.move(2, 1))]
    found = explore(plain_role, plain, setup=setup, invariant=locks.nothing_lost)
    assert found.verdict == "deadlocked", found
    assert any("deadlock_timeout" in note for note in found.notes)
    again = [worker(retried(locks.move(1, 2))), worker(retried(locks.move(2, 1)))]
    held = explore(plain_role, again, setup=setup, invariant=locks.nothing_lost)
    assert (held.verdict, held.exhausted) == ("holds", True), held
