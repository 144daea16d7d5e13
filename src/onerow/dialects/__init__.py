"""Text and facts per engine."""

from __future__ import annotations

from onerow.dialects.base import Dialect
from onerow.dialects.values import MergeSpec, Operation, Restore


def dialect(name: str) -> Dialect:
    """The dialect of an engine, by `Snapshot.dialect`."""
    if name == "sqlite":
        from onerow.dialects.sqlite import SQLite

        return SQLite()
    from onerow.dialects.postgresql import PostgreSQL

    return PostgreSQL()


__all__ = ["Dialect", "MergeSpec", "Operation", "Restore", "dialect"]
