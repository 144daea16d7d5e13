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


@cli.command()
@commands.url_option
@click.option("--dry-run", is_flag=True, help="Tell what would be done; change nothing.")
@click.option(
    "--backup",
    is_flag=True,
    help="First copy the SQLite file, or dump the tables, to a new file with the time in its name.",
)
@click.option("--offline", is_flag=True, help="The application is stopped: few large batches.")
def dedupe(url: str, dry_run: bool, backup: bool, offline: bool) -> None:
    """Merge what stands twice, without losing a field, and build the keys."""
    from systems.workout_planner.dedupe import dedupe as run

    run(url, dry_run=dry_run, backup=backup, offline=offline, tell=commands.tell)


def _make() -> Make:
    from systems.workout_planner.app import make

    return make


cli.add_command(serve_command(_make, signed=False))

if __name__ == "__main__":
    commands.run(cli, "python -m systems.workout_planner")
