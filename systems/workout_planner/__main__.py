"""`python -m systems.workout_planner`."""

from __future__ import annotations

import click

from systems.shared import commands
from systems.workout_planner import states


@click.group(context_settings=commands.SETTINGS)
def cli() -> None:
    """A training calendar, imported from a coach's CSV."""


@cli.command()
@commands.url_option
@commands.size_options("workout selections")
@commands.force_option
def before(url: str, rows: int, seed: int, force: bool) -> None:
    """Make the broken state, with the damage in it."""
    commands.make(url, states.before(rows, seed), force=force)


@cli.command()
@commands.url_option
@commands.force_option
def after(url: str, force: bool) -> None:
    """Make the repaired state in a fresh database."""
    commands.make(url, states.after(), force=force)


@cli.command()
def rules() -> None:
    """Print the rule file."""
    click.echo(commands.rules_text(__file__), nl=False)


if __name__ == "__main__":
    commands.run(cli, "python -m systems.workout_planner")
