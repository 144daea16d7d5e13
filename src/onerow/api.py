"""The verbs of the command line as functions: plain values in, plain values out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from onerow import backup as backups
from onerow import decisions
from onerow.catalog import read_snapshot
from onerow.database import Database, errors, expand
from onerow.dialects import Dialect, MergeSpec, dialect
from onerow.errors import InputError, PlanFileError, Refused, RuleError, RuleFileError
from onerow.executor import Event, Listener, Outcome, execute, take_back
from onerow.facts import KeyFacts, MergeFacts
from onerow.finding import SEVERITIES, CheckReport, RuleState, Severity, Violations
from onerow.journal import Journal, RunRecord
from onerow.keys import BoundKey, bind_key
from onerow.measure import key_facts, merge_facts, reading, rehearse
from onerow.plan import Blocker, Plan, Step
from onerow.planning import (
    KeyPlan,
    fingerprint,
    invariant,
    merge_spec,
    plan_key,
    standing_verdict,
)
from onerow.rulefile import Rules, parse_rules
from onerow.rules import Key, Rule, kind_of, rule_to_dict
from onerow.schema import FOREIGN, MATERIALIZED_VIEW, VIEW, VIRTUAL, Snapshot
from onerow.session import Limits
from onerow.sql import Name
from onerow.steps import names_changed

DEFAULT_RULES = "onerow.toml"


def _silent(_event: Event) -> None:
    """Nobody listens."""


def load_rules(path: str | Path) -> Rules:
    """Read a rule file. Raises RuleFileError when it is not there, not TOML or not understood."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RuleFileError(
            f"There is no rule file {str(path)!r}.", hint="`onerow init URL` writes one."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RuleFileError(f"The rule file {str(path)!r} cannot be read: {error}.") from error
    return parse_rules(text, str(path))


def _rules_of(rules: Rules | Iterable[Rule] | str | Path | None) -> Rules:
    if rules is None:
        return load_rules(DEFAULT_RULES)
    if isinstance(rules, str | Path):
        return load_rules(rules)
    return rules if isinstance(rules, Rules) else Rules(rules=tuple(rules))


def open_database(url: str | Database | None, rules: Rules | None = None) -> Database:
    """The database that is meant: the URL given, else the rule file's.

    Raises:
        UrlError: there is none.
    """
    if isinstance(url, Database):
        return url
    text = url if url is not None else (rules.url if rules else None)
    return Database(expand(text or ""))


def snapshot(database: Database, rules: Rules | None = None) -> Snapshot:
    """The catalog as it is now, in the schemas that the rules speak of."""
    schemas = list(rules.schemas) if rules and rules.schemas else None
    with errors(database):
        first = read_snapshot(database.engine, schemas=schemas)
        named = _schemas_named(rules.rules if rules else (), first)
        if not named:
            return first
        return read_snapshot(database.engine, schemas=[*first.schemas, *named])


def _schemas_named(rules: Iterable[Rule], known: Snapshot) -> list[str]:
    """Schemas outside of the search path that a rule names with its table."""
    texts = [r.table for r in rules]
    return [
        s
        for s in known.other_schemas
        if s not in known.schemas and any(t.startswith((f"{s}.", f'"{s}".')) for t in texts)
    ]


# -- check --------------------------------------------------------------------------------------


def rule_states(
    database: Database, rules: Sequence[Rule], catalog: Snapshot
) -> tuple[RuleState, ...]:
    """Where every rule stands.

    Raises:
        RuleError: a rule names what is not there.
    """
    talk = dialect(catalog.dialect)
    with errors(database), reading(database) as connection:
        return tuple(
            _key_state(bind_key(r, catalog), talk, lambda b: key_facts(connection, b, talk))
            for r in rules
            if isinstance(r, Key)
        )


def _key_state(bound: BoundKey, talk: Dialect, ask: object) -> RuleState:
    found = standing_verdict(bound)
    # What the catalog enforces needs no look at the rows.
    facts: KeyFacts = KeyFacts() if found.enforced else ask(bound)  # type: ignore[operator]
    return RuleState(
        rule=bound.label,
        kind="key",
        table=str(bound.table),
        verdict=str(found),
        reason=found.reason,
        violations=facts.violations,
        samples=facts.samples,
        sql=facts.sql or talk.duplicates(bound, 5),
    )


