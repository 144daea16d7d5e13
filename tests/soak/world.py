"""The tables of the soak, who writes to them, and what must be true of them afterwards.

Every writer notes in the same transaction what it did, so that what should be there can be worked out
from the database alone, whoever was killed when.
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg

from onerow.database import code_of
from tests.support.sandbox import Sandbox

RULES = """
[[key]]
table = "parent"
columns = ["a", "b"]
name = "parent_key"
keep = "latest seen"
replaces = ["parent_old"]
merge = { visits = "sum", note = "concat" }
[[column]]
table = "child"
name = "grade"
type = "integer"
backfill = { sql = "weight + 100" }
[[reference]]
table = "log"
columns = ["parent_id"]
to = "parent(id)"
on_delete = "set null"
orphans = "null"
index = true
[[constraint]]
table = "child"
name = "weight_positive"
check = "weight > 0"
"""
_TABLES = """
CREATE TABLE parent (id integer PRIMARY KEY, a integer NOT NULL, b text NOT NULL, seen integer,
    visits integer NOT NULL, note text);
CREATE TABLE child (id integer PRIMARY KEY, weight integer NOT NULL,
    parent_id integer NOT NULL REFERENCES parent ON DELETE CASCADE);
CREATE TABLE log (id integer PRIMARY KEY, parent_id integer);
CREATE TABLE fired (id integer NOT NULL);
CREATE TABLE noted (what text NOT NULL, id integer NOT NULL, visits integer NOT NULL);
CREATE INDEX child_parent ON child (parent_id);
CREATE UNIQUE INDEX parent_old ON parent (a, b, id);
"""
_SQLITE_TRIGGERS = """
CREATE TRIGGER fires_1 AFTER UPDATE ON parent BEGIN INSERT INTO fired VALUES (old.id); END;
CREATE TRIGGER fires_2 AFTER DELETE ON parent BEGIN INSERT INTO fired VALUES (old.id); END;
"""
_POSTGRESQL_TRIGGER = """
CREATE FUNCTION fires() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO fired VALUES (old.id); RETURN NULL; END $$;
CREATE TRIGGER fires AFTER UPDATE OR DELETE ON parent FOR EACH ROW EXECUTE FUNCTION fires();
"""
#: What a writer may meet, and tries something else then.
_MET = (
    "23505", "23503", "40P01", "40001", "55P03", "57P", "08", "SQLITE_CONSTRAINT_UNIQUE",
    "SQLITE_CONSTRAINT_FOREIGNKEY", "SQLITE_BUSY",
)  # fmt: skip


def build(box: Sandbox, groups: int) -> None:
    """Groups of one to five equal rows, a child and a log line each; some lines refer to nothing."""
    numbers = (
        f"WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < {groups * 5})"
    )
    rows = "FROM g WHERE i % 5 <= (i / 5) % 5"
    box.execute(
        _TABLES,
        f"{numbers} INSERT INTO parent SELECT i, i / 5, 'b' || (i / 5 % 3), i * 7919 % 1000, 1,"
        f" CASE WHEN i % 3 = 0 THEN 'n' || i END {rows}",
        "INSERT INTO child SELECT id, id % 9 + 1, id FROM parent",
        "INSERT INTO log SELECT id, CASE WHEN id % 10 = 0 THEN -id ELSE id END FROM parent",
        "INSERT INTO noted SELECT 'parent', id, visits FROM parent",
        "INSERT INTO noted SELECT 'child', id, 0 FROM child",
        _SQLITE_TRIGGERS if box.sqlite else _POSTGRESQL_TRIGGER,
    )


class Writers:
    """Threads that insert, double, update and delete until they are stopped.

    Attributes:
        naive: whether they still insert a second row for a key.
    """

    def __init__(self, box: Sandbox, seed: int, groups: int, threads: int = 3) -> None:
        self.box, self.groups = box, groups
        self.naive, self.done = True, 0
        self.errors: list[str] = []
        self._stop, self._turns = threading.Event(), [threading.Lock() for _ in range(threads)]
        self._threads = [
            threading.Thread(target=self._write, args=(random.Random(f"{seed}.{i}"), i + 1))
            for i in range(threads)
        ]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a writer hangs"

    @contextmanager
    def still(self) -> Iterator[None]:
        """Nobody writes for the length of the block."""
        with ExitStack() as stack:
            for turn in self._turns:
                stack.enter_context(turn)
            yield

    def _write(self, dice: random.Random, number: int) -> None:
        ids = iter(range(number * 10_000_000, (number + 1) * 10_000_000))
        while not self._stop.is_set():
            try:
                with self.box.connect() as connection:
                    while not self._stop.is_set():
                        with self._turns[number - 1]:
                            self._attempt(connection, dice, ids)
                        time.sleep(dice.uniform(0, 0.03))
            except (psycopg.Error, sqlite3.Error) as error:
                # The server is away, as the soak wants it; it is told by its code, or by having none.
                if isinstance(error, sqlite3.Error) or not _expected(error):
                    self.errors.append(f"{type(error).__name__}: {error}")
                    return
                time.sleep(0.2)

    def _attempt(self, connection: Any, dice: random.Random, ids: Iterator[int]) -> None:
        act = dice.choice([_insert, _double, _update, _update, _child, _child, _delete])
        if act is _double and not self.naive:
            act = _insert
        connection.execute("BEGIN IMMEDIATE" if self.box.sqlite else "BEGIN")
        try:
            act(connection, dice, next(ids), self.groups)
            connection.execute("COMMIT")
            self.done += 1
        except (psycopg.Error, sqlite3.Error) as error:
            if not _expected(error):
                raise
            connection.execute("ROLLBACK")


def _expected(error: BaseException) -> bool:
    code = code_of(error)
    if code is None:
        return isinstance(error, psycopg.OperationalError)
    return code.startswith(_MET)


def _note(connection: Any, what: str, row: int, visits: int = 0) -> None:
    connection.execute(f"INSERT INTO noted VALUES ('{what}', {row}, {visits})")


def _some_parent(connection: Any, dice: random.Random) -> tuple[Any, ...] | None:
    start = dice.choice([dice.randint(1, 2_000), dice.randint(1, 4) * 10_000_000])
    found: tuple[Any, ...] | None = connection.execute(
        f"SELECT id, a, b FROM parent WHERE id >= {start} ORDER BY id LIMIT 1"
    ).fetchone()
    return found


def _add(connection: Any, row: int, a: int, b: str, dice: random.Random) -> None:
    connection.execute(
        f"INSERT INTO parent VALUES ({row}, {a}, '{b}', {dice.randint(0, 1000)}, 1, 'w{row}')"
    )
    _note(connection, "parent", row, 1)


def _insert(connection: Any, dice: random.Random, row: int, groups: int) -> None:
    """A row of a key of its own."""
    _add(connection, row, row + groups, "new", dice)


def _double(connection: Any, dice: random.Random, row: int, _groups: int) -> None:
    """A second row for a key that is there."""
    if found := _some_parent(connection, dice):
        _add(connection, row, found[1], found[2], dice)


def _update(connection: Any, dice: random.Random, _row: int, _groups: int) -> None:
    if found := _some_parent(connection, dice):
        done = connection.execute(
            f"UPDATE parent SET visits = visits + 1 WHERE id = {found[0]}"
        ).rowcount
        if done:
            _note(connection, "visit", found[0], 1)


def _child(connection: Any, dice: random.Random, row: int, _groups: int) -> None:
    if found := _some_parent(connection, dice):
        connection.execute(
            f"INSERT INTO child (id, weight, parent_id) VALUES ({row}, {row % 9 + 1}, {found[0]})"
        )
        connection.execute(f"INSERT INTO log (id, parent_id) VALUES ({row}, {found[0]})")
        _note(connection, "child", row)


def _delete(connection: Any, dice: random.Random, _row: int, _groups: int) -> None:
    """A row and its children, under a lock that lets no new child come."""
    found = _some_parent(connection, dice)
    if found is None or dice.random() < 0.6:
        return
    row = found[0]
    lock = "" if isinstance(connection, sqlite3.Connection) else " FOR UPDATE"
    if not connection.execute(f"SELECT 1 FROM parent WHERE id = {row}{lock}").fetchone():
        return
    for (child,) in connection.execute(f"SELECT id FROM child WHERE parent_id = {row}").fetchall():
        connection.execute(f"DELETE FROM child WHERE id = {child}")
        _note(connection, "child gone", child)
    (visits,) = connection.execute(f"SELECT visits FROM parent WHERE id = {row}").fetchone()
    connection.execute(f"DELETE FROM parent WHERE id = {row}")
    _note(connection, "parent gone", row, -visits)


# -- what must be true ---------------------------------------------------------------------------

_HELD = """
SELECT '{what} ' || id FROM noted WHERE what = '{what}'
EXCEPT SELECT '{what} ' || id FROM noted WHERE what = '{what} gone'
"""
DANGLING = """
SELECT 'child ' || id FROM child WHERE parent_id NOT IN (SELECT id FROM parent)
"""
DANGLING_LOG = """
SELECT 'log ' || id FROM log WHERE parent_id IS NOT NULL
    AND parent_id NOT IN (SELECT id FROM parent)
