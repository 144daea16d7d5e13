"""What the measurements share: options, servers, tables of a known damage, and figures.

Every figure is a ratio of two things done in one run, turn by turn, each on a fresh copy of one
database. The absolute times are of the machine; only the ratios mean something.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import psycopg

from onerow.testing import EmbeddedServer, postgres

TUNED = {
    "shared_buffers": "4GB",
    "work_mem": "256MB",
    "maintenance_work_mem": "1GB",
    "max_wal_size": "8GB",
    "wal_compression": "on",
    "random_page_cost": "1.1",
}
CONFIGS = {"default": {}, "tuned": TUNED, "large": TUNED | {"work_mem": "512MB"}}
TABLE = "selections"
KEY_RULE = f"""
[[key]]
name = "uq_selections_workout_id"
table = "{TABLE}"
columns = ["workout_id"]
keep = "latest updated_at"
"""
TEMPLATE = "bench_template"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The size of a measurement, and where it is made."""

    rows: int = 1_000_000
    share: float = 0.01  #: of the rows that carry another row's key
    rounds: int = 3
    engine: str = "postgresql"  #: or postgresql-MAJOR; sqlite for subjects that know it
    config: str = "default"  #: of `CONFIGS`
    timeout: int = 100  #: seconds after which the other way is cancelled

    def __str__(self) -> str:
        return f"{millions(self.rows)} rows, {self.share:.0%}, {self.engine}, {self.config}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One figure: our way against another, or (without one) a value of its own."""

    what: str
    against: str = ""
    ours: list[float]  #: of each round, in `unit`
    other: list[float] = field(default_factory=list)
    unit: str = "s"
    target: float | None = None  #: the most that it may be
    bound: bool = False  #: the other way was cancelled, so the ratio is at most this
    worst: bool = False  #: the largest of the rounds counts, not their median

    @property
    def value(self) -> float:
        """The ratio; without another way, the value."""
        mine = max(self.ours) if self.worst else statistics.median(self.ours)
        return mine / statistics.median(self.other) if self.other else mine

    @property
    def met(self) -> bool | None:
        return None if self.target is None else self.value <= self.target

    @property
    def shown(self) -> str:
        sign = "< " if self.bound else ""
        return f"{sign}{number(self.value)} {'×' if self.other else self.unit}"

    @property
    def wanted(self) -> str:
        if self.target is None:
            return ""
        return f"≤ {number(self.target)} {'×' if self.other else self.unit}"

    def to_dict(self) -> dict[str, Any]:
        more = {"value": self.value, "met": self.met, "shown": self.shown, "wanted": self.wanted}
        return asdict(self) | more

    def __str__(self) -> str:
        runs = ", ".join(number(v) for v in self.ours)
        others = ", ".join(number(v) for v in self.other)
        against = f" to {self.against} ({others} {self.unit})" if self.other else ""
        met = {None: "", True: "met", False: "NOT MET"}[self.met]
        return (
            f"{self.shown:>10}  {self.wanted:>10} {met:8} {self.what} ({runs} {self.unit}){against}"
        )


Measure = Callable[[Options], Iterator[Line]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What can be measured by a name, and the size at which its target is stated."""

    name: str
    measure: Measure
    options: Options = Options()

    @property
    def told(self) -> str:
        return (self.measure.__doc__ or "").strip().splitlines()[0]


def number(value: float) -> str:
    """Three digits that mean something, never in scientific notation."""
    for least, places in ((100, 0), (10, 1), (1, 2), (0.1, 2), (0.01, 3)):
        if abs(value) >= least:
            return f"{value:,.{places}f}"
    return f"{value:.4f}" if value else "0"


def millions(rows: int) -> str:
    return f"{rows / 1e6:g}M" if rows >= 1_000_000 else f"{rows / 1000:g}k"


# -- servers ------------------------------------------------------------------------------------


@contextmanager
def server(options: Options) -> Iterator[EmbeddedServer]:
    """A durable PostgreSQL of our own: fsync and synchronous_commit as in production."""
    name, _, major = options.engine.partition("-")
    if name != "postgresql":
        raise SystemExit(f"This is measured on PostgreSQL only, not on {options.engine!r}.")
    with postgres(major or None, durable=True, settings=CONFIGS[options.config]) as started:
        yield started


def execute(url: str, *statements: str) -> None:
    """Each statement in a transaction of its own."""
    with psycopg.connect(url, autocommit=True) as connection:
        for sql in statements:
            connection.execute(sql)  # type: ignore[call-overload]


def value(url: str, sql: str) -> Any:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(sql).fetchone()  # type: ignore[call-overload]
        return row[0]


def timed(url: str, *statements: str, timeout: int = 0) -> tuple[float, bool]:
    """Seconds that statements take in one transaction; False when they were cancelled."""
    with psycopg.connect(url) as connection:
        connection.execute(f"SET LOCAL statement_timeout = '{timeout}s'")  # type: ignore[call-overload]
        began = time.perf_counter()
        try:
            for sql in statements:
                connection.execute(sql)  # type: ignore[call-overload]
            connection.commit()
        except psycopg.errors.QueryCanceled:
            connection.rollback()
            return time.perf_counter() - began, False
        return time.perf_counter() - began, True


class Copies:
    """Fresh copies of a database that was filled once, one at a time."""

    def __init__(self, started: EmbeddedServer, *statements: str) -> None:
        self.server = started
        started.drop_database(TEMPLATE)
        execute(started.create_database(TEMPLATE), *statements, "VACUUM (ANALYZE)", "CHECKPOINT")

    @contextmanager
    def fresh(self, table: str = TABLE) -> Iterator[str]:
        """The address of a copy; its table is in the cache, and the disk is idle."""
        name = "bench_copy"
        self.server.drop_database(name)
        execute(self.server.url, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy")
        url = self.server.url_of(name)
        execute(url, "CHECKPOINT", f"SELECT count(*) FROM {table} WHERE {table} IS NOT NULL")
        try:
            yield url
        finally:
            self.server.drop_database(name)


# -- tables -------------------------------------------------------------------------------------


def table(options: Options) -> tuple[str, ...]:
    """Statements for a table of which a share of the rows carries another row's key, scattered."""
    keys = int(options.rows * (1 - options.share))
    # 2654435761 is odd and no multiple of a prime of these moduli: a bijection that scatters.
    return (
        f"""CREATE TABLE {TABLE} (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, workout_id bigint NOT NULL,
            day date, slot text, location text, notes text, updated_at timestamptz NOT NULL)""",
        f"""INSERT INTO {TABLE} (workout_id, day, slot, location, notes, updated_at)
        SELECT (n % {keys}) * 2654435761 % 4294967296,
               CASE WHEN n % 3 > 0 THEN date '2025-01-01' + (n % 365)::int END,
               CASE WHEN n % 2 > 0 THEN 'morning' END,
               CASE WHEN n % 5 = 0 THEN 'gym ' || n % 100 END,
               repeat('x', 60), timestamptz '2025-01-01' + n % 10000 * interval '1 minute'
        FROM generate_series(0, {options.rows - 1}) AS n""",
    )


def surplus(options: Options) -> int:
    """Rows that must go."""
    return options.rows - int(options.rows * (1 - options.share))


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