def check(
    url: str | Database | None = None, rules: Rules | Iterable[Rule] | str | Path | None = None
) -> CheckReport:
    """Where every rule stands. Read-only.

    Args:
        url: address of the database; the rule file's when None.
        rules: a rule file's path or content, or rules; `onerow.toml` when None.

    Raises:
        InputError: rules or address cannot be used.
        DatabaseError: the database cannot be reached or read.
    """
    given = _rules_of(rules)
    database = open_database(url, given)
    catalog = snapshot(database, given)
    return CheckReport(
        dialect=catalog.dialect,
        version=catalog.version_text,
        rules=rule_states(database, given.rules, catalog),
    )


def fails(report: CheckReport, threshold: Severity = "error") -> bool:
    """Whether a rule does not hold, or a finding is at or above the threshold."""
    least = SEVERITIES.index(threshold)
    found = any(SEVERITIES.index(f.severity) >= least for f in report.findings)
    return found or not all(r.ok for r in report.rules)


# -- plan ---------------------------------------------------------------------------------------


def make_plan(
    url: str | Database | None = None, rules: Rules | Iterable[Rule] | str | Path | None = None
) -> Plan:
    """Plan what takes the database to where its rules hold. Changes nothing.

    Args:
        url: address of the database; the rule file's when None.
        rules: a rule file's path or content, or rules; `onerow.toml` when None.

    Raises:
        InputError: rules or address cannot be used.
        DatabaseError: the database cannot be reached or read.
    """
    given = _rules_of(rules)
    database = open_database(url, given)
    catalog = snapshot(database, given)
    _refuse_unplannable(given.rules)
    base = _base(given)
    planner = _Planner(database, catalog, dialect(catalog.dialect), base)
    parts = [planner.key(r) for r in given.rules if isinstance(r, Key)]
    return replace(_assemble(catalog, given.rules, parts, planner.tables), base=base)


def _base(rules: Rules) -> str:
    """The folder of the rule file, where it is one."""
    return str(Path(rules.source).parent) if rules.source else ""


def write_decisions(
    url: str | Database | None,
    rules: Rules | Iterable[Rule] | str | Path | None,
    path: str | Path,
) -> int:
    """Write a CSV with every row of every duplicate group, for a person to fill in `keep`.

    Returns:
        The number of rows written.

    Raises:
        RuleError: not exactly one key asks for manual decisions.
    """
    given = _rules_of(rules)
    database = open_database(url, given)
    keys = [r for r in given.rules if isinstance(r, Key)]
    wanted = [r for r in keys if r.keep.how == "manual"] or keys
    if len(wanted) != 1:
        raise RuleError(
            f"a decisions file is for one key, and {len(wanted)} could be meant.",
            hint='Write keep = "manual FILE" in the one that is.',
        )
    catalog = snapshot(database, given)
    talk = dialect(catalog.dialect)
    spec = merge_spec(bind_key(wanted[0], catalog), catalog, talk)
    with errors(database), reading(database) as connection:
        return decisions.write(connection, spec, talk, path)


def _refuse_unplannable(rules: Sequence[Rule]) -> None:
    kinds = sorted({kind_of(r) for r in rules if not isinstance(r, Key)})
    if kinds:
        names = ", ".join(f"[[{k}]]" for k in kinds)
        raise RuleError(f"This version plans [[key]] rules only; the file has {names}.")


def _assemble(
    catalog: Snapshot, rules: Sequence[Rule], parts: list[KeyPlan], tables: set[Name]
) -> Plan:
    dicts = tuple(rule_to_dict(r) for r in rules)
    steps = tuple(s for p in parts for s in p.steps)
    names = tuple(sorted(tables, key=str))
    return Plan(
        dialect=catalog.dialect,
        database=catalog.database,
        rules=dicts,
        steps=steps,
        tables=names,
        blockers=tuple(dict.fromkeys(b for p in parts for b in p.blockers)),
        satisfied=tuple(p.satisfied for p in parts if p.satisfied),
        fingerprint=fingerprint(dicts, catalog, names),
        invariant=invariant(dicts, catalog, names, names_changed(steps)),
    )


