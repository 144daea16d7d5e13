"""`python -m systems.triage_bot`."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from systems.shared import commands
from systems.shared.web.commands import serve_command
from systems.triage_bot import states

if TYPE_CHECKING:
    from systems.shared.web.server import Make

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


@cli.command("import")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@commands.url_option
def import_(files: tuple[Path, ...], url: str) -> int:
    """Import disciplines.json, sprints.json, overrides.json; the name tells which it is."""
    from systems.triage_bot.errands import import_files

    return import_files(url, files)


@cli.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@commands.url_option
def export(folder: Path, url: str) -> None:
    """Write the three files."""
    from systems.triage_bot.errands import export_files

    export_files(url, folder)


@cli.command()
@commands.url_option
@click.option(
    "--date",
    "day",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="[default: today, in the team's zone]",
)
def schedule(url: str, day: datetime | None) -> None:
    """Who is on call on a day."""
    from systems.triage_bot.errands import schedule as run

    run(url, _day(day))


@cli.command()
@commands.url_option
@click.option(
    "--from",
    "start",
    type=click.IntRange(-1, 100_000),
    required=True,
    metavar="N",
    help="The sprint that runs; -1 when none was entered yet.",
)
def transition(url: str, start: int) -> None:
    """Enter the sprint after N, unless somebody has."""
    from systems.triage_bot.errands import transition as run

    run(url, start)


@cli.command()
@commands.url_option
def replay(url: str) -> int:
    """Apply the writes that wait in the spool."""
    from systems.triage_bot.errands import replay as run

    return run(url)


@cli.command()
@click.option(
    "--url", metavar="URL", help="A database to keep.  [default: a SQLite file that goes with it]"
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Of the page."
)
def sandbox(url: str | None, port: int) -> None:
    """Try the bot without Slack: a page with a team to play, until Ctrl-C."""
    from systems.triage_bot.sandbox import run

    run(url, port)


def _make() -> Make:
    from systems.triage_bot.app import make

    return make


cli.add_command(serve_command(_make, signed=False))


if __name__ == "__main__":
    commands.run(cli, "python -m systems.triage_bot")
