"""How fast races are explored: time to the first failure, schedules a second, cost of a gate.

    python bench/race_explore.py [--runs N]

The classic duplicate (look, insert if there is none, commit; two workers) on an embedded
PostgreSQL by psycopg and asyncpg, and on SQLite in WAL mode. Every figure is the median of the
runs, with the target behind it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session, sessionmaker

from onerow.race import explore
from onerow.testing import postgres

metadata = sa.MetaData()
users = sa.Table(
    "users", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("email", sa.Text)
)


def setup(connection: sa.Connection) -> None:
    connection.execute(users.delete())


def at_most_one(connection: sa.Connection) -> bool:
    return connection.execute(sa.select(sa.func.count()).select_from(users)).scalar_one() <= 1


def write(session: Session) -> None:
    if session.execute(sa.select(users.c.id).where(users.c.email == "a")).first() is None:
        session.execute(users.insert().values(email="a"))
    session.commit()


def worker(factory: Any) -> None:
    with factory() as session:
        write(session)


async def async_worker(factory: Any) -> None:
    async with factory() as session:
        await session.run_sync(write)


def many(factory: Any) -> None:
    with factory() as session:
        for _ in range(50):
            session.execute(sa.select(users.c.id).where(users.c.email == "b"))
        session.commit()


def show(name: str, value: float, unit: str, target: str) -> None:
    print(f"{name:<46} {value:9.2f} {unit:<12} target {target}", flush=True)


def median(runs: int, measure: Callable[[], float]) -> float:
    return statistics.median(measure() for _ in range(runs))


def first_failure(engine: Any, body: Any) -> float:
    result = explore(engine, [body, body], setup=setup, invariant=at_most_one, minimise=False)
    assert result.verdict == "broken"
    return result.seconds * 1000


def rate(engine: Any, body: Any) -> float:
    result = explore(
        engine, [body, body], setup=setup, invariant=at_most_one, prune=False, keep_going=True
    )
    assert result.schedules >= 14
    return result.schedules / result.seconds


def gate_cost(engine: sa.Engine) -> float:
    """Milliseconds for each statement, more than without gates."""
    factory = sessionmaker(engine)
    many(factory)
    began = time.perf_counter()
    many(factory)
    many(factory)
    plain = time.perf_counter() - began
    result = explore(engine, [many, many], setup=setup, max_schedules=1)
    return (result.seconds - plain) * 1000 / 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    with ExitStack() as stack:
        server = stack.enter_context(postgres())
        folder = Path(stack.enter_context(TemporaryDirectory()))
        address = server.create_database("races")
        pg = sa.create_engine(address.replace("postgresql:", "postgresql+psycopg:", 1))
        lite = sa.create_engine(f"sqlite:///{folder / 'races.sqlite3'}")
        apg = create_async_engine(address.replace("postgresql:", "postgresql+asyncpg:", 1))
        for engine in (pg, lite):
            stack.callback(engine.dispose)
            metadata.create_all(engine)
        with lite.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = wal")
        show(
            "first failure, PostgreSQL",
            median(runs, lambda: first_failure(pg, worker)),
            "ms",
            "≤ 100",
        )
        show(
            "first failure, SQLite",
            median(runs, lambda: first_failure(lite, worker)),
            "ms",
            "≤ 100",
        )
        show(
            "all, PostgreSQL, psycopg",
            median(runs, lambda: rate(pg, worker)),
            "schedules/s",
            "≥ 80",
        )
        show("all, SQLite WAL", median(runs, lambda: rate(lite, worker)), "schedules/s", "≥ 150")
        show(
            "all, PostgreSQL, asyncpg",
            median(runs, lambda: rate(apg, async_worker)),
            "schedules/s",
            "≥ 40",
        )
        show("a gated statement, PostgreSQL", median(runs, lambda: gate_cost(pg)), "ms", "≤ 1")


if __name__ == "__main__":
    main()
