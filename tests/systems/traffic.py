"""What the applications write while their database is changed, good and bad.

Each action is one transaction. It tells which rows it has made or changed, so that all others can be
compared afterwards. Columns that the change adds are filled by whoever finds them there, as the safe
writers do that are deployed first; duplicates come as the naive writers make them.
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import psycopg

from tests.support.sandbox import Sandbox

Touched = tuple[str, object]  #: table and primary key
REFUSED = (sqlite3.IntegrityError, psycopg.IntegrityError)
AGAIN = (psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable)
SAMPLE = 5_000  #: rows of each table that are written to or referred to
PATIENCE = 60.0


@dataclass(slots=True)
class Client:
    """A connection of the application, in one transaction at a time."""

    connection: Any
    sqlite: bool
    dice: random.Random
    samples: Mapping[str, Sequence[object]]
    number: Callable[[], int]

    def some(self, table: str) -> object:
        """The key of a row that was there at the start."""
        return self.dice.choice(self.samples[table])

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        text = sql if self.sqlite else sql.replace("?", "%s")
        return [tuple(r) for r in self.connection.execute(text, values).fetchall()]

    def has(self, table: str, column: str) -> bool:
        """Whether a column is there; it stays so for the transaction."""
        cursor = self.connection.execute(f"SELECT * FROM {table} LIMIT 0")
        return column in [d[0] for d in cursor.description]

    def insert(self, table: str, values: Mapping[str, object]) -> Touched:
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        sql = f"INSERT INTO {table} ({names}) VALUES ({marks}) RETURNING id"
        return table, self.rows(sql, *values.values())[0][0]

    def again(
        self, table: str, key: object, columns: Sequence[str], **more: object
    ) -> list[Touched]:
        """The row once more, as somebody does who has not seen it."""
        names = ", ".join(columns)
        found = self.rows(f"SELECT {names} FROM {table} WHERE id = ?", key)
        return [self.insert(table, dict(zip(columns, row, strict=True)) | more) for row in found]

    def update(self, table: str, column: str) -> list[Touched]:
        key = self.some(table)
        self.rows(
            f"UPDATE {table} SET {column} = ? WHERE id = ? RETURNING id", f"n{self.number()}", key
        )
        return [(table, key)]

    def new(self, table: str, **columns: object) -> dict[str, object]:
        """Values for those of some columns that are there."""
        return {c: v for c, v in columns.items() if self.has(table, c)}


Action = Callable[[Client], list[Touched]]


@dataclass(frozen=True, slots=True)
class Traffic:
    """What writers do: all the time, and now and then what breaks the key."""

    good: tuple[Action, ...]
    bad: tuple[Action, ...]
    tables: tuple[str, ...]  #: whose rows are written to or referred to


# -- the systems --------------------------------------------------------------------------------


def _posting(c: Client) -> list[Touched]:
    values = {"execution_data_id": c.some("execution_data"), "quarter": 1, "amount": 5}
    return [c.insert("execution_ledger", values)]


def _report(c: Client) -> list[Touched]:
    """Of an activity that nobody has reported; without the column nobody could say whose it is."""
    if not c.has("execution_data", "facility_id"):
        return []
    n = c.number()
    names = {"category": "New", "name": f"Activity {n}", "display_order": n, "is_total_row": False}
    activity = c.insert("activities", names)
    values = {"reporting_period_id": 1, "activity_id": activity[1], "facility_id": 1 + n % 20}
    return [activity, c.insert("execution_data", values)]


def _report_again(c: Client) -> list[Touched]:
    columns = ["reporting_period_id", "activity_id"]
    columns += ["facility_id"] if c.has("execution_data", "facility_id") else []
    return c.again("execution_data", c.some("execution_data"), columns)


_WEEK = ("collection_id", "week_start_date", "week_end_date")


def _collection(c: Client) -> list[Touched]:
    columns = ("workflow_id", "start_date", "end_date")
    key = c.some("report_data_collections")
    named = {"name": f"New {c.number()}", "instance_id": "i"}
    return c.again("report_data_collections", key, columns, **named)


def _next_week(c: Client) -> list[Touched]:
    day = f"{2100 + c.number() % 7000}-01-04"
    key = c.some("report_data_weeks")
    return c.again(
        "report_data_weeks", key, ("collection_id",), week_start_date=day, week_end_date=day
    )


_REQUEST = ("sprint_index", "role", "replacement_slack_id", "requested_by")


def _request(c: Client) -> list[Touched]:
    more = {"requested_by": f"W{c.number()}", **c.new("overrides", status="pending")}
    return c.again("overrides", c.some("overrides"), _REQUEST[:3], **more)


def _request_again(c: Client) -> list[Touched]:
    return c.again(
        "overrides", c.some("overrides"), _REQUEST, **c.new("overrides", status="pending")
    )


_PLAN = ("tenant_id", "scope", "branch_id", "duration_type", "duration_value", "price", "currency")


def _plan(c: Client) -> list[Touched]:
    n = c.number()
    return c.again(
        "membership_plans", c.some("membership_plans"), _PLAN, id=f"n{n}", name=f"New {n}"
    )


def _plan_again(c: Client) -> list[Touched]:
    columns = (*_PLAN, "name", "status")
    return c.again("membership_plans", c.some("membership_plans"), columns, id=f"n{c.number()}")


def _member(c: Client) -> list[Touched]:
    plan = c.some("membership_plans")
    found = c.rows("SELECT tenant_id, branch_id FROM membership_plans WHERE id = ?", plan)
    return [
        c.insert(
            "members",
            {"id": f"n{c.number()}", "tenant_id": t, "branch_id": b, "membership_plan_id": plan},
        )
        for t, b in found
    ]


def _workout(c: Client) -> list[Touched]:
    named = {"title": f"New {c.number()}", "originally_planned_day": "2026-05-04"}
    workout = c.insert("workouts", named)
    return [workout, _selected(c, workout[1])]


def _selected(c: Client, workout: object) -> Touched:
    more = c.new("workout_selections", version=1)
    return c.insert("workout_selections", {"workout_id": workout, **more})


def _selection_again(c: Client) -> list[Touched]:
    """Two PUTs at once, of which neither saw the other."""
    return [_selected(c, c.some("workouts"))]


TRAFFIC = {
    "execution_data": Traffic(
        (lambda c: c.update("execution_data", "comment"), _posting, _report),
        (_report_again,),
        ("execution_data",),
    ),
    "report_weeks": Traffic(
        (lambda c: c.update("report_data_weeks", "error_message"), _collection, _next_week),
        (lambda c: c.again("report_data_weeks", c.some("report_data_weeks"), _WEEK),),
        ("report_data_weeks", "report_data_collections"),
    ),
    "triage_bot": Traffic(
        (lambda c: c.update("overrides", "reason"), _request), (_request_again,), ("overrides",)
    ),
    "membership_plans": Traffic(
        (lambda c: c.update("membership_plans", "description"), _plan, _member),
        (_plan_again,),
        ("membership_plans",),
    ),
    "workout_planner": Traffic(
        (lambda c: c.update("workout_selections", "user_notes"), _workout),
        (_selection_again,),
        ("workout_selections", "workouts"),
    ),
}


# -- clients ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Writers:
    """Clients at work until the block ends.

    Attributes:
        pause: seconds between two writes of a client.
        bad_every: seconds between two writes of all clients that break the key.
    """

    box: Sandbox
    traffic: Traffic
    clients: int = 3
    pause: float = 0.02
    bad_every: float = 3.0
    written: int = 0
    refused: int = 0
    touched: set[Touched] = field(default_factory=set)
    errors: list[BaseException] = field(default_factory=list)
    _samples: dict[str, list[object]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _bad_at: float = 0.0
    _next: int = 0

    def __enter__(self) -> Writers:
        for table in self.traffic.tables:
            ids = [r[0] for r in self.box.rows(f"SELECT id FROM {table}")]
            self._samples[table] = random.Random(1).sample(ids, min(SAMPLE, len(ids)))
        self._threads = [
            threading.Thread(target=self._work, args=(n,)) for n in range(self.clients)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        if self.errors:
            raise self.errors[0]

    def _number(self) -> int:
        with self._lock:
            self._next += 1
            return self._next

    def _work(self, seed: int) -> None:
        try:
            with closing(self._connect()) as connection:
                dice = random.Random(seed)
                client = Client(connection, self.box.sqlite, dice, self._samples, self._number)
                while not self._stop.is_set():
                    self._one(client)
                    time.sleep(self.pause)
        except BaseException as error:
            self.errors.append(error)

    def _connect(self) -> Any:
        if not self.box.sqlite:
            # Plans that are kept would not stand a column that is added.
            return psycopg.connect(self.box.url, autocommit=True, prepare_threshold=None)
        path = self.box.url.removeprefix("sqlite:///")
        connection = sqlite3.connect(path, isolation_level=None, timeout=PATIENCE)
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def _one(self, client: Client) -> None:
        act = client.dice.choice(self.traffic.bad if self._bad_is_due() else self.traffic.good)
        connection = client.connection
        connection.execute("BEGIN IMMEDIATE" if client.sqlite else "BEGIN")
        try:
            touched = act(client)
            connection.execute("COMMIT")
        except (*REFUSED, *AGAIN):
            connection.execute("ROLLBACK")
            self.refused += 1
            return
        with self._lock:
            self.touched.update(touched)
            self.written += 1

    def _bad_is_due(self) -> bool:
        with self._lock:
            due = time.monotonic() >= self._bad_at
            if due:
                self._bad_at = time.monotonic() + self.bad_every
            return due
