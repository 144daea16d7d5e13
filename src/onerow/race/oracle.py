"""What the database itself is asked: who waits for whom, what its tables are, who else is at work.

PostgreSQL is asked on a connection of our own, about our own processes only. SQLite has nobody to
ask: a worker meets SQLITE_BUSY and says so (`gate`).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from contextlib import closing
from typing import Any, Protocol

from sqlalchemy import Engine

from onerow.codes import code_of
from onerow.race.dependency import NONE, Facts

#: Milliseconds; the session that closes a circle is then the victim, see `runner`.
DEADLOCK_TIMEOUT = 2
NO_PRIVILEGE = "42501"
#: Seconds between looks at who else is connected; a look costs as much as a statement.
LOOK_EVERY = 0.2

#: pid -> the processes that it waits for.
Waits = dict[int, tuple[int, ...]]


class Oracle(Protocol):
    """What the runner asks of a database."""

    facts: Facts
    deadlocks_are_quick: bool

    def learn(self) -> None: ...
    def prepare(self, dbapi: Any, record: Any) -> dict[str, Any]: ...
    def hurry(self, dbapi: Any) -> None: ...
    def waits(self, pids: Collection[int]) -> Waits: ...
    def strangers(self, known: Collection[int], *, now: bool = False) -> list[str]: ...
    def in_transaction(self, pids: Collection[int]) -> set[int]: ...
    def cancel(self, pid: int) -> None: ...
    def close(self) -> None: ...


class PostgreSQL:
    """Asks over a connection of its own, in autocommit."""

    def __init__(self, engine: Engine) -> None:
        self._pool = engine.pool.recreate()
        self._fairy = self._pool.connect()
        dbapi: Any = self._fairy.dbapi_connection
        engine.dialect.set_isolation_level(dbapi, "AUTOCOMMIT")
        self._cursor = dbapi.cursor()
        self.pid = int(self._ask("SELECT pg_backend_pid()")[0][0])
        self.deadlocks_are_quick = self._may_hurry()
        self.facts = Facts()
        self._looked = 0.0
        self._earlier = {int(r[0]): r[2] for r in self._ask(_CLIENTS)}

    def learn(self) -> None:
        """Read what the tables are; `setup` may have made them."""
        self.facts = postgresql_facts(self)

    def _ask(self, sql: str) -> list[Any]:
        self._cursor.execute(sql)
        return list(self._cursor.fetchall())

    def rows(self, sql: str) -> list[Any]:
        return self._ask(sql)

    def _may_hurry(self) -> bool:
        """deadlock_timeout is for superusers, or for those who were granted it (15 and newer)."""
        try:
            self._cursor.execute(f"SET deadlock_timeout = {DEADLOCK_TIMEOUT}")
        except Exception as error:
            if code_of(error) != NO_PRIVILEGE:
                raise
            return False
        return True

    def prepare(self, dbapi: Any, _record: Any) -> dict[str, Any]:
        """Settings of a worker's connection, gone with it; no transaction is open yet.

        An asynchronous commit changes when the disk has it and nothing that sessions can see.
        """
        self.hurry(dbapi)
        with closing(dbapi.cursor()) as cursor:
            if self.deadlocks_are_quick:
                cursor.execute(f"SET deadlock_timeout = {DEADLOCK_TIMEOUT}")
            cursor.execute(
                "SELECT pg_backend_pid(), current_setting('default_transaction_isolation')"
            )
            pid, level = cursor.fetchone()
        dbapi.commit()
        return {"pid": int(pid), "level": level}

    def hurry(self, dbapi: Any) -> None:
        """Commits need not wait for the disk."""
        with closing(dbapi.cursor()) as cursor:
            cursor.execute("SET synchronous_commit = off")
        dbapi.commit()

    def waits(self, pids: Collection[int]) -> Waits:
        """Who waits for whom, by the server's lock table; those who do not wait are left out."""
        listed = ",".join(str(int(p)) for p in pids)
        rows = self._ask(
            "SELECT p, pg_blocking_pids(p) || pg_safe_snapshot_blocking_pids(p) "
            f"FROM unnest('{{{listed}}}'::int[]) AS p"
        )
        return {int(pid): tuple(blockers) for pid, blockers in rows if blockers}

    def strangers(self, known: Collection[int], *, now: bool = False) -> list[str]:
        """Connections to this database that are not ours and have done something since we began.

        Args:
            known: processes of ours.
            now: look even if the last look was a moment ago.
        """
        if not now and time.monotonic() < self._looked + LOOK_EVERY:
            return []
        self._looked = time.monotonic()
        mine = {*known, self.pid}
        return [
            str(name)
            for pid, name, asked in self._ask(_CLIENTS)
            if pid not in mine and (pid not in self._earlier or self._earlier[pid] != asked)
        ]

    def in_transaction(self, pids: Collection[int]) -> set[int]:
        """Those of the processes whose transaction is still open."""
        if not pids:
            return set()
        listed = ",".join(str(int(p)) for p in pids)
        sql = f"SELECT pid FROM pg_stat_activity WHERE pid IN ({listed}) AND state <> 'idle'"
        return {int(r[0]) for r in self._ask(sql)}

    def cancel(self, pid: int) -> None:
        self._ask(f"SELECT pg_terminate_backend({int(pid)})")

    def close(self) -> None:
        self._fairy.close()
        self._pool.dispose()


