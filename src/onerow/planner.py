"""From rules to a Plan: asks the rows what planning needs to know, rule by rule.

Each rule is planned over the catalog as the rules before it will have left it, so a key may stand
on a column that another rule adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from onerow import survey
from onerow.asking import Asking
from onerow.database import Database, errors
from onerow.dialects import Dialect
from onerow.errors import RuleError
from onerow.facts import OrphanFacts, RowFacts
from onerow.keys import bind_key, bind_table
from onerow.measure import reading
from onerow.plan import Blocker, Plan, Step
from onerow.planning import column as columns
from onerow.planning import constraint as constraints
from onerow.planning import fingerprint, invariant, merge_spec, plan_key
from onerow.planning import index as indexes
from onerow.planning import population as populations
from onerow.planning import reference as references
from onerow.planning.binding import with_table
from onerow.planning.key import placed, with_key
from onerow.planning.order import RulePlan, ordered, parents_before_children
from onerow.planning.reference import BoundReference
from onerow.pooler import MESSAGE, behind_pooler
from onerow.rules import Column, Constraint, Index, Key, Population, Reference, Rule, rule_to_dict
from onerow.schema import FOREIGN, MATERIALIZED_VIEW, VIEW, VIRTUAL, ForeignKey, Snapshot, Table
from onerow.schema import Column as TableColumn
from onerow.sql import Name
from onerow.steps import names_changed
from onerow.survey import Ahead

#: In the order in which they depend on each other.
ORDER: tuple[type[Rule], ...] = (Column, Reference, Index, Key, Constraint, Population)


@dataclass(slots=True)
class Planner:
    """Plans rules over a catalog.

    Attributes:
        catalog: as it is now.
        base: folder that file names in rules are relative to.
    """

    database: Database
    catalog: Snapshot
    talk: Dialect
    base: str = ""
    tables: set[Name] = field(default_factory=set)
    snapshot: Snapshot = field(init=False)  #: as it will be after the rules planned so far
    ask: Asking = field(init=False)
    rules: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        self.snapshot = self.catalog
        self.ask = Asking(self.database, self.catalog, self.talk, self.base)

    def plan(self, rules: Sequence[Rule]) -> Plan:
        """The plan of all rules together.

        Raises:
            RuleError: a rule names what is not there, or contradicts itself.
        """
        self.rules = tuple(rules)
        parents_first = {name: n for n, name in enumerate(parents_before_children(self.catalog))}

        def place(rule: Rule) -> tuple[int, int]:
            table = self._table_of(rule) if isinstance(rule, Key) else None
            return ORDER.index(type(rule)), parents_first.get(table, 0) if table else 0

        parts = [part for rule in sorted(rules, key=place) for part in self._rule(rule)]
        return self._assembled(parts)

    def _table_of(self, rule: Rule) -> Name | None:
        try:
            return bind_table(rule.table, self.catalog, rule.label).ident
        except RuleError:
            return None  # told when the rule itself is planned

    def _assembled(self, parts: list[RulePlan]) -> Plan:
        dicts = tuple(rule_to_dict(r) for r in self.rules)
        steps = ordered(parts, self.snapshot)
        if all(s.kind == "verify" for s in steps):
            # Nothing is changed, so there is nothing that an apply would be needed for.
            steps = ()
        names = tuple(sorted(self.tables, key=str))
        found = (b for p in parts for b in p.blockers)
        return Plan(
            dialect=self.catalog.dialect,
            database=self.catalog.database,
            rules=dicts,
            steps=steps,
            tables=names,
            blockers=tuple(dict.fromkeys([*self._pooled(steps), *found])),
            satisfied=tuple(p.satisfied for p in parts if p.satisfied),
            notes=tuple(n for p in parts for n in p.notes),
            fingerprint=fingerprint(dicts, self.catalog, names),
            invariant=invariant(dicts, self.catalog, names, names_changed(steps)),
            base=self.base,
        )

    def _pooled(self, steps: tuple[Step, ...]) -> list[Blocker]:
        if steps and behind_pooler(self.database):
            return [Blocker(code="pooler", message=MESSAGE)]
        return []

    def _rule(self, rule: Rule) -> list[RulePlan]:
        try:
            parts = self._plan_of(rule)
        except RuleError as error:
            if not self._names_no_table(rule):
                raise
            blocker = Blocker(code="not_a_table", message=str(error))
            parts = [RulePlan(blockers=(blocker,))]
        return [p.labelled(rule.label) for p in parts]

    def _names_no_table(self, rule: Rule) -> bool:
        kinds = {VIEW, MATERIALIZED_VIEW, FOREIGN, VIRTUAL}
        name = rule.table.rpartition(".")[2].strip('"').casefold()
        return any(t.kind in kinds and t.name.casefold() == name for t in self.catalog)

    def _plan_of(self, rule: Rule) -> list[RulePlan]:
        match rule:
            case Column():
                return self.column(rule)
            case Reference():
                return self.reference(rule)
            case Key():
                return self.key(rule)
            case Index():
                return self.index(rule)
            case Constraint():
                return self.constraint(rule)
            case Population():
                return self.population(rule)

    def _keep(self, plan: RulePlan) -> RulePlan:
        if plan.after is not None:
            self.snapshot = plan.after
        return plan

    # -- columns -----------------------------------------------------------------------------

    def column(self, rule: Column) -> list[RulePlan]:
        bound = columns.bind_rule(rule, self.snapshot)
        self.tables.add(bound.table.ident)
        reference = self._reference_of(rule, bound) if rule.references else None
        if reference is not None and bound.source is not None:
            source = replace(bound.source, references=columns.referred(reference))
            bound = replace(bound, source=source)
        facts = self.ask.column_facts(bound)
        new = reference if bound.there is None else None
        plan = self._keep(columns.plan_column(bound, self.snapshot, self.talk, facts, new))
        if bound.there is None or bound.source is not None:
            key = (bound.table.ident, rule.name if bound.there is None else bound.there.name)
            value = survey.value_ahead(bound, facts)
            self.ask.ahead = Ahead(values={**self.ask.ahead.values, key: value})
        if reference is None or (new is not None and self.talk.name == "sqlite"):
            return [plan]
        again = references.bind_column_reference(rule, self._without(reference.key))
        measured = OrphanFacts() if new is not None else self._orphans(again)
        return [plan, self._keep(self._reference_plan(again, measured))]

    def _without(self, key: ForeignKey) -> Snapshot:
        """The snapshot without a foreign key that is still to be planned."""
        table = self.snapshot.get(key.table)
        assert table is not None
        rest = tuple(k for k in table.foreign_keys if k is not key)
        return with_table(self.snapshot, replace(table, foreign_keys=rest))

    def _reference_of(self, rule: Column, bound: columns.BoundColumn) -> BoundReference:
        table = bound.table
        if bound.there is None:
            coming = TableColumn(name=rule.name, type=rule.type)
            table = replace(table, columns=(*table.columns, coming))
        found = references.bind_column_reference(rule, with_table(self.snapshot, table))
        self.tables.add(found.target.ident)
        return found

    # -- references --------------------------------------------------------------------------

    def reference(self, rule: Reference) -> list[RulePlan]:
        bound = references.bind_reference(rule, self.snapshot)
        self.tables |= {bound.table.ident, bound.target.ident}
        return [self._keep(self._reference_plan(bound, self._orphans(bound)))]

    def _reference_plan(self, bound: BoundReference, facts: OrphanFacts) -> RulePlan:
        late = not references.has_target_key(bound.key, bound.target) and self._is_coming(bound)
        return references.plan_reference(bound, self.snapshot, self.talk, facts, late=late)

    def _is_coming(self, bound: BoundReference) -> bool:
        """A [[key]] of the same file makes the key that the reference leans on."""
        keys = [bind_key(r, self.snapshot) for r in self.rules if isinstance(r, Key)]
        return any(
            k.table.ident == bound.target.ident
            and k.where is None
            and not any(p.folded or p.column is None for p in k.parts)
            and set(k.columns) == set(bound.key.target_columns)
            for k in keys
        )

    def _orphans(self, bound: BoundReference) -> OrphanFacts:
        there = references.standing(bound)
        proven = there is not None and there.validated and self.talk.name == "postgresql"
        missing = [c for c in bound.key.columns if self._is_new(bound.table, c)]
        if proven or missing or not self.ask.readable(bound.table, bound.target):
            return OrphanFacts()
        key = there or bound.key
        with errors(self.database), reading(self.database) as connection:
            facts = survey.orphan_facts(connection, bound, key)
            if facts.orphans.rows and bound.orphans == "archive":
                self.tables |= {k.table for k in self.catalog.references_to(bound.table.ident)}
                children = survey.children_of_orphans(connection, bound, key, self.catalog)
                facts = replace(facts, children=children)
        return facts

    def _is_new(self, table: Table, column: str) -> bool:
        now = self.catalog.get(table.ident)
        return now is None or now.column(column) is None

    # -- keys --------------------------------------------------------------------------------

    def key(self, rule: Key) -> list[RulePlan]:
        bound = bind_key(rule, self.snapshot)
        spec = merge_spec(bound, self.snapshot, self.talk, self.rules)
        self.tables |= {t.ident for t in spec.tables}
        facts, met, unknown = self.ask.key_facts_of(bound, spec)
        plan = plan_key(spec, self.snapshot, self.talk, facts, met)
        if unknown:
            plan = replace(plan, steps=tuple(_told_unknown(s, unknown) for s in plan.steps))
        if plan.steps:
            self.snapshot = with_table(self.snapshot, with_key(bound, self.talk))
        late = self.talk.name == "sqlite" and rule.nulls == "forbidden"
        return [placed(plan, late=late)]

    # -- indexes, constraints, populations ---------------------------------------------------

    def index(self, rule: Index) -> list[RulePlan]:
        bound = indexes.bind_index(rule, self.snapshot)
        self.tables.add(bound.table.ident)
        plan = self._keep(indexes.plan_index(bound, self.snapshot, self.talk))
        if plan.steps and self.ask.may_try:
            made = indexes.trial(bound)
            with errors(self.database):
                survey.rehearse(self.database, bound.table, bound.label, made)
        return [plan]

    def constraint(self, rule: Constraint) -> list[RulePlan]:
        bound = constraints.bind_constraint(rule, self.snapshot)
        self.tables.add(bound.table.ident)
        there = constraints.standing(bound, self.catalog.dialect)
        facts = RowFacts()
        if there is None or not there.validated:
            facts = self.ask.violated(bound)
        return [self._keep(constraints.plan_constraint(bound, self.snapshot, self.talk, facts))]

    def population(self, rule: Population) -> list[RulePlan]:
        bound = populations.bind_population(rule, self.snapshot)
        self.tables.add(bound.table.ident)
        used = [bound.column.name, *([bound.by.name] if bound.by else [])]
        if any(self._is_new(bound.table, c) for c in used) or not self.ask.readable(bound.table):
            return [populations.plan_population(bound, None)]
        with errors(self.database), reading(self.database) as connection:
            facts = survey.population_facts(connection, bound)
        return [populations.plan_population(bound, facts)]


def _told_unknown(step: Step, source: str) -> Step:
    """The merge of a key whose duplicates nobody can count yet says so."""
    if step.kind != "merge_duplicates":
        return step
    told = f"How many duplicates there are depends on {source}; whichever there are then: "
    return replace(step, sentence=told + step.sentence[0].lower() + step.sentence[1:])
