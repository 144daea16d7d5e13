"""`python -m systems.membership_plans`."""

from __future__ import annotations

from typing import Any

import click

from systems.membership_plans import rule_files, states
from systems.shared import commands
from systems.shared.web.commands import serve_command, token_command


@click.group(context_settings=commands.SETTINGS)
def cli() -> None:
    """Membership plans of gym chains."""


@cli.command()
@commands.url_option
@commands.size_options("plans")
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
@click.option("--folded", is_flag=True, help="SQLite: those for names that are not ASCII.")
@click.option("--trigger", is_flag=True, help="PostgreSQL: over a scope_key kept by a trigger.")
def rules(folded: bool, trigger: bool) -> None:
    """Print the rule file."""
    if folded and trigger:
        raise click.UsageError("--folded is for SQLite, --trigger for PostgreSQL: take one.")
    text = rule_files.by_trigger if trigger else rule_files.folded if folded else rule_files.rules
    click.echo(text(), nl=False)


@cli.command()
def trigger() -> None:
    """Print the SQL of a scope_key that a trigger keeps, for a large table on PostgreSQL."""
    click.echo(rule_files.trigger(), nl=False)


def _make() -> Any:
    from systems.membership_plans.app import make

    return make


def _claims() -> Any:
    from systems.membership_plans.claims import Claims

    return Claims


cli.add_command(serve_command(_make))
cli.add_command(token_command(_claims))


if __name__ == "__main__":
    commands.run(cli, "python -m systems.membership_plans")