class SQLite:
    """A file; its locks are met, not asked for."""

    deadlocks_are_quick = True

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.facts = Facts(lite=True)

    def learn(self) -> None:
        """Read the journal mode and the tables; `setup` may have changed both."""
        with self._engine.connect() as connection:
            mode = str(connection.exec_driver_sql("PRAGMA journal_mode").scalar())
            names = connection.exec_driver_sql(
                "SELECT name FROM sqlite_master WHERE type = 'table'"
            ).scalars()
            self.facts = Facts(lite=True, wal=mode == "wal", known=frozenset(names))

    def prepare(self, dbapi: Any, _record: Any) -> dict[str, Any]:
        """With a timeout SQLite would sleep where nobody sees it."""
        self.hurry(dbapi)
        with closing(dbapi.cursor()) as cursor:
            cursor.execute("PRAGMA busy_timeout = 0")
        return {"pid": None}

    def hurry(self, dbapi: Any) -> None:
        with closing(dbapi.cursor()) as cursor:
            cursor.execute("PRAGMA synchronous = off")

    def waits(self, pids: Collection[int]) -> Waits:
        return {}

    def strangers(self, known: Collection[int], *, now: bool = False) -> list[str]:
        return []

    def in_transaction(self, pids: Collection[int]) -> set[int]:
        return set()

    def cancel(self, pid: int) -> None:
        """Nothing waits inside SQLite: the timeout is none."""

    def close(self) -> None:
        """There is no connection of its own."""


def circles(waits: Mapping[int, Collection[int]]) -> bool:
    """Whether processes wait for each other in a circle: a deadlock that the server will find."""
    left = {pid: set(blockers) & waits.keys() for pid, blockers in waits.items()}
    while free := [pid for pid, blockers in left.items() if not blockers]:
        for pid in free:
            del left[pid]
        for blockers in left.values():
            blockers.difference_update(free)
    return bool(left)


