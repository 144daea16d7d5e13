"""Which errors pass by themselves, and what to do about each. Decided by code alone."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Literal

from sqlalchemy.exc import TimeoutError as PoolTimeout

from onerow.write.codes import Facts, facts_of
from onerow.write.errors import Contended, NoUniqueIndex, UnknownCommit

TransientKind = Literal[
    "serialization", "deadlock", "lock", "busy", "connection", "unknown_commit", "timeout"
]

_CODES: dict[str, TransientKind] = {
    "40001": "serialization",
    "40P01": "deadlock",
    "55P03": "lock",
    "57014": "timeout",
    "57P01": "connection",
    "57P02": "connection",
    "57P03": "connection",
    "57P05": "connection",
    "53300": "connection",
    "53400": "connection",
    "25006": "connection",  # read-only: a failover is under way, reconnect
}
_BUSY, _BUSY_RECOVERY, _BUSY_SNAPSHOT, _LOCKED, _LOCKED_CACHE = 5, 261, 517, 6, 262
_AWAY = {
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.ECONNABORTED,
    errno.EPIPE,
    errno.ETIMEDOUT,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.EHOSTDOWN,
    errno.ENOENT,  # the server's Unix socket
}


@dataclass(frozen=True, slots=True)
class Transient:
    """An error that passes.

    Attributes:
        kind: ``serialization``, ``deadlock``, ``lock``, ``busy`` (SQLite), ``connection``,
            ``unknown_commit`` (the connection broke during COMMIT: the write may be there),
            ``timeout`` (57014; a statement timeout or a person's cancel, so never retried unasked).
        code: SQLSTATE or ``sqlite:`` code, '' when there was none.
        restart: SQLite's stale read (517): waiting does not help, only a new transaction.
    """

    kind: TransientKind
    code: str = ""
    restart: bool = False

    @property
    def unreachable(self) -> bool:
        """The database is away, or was when it mattered: a spool may take the write."""
        return self.kind in ("connection", "unknown_commit")


def transient_of(exc: BaseException) -> Transient | None:
    """What passes by itself in an error, or None.

    Args:
        exc: any exception of SQLAlchemy, psycopg, psycopg2, asyncpg, sqlite3, aiosqlite, or
            an OSError of a refused connection.

    Returns:
        Transient | None: decided by SQLSTATE or SQLite's extended code, never by class or text.
    """
    if isinstance(exc, UnknownCommit):
        return Transient("unknown_commit")
    if isinstance(exc, Contended) or (isinstance(exc, NoUniqueIndex) and exc.passing):
        return Transient("serialization")
    if isinstance(exc, PoolTimeout):
        return Transient("connection")
    facts = facts_of(exc)
    if facts is None:
        return Transient("connection") if _is_away(exc) else None
    return _of_facts(facts, exc)


def _of_facts(facts: Facts, exc: BaseException) -> Transient | None:
    if facts.sqlite_code is not None:
        return _lite(facts.sqlite_code, facts.code)
    kind = _CODES.get(facts.code) or ("connection" if facts.code.startswith("08") else None)
    if kind is None and (facts.lost or (not facts.code and _connecting(facts, exc))):
        kind = "connection"
    if kind == "connection" and facts.lost and facts.at_commit:
        kind = "unknown_commit"
    return Transient(kind, facts.code) if kind is not None else None


def _lite(number: int, code: str) -> Transient | None:
    if number in (_BUSY, _BUSY_RECOVERY, _BUSY_SNAPSHOT, _LOCKED, _LOCKED_CACHE):
        return Transient("busy", code, restart=number == _BUSY_SNAPSHOT)
    return None


def _connecting(facts: Facts, exc: BaseException) -> bool:
    """No code and no statement: psycopg could not connect (it has no SQLSTATE for that)."""
    from sqlalchemy.exc import InterfaceError, OperationalError

    no_statement = facts.statement is None
    return no_statement and isinstance(exc, (OperationalError, InterfaceError))


def _is_away(exc: BaseException) -> bool:
    """A refused or broken socket, as asyncpg raises it; not a missing file of the application."""
    if isinstance(exc, ConnectionError | TimeoutError):
        return True
    return isinstance(exc, OSError) and exc.errno in _AWAY - {errno.ENOENT}
