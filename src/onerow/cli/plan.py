"""`onerow plan`: what would be done, step by step."""

from __future__ import annotations

from pathlib import Path

import click

from onerow import api
from onerow.cli._files import write_file
from onerow.cli._verb import Shared, verb
from onerow.report import json, sql, text


@verb(
    "onerow plan",
    "onerow plan --out plan.json",
    "onerow plan --sql --url postgresql://app@localhost/app",
)
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="Write the plan file.")
@click.option("--sql", "as_sql", is_flag=True, help="Print the SQL of the steps, and no more.")
@click.option(
    "--decisions",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help='Write a CSV of all rows in duplicate groups, for keep = "manual FILE", and do no more.',
)
@click.option("-v", "--verbose", is_flag=True, help="Show the SQL of every step.")
def plan(
    shared: Shared, out: Path | None, as_sql: bool, decisions: Path | None, verbose: bool
) -> int:
    """Plan what makes the rules hold. Changes nothing.

    Every step tells its lock and how long it is held, the rows that it touches, and its undo.
    Blockers are told before anything is touched.
    """
    if as_sql and shared.output.json:
        raise click.UsageError("--sql and --json: the document has the SQL already.")
    rules = shared.need_rules()
    if decisions is not None:
        rows = api.write_decisions(shared.database, rules, decisions)
        shared.output.show(json.decisions(str(decisions), rows), text.decisions(decisions, rows))
        return 0
    made = api.make_plan(shared.database, rules)
    if out is not None:
        write_file(out, made.to_json() + "\n")
        shared.output.tell(text.line(f"Wrote {out}; `onerow apply {out}` runs it."))
    shared.output.warn(*text.blockers(made.blockers))
    if as_sql:
        shared.output.write(sql.script(made))
    else:
        parts = [*text.plan(made, verbose=verbose), *text.plan_sum(made)]
        shared.output.show(json.plan(made), parts)
    return 1 if made.blockers else 0
