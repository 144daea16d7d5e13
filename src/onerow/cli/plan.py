"""`onerow plan`: what would be done, step by step."""

from __future__ import annotations

from pathlib import Path

import click

from onerow import api
from onerow.cli._verb import Shared, verb
from onerow.files import write_file
from onerow.report import json, revisions, sql, text
from onerow.report.blocks import line


@verb(
    "onerow plan",
    "onerow plan --out plan.json",
    "onerow plan --sql --url postgresql://app@localhost/app",
    "onerow plan --alembic migrations",
)
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="Write the plan file.")
@click.option("--sql", "as_sql", is_flag=True, help="Print the SQL of the steps, and no more.")
@click.option(
    "--alembic",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write revisions into the Alembic environment DIR.",
)
@click.option(
    "--alembic-head", metavar="REV", help="The revision to go on from, where DIR has several heads."
)
@click.option(
    "--with-onerow", is_flag=True, help="One revision that calls onerow, which mends rows, too."
)
@click.option(
    "--decisions",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help='Write a CSV of all rows in duplicate groups, for keep = "manual FILE", and do no more.',
)
@click.option("-v", "--verbose", is_flag=True, help="Show the SQL of every step.")
def plan(
    shared: Shared,
    out: Path | None,
    as_sql: bool,
    alembic: Path | None,
    alembic_head: str | None,
    with_onerow: bool,
    decisions: Path | None,
    verbose: bool,
) -> int:
    """Plan what makes the rules hold. Changes nothing.

    Every step tells its lock and how long it is held, the rows that it touches, and its undo.
    Blockers are told before anything is touched.
    """
    if as_sql and shared.output.json:
        raise click.UsageError("--sql and --json: the document has the SQL already.")
    if alembic is None and (alembic_head or with_onerow):
        raise click.UsageError("--alembic-head and --with-onerow are for --alembic DIR.")
    rules = shared.need_rules()
    if decisions is not None:
        rows = api.write_decisions(shared.database, rules, decisions)
        shared.output.show(json.decisions(str(decisions), rows), text.decisions(decisions, rows))
        return 0
    made = api.make_plan(shared.database, rules)
    if out is not None:
        write_file(out, made.to_json() + "\n")
        shared.output.tell(line(f"Wrote {out}; `onerow apply {out}` runs it."))
    shared.output.warn(*text.blockers(made.blockers))
    if alembic is not None and not made.blockers:
        written = api.write_alembic(
            shared.database, made, alembic, with_onerow=with_onerow, head=alembic_head
        )
        shared.output.show(json.revisions(made, written), revisions.text(written))
    elif as_sql:
        shared.output.write(sql.script(made))
    else:
        parts = [*text.plan(made, verbose=verbose), *text.plan_sum(made)]
        shared.output.show(json.plan(made), parts)
    return 1 if made.blockers else 0
