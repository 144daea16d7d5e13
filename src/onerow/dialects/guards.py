"""The guard of a key: a trigger that refuses new duplicates while the key's index is not there."""

from __future__ import annotations

from dataclasses import dataclass

from onerow.keys import BoundKey
from onerow.sql import digest

MARK = "onerow_guard_"  #: what the names of guards begin with


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """The statements that make a guard and take it away, and the triggers that it consists of."""

    create: tuple[str, ...]
    drop: tuple[str, ...]
    triggers: tuple[str, ...]


def guard_of(bound: BoundKey, search_path: tuple[str, ...] = ()) -> Guard:
    """The guard of a key.

    Args:
        search_path: schemas in which the key's operators and functions are looked for, after
            pg_catalog (PostgreSQL).
    """
    name = MARK + digest(str(bound.table), bound.name)
    if bound.dialect == "sqlite":
        from onerow.dialects.sqlite.guard import sqlite_guard

        return sqlite_guard(bound, name)
    from onerow.dialects.postgresql.guard import postgresql_guard

    return postgresql_guard(bound, name, search_path)
