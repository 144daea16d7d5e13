"""`python -m systems.workout_planner`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from systems.shared import commands
from systems.shared.web.commands import serve_command
from systems.workout_planner import states

if TYPE_CHECKING:
    from systems.shared.web.server import Make


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


def _make() -> Make:
    from systems.workout_planner.app import make

    return make


cli.add_command(serve_command(_make, signed=False))

if __name__ == "__main__":
    commands.run(cli, "python -m systems.workout_planner")
