"""What a statement does to tables: the locks that it takes, and whether it scans or rewrites them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.support.live import InBackground, until
from tests.support.sandbox import Sandbox

#: From the weakest to the strongest (manual §13.3.1), in the words of a plan.
MODES = (
    "none",
    "access_share",
    "row_share",
    "row_exclusive",
    "share_update_exclusive",
    "share",
    "share_row_exclusive",
    "exclusive",
    "access_exclusive",
)

_LOCKS = """
SELECT c.relname, l.mode FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation
WHERE l.locktype = 'relation' AND l.granted AND l.pid = ({pid}) AND c.relnamespace = 'public'::regnamespace
"""
# Scans of a table in this transaction, whatever for: also those of ALTER TABLE and of index builds.
_TABLES = """
SELECT relname, relfilenode::bigint, pg_stat_get_xact_numscans(oid) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'm')
"""


@dataclass(frozen=True)
class Seen:
    """Locks by relation, the strongest of each; what was scanned or written anew."""

    locks: dict[str, str]
    scanned: frozenset[str] = frozenset()
    rewritten: frozenset[str] = frozenset()

    @property
    def strongest(self) -> str:
        return max(self.locks.values(), key=MODES.index, default="none")


def word(mode: str) -> str:
    """`ShareRowExclusiveLock` is `share_row_exclusive`."""
    return "_".join(re.findall("[A-Z][a-z]+", mode.removesuffix("Lock"))).lower()


def held(connection: Any, pid: int | str = "pg_backend_pid()") -> dict[str, str]:
    """What a session holds now, ACCESS SHARE left out: it stops nobody who writes or reads."""
    found: dict[str, str] = {}
    for name, mode in connection.execute(_LOCKS.format(pid=pid)).fetchall():
        found[name] = max(found.get(name, "none"), word(mode), key=MODES.index)
    return {name: mode for name, mode in found.items() if mode != "access_share"}


def run_and_look(box: Sandbox, statements: Sequence[str], *, keep: bool = False) -> Seen:
    """Run statements in one transaction; look before it ends, by ROLLBACK unless told to keep."""
    with psycopg.connect(box.url) as connection:
        before = {n: (f, s) for n, f, s in connection.execute(_TABLES).fetchall()}
        for sql in statements:
            connection.execute(sql)
        locks = held(connection)
        after = {n: (f, s) for n, f, s in connection.execute(_TABLES).fetchall()}
        both = before.keys() & after.keys()
        seen = Seen(
            locks,
            frozenset(n for n in both if after[n][1] > before[n][1]),
            frozenset(n for n in both if after[n][0] != before[n][0]),
        )
        if keep:
            connection.commit()
        else:
            connection.rollback()
        return seen


def wait_and_look(box: Sandbox, sql: str, table: str) -> Seen:
    """Run a statement that refuses a transaction, held up by a writer; look while it waits."""
    with held_up(box, table):
        work = InBackground(lambda: box.execute(sql))
        pid = "SELECT pid FROM pg_locks WHERE NOT granted AND virtualxid IS NOT NULL"
        until(lambda: box.rows(pid), "the statement waits")
        with box.connect() as connection:
            locks = held(connection, box.value(pid))
    work.result()
    return Seen(locks)


@contextmanager
def held_up(box: Sandbox, table: str) -> Iterator[None]:
    """An open transaction of a writer of the table."""
    with psycopg.connect(box.url) as connection:
        connection.execute(f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE")
        yield
        connection.rollback()
