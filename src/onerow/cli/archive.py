"""`onerow archive`: what runs have kept, and what may go."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import click

from onerow import api
from onerow.cli._verb import Shared, VerbGroup, verb
from onerow.report import archive as told

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _age(_context: click.Context, _option: click.Parameter, text: str | None) -> timedelta | None:
    """`30d`, `12h`: a whole number and a unit."""
    if text is None:
        return None
    number, unit = text[:-1], text[-1:]
    if unit not in UNITS or not (number.isascii() and number.isdigit()):
        raise click.BadParameter(f"{text!r} is no age; write one like 30d or 12h.")
    return timedelta(**{UNITS[unit]: int(number)})


def _key(texts: tuple[str, ...]) -> dict[str, Any]:
    """`--key COLUMN=VALUE`, again and again, or one JSON object."""
    key: dict[str, Any] = {}
    for text in texts:
        if text.startswith("{"):
            try:
                key |= json.loads(text)
            except ValueError as error:
                raise click.UsageError(f"--key {text!r} is no JSON object: {error}.") from error
            continue
        column, equals, value = text.partition("=")
        if not (column and equals):
            raise click.UsageError(f"--key {text!r} is neither COLUMN=VALUE nor a JSON object.")
        key[column] = value
    return key


@click.group(cls=VerbGroup, invoke_without_command=True)
def archive(**_options: object) -> None:
    """Look at the rows that runs have kept as they were, and drop what is no longer wanted."""
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@verb("onerow archive list", "onerow archive list --json")
def list_(shared: Shared) -> int:
    """Tell how many rows each run has kept of each table, and whether they may go."""
    found = api.archive_list(shared.database)
    shared.output.show(told.listed(found), told.listed_text(found))
    return 0


@verb("onerow archive show last", "onerow archive show last --limit 10 --format csv")
@click.argument("run", default="last", metavar="[RUN]")
@click.option("--table", default="", metavar="T", help="Rows of this table alone.")
@click.option("--key", multiple=True, metavar="COL=VALUE", help="Rows with this value; or JSON.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many rows.")
@click.option("--format", "form", type=click.Choice(["text", "csv"]), default="text")
def show(
    shared: Shared, run: str, table: str, key: tuple[str, ...], limit: int | None, form: str
) -> int:
    """Show the archived rows of RUN as they were, and which row each was merged into."""
    found = api.archive_show(shared.database, run, table=table, key=_key(key), limit=limit)
    if form == "csv" and not shared.output.json:
        shared.output.write(told.shown_csv(found))
    else:
        shared.output.show(told.shown(run, found), told.shown_text(found))
    return 0


@verb("onerow archive prune --older-than 30d --yes")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option(
    "--older-than", callback=_age, metavar="AGE", help="Only runs that ended before: 30d."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def prune(shared: Shared, runs: tuple[str, ...], older_than: timedelta | None, yes: bool) -> int:
    """Drop the archive of runs that are at their end. They cannot be undone then.

    All of them, or the RUNs named; asks first, and without a terminal wants --yes.
    """
    if not yes and not shared.output.on_terminal:
        raise click.UsageError("There is no undo after that, and nobody to ask: say --yes.")
    if not yes and not click.confirm("Drop the archive? There is no undo then.", err=True):
        return 1
    gone = api.archive_prune(shared.database, runs, older_than=older_than)
    shared.output.show(told.pruned(gone), told.pruned_text(gone))
    return 0


archive.add_command(list_, "list")
archive.add_command(show)
archive.add_command(prune)
