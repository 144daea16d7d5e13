"""The verbs of the command line as functions: plain values in, plain values out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from onerow import backup as backups
from onerow import decisions
from onerow.catalog import read_snapshot
from onerow.checks import select
from onerow.checks.base import Probe
from onerow.database import Database, errors, expand
from onerow.dialects import dialect
from onerow.errors import InputError, PlanFileError, Refused, RuleError, RuleFileError
from onerow.executor import Event, Listener, Outcome, execute, take_back
from onerow.finding import SEVERITIES, CheckReport, RuleState, Severity, Violations
from onerow.journal import Journal, RunRecord
from onerow.keys import bind_key
from onerow.measure import reading
from onerow.plan import Plan, Step
from onerow.planner import Planner
from onerow.planning import merge_spec
from onerow.probes import BUDGET_SECONDS, TIMEOUT_SECONDS, diagnose, listed
from onerow.report.words import count
from onerow.rulefile import Rules, parse_rules
from onerow.rules import Column, Key, Reference, Rule
from onerow.schema import Snapshot
from onerow.session import Limits
from onerow.states import rule_states

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
    rules = tuple(rules)
    texts = [r.table for r in rules]
    texts += [t for r in rules if isinstance(r, Key) for t in r.also_referenced_by]
    texts += [r.to for r in rules if isinstance(r, Reference)]
    texts += [r.references for r in rules if isinstance(r, Column) and r.references]
    return [
        s
        for s in known.other_schemas
        if s not in known.schemas and any(t.startswith((f"{s}.", f'"{s}".')) for t in texts)
    ]


# -- check --------------------------------------------------------------------------------------


def check(
    url: str | Database | None = None,
    rules: Rules | Iterable[Rule] | str | Path | None = None,
    *,
    only: Iterable[str] = (),
    skip: Iterable[str] = (),
    timeout: float = TIMEOUT_SECONDS,
    budget: float = BUDGET_SECONDS,
) -> CheckReport:
    """Where every rule stands, and what the checks find besides. Read-only.

    Args:
        url: address of the database; the rule file's when None.
        rules: a rule file's path or content, or rules; when None, `onerow.toml` if there is one,
            else the checks alone.
        only: ids of checks, or their beginnings (`U101`, `R`); none means all. Rules are left out
            unless one of these checks speaks of them.
        skip: ids of checks, or their beginnings.
        timeout: seconds that one question of a check may take.
        budget: seconds that all of them may take together.

    Raises:
        InputError: rules or address cannot be used, or there is no such check.
        DatabaseError: the database cannot be reached or read.
    """
    given, checks = _rules_if_any(rules), select(only, skip)
    database = open_database(url, given)
    catalog = snapshot(database, given)
    spoken_of = not tuple(only) or any(c.applies.declared_keys for c in checks)
    found = diagnose(
        database,
        catalog,
        given.rules,
        checks,
        measured=spoken_of,
        timeout=timeout,
        budget=budget,
    )
    return CheckReport(
        dialect=catalog.dialect,
        version=catalog.version_text,
        findings=found.findings,
        checks=found.results,
        rules=found.states,
    )


def list_probes(
    url: str | Database | None = None,
    rules: Rules | Iterable[Rule] | str | Path | None = None,
    *,
    only: Iterable[str] = (),
    skip: Iterable[str] = (),
) -> tuple[Probe, ...]:
    """Every question that `check` might put to the rows, none of them asked. Arguments as there."""
    given = _rules_if_any(rules)
    catalog = snapshot(open_database(url, given), given)
    return listed(catalog, given.rules, select(only, skip))


def _rules_if_any(rules: Rules | Iterable[Rule] | str | Path | None) -> Rules:
    if rules is None and not Path(DEFAULT_RULES).exists():
        return Rules()
    return _rules_of(rules)


def fails(report: CheckReport, threshold: Severity = "error") -> bool:
    """Whether a rule does not hold, or a finding is at or above the threshold. Hints never fail."""
    least = SEVERITIES.index(threshold)
    found = any(
        SEVERITIES.index(f.severity) >= least and f.confidence != "hint" for f in report.findings
    )
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
    planner = Planner(database, catalog, dialect(catalog.dialect), _base(given))
    return planner.plan(given.rules)


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
    going = _open_run(database, "apply")
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
    if undoing := _open_run(database, "undo"):
        message = f"Run {undoing.id} is being undone. Finish it: `onerow undo {undoing.id}`."
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


def _open_run(database: Database, direction: str) -> RunRecord | None:
    return next((r for r in status(database) if r.open and r.direction == direction), None)


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
        by = "" if state.kind == "population" else "enforced by "
        return Proof(rule=state.rule, ok=True, message=f"{by}{state.reason}")
    found: Violations = state.violations
    several = [
        count(found.groups, "group of duplicates", "groups of duplicates") if found.groups else "",
        count(found.rows - found.nulls, "surplus row") if found.rows > found.nulls else "",
        count(found.nulls, "row with a NULL", "rows with a NULL") if found.nulls else "",
    ]
    rows = f"; {', '.join(filter(None, several))}" if found else ""
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
        message=f"{count(run.archived, 'row')} removed and {held - run.archived:,} changed, "
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
    "list_probes",
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
