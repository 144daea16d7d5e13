"""Rules of several kinds in one plan: which step comes when, and what a rule leaves to the next.

Nothing contracting before proof: what new rows must obey is in force before old rows are mended,
old rows are mended before they are looked at, and what is replaced goes last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum

from onerow.plan import Blocker, Step
from onerow.schema import Index, Snapshot, Table
from onerow.sql import Name, comma
from onerow.steps import rebuild_table


class Phase(IntEnum):
    """When a step runs; within a phase the order of the rules holds."""

    ADD_COLUMNS = 1
    FOREIGN_KEYS = 2  #: NOT VALID: new rows are checked from now on
    BACKFILL = 3
    INDEXES = 4  #: a merge finds children by them
    GUARDS = 5  #: they look for duplicates by these indexes
    REPAIR = 6
    KEYS = 7
    LATE_FOREIGN_KEYS = 8  #: those that refer to a key which the plan makes
    LATE_REPAIR = 9
    VALIDATE = 10
    CONSTRAINTS = 11
    PROOFS = 12
    REBUILD = 13  #: SQLite: every change inside CREATE TABLE, once for each table
    LATE_PROOFS = 14
    DROPS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A change of a SQLite table's text, which only making the table again brings about."""

    table: Name
    rule: str
    reason: str  #: 'with …' or 'without …'
    names: tuple[str, ...]  #: objects that come or go with it
    change: Callable[[str], str]
    gone: Index | None = None  #: the key that goes with it


@dataclass(frozen=True, slots=True, kw_only=True)
class RulePlan:
    """What one rule adds to the plan."""

    steps: tuple[tuple[Phase, Step], ...] = ()
    edits: tuple[Edit, ...] = ()
    blockers: tuple[Blocker, ...] = ()
    satisfied: str = ""  #: a sentence, when nothing is to be done
    notes: tuple[str, ...] = ()
    after: Snapshot | None = None  #: the catalog as it will be then, for the rules that follow

    def labelled(self, rule: str) -> RulePlan:
        """The same, every part knowing whose it is."""
        return replace(
            self,
            steps=tuple((p, replace(s, rule=s.rule or rule)) for p, s in self.steps),
            blockers=tuple(replace(b, rule=rule) for b in self.blockers),
        )


def ordered(plans: Iterable[RulePlan], after: Snapshot) -> tuple[Step, ...]:
    """All steps in the order in which they run; `after`: the catalog as it will be before any
    table is made again."""
    plans = tuple(plans)
    placed = [pair for plan in plans for pair in plan.steps]
    rebuilds = _rebuilds([e for plan in plans for e in plan.edits], after)
    placed += [(Phase.REBUILD, step) for step in rebuilds]
    return tuple(step for _, step in sorted(placed, key=lambda pair: pair[0]))


def _rebuilds(edits: list[Edit], after: Snapshot) -> Iterator[Step]:
    """One step for each table, whichever rules want it changed."""
    for name in dict.fromkeys(e.table for e in edits):
        table = after.get(name)
        assert table is not None
        own = [e for e in edits if e.table == name]
        text = table.definition
        for edit in own:
            text = edit.change(text)
        if text == table.definition:
            continue
        # The automatic indexes of the constraints that stay are numbered anew.
        automatic = [i.name for i in table.indexes if not i.definition and not i.primary]
        yield rebuild_table.plan(
            table,
            text,
            comma(dict.fromkeys(e.reason for e in own)),
            rule=comma(dict.fromkeys(e.rule for e in own)),
            changes=tuple(dict.fromkeys([*(n for e in own for n in e.names), *automatic])),
            gone=[e.gone for e in own if e.gone],
        )


def parents_before_children(catalog: Snapshot) -> list[Name]:
    """Tables in such an order that a merge, which moves children, comes before their own keys."""
    found: dict[Name, None] = {}

    def visit(table: Table, above: frozenset[Name]) -> None:
        for key in table.foreign_keys:
            parent = catalog.get(key.target)
            if parent is not None and parent.ident not in above | found.keys():
                visit(parent, above | {parent.ident})
        found.setdefault(table.ident)

    for table in catalog:
        visit(table, frozenset({table.ident}))
    return list(found)