_CLIENTS = """
    SELECT pid, coalesce(nullif(application_name, ''), usename), query_start
    FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend'
"""
_TABLES = """
    SELECT c.relname, c.relkind IN ('r', 'p'), c.relrowsecurity OR EXISTS (
        SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal
    ) OR EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT LIKE 'pg\\_toast%'
      AND n.nspname NOT IN ('pg_catalog', 'information_schema')
"""
_PARENTS = """
    SELECT c.relname, p.relname FROM pg_inherits i
    JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent
    WHERE c.relkind IN ('r', 'p')
"""
_FOREIGN_KEYS = """
    SELECT c.relname, p.relname FROM pg_constraint k
    JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class p ON p.oid = k.confrelid
    WHERE k.contype = 'f'
"""
#: Columns: is the whole primary key; is looked at by an index, a constraint or a generated column.
_COLUMNS = """
    SELECT c.relname, c.oid::text, a.attname,
        EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary
            AND i.indnatts = 1 AND i.indkey[0] = a.attnum),
        EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND (
            a.attnum = ANY (i.indkey) OR i.indexprs IS NOT NULL OR i.indpred IS NOT NULL))
        OR EXISTS (SELECT FROM pg_constraint k WHERE k.contype IN ('f', 'x') AND (
            k.conrelid = c.oid AND a.attnum = ANY (k.conkey)
            OR k.confrelid = c.oid AND a.attnum = ANY (k.confkey)))
        OR EXISTS (SELECT FROM pg_attribute g WHERE g.attrelid = c.oid AND g.attgenerated <> '')
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
      AND n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND NOT EXISTS (SELECT FROM pg_inherits h WHERE c.oid IN (h.inhrelid, h.inhparent))
"""
_DEFERRABLE = """
    SELECT c.relname FROM pg_constraint k
    JOIN pg_class c ON c.oid IN (k.conrelid, k.confrelid) WHERE k.condeferrable
"""
#: Defaults, constraints and indexes that call functions which users have written.
_CODE = """
    SELECT EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_proc'::regclass
    AND d.refobjid >= 16384 AND d.classid IN
    ('pg_attrdef'::regclass, 'pg_constraint'::regclass, 'pg_class'::regclass))
"""


def postgresql_facts(server: PostgreSQL) -> Facts:
    """What pruning has to know of the tables."""
    tables = server.rows(_TABLES)
    names = frozenset(str(r[0]) for r in tables)
    opaque = frozenset(str(name) for name, plain, code in tables if code or not plain)
    if server.rows(_CODE)[0][0]:
        opaque = names
    roots = _roots(dict(server.rows(_PARENTS)))
    pairs = {(roots.get(c, c), roots.get(p, p)) for c, p in server.rows(_FOREIGN_KEYS)}
    deferrable = frozenset(roots.get(r[0], r[0]) for r in server.rows(_DEFERRABLE))
    keys, free = _rows_apart(server.rows(_COLUMNS), deferrable)
    return Facts(
        keys=keys,
        free=free,
        known=names,
        roots=roots,
        opaque=opaque | frozenset(roots.get(n, n) for n in opaque),
        parents={c: frozenset(p for x, p in pairs if x == c) for c, _ in pairs},
        children={p: _below(p, pairs) for _, p in pairs},
        deferrable=deferrable,
    )


def _rows_apart(
    columns: Collection[Any], deferrable: Collection[str]
) -> tuple[dict[str, str], dict[str, frozenset[str]]]:
    """Tables whose rows can be told apart by their key: the key's column, and the free columns."""
    oids: dict[str, set[str]] = {}
    for table, oid, *_ in columns:
        oids.setdefault(table, set()).add(oid)
    apart = {t for t, found in oids.items() if len(found) == 1} - set(deferrable)
    keys = {t: str(name) for t, _, name, key, _ in columns if key and t in apart}
    free = {t: frozenset(str(c[2]) for c in columns if c[0] == t and not c[4]) for t in keys}
    return keys, free


def _roots(parents: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for name in parents:
        top = name
        while top in parents and parents[top] != top:
            top = parents[top]
        found[name] = top
    return found


def _below(top: str, pairs: Collection[tuple[str, str]]) -> frozenset[str]:
    """Tables that a change of this one may reach through foreign keys."""
    found: frozenset[str] = NONE
    edge = {top}
    while edge:
        edge = {c for c, p in pairs if p in edge} - found
        found |= edge
    return found
