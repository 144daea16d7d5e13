"""What the rows say, as values: the answers that planning is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onerow.finding import Violations

NONE = Violations()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFacts:
    """What the rows say about a key."""

    violations: Violations = NONE
    samples: tuple[Mapping[str, Any], ...] = ()
    largest: int = 0  #: members of the largest group
    sql: str = ""
    total: int | None = None  #: rows of the table, estimated


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldFacts:
    """Rows of a child table that collide when they are re-pointed, and what is done with them."""

    table: str
    policy: str
    groups: int = 0
    rows: int = 0  #: that go
    samples: tuple[Mapping[str, Any], ...] = ()  #: identities of some of those


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeFacts:
    """What a merge would meet."""

    disagreements: Mapping[str, int] = field(default_factory=dict)
    #: column -> groups with two different values
    collisions: Mapping[str, int] = field(default_factory=dict)
    #: unique index of a child -> groups that would collide, where no policy covers them
    folds: tuple[FoldFacts, ...] = ()
    excluded: Mapping[str, int] = field(default_factory=dict)
    #: exclusion constraint of a child -> pairs of rows that it would not let stand together
    nameless: Mapping[str, int] = field(default_factory=dict)
    #: table -> rows that a NULL in their primary key (SQLite) keeps from being told apart
    undecided: int = 0  #: groups of which a person has not chosen exactly one row
    decisions: str = ""  #: digest of the decisions file
    child_rows: Mapping[str, int] = field(default_factory=dict)
    #: child label -> rows, counted up to a bound


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFacts:
    """Rows that a rule does not allow: how many, and a few of them."""

    rows: int = 0
    samples: tuple[Mapping[str, Any], ...] = ()
    sql: str = ""
    known: bool = True  #: False: it cannot be told before the plan has run

    @property
    def shown(self) -> str:
        """The samples in words: `id = 3; id = 7; …`."""
        each = [", ".join(f"{k} = {v}" for k, v in s.items()) for s in self.samples]
        more = ["…"] if self.rows > len(self.samples) else []
        return "; ".join([*each, *more]) or "they have no key to name them by"


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnFacts:
    """What the rows and the server say about a column that a rule wants."""

    type: str = ""  #: the rule's type as the engine writes it
    type_category: str = ""
    type_name: str = ""
    rows: int = 0  #: of the table that hold no value in it
    uncovered: RowFacts = field(default_factory=RowFacts)  #: of these, what no backfill fills
    misfits: RowFacts = field(default_factory=RowFacts)  #: would refer to nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanFacts:
    """Rows that refer to nothing, and what refers to them."""

    orphans: RowFacts = field(default_factory=RowFacts)
    children: Mapping[str, int] = field(default_factory=dict)  #: foreign key -> rows


@dataclass(frozen=True, slots=True, kw_only=True)
class PopulationFacts:
    """How far a column is filled."""

    total: int = 0
    populated: int = 0
    sql: str = ""

    @property
    def rate(self) -> float | None:
        """None over no rows."""
        return self.populated / self.total if self.total else None

    def meets(self, wanted: float) -> bool:
        return self.rate is None or self.rate >= wanted

    def __str__(self) -> str:
        if self.rate is None:
            return "no row to ask"
        return f"{self.populated:,} of {self.total:,} row(s), {self.rate:.1%}"
