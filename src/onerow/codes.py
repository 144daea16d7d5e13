"""Error codes of drivers: SQLSTATE, or the name of SQLite's extended code. Never by its text."""

from __future__ import annotations

from collections.abc import Iterator

DEADLOCK = "40P01"
SERIALIZATION = "40001"
UNIQUE = frozenset({"23505", "SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"})


def chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, what the driver raised, and what that came from.

    SQLAlchemy keeps the driver's on `orig`, its adapter of asyncpg on the cause of that.
    """
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        link = todo.pop(0)
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        nested = [getattr(link, name, None) for name in ("orig", "driver_exception")]
        todo += [n for n in nested if isinstance(n, BaseException)]
        todo.append(link.__cause__)


def code_of(error: BaseException) -> str:
    """The code of an exception or of what it wraps; '' if it has none."""
    for link in chain(error):
        for name in ("sqlstate", "pgcode", "sqlite_errorname"):
            value = getattr(link, name, None)
            if isinstance(value, str) and value:
                return value
    return ""
