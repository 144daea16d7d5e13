"""What the texts of a merge are made from, and what they come as: values only."""

from __future__ import annotations

from dataclasses import dataclass

from onerow.children import Child
from onerow.keys import BoundKey
from onerow.schema import Column, Table
from onerow.sql import Name


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnChange:
    """A column of the survivor that the merge may change, and by which policy."""

    column: Column
    policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeSpec:
    """A merge of duplicate rows, all decisions taken."""

    bound: BoundKey
    identity: tuple[str, ...]  #: columns that tell rows apart, and break ties
    changes: tuple[ColumnChange, ...]
    children: tuple[Child, ...]
    decisions: str | None = None  #: table of manual decisions, for `keep = "manual FILE"`

    @property
    def table(self) -> Table:
        return self.bound.table


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One archived change within a batch. The row count of `main` is what was archived."""

    table: Name
    action: str  #: 'deleted', 'updated', 'repointed'
    detail: str  #: the columns changed, as the undo needs them: comma-separated quoted names
    before: tuple[str, ...]
    main: str
    after: tuple[str, ...] = ()
    guards: tuple[str, ...] = ()
    """Locks on rows that are referred to. The server takes them by itself where it checks foreign
    keys; as replica it does not."""

    @property
    def statements(self) -> tuple[str, ...]:
        return (*self.before, self.main, *self.after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """How one archived operation is taken back."""

    lock: str | None  #: locks the rows that it will touch
    changed: str  #: lists (identity…, reason): rows that others have changed since
    statement: str  #: puts back what nobody has changed
    forced: tuple[str, ...]  #: puts back everything, in place of `statement`
    missing: str  #: lists (identity…, reason) of rows that are not as they were after all
    guards: tuple[str, ...] = ()  #: as of `Operation`
