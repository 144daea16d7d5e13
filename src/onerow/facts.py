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
class MergeFacts:
    """What a merge would meet."""

    disagreements: Mapping[str, int] = field(default_factory=dict)
    #: column -> groups with two different values
    collisions: Mapping[str, int] = field(default_factory=dict)
    #: unique index of a child -> groups that would collide
    undecided: int = 0  #: groups of which a person has not chosen exactly one row
    decisions: str = ""  #: digest of the decisions file
    child_rows: Mapping[str, int] = field(default_factory=dict)
    #: child label -> rows, counted up to a bound
