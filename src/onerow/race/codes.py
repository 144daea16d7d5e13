"""What a driver's error says besides its code."""

from __future__ import annotations

import sqlite3

BUSY_SNAPSHOT = 517  # https://www.sqlite.org/rescode.html#busy_snapshot


def is_busy(error: sqlite3.Error) -> bool:
    """Another connection has the lock and will give it back; a stale snapshot is none of that."""
    code = getattr(error, "sqlite_errorcode", None) or 0
    return code & 0xFF == sqlite3.SQLITE_BUSY and code != BUSY_SNAPSHOT


def first_line(error: BaseException) -> str:
    """What the driver says, in one line."""
    return next(iter(str(error).splitlines()), "")
