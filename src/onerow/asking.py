"""What a planner asks of the rows: as they are, and as they will be when other rules have run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection

from onerow import decisions, survey
from onerow.database import Database, errors
from onerow.dialects import Dialect, MergeSpec
from onerow.dialects.values import Fold
from onerow.enforcement import verdict
from onerow.expressions import columns_in
from onerow.facts import ColumnFacts, KeyFacts, MergeFacts, RowFacts
from onerow.keys import BoundKey
from onerow.measure import key_facts, merge_facts, reading, rehearse
from onerow.planning import column as columns
from onerow.planning import constraint as constraints
from onerow.planning import (
    standing_verdict,
)
from onerow.schema import (
    Snapshot,
    Table,
)
from onerow.survey import Ahead


@dataclass(slots=True)
class Asking:
    """Questions put to the rows of one database, each in a transaction that is rolled back.

    Attributes:
        catalog: as it is now.
        base: folder that file names in rules are relative to.
        ahead: what backfills will have put into columns.
    """

    database: Database
    catalog: Snapshot
    talk: Dialect
    base: str = ""
    ahead: Ahead = field(default_factory=Ahead)

    @property
    def may_try(self) -> bool:
        return not self.catalog.read_only

    def readable(self, *tables: Table) -> bool:
        return all("select" in t.privileges for t in tables)

    def column_facts(self, bound: columns.BoundColumn) -> ColumnFacts:
        if not (self.may_try and self.readable(bound.table)):
            return ColumnFacts(type=bound.rule.type)
        with errors(self.database), reading(self.database, temporary=True) as connection:
            facts = survey.column_facts(connection, bound, self.base)
            connection.rollback()
        return facts

    def key_facts_of(self, bound: BoundKey, spec: MergeSpec) -> tuple[KeyFacts, MergeFacts, str]:
        """What the rows say, and the file on which it depends where they cannot."""
        if standing_verdict(bound).enforced or not self.readable(bound.table):
            return KeyFacts(), MergeFacts(), ""
        if self.may_try:
            self._rehearse(bound)
        if verdict(bound).enforced:
            # What it replaces is stricter still, and kept doubles out so far.
            return KeyFacts(), MergeFacts(), ""
        used = {*bound.columns, *(columns_in(bound.where or "", bound.dialect) or ())}
        if self.ahead.unknown(bound.table, tuple(used)):
            return KeyFacts(), MergeFacts(), "the backfill's file"
        facts = self._counted(bound)
        if not (spec.identity and facts.violations.groups):
            return facts, MergeFacts(), ""
        with errors(self.database):
            return facts, self._met(spec), ""

    def _rehearse(self, bound: BoundKey) -> None:
        now = self.catalog.get(bound.table.ident)
        create = self.talk.create_unique_index(bound, "onerow_rehearsal_key", online=False)
        with errors(self.database):
            if now is not None and len(now.columns) != len(bound.table.columns):
                survey.rehearse_key(self.database, bound, create)
            elif self.talk.name == "postgresql":
                rehearse(self.database, bound, self.talk)

    def _counted(self, bound: BoundKey) -> KeyFacts:
        seen = self.sees_ahead(bound.table)
        with errors(self.database), reading(self.database, temporary=seen) as connection:
            table = self.ahead.view(connection, bound.table) if seen else bound.table
            facts = key_facts(connection, replace(bound, table=table), self.talk)
            connection.rollback()
        return facts

    def sees_ahead(self, table: Table) -> bool:
        """Rows are looked at as they will be, through a view of the session."""
        return self.may_try and any(t == table.ident for t, _ in self.ahead.values)

    def _met(self, spec: MergeSpec) -> MergeFacts:
        """What the merge would meet; manual decisions need a session table, and are rolled back."""
        manual = spec.bound.key.keep.how == "manual"
        seen = self.sees_ahead(spec.table)
        chosen = decisions.read(spec.bound, spec.identity, self.base) if manual else None
        temporary = seen or chosen is not None or (self.may_try and bool(spec.folds))
        with reading(self.database, temporary=temporary) as connection:
            if seen:
                table = self.ahead.view(connection, spec.table)
                spec = replace(spec, bound=replace(spec.bound, table=table))
            known = spec
            if self.may_try:
                spec = replace(spec, folds=tuple(self._folds_ahead(connection, spec)))
            if chosen is not None:
                decisions.load(connection, spec, chosen)
            met = _by_own_names(merge_facts(connection, spec, self.talk), known, spec)
            if chosen is not None:
                left = decisions.undecided(connection, spec, self.talk)
                met = replace(met, undecided=left, decisions=chosen.digest)
            connection.rollback()
        return met

    def _folds_ahead(self, connection: Connection, spec: MergeSpec) -> Iterator[Fold]:
        """Children as they will be: a rule may add a column to them, too."""
        for fold in spec.folds:
            seen = fold.number and self.sees_ahead(fold.table)
            table = self.ahead.view(connection, fold.table, fold.number) if seen else fold.table
            yield replace(fold, table=table)

    def violated(self, bound: constraints.BoundConstraint) -> RowFacts:
        used = tuple(columns_in(bound.rule.check, self.catalog.dialect) or ())
        with errors(self.database):
            if self.may_try:
                survey.rehearse_check(self.database, bound.table, bound.label, bound.rule.check)
            if self.ahead.unknown(bound.table, used) or not self.readable(bound.table):
                return RowFacts(known=False)
            seen = self.sees_ahead(bound.table)
            with reading(self.database, temporary=seen) as connection:
                table = self.ahead.view(connection, bound.table) if seen else bound.table
                with survey.rule_errors(bound.label):
                    found = survey.rows_where(
                        connection, table, bound.violated, limit=survey.LISTED
                    )
                connection.rollback()
        return found


def _by_own_names(met: MergeFacts, known: MergeSpec, seen: MergeSpec) -> MergeFacts:
    """What was found in views is told of the tables."""
    names = {str(b.table): str(a.table) for a, b in zip(known.folds, seen.folds, strict=True)}

    def told(label: str) -> str:
        view = next((v for v in names if label.startswith((f"{v}.", f"{v}("))), "")
        return names.get(view, "") + label.removeprefix(view)

    return replace(
        met,
        folds=tuple(replace(f, table=names[f.table]) for f in met.folds),
        collisions={told(label): n for label, n in met.collisions.items()},
    )
