"""Rows changed where they stand, each kept in the archive as it was: by condition, not by list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from onerow.dialects.values import Entry, Operation
from onerow.schema import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Rows of one table, or of one leaf of a partitioned one."""

    table: Table  #: that the archive is of
    leaf: Table  #: that holds the rows
    where: str  #: which of its rows; columns bare or behind the leaf's bare name


class Changes(Protocol):
    """The changes, per engine."""

    def update(self, place: Place, sets: Mapping[str, str], entry: Entry) -> Operation: ...
    def delete(self, place: Place, entry: Entry, action: str = "deleted") -> Operation: ...
    def keep(self, place: Place, entry: Entry, action: str, detail: str) -> Operation:
        """Only archived, and left as they are: what happens to them comes next."""
        ...


def changes(dialect: str) -> Changes:
    if dialect == "sqlite":
        from onerow.dialects.sqlite.change import SQLiteChanges

        return SQLiteChanges()
    from onerow.dialects.postgresql.change import PostgreSQLChanges

    return PostgreSQLChanges()


__all__ = ["Changes", "Entry", "Place", "changes"]
