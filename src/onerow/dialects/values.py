"""What the texts of a merge are made from, and what they come as: values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from onerow.children import Child
from onerow.keys import BoundKey
from onerow.schema import Column, Table
from onerow.sql import Name


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnChange:
    """A column of the survivor that the merge may change, and by which policy."""

    column: Column
    policy: str


class Merged(Protocol):
    """Rows of one table of which some go and the others stay, as a session table lists them."""

    @property
    def table(self) -> Table: ...
    @property
    def identity(self) -> tuple[str, ...]: ...
    @property
    def changes(self) -> tuple[ColumnChange, ...]: ...
    @property
    def children(self) -> tuple[Child, ...]: ...
    @property
    def number(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Rows of a child table that become one where re-pointing makes them equal in a unique key."""

    table: Table
    policy: str  #: 'merge' or 'keep'
    children: tuple[Child, ...]  #: who points at the child table
    changes: tuple[ColumnChange, ...]
    order: tuple[tuple[str, str], ...]  #: (expression, direction): the best row first
    by: str  #: how the row that stays is chosen, in the plan's words
    number: int  #: of its session tables; 0 are those of the merged table itself

    @property
    def identity(self) -> tuple[str, ...]:
        return self.table.row_identity


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeSpec:
    """A merge of duplicate rows, all decisions taken."""

    bound: BoundKey
    identity: tuple[str, ...]  #: columns that tell rows apart, and break ties
    changes: tuple[ColumnChange, ...]
    children: tuple[Child, ...]
    decisions: str | None = None  #: table of manual decisions, for `keep = "manual FILE"`
    folds: tuple[Fold, ...] = ()  #: children that are merged or kept away when they collide

    @property
    def table(self) -> Table:
        return self.bound.table

    @property
    def number(self) -> int:
        return 0

    @property
    def merged(self) -> tuple[Merged, ...]:
        """Everything of which rows go: the duplicates themselves, and children that collide."""
        return (self, *(f for f in self.folds if f.number))

    @property
    def references(self) -> tuple[Child, ...]:
        """Every reference that may be re-pointed."""
        return tuple(c for m in self.merged for c in m.children)

    @property
    def tables(self) -> tuple[Table, ...]:
        """Every table of which rows may change, each once."""
        found = {t.ident: t for t in [self.table, *(c.table for c in self.references)]}
        return tuple(found.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Where an archived operation is written down."""

    archive: str
    op: int
    batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One archived change within a batch. The row count of `main` is what was archived."""

    table: Name
    action: str  #: 'deleted', 'updated', 'repointed'; by an undo 'set aside', 'value set aside'
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
