"""What the measurements share: servers, tables of a known damage, and interleaved runs.

Every figure is a ratio of two things done in one run, turn by turn, on copies of one database. The
absolute times are of the machine; only the ratios mean something.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from onerow.database import Database, run
from onerow.testing import Server, postgres

TUNED = {
    "shared_buffers": "2GB",
    "work_mem": "256MB",
    "maintenance_work_mem": "1GB",
    "max_wal_size": "8GB",
    "wal_compression": "on",
    "random_page_cost": "1.1",
}
TABLE = "selections"
RULE = """
[[key]]
name = "uq_selections_workout_id"
table = "selections"
columns = ["workout_id"]
keep = "latest updated_at"
"""


def arguments(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--share", type=float, default=0.01, help="share of duplicate rows")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--tuned", action="store_true", help="not the server's defaults")
    parser.add_argument("--work-mem", default=None)
    parser.add_argument("--timeout", type=int, default=120, help="seconds for the other way")
    parser.add_argument("--children", action="store_true")
    return parser.parse_args()


@contextmanager
def server(options: argparse.Namespace) -> Iterator[Server]:
    """A durable embedded PostgreSQL: fsync and synchronous_commit as in production."""
    settings = dict(TUNED) if options.tuned else {}
    if options.work_mem:
        settings["work_mem"] = options.work_mem
    with postgres(durable=True, settings=settings) as started:
        yield started


def make_table(connection: Connection, rows: int, share: float, *, children: bool = False) -> None:
    """A table of which a share of the rows carries another row's key, keys scattered."""
    keys = int(rows * (1 - share))
    run(
        connection,
        f"""
        CREATE TABLE {TABLE} (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, workout_id bigint NOT NULL,
            day date, slot text, location text, notes text, updated_at timestamptz NOT NULL)
        """,
    )
    # 2654435761 is odd and no multiple of a prime of these moduli: a bijection that scatters.
    run(
        connection,
        f"""
        INSERT INTO {TABLE} (workout_id, day, slot, location, notes, updated_at)
        SELECT (n % {keys}) * 2654435761 % 4294967296,
               CASE WHEN n % 3 > 0 THEN date '2025-01-01' + (n % 365)::int END,
               CASE WHEN n % 2 > 0 THEN 'morning' END,
               CASE WHEN n % 5 = 0 THEN 'gym ' || n % 100 END,
               repeat('x', 60), timestamptz '2025-01-01' + n % 10000 * interval '1 minute'
        FROM generate_series(0, {rows - 1}) AS n
        """,
    )
    if children:
        run(
            connection,
            f"""
            CREATE TABLE marks (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                selection_id bigint NOT NULL REFERENCES {TABLE}, mark text)
            """,
        )
        run(
            connection,
            f"INSERT INTO marks (selection_id, mark) SELECT id, 'm' FROM {TABLE} WHERE id % 2 = 0",
        )
        run(connection, "CREATE INDEX ON marks (selection_id)")


def template(started: Server, options: argparse.Namespace) -> str:
    """Name of a database that is filled once and cloned for every run."""
    name = "bench_template"
    database = Database(started.create_database(name))
    with database.write() as connection:
        make_table(connection, options.rows, options.share, children=options.children)
    with database.connect(autocommit=True) as connection:
        run(connection, "VACUUM ANALYZE")
        run(connection, "CHECKPOINT")
    return name


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def median(values: list[float]) -> float:
    return statistics.median(values)


def show(name: str, values: list[float], base: list[float] | None = None, note: str = "") -> None:
    ratio = f"{median(values) / median(base):6.2f} x" if base else "        "
    runs = ", ".join(f"{v:.2f}" for v in values)
    print(f"{name:<34} {median(values):8.2f} s {ratio}   ({runs}) {note}", flush=True)
