"""Error codes of drivers: SQLSTATE, or the name of SQLite's extended code. Never by text."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

DEADLOCK = "40P01"
SERIALIZATION = "40001"
BUSY_SNAPSHOT = 517  # https://www.sqlite.org/rescode.html#busy_snapshot


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, and what it wraps (asyncpg's own is behind SQLAlchemy's)."""
    seen: set[int] = set()
    queue: list[BaseException | None] = [error]
    while queue:
        link = queue.pop(0)
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        queue += [getattr(link, "orig", None), link.__cause__]


def code_of(error: BaseException) -> str:
    """SQLSTATE or SQLite's name of an exception or of what it wraps; '' if it has none."""
    for link in _chain(error):
        for name in ("sqlstate", "pgcode", "sqlite_errorname"):
            value = getattr(link, name, None)
            if isinstance(value, str) and value:
                return value
    return ""


def is_busy(error: sqlite3.Error) -> bool:
    """Another connection has the lock and will give it back; a stale snapshot is none of that."""
    code = getattr(error, "sqlite_errorcode", None) or 0
    return code & 0xFF == sqlite3.SQLITE_BUSY and code != BUSY_SNAPSHOT


def first_line(error: BaseException) -> str:
    """What the driver says, in one line."""
    return next(iter(str(error).splitlines()), "")
