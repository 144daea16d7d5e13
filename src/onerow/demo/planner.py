"""A training calendar, small: the application under which the demo changes the database.

It has two writers. The naive one looks for a row and inserts what it did not find; that is how
the duplicates came about. The safe one can be deployed before the key is there: it looks first,
under a lock, and uses ON CONFLICT as soon as the database has the key.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from types import TracebackType
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from onerow.demo.season import Season

FIELDS = ("current_plan_day", "time_of_day", "workout_location", "user_notes")
TABLES = ("workouts", "workout_selections", "selection_reminders")
TRIES = 20
PATIENCE = 20.0  #: seconds after which something is stuck

_LOOK = "SELECT id FROM workout_selections WHERE workout_id = :w"
_UPDATE = "UPDATE workout_selections SET {field} = :value, updated_at = {now} WHERE workout_id = :w"
_INSERT = (
    "INSERT INTO workout_selections (workout_id, {field}, updated_at) VALUES (:w, :value, {now})"
)
_UPSERT = (
    _INSERT + " ON CONFLICT (workout_id)"
    " DO UPDATE SET {field} = excluded.{field}, updated_at = excluded.updated_at"
)

#: Another try may go through: deadlock, serialization, busy, and "somebody has inserted it".
_AGAIN = ("40P01", "40001", "55P03", "23505", "SQLITE_BUSY", "SQLITE_CONSTRAINT_UNIQUE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What the application says differently on each engine."""

    name: str
    now: str
    begin: str  #: before a write
    lock: str  #: before a look, while there is no key
    has_key: str  #: is there a unique index besides the primary key?
    definitions: str  #: of our tables, as the engine itself tells them


POSTGRESQL = Engine(
    name="postgresql",
    now="clock_timestamp()",
    begin="",
    lock="SELECT pg_advisory_xact_lock(:w)",
    has_key="""
        SELECT count(*) FROM pg_index WHERE indrelid = 'workout_selections'::regclass
        AND indisunique AND indisvalid AND NOT indisprimary""",
    definitions="""
        SELECT 'column', table_name::text, column_name::text,
               concat_ws(' ', data_type, is_nullable, column_default, identity_generation)
        FROM information_schema.columns WHERE table_schema = 'public'
        UNION ALL
        SELECT 'index', tablename::text, indexname::text, indexdef
        FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL
        SELECT 'constraint', conrelid::regclass::text, conname::text, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        ORDER BY 1, 2, 3""",
)
SQLITE = Engine(
    name="sqlite",
    now="strftime('%Y-%m-%d %H:%M:%f', 'now')",
    begin="BEGIN IMMEDIATE",
    lock="",
    has_key="SELECT count(*) FROM pragma_index_list('workout_selections') WHERE \"unique\"",
    definitions="""
        SELECT type, tbl_name, name, sql FROM sqlite_schema
        WHERE tbl_name NOT LIKE 'onerow%' AND name NOT LIKE 'sqlite%' ORDER BY 1, 2, 3""",
)


@dataclass(frozen=True, slots=True)
class Put:
    """A PUT that was answered."""

    workout: int
    field: str
    value: str
    at: float  #: time of the answer
    seconds: float
    upserted: bool  #: by ON CONFLICT
    tries: int


