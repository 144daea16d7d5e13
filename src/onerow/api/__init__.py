"""The verbs of the command line as functions: plain values in, plain values out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from onerow import backup as backups
from onerow import decisions
from onerow.api.archive import archive_list, archive_prune, archive_show
from onerow.api.emission import write_alembic
from onerow.api.inputs import (
    Address,
    base_of,
    load_plan,
    load_rules,
    open_database,
    rules_from,
    rules_if_any,
    rules_of,
    snapshot,
)
from onerow.api.proofs import Proof, verify
from onerow.catalog import read_snapshot
from onerow.checks import select
from onerow.checks.base import Probe
from onerow.database import Database, errors
from onerow.dialects import dialect
from onerow.errors import InputError, Refused, RuleError
from onerow.executor import Event, Listener, Outcome, execute, take_back
from onerow.finding import SEVERITIES, CheckReport, Severity
from onerow.journal import Journal, RunRecord
from onerow.keys import bind_key
from onerow.measure import reading
from onerow.plan import Plan, Step
from onerow.planner import Planner
from onerow.planning import merge_spec
from onerow.probes import BUDGET_SECONDS, TIMEOUT_SECONDS, diagnose, listed
from onerow.rulefile import Rules, parse_rules
from onerow.rules import Key, Rule, rule_to_dict
from onerow.session import Limits
from onerow.states import rule_states


def _silent(_event: Event) -> None:
    """Nobody listens."""


# -- check --------------------------------------------------------------------------------------


def check(
    url: Address | None = None,
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
    given, checks = rules_if_any(rules), select(only, skip)
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
    url: Address | None = None,
    rules: Rules | Iterable[Rule] | str | Path | None = None,
    *,
    only: Iterable[str] = (),
    skip: Iterable[str] = (),
) -> tuple[Probe, ...]:
    """Every question that `check` might put to the rows, none of them asked. Arguments as there."""
    given = rules_if_any(rules)
    catalog = snapshot(open_database(url, given), given)
    return listed(catalog, given.rules, select(only, skip))


def fails(report: CheckReport, threshold: Severity = "error") -> bool:
    """Whether a rule does not hold, or a finding is at or above the threshold. Hints never fail."""
    least = SEVERITIES.index(threshold)
    found = any(
        SEVERITIES.index(f.severity) >= least and f.confidence != "hint" for f in report.findings
    )
    return found or not all(r.ok for r in report.rules)


# -- plan ---------------------------------------------------------------------------------------


def make_plan(
    url: Address | None = None, rules: Rules | Iterable[Rule] | str | Path | None = None
) -> Plan:
    """Plan what takes the database to where its rules hold. Changes nothing.

    Args:
        url: address of the database; the rule file's when None.
        rules: a rule file's path or content, or rules; `onerow.toml` when None.

    Raises:
        InputError: rules or address cannot be used.
        DatabaseError: the database cannot be reached or read.
    """
    given = rules_of(rules)
    database = open_database(url, given)
    catalog = snapshot(database, given)
    planner = Planner(database, catalog, dialect(catalog.dialect), base_of(given))
    return planner.plan(given.rules)


def write_decisions(
    url: Address | None,
    rules: Rules | Iterable[Rule] | str | Path | None,
    path: str | Path,
) -> int:
    """Write a CSV with every row of every duplicate group, for a person to fill in `keep`.

    Returns:
        The number of rows written.

    Raises:
        RuleError: not exactly one key asks for manual decisions.
    """
    given = rules_of(rules)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What an apply would do now."""

    plan: Plan
    run: RunRecord | None = None  #: the open run of that plan, which it would go on with


def prepare(
    url: Address | None = None,
    rules: Rules | Iterable[Rule] | str | Path | None = None,
    *,
    plan: Plan | str | Path | None = None,
) -> Prepared:
    """The plan given; without one, the plan of the open run, else a new one. Changes nothing.

    Raises:
        InputError, DatabaseError: could not run.
    """
    given = None if plan is not None and rules is None else rules_of(rules)
    database = open_database(url, given)
    going = _open_run(database, "apply")
    if plan is not None:
        chosen = plan if isinstance(plan, Plan) else load_plan(plan)
        return Prepared(plan=chosen, run=going if going and going.plan_id == chosen.id else None)
    if going is not None:
        return Prepared(plan=going.plan, run=going)
    return Prepared(plan=make_plan(database, given))


def apply(
    url: Address | None = None,
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
    given = None if plan is not None and rules is None else rules_of(rules)
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
    url: Address | None = None,
    run: str = "last",
    *,
    rules: Rules | Iterable[Rule] | str | Path | None = None,
    force: bool = False,
    archive_newer: bool = False,
    limits: Limits | None = None,
    listen: Listener = _silent,
) -> Outcome:
    """Take a run back: rows and schema as they were.

    Args:
        run: id of the run; the newest when "last".
        rules: with "last", the newest run of exactly these rules; where none of theirs stands,
            there is nothing to do.
        force: put rows back over what others have changed since.
        archive_newer: rows that came since and break a key that is to come back go into the
            archive, but the one of the lowest primary key of each group; else they stop the undo.
    """
    database = open_database(url)
    if rules is not None and run == "last":
        found = _run_of(database, rules_of(rules))
        if found is None:
            return Outcome(run=None, status="undone", message="No run of these rules stands.")
        run = found.id
    try:
        return take_back(
            database,
            run,
            limits or Limits(),
            listen,
            force=force,
            archive_newer=archive_newer,
        )
    except Refused as refusal:
        return Outcome(run=None, status="refused", message=str(refusal), exit_code=1)


def _run_of(database: Database, rules: Rules) -> RunRecord | None:
    wanted = json.loads(json.dumps([rule_to_dict(r) for r in rules.rules], default=str))
    standing = (r for r in status(database) if r.status != "undone")
    return next((r for r in standing if [dict(x) for x in r.plan.rules] == wanted), None)


def status(url: Address | None = None) -> tuple[RunRecord, ...]:
    """All runs on a database, the newest first."""
    database = open_database(url)
    with database.connect() as connection:
        journal = Journal(connection, database.dialect)
        return journal.runs() if journal.exists() else ()


__all__ = [
    "InputError",
    "Outcome",
    "Plan",
    "Prepared",
    "Proof",
    "Step",
    "apply",
    "archive_list",
    "archive_prune",
    "archive_show",
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
    "rules_from",
    "snapshot",
    "status",
    "undo",
    "verify",
    "write_alembic",
]
