"""Where every rule stands: what the catalog enforces, and what the rows say. Read-only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from onerow import survey
from onerow.database import Database, errors, run
from onerow.dialects import Dialect, dialect
from onerow.enforcement import Verdict, with_folding
from onerow.facts import KeyFacts, RowFacts
from onerow.finding import RuleState, Violations
from onerow.keys import bind_table
from onerow.measure import key_facts, reading
from onerow.planning import column as columns
from onerow.planning import constraint as constraints
from onerow.planning import index as indexes
from onerow.planning import population as populations
from onerow.planning import reference as references
from onerow.planning import standing_verdict
from onerow.planning.coming import Coming, coming
from onerow.planning.reference import BoundReference
from onerow.rules import Column, Constraint, Index, Key, Population, Reference, Rule, kind_of
from onerow.sameness import same_type
from onerow.schema import Column as TableColumn
from onerow.schema import Snapshot, Table
from onerow.sql import comma, literal, quote

ENFORCED, NOT_ENFORCED = "enforced", "not enforced"


def rule_states(
    database: Database, rules: Sequence[Rule], catalog: Snapshot
) -> tuple[RuleState, ...]:
    """Where every rule stands.

    Raises:
        RuleError: a rule names what is not there, and no other rule brings it.
    """
    with errors(database), reading(database) as connection:
        court = _Court(connection, coming(rules, catalog), dialect(catalog.dialect))
        return tuple(court.state(r) for r in rules)


def state_of(connection: Connection, rule: Rule, catalog: Snapshot) -> RuleState:
    """Where one rule stands, inside of the transaction that is open."""
    return _Court(connection, Coming(catalog=catalog), dialect(catalog.dialect)).state(rule)


@dataclass(slots=True)
class _Court:
    connection: Connection
    coming: Coming
    talk: Dialect

    @property
    def catalog(self) -> Snapshot:
        return self.coming.catalog

    def state(self, rule: Rule) -> RuleState:
        match rule:
            case Key():
                return self.key(rule)
            case Column():
                return self.column(rule)
            case Reference():
                return self.reference(references.bind_reference(rule, self.catalog))
            case Index():
                return self.index(rule)
            case Constraint():
                return self.constraint(rule)
            case Population():
                return self.population(rule)

    def _state(
        self, rule: Rule, table: Table, held: bool, reason: str, rows: RowFacts | None = None
    ) -> RuleState:
        found = rows or RowFacts()
        return RuleState(
            rule=rule.label,
            kind=kind_of(rule),
            table=str(table),
            verdict=ENFORCED if held else NOT_ENFORCED,
            reason=reason,
            violations=Violations(rows=found.rows),
            samples=found.samples,
            sql=found.sql,
        )

    def _missing(self, rule: Rule, used: Sequence[str]) -> RuleState | None:
        table = bind_table(rule.table, self.catalog, rule.label)
        names = self.coming.missing(table, used)
        if not names:
            return None
        return self._state(rule, table, False, f"{table} has no column {comma(names)} yet")

    def key(self, rule: Key) -> RuleState:
        bound = self.coming.key(rule)
        missing = self._missing(rule, self.coming.missing_in(bound))
        if missing is not None and not self.coming.countable(bound):
            return missing
        found = standing_verdict(bound)
        if missing is not None:
            found = Verdict(reason=with_folding(missing.reason, bound))
        # What the catalog enforces needs no look at the rows.
        facts = KeyFacts() if found.enforced else key_facts(self.connection, bound, self.talk)
        return RuleState(
            rule=bound.label,
            kind="key",
            table=str(bound.table),
            verdict=str(found),
            reason=found.reason,
            violations=facts.violations,
            samples=facts.samples,
            sql=facts.sql or self.talk.duplicates(bound, survey.SAMPLES),
        )

    def column(self, rule: Column) -> RuleState:
        bound = columns.bind_rule(rule, self.catalog)
        there, table = bound.there, bound.table
        if there is None or self.coming.missing(table, [rule.name]):
            return self._state(rule, table, False, f"{table} has no column {rule.name}")
        if not _is_of_type(self.connection, rule, there):
            return self._state(rule, table, False, f"it is of type {there.type}")
        if rule.not_null and not there.not_null:
            nulls = survey.rows_where(self.connection, table, f"{quote(there.name)} IS NULL")
            state = self._state(rule, table, False, "it may be NULL", nulls)
            return replace(state, violations=Violations(rows=nulls.rows, nulls=nulls.rows))
        if rule.references:
            kept = self.reference(references.bind_column_reference(rule, self.catalog))
            if not kept.ok:
                return kept
        return self._state(rule, table, True, f"the column {there.name}")

    def reference(self, bound: BoundReference) -> RuleState:
        rule, key = bound.rule, references.standing(bound)
        missing = self._missing(rule, bound.key.columns)
        if missing is not None:
            return missing
        if key is not None and key.validated and self.talk.name == "postgresql":
            return self._state(rule, bound.table, *_acts(bound))
        # SQLite checks foreign keys only for connections that ask for it.
        lost = survey.orphan_facts(self.connection, bound, key or bound.key).orphans
        if key is None:
            reason = f"{bound.table} has no such foreign key"
            return self._state(rule, bound.table, False, reason, lost)
        if not key.validated:
            return self._state(rule, bound.table, False, f"{key.name} is NOT VALID", lost)
        held, reason = _acts(bound)
        return self._state(rule, bound.table, held and not lost.rows, reason, lost)

    def index(self, rule: Index) -> RuleState:
        bound = indexes.bind_index(rule, self.catalog)
        there = indexes.standing(bound, self.talk.name)
        if there is None:
            return self._state(rule, bound.table, False, "there is no such index")
        return self._state(rule, bound.table, True, f"the index {there.name}")

    def constraint(self, rule: Constraint) -> RuleState:
        bound = constraints.bind_constraint(rule, self.catalog)
        missing = self._missing(rule, self.coming.used(rule.check))
        if missing is not None:
            return missing
        there = constraints.standing(bound, self.talk.name)
        if there is not None and there.validated:
            return self._state(rule, bound.table, True, f"the check {there.name}")
        with survey.rule_errors(rule.label):
            broken = survey.rows_where(self.connection, bound.table, bound.violated)
        reason = f"{there.name} is NOT VALID" if there else "there is no such check"
        return self._state(rule, bound.table, False, reason, broken)

    def population(self, rule: Population) -> RuleState:
        bound = populations.bind_population(rule, self.catalog)
        missing = self._missing(rule, [bound.column.name, *self.coming.used(rule.where)])
        if missing is not None:
            return missing
        facts = survey.population_facts(self.connection, bound)
        met = facts.meets(rule.rate)
        rows = RowFacts(rows=0 if met else facts.total - facts.populated, sql=facts.sql)
        return self._state(rule, bound.table, met, f"{facts}, {rule.rate:.0%} wanted", rows)


def _is_of_type(connection: Connection, rule: Column, there: TableColumn) -> bool:
    """By the words, else by what the server makes of them."""
    if same_type(there.type, rule.type, connection.dialect.name):
        return True
    if connection.dialect.name == "sqlite" or _length(there.type) != _length(rule.type):
        return False
    sql = f"SELECT to_regtype({literal(there.type)}) = to_regtype({literal(rule.type)})"
    return bool(run(connection, sql).scalar_one())


def _length(type_: str) -> str:
    return type_.partition("(")[2].partition(")")[0].replace(" ", "")


def _acts(bound: BoundReference) -> tuple[bool, str]:
    key = references.standing(bound)
    assert key is not None
    same = key.on_delete == bound.key.on_delete
    return same, f"the foreign key {key.name}" + ("" if same else f" does {key.on_delete}")
