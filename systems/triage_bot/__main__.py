"""`python -m systems.triage_bot`."""

from __future__ import annotations

from datetime import date, datetime

import click

from systems.shared import commands
from systems.triage_bot import states

today_option = click.option(
    "--today",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="The day that the sprints are laid around.  [default: today]",
)


def _day(given: datetime | None) -> date | None:
    return given.date() if given else None


@click.group(context_settings=commands.SETTINGS)
def cli() -> None:
    """The on-call rotation of a team."""


@cli.command()
@commands.url_option
@commands.size_options("overrides")
@today_option
@commands.force_option
def before(url: str, rows: int, seed: int, today: datetime | None, force: bool) -> None:
    """Make the broken state, with the damage in it."""
    commands.make(url, states.before(rows, seed, today=_day(today)), force=force)


@cli.command()
@commands.url_option
@today_option
@commands.force_option
def after(url: str, today: datetime | None, force: bool) -> None:
    """Make the repaired state in a fresh database."""
    commands.make(url, states.after(today=_day(today)), force=force)


@cli.command()
def rules() -> None:
    """Print the rule file."""
    click.echo(commands.rules_text(__file__), nl=False)


if __name__ == "__main__":
    commands.run(cli, "python -m systems.triage_bot")
