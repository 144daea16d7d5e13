"""`onerow apply`: do it, under live traffic."""

from __future__ import annotations

from pathlib import Path

import click

from onerow import api
from onerow.cli._limits import limit_options, limits_of
from onerow.cli._progress import progress
from onerow.cli._verb import Shared, verb
from onerow.report import json, text

DECLINED = api.Outcome(
    run=None, status="refused", message="Declined; nothing was changed.", exit_code=1
)


@verb(
    "onerow apply --dry-run",
    "onerow apply plan.json --yes",
    "onerow apply --yes --backup before.backup --json",
    "onerow apply --yes --batch-time 0.05 --budget 3600",
)
@click.argument("plan", required=False)
@click.option("--dry-run", is_flag=True, help="Print the plan; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask on a terminal.")
@click.option(
    "--backup",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="First copy the SQLite file, or the tables touched (by pg_dump), to a new file.",
)
@limit_options()
@click.option("-v", "--verbose", is_flag=True, help="Show the SQL of every step.")
def apply(
    shared: Shared,
    plan: str | None,
    dry_run: bool,
    yes: bool,
    backup: Path | None,
    verbose: bool,
    **limits: float | str | None,
) -> int:
    """Run PLAN; without it, go on with the open run, else plan and run.

    It can be stopped at any moment, also by kill -9: the next apply goes on, `onerow undo` takes
    it back. On a terminal it asks once; elsewhere it never does.
    """
    output = shared.output
    rules = shared.need_rules() if plan is None else None
    prepared = api.prepare(shared.database, rules, plan=plan)
    planned = prepared.plan
    output.warn(*text.blockers(planned.blockers))
    if dry_run:
        parts = [*text.plan(planned, verbose=verbose), *text.plan_sum(planned)]
        output.show(json.dry_run(planned), parts)
        return 1 if planned.blockers else 0
    output.tell(*text.going_on(prepared.run))
    if output.on_terminal and not yes and planned.steps and not planned.blockers:
        output.warn(*text.plan(planned, verbose=verbose))
        if not click.confirm("\nApply this plan?", err=True):
            return _ended(shared, DECLINED, planned)
    with progress(output, planned) as listen:
        outcome = api.apply(
            shared.database, plan=planned, limits=limits_of(limits), listen=listen, backup=backup
        )
    return _ended(shared, outcome, planned)


def _ended(shared: Shared, outcome: api.Outcome, planned: api.Plan) -> int:
    if outcome.exit_code and not planned.blockers:
        shared.output.warn(text.stopped(outcome))
    shared.output.show(json.run(outcome, planned), text.run(outcome, planned))
    return outcome.exit_code