"""


def held(box: Sandbox, what: str) -> set[str]:
    """Rows that writers have made and not deleted."""
    return {r[0] for r in box.rows(_HELD.format(what=what))}


def there(box: Sandbox, table: str) -> set[str]:
    return {f"{table} {r[0]}" for r in box.rows(f"SELECT id FROM {table}")}


def merged_away(box: Sandbox) -> set[str]:
    """Rows of the parent table in the archive and not put back."""
    prefix = "onerow_" if box.sqlite else "onerow."
    own = "" if box.sqlite else "onerow."
    rows: set[str] = set()
    for (name,) in box.rows(
        f"SELECT archive_name FROM {prefix}archive WHERE table_name = 'parent'"
    ):
        rows |= {
            f"parent {r[0]}"
            for r in box.rows(
                f"SELECT a.id FROM {own}{name} AS a JOIN {prefix}operation AS o"
                " ON o.op = a.onerow_op WHERE o.action = 'deleted'"
            )
        }
    return rows - there(box, "parent")


def differences(box: Sandbox, applied: bool, exact: bool) -> list[str]:
    """What is wrong with the rows. `exact`: no row was left alone on the way back."""
    wrong = [r[0] for r in box.rows(DANGLING)]
    wrong += [r[0] for r in box.rows(DANGLING_LOG)] if applied else []
    children, parents = there(box, "child"), there(box, "parent")
    kept = held(box, "child")
    wrong += [f"lost {c}" for c in sorted(kept - children)]
    wrong += [f"strange {c}" for c in sorted(children - kept)]
    rows, archive = held(box, "parent"), merged_away(box)
    wrong += [f"lost {p}" for p in sorted(rows - parents - archive)]
    wrong += [f"strange {p}" for p in sorted(parents - rows)]
    sums = box.rows("SELECT (SELECT sum(visits) FROM parent), (SELECT sum(visits) FROM noted)")
    if exact and sums[0][0] != sums[0][1]:
        wrong.append(f"visits: {sums[0][0]} instead of {sums[0][1]}")
    # The application's triggers fire for the application, and for nothing of ours.
    fired = "SELECT count(*) FROM fired"
    due = "SELECT count(*) FROM noted WHERE what IN ('visit', 'parent gone')"
    if box.value(fired) != box.value(due):
        wrong.append(f"triggers fired {box.value(fired)} times instead of {box.value(due)}")
    return wrong