@dataclass(slots=True)
class _Planner:
    """Asks the rows what planning needs to know, rule by rule."""

    database: Database
    catalog: Snapshot
    talk: Dialect
    base: str = ""
    tables: set[Name] = field(default_factory=set)

    def key(self, rule: Key) -> KeyPlan:
        try:
            bound = bind_key(rule, self.catalog)
        except RuleError as error:
            blocker = self._not_a_table(rule)
            if blocker is None:
                raise
            return KeyPlan(blockers=(replace(blocker, message=str(error), rule=rule.label),))
        plan = self._planned(bound)
        steps = tuple(replace(s, rule=s.rule or rule.label) for s in plan.steps)
        found = tuple(replace(b, rule=rule.label) for b in plan.blockers)
        return replace(plan, steps=steps, blockers=found)

    def _not_a_table(self, rule: Key) -> Blocker | None:
        kinds = {VIEW, MATERIALIZED_VIEW, FOREIGN, VIRTUAL}
        name = rule.table.rpartition(".")[2].strip('"').casefold()
        if any(t.kind in kinds and t.name.casefold() == name for t in self.catalog):
            return Blocker(code="not_a_table", message="")
        return None

    def _planned(self, bound: BoundKey) -> KeyPlan:
        spec = merge_spec(bound, self.catalog, self.talk)
        self.tables |= {bound.table.ident, *(c.table.ident for c in spec.children)}
        facts, met = KeyFacts(), MergeFacts()
        if not standing_verdict(bound).enforced and self._readable(bound):
            if self.catalog.dialect == "postgresql" and not self.catalog.read_only:
                with errors(self.database):
                    rehearse(self.database, bound, self.talk)
            with errors(self.database), reading(self.database) as connection:
                facts = key_facts(connection, bound, self.talk)
            if spec.identity and facts.violations.groups:
                met = self._met(spec)
        return plan_key(bound, self.catalog, self.talk, facts, met)

    def _met(self, spec: MergeSpec) -> MergeFacts:
        """What the merge would meet; manual decisions need a session table, and are rolled back."""
        manual = spec.bound.key.keep.how == "manual"
        chosen = decisions.read(spec.bound, spec.identity, self.base) if manual else None
        with reading(self.database, temporary=chosen is not None) as connection:
            if chosen is not None:
                decisions.load(connection, spec, chosen)
            met = merge_facts(connection, spec, self.talk)
            if chosen is not None:
                left = decisions.undecided(connection, spec, self.talk)
                met = replace(met, undecided=left, decisions=chosen.digest)
            connection.rollback()
        return met

    def _readable(self, bound: BoundKey) -> bool:
        return "select" in bound.table.privileges


# -- apply, undo --------------------------------------------------------------------------------


