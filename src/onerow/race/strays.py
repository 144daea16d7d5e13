"""Connections that a worker opens behind SQLAlchemy's back: nobody schedules what they do.

While schedules run, the drivers' `connect` tells of each call that a worker makes; SQLAlchemy's
pool takes back those that it made itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

DRIVERS = ("psycopg", "psycopg2", "asyncpg", "sqlite3", "sqlite3.dbapi2")


@contextmanager
def watched_drivers(opened: Callable[[], None], failed: Callable[[], None]) -> Iterator[None]:
    """Calls `opened` before every connection by a driver that is loaded, `failed` if it is none."""
    before = {
        name: module.connect
        for name in DRIVERS
        if (module := sys.modules.get(name)) is not None and hasattr(module, "connect")
    }
    for name, connect in before.items():
        vars(sys.modules[name])["connect"] = _told(connect, opened, failed)
    try:
        yield
    finally:
        for name, connect in before.items():
            vars(sys.modules[name])["connect"] = connect


def _told(connect: Any, opened: Callable[[], None], failed: Callable[[], None]) -> Any:
    @wraps(connect)
    def telling(*given: Any, **named: Any) -> Any:
        opened()
        try:
            return connect(*given, **named)
        except BaseException:
            failed()
            raise

    return telling
