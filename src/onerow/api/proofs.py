"""Proof that the rules hold, and that nothing was lost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from onerow.api.inputs import Address, open_database, rules_of, snapshot
from onerow.database import Database
from onerow.finding import RuleState, Violations
from onerow.journal import Journal, RunRecord
from onerow.report.words import count
from onerow.rulefile import Rules
from onerow.rules import Rule
from onerow.states import rule_states


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    rule: str
    ok: bool
    message: str


def verify(
    url: Address | None = None, rules: Rules | Iterable[Rule] | str | Path | None = None
) -> tuple[Proof, ...]:
    """Prove that the rules hold, and that nothing was lost by the runs that stand."""
    given = rules_of(rules)
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
            if r.status == "done" and (journal.archives(r.id) or journal.pruned(r.id))
        ]


def _archive_proof(journal: Journal, run: RunRecord) -> Proof:
    """The archive holds exactly the rows that the journal says were taken."""
    archives, pruned = journal.archives(run.id), journal.pruned(run.id)
    written = sum(o.rows for o in journal.operations(run.id))
    if pruned is not None:
        told = f"its archive of {count(written, 'row')} was pruned on {pruned:%Y-%m-%d}"
        return Proof(rule=f"run {run.id}", ok=True, message=f"{told}; it cannot be undone")
    held = sum(journal.archived_count(a) for a in archives.values())
    return Proof(
        rule=f"run {run.id}",
        ok=written == held,
        message=f"{count(run.archived, 'row')} removed and {held - run.archived:,} changed, "
        f"all {held:,} of {written:,} in the archive",
    )