def load_plan(path: str | Path) -> Plan:
    """Read a plan file. Raises PlanFileError when it is not there, or is none."""
    try:
        return Plan.from_json(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PlanFileError(
            f"There is no plan file {str(path)!r}.", hint="`onerow plan --out FILE` writes one."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise PlanFileError(f"The plan file {str(path)!r} cannot be read: {error}.") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What an apply would do now."""

    plan: Plan
    run: RunRecord | None = None  #: the open run of that plan, which it would go on with


def prepare(
    url: str | Database | None = None,
    rules: Rules | Iterable[Rule] | str | Path | None = None,
    *,
    plan: Plan | str | Path | None = None,
) -> Prepared:
    """The plan given; without one, the plan of the open run, else a new one. Changes nothing.

    Raises:
        InputError, DatabaseError: could not run.
    """
    given = None if plan is not None and rules is None else _rules_of(rules)
    database = open_database(url, given)
    going = _open_run(database)
    if plan is not None:
        chosen = plan if isinstance(plan, Plan) else load_plan(plan)
        return Prepared(plan=chosen, run=going if going and going.plan_id == chosen.id else None)
    if going is not None:
        return Prepared(plan=going.plan, run=going)
    return Prepared(plan=make_plan(database, given))


def apply(
    url: str | Database | None = None,
    rules: Rules | Iterable[Rule] | str | Path | None = None,
    *,
    plan: Plan | str | Path | None = None,
    limits: Limits | None = None,
    listen: Listener = _silent,
    backup: str | Path | None = None,
) -> Outcome:
    """Run a plan; without one, go on with the open run, else plan and run.

    Args:
        url: address of the database; the rule file's when None.
        rules: a rule file's path or content, or rules; `onerow.toml` when None.
        plan: or the path of its file.
        limits: how much the run may get in the way.
        listen: is told what happens.
        backup: a file for a copy of the database (SQLite) or of the tables touched (PostgreSQL),
            made before anything is changed.

    Raises:
        InputError, DatabaseError: could not run.
    """
    given = None if plan is not None and rules is None else _rules_of(rules)
    database = open_database(url, given)
    chosen = prepare(database, given, plan=plan).plan
    if chosen.blockers:
        message = "\n".join(b.message for b in chosen.blockers)
        return Outcome(run=None, status="refused", message=message, exit_code=1)
    if not chosen.steps:
        message = " ".join(chosen.satisfied) or "Nothing to do."
        return Outcome(run=None, status="done", message=message)
    try:
        if backup is not None:
            with errors(database):
                touched = read_snapshot(database.engine, tables=chosen.tables)
            backups.save(database, touched, chosen.tables, Path(backup))
        return execute(database, chosen, limits or Limits(), listen)
    except Refused as refusal:
        return Outcome(run=None, status="refused", message=str(refusal), exit_code=1)


def _open_run(database: Database) -> RunRecord | None:
    return next((r for r in status(database) if r.open and r.direction == "apply"), None)


def undo(
    url: str | Database | None = None,
    run: str = "last",
    *,
    force: bool = False,
    limits: Limits | None = None,
    listen: Listener = _silent,
) -> Outcome:
    """Take a run back: rows and schema as they were.

    Args:
        run: id of the run; the newest when "last".
        force: put rows back over what others have changed since.
    """
    database = open_database(url)
    try:
        return take_back(database, run, limits or Limits(), listen, force=force)
    except Refused as refusal:
        return Outcome(run=None, status="refused", message=str(refusal), exit_code=1)


def status(url: str | Database | None = None) -> tuple[RunRecord, ...]:
    """All runs on a database, the newest first."""
    database = open_database(url)
    with database.connect() as connection:
        journal = Journal(connection, database.dialect)
        return journal.runs() if journal.exists() else ()


# -- verify -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    rule: str
    ok: bool
    message: str


def verify(
    url: str | Database | None = None, rules: Rules | Iterable[Rule] | str | Path | None = None
) -> tuple[Proof, ...]:
    """Prove that the rules hold, and that nothing was lost by the runs that stand."""
    given = _rules_of(rules)
    database = open_database(url, given)
    catalog = snapshot(database, given)
    states = rule_states(database, given.rules, catalog)
    return (*map(_proof, states), *_nothing_lost(database))


def _proof(state: RuleState) -> Proof:
    if state.ok:
        return Proof(rule=state.rule, ok=True, message=f"enforced by {state.reason}")
    found: Violations = state.violations
    rows = f"; {found.groups:,} group(s), {found.rows:,} surplus row(s)" if found else ""
    return Proof(rule=state.rule, ok=False, message=f"{state.verdict}: {state.reason}{rows}")


def _nothing_lost(database: Database) -> list[Proof]:
    with database.connect() as connection:
        journal = Journal(connection, database.dialect)
        runs = journal.runs() if journal.exists() else ()
        return [
            _archive_proof(journal, r)
            for r in runs
            if r.status == "done" and journal.archives(r.id)
        ]


def _archive_proof(journal: Journal, run: RunRecord) -> Proof:
    """The archive holds exactly the rows that the journal says were taken."""
    archives = journal.archives(run.id)
    written = sum(o.rows for o in journal.operations(run.id))
    held = sum(journal.archived_count(a) for a in archives.values())
    return Proof(
        rule=f"run {run.id}",
        ok=written == held,
        message=f"{run.archived:,} row(s) removed and {held - run.archived:,} changed, "
        f"all {held:,} of {written:,} in the archive",
    )


__all__ = [
    "InputError",
    "Outcome",
    "Plan",
    "Prepared",
    "Proof",
    "Step",
    "apply",
    "check",
    "fails",
    "load_plan",
    "load_rules",
    "make_plan",
    "open_database",
    "parse_rules",
    "prepare",
    "rule_states",
    "snapshot",
    "status",
    "undo",
    "verify",
]