class Planner:
    """The application on one database.

    Args:
        url: SQLAlchemy's, with the driver.
    """

    def __init__(self, url: sa.URL) -> None:
        self.words = SQLITE if url.get_backend_name() == "sqlite" else POSTGRESQL
        self.engine = sa.create_engine(url, pool_size=8)
        if self.words is SQLITE:
            sa.event.listen(self.engine, "connect", _set_up_sqlite)

    def close(self) -> None:
        self.engine.dispose()

    def create(self, season: Season) -> None:
        """The tables, and a season's rows in them."""
        script = files("onerow.demo").joinpath(f"schema/{self.words.name}.sql").read_text("utf-8")
        with self.engine.begin() as connection:
            for statement in script.split(";\n"):
                connection.exec_driver_sql(statement)
            tables = (season.workouts, season.selections, season.reminders)
            for name, rows in zip(TABLES, tables, strict=True):
                columns = list(rows[0])
                values = ", ".join(f":{c}" for c in columns)
                insert = f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({values})"
                connection.execute(sa.text(insert), rows)

    # -- reading -----------------------------------------------------------------------------

    def rows(self, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(sql), params)]

    def count(self, table: str) -> int:
        return int(self.rows(f"SELECT count(*) FROM {table}")[0][0])

    def selections(self, workout: int) -> list[tuple[Any, ...]]:
        """(id, day, time of day, location, notes) of a workout."""
        sql = f"SELECT id, {', '.join(FIELDS)} FROM workout_selections WHERE workout_id = :w"
        return self.rows(f"{sql} ORDER BY id", w=workout)

    def doubled(self) -> list[int]:
        """Workouts with more than one selection."""
        sql = "SELECT workout_id FROM workout_selections GROUP BY 1 HAVING count(*) > 1 ORDER BY 1"
        return [int(row[0]) for row in self.rows(sql)]

    def content(self, table: str, workouts: Iterable[int] | None = None) -> str:
        """A hash of all rows of a table; of selections, of those of some workouts if given."""
        these = None if workouts is None else set(workouts)
        rows = self.rows(f"SELECT * FROM {table} ORDER BY id")
        return _hash([row for row in rows if these is None or row[1] in these])

    def definitions(self) -> str:
        """A hash of columns, indexes and constraints."""
        return _hash(self.rows(self.words.definitions))

    # -- writing -----------------------------------------------------------------------------

    def race(self, workout: int, first: tuple[str, str], second: tuple[str, str]) -> list[str]:
        """Two naive PUTs at once; both have looked before either inserts.

        Returns:
            list[str]: the codes with which the database refused one, if it did.
        """
        meeting = threading.Barrier(2)
        with ThreadPoolExecutor(2) as pool:
            both = [pool.submit(self._put_naively, workout, *p, meeting) for p in (first, second)]
            return [code for each in both if (code := each.result())]

    def _put_naively(
        self, workout: int, field: str, value: str, meeting: threading.Barrier
    ) -> str | None:
        with self.engine.connect() as connection:
            found = connection.execute(sa.text(_LOOK), {"w": workout}).first()
            meeting.wait(PATIENCE)
            sql = self._text(_INSERT if found is None else _UPDATE, field)
            try:
                connection.execute(sql, {"w": workout, "value": value})
            except IntegrityError as error:
                return _code(error)
            connection.commit()
        return None

    def put(self, workout: int, field: str, value: str) -> Put:
        """The safe PUT of one field, before, while and after the key comes to be."""
        began = time.monotonic()
        for tried in itertools.count(1):
            try:
                with self.engine.begin() as connection:
                    upserted = self._put_once(connection, field, {"w": workout, "value": value})
            except DBAPIError as error:
                if tried == TRIES or not _code(error).startswith(_AGAIN):
                    raise
                time.sleep(0.002 * tried)
                continue
            now = time.monotonic()
            return Put(workout, field, value, now, now - began, upserted, tried)
        raise AssertionError

    def _put_once(self, connection: sa.Connection, field: str, params: dict[str, Any]) -> bool:
        if self.words.begin:
            connection.exec_driver_sql(self.words.begin)
        if connection.execute(sa.text(self.words.has_key)).scalar_one():
            connection.execute(self._text(_UPSERT, field), params)
            return True
        if self.words.lock:
            connection.execute(sa.text(self.words.lock), {"w": params["w"]})
        # All rows of the workout, so that it does not matter which of them survives a merge.
        if not connection.execute(self._text(_UPDATE, field), params).rowcount:
            connection.execute(self._text(_INSERT, field), params)
        return False

    def _text(self, sql: str, field: str) -> sa.TextClause:
        # SQLAlchemy takes a colon for a parameter.
        return sa.text(sql.format(field=field, now=self.words.now.replace(":", r"\:")))


def _hash(rows: list[tuple[Any, ...]]) -> str:
    return sha256(repr(rows).encode()).hexdigest()[:12]


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA foreign_keys = ON")


def _code(error: DBAPIError) -> str:
    """SQLSTATE, or SQLite's extended code by its name."""
    driver = error.orig
    return str(getattr(driver, "sqlstate", None) or getattr(driver, "sqlite_errorname", None) or "")


class Traffic:
    """Writers at work on some workouts, one thread for each field, while the block lasts."""

    PAUSE: ClassVar[float] = 0.003  #: seconds between two writes of a writer

    def __init__(self, planner: Planner, workouts: Sequence[int]) -> None:
        self.planner = planner
        self.workouts = workouts
        self.puts: list[Put] = []
        self.failures: list[str] = []
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(f,)) for f in FIELDS]

    def __enter__(self) -> Traffic:
        try:
            for thread in self._threads:
                thread.start()
        except BaseException:  # Ctrl-C, before there is a block to leave
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        self._end.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _work(self, field: str) -> None:
        for number in itertools.count():
            if self._end.wait(self.PAUSE):
                return
            workout = self.workouts[number % len(self.workouts)]
            try:
                put = self.planner.put(workout, field, _value(field, number))
            except Exception as error:  # an answer 500; the story counts it and fails
                self.failures.append(f"{type(error).__name__}: {error}")
            else:
                self.puts.append(put)

    def await_puts(self, number: int, *, upserted: bool = False) -> None:
        """Wait until so many more writes have gone through."""
        start, end = len(self.puts), time.monotonic() + PATIENCE
        while time.monotonic() < end and not self.failures:
            if sum(p.upserted or not upserted for p in self.puts[start:]) >= number:
                return
            time.sleep(0.005)

    def lost(self) -> int:
        """Values that were acknowledged last for a workout and field, and are not in its row."""
        last = {(p.workout, p.field): p.value for p in self.puts}
        held: dict[tuple[int, str], set[str]] = {}
        for workout, *values in self.planner.rows(
            f"SELECT workout_id, {', '.join(FIELDS)} FROM workout_selections"
        ):
            for field, value in zip(FIELDS, values, strict=True):
                held.setdefault((workout, field), set()).add(str(value))
        return sum(held.get(place) != {value} for place, value in last.items())


def _value(field: str, number: int) -> str:
    match field:
        case "current_plan_day":
            return f"2026-{number % 12 + 1:02}-{number % 28 + 1:02}"
        case "time_of_day":
            return ("morning", "afternoon", "evening")[number % 3]
        case "workout_location":
            return f"course {number}"
        case _:
            return f"note {number}"
