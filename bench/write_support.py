"""Shared by the write benchmarks: a server, a table, and medians of paired rounds."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa

metadata = sa.MetaData()
items = sa.Table(
    "items",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("tenant_id", sa.Integer, nullable=False),
    sa.Column("slug", sa.Text, nullable=False),
    sa.Column("title", sa.Text),
    sa.Column("n", sa.Integer),
    sa.UniqueConstraint("tenant_id", "slug", name="items_tenant_slug"),
)


@contextmanager
def engines() -> Iterator[dict[str, sa.Engine]]:
    """An engine over PostgreSQL (durable) and one over SQLite (WAL), with the table."""
    from onerow.testing import postgres

    with ExitStack() as stack:
        server = stack.enter_context(postgres(durable=True))
        folder = stack.enter_context(TemporaryDirectory())
        made = {
            "postgresql": sa.create_engine(
                sa.make_url(server.url).set(drivername="postgresql+psycopg")
            ),
            "sqlite": sa.create_engine(f"sqlite:///{Path(folder) / 'bench.sqlite3'}"),
        }
        with made["sqlite"].connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        for engine in made.values():
            metadata.create_all(engine)
            stack.callback(engine.dispose)
        yield made


def refill(engine: sa.Engine, rows: int) -> None:
    """The table with `rows` rows, as after a vacuum."""
    with engine.begin() as connection:
        metadata.drop_all(connection)
        metadata.create_all(connection)
        if rows:
            connection.execute(sa.insert(items), [row(i) for i in range(rows)])
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE items")


def row(i: int, title: str = "x") -> dict[str, object]:
    return {"tenant_id": 1, "slug": f"slug-{i}", "title": title, "n": i}


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(
    name: str,
    ours: Callable[[int], object],
    theirs: Callable[[int], object],
    *,
    rounds: int = 9,
    prepare: Callable[[], object] = lambda: None,
    per: int = 1,
    invert: bool = False,
) -> float:
    """Run both in turn, and print the median of the ratios of the pairs."""
    a: list[float] = []
    b: list[float] = []
    for i in range(rounds + 1):
        order = (ours, theirs) if i % 2 else (theirs, ours)
        seconds = {}
        for work in order:
            prepare()
            seconds[work] = timed(lambda work=work, i=i: work(i))
        if i:  # the first pair warms up
            a.append(seconds[ours])
            b.append(seconds[theirs])
    ratio = statistics.median(x / y for x, y in zip(a, b, strict=True))
    shown = 1 / ratio if invert else ratio
    us, them = (statistics.median(v) * 1e6 / per for v in (a, b))
    word = "× as fast" if invert else "× the time"
    print(f"{name:58s} {shown:6.2f} {word}  ({us:9.1f} µs against {them:9.1f} µs per row)")
    sys.stdout.flush()
    return shown
