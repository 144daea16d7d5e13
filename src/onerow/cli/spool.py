"""`onerow spool`: what waits in a spool, and the replay of it."""

from __future__ import annotations

from dataclasses import asdict

import click

from onerow.cli._verb import Shared, VerbGroup, verb
from onerow.report import spool as told

FOLDER = click.argument("folder", type=click.Path(exists=True, file_okay=False))


@click.group(cls=VerbGroup, invoke_without_command=True)
def spool(**_options: object) -> None:
    """Look at a spool, the folder that takes writes while the database is away, and replay it."""
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@verb("onerow spool status spool", "onerow spool status spool --json")
@FOLDER
def status(shared: Shared, folder: str) -> int:
    """Tell how many writes wait, for how long, and how many were put aside.

    Needs neither the database nor the application. Exit code 1 when something was put aside or
    is damaged: it waits for a person.
    """
    from onerow.write.spool import status

    found = status(folder)
    shared.output.show(told.document(found), told.status(found))
    return 1 if found["failed"] or found["damaged"] else 0


@verb("onerow spool show spool")
@FOLDER
def show(shared: Shared, folder: str) -> int:
    """Show every write that waits or was put aside, with its payload."""
    from onerow.write.spool import show

    found = show(folder)
    shared.output.show(told.document(found), told.show(found))
    return 0


@verb(
    "onerow spool replay spool --handlers shop.spool:spool --url postgresql://shop@db/shop",
    "onerow spool replay spool --handlers shop.spool:HANDLERS --json",
)
@FOLDER
@click.option(
    "--handlers",
    required=True,
    metavar="MODULE:ATTRIBUTE",
    help="The application's Spool, or its mapping of names to handlers.",
)
def replay(shared: Shared, folder: str, handlers: str) -> int:
    """Apply what waits, in order, each write once.

    One process at a time may do it; a replay that was killed is simply done again. Exit code 1
    when writes are still waiting, because the database went away, or were put aside.
    """
    from onerow.write.replay import named, replay

    source = named(handlers)
    database = shared.database
    with database.connect():  # nobody there is told as by every other verb
        pass
    found = replay(folder, source, database.engine, database.url)
    shared.output.show(told.document(asdict(found)), told.replay(asdict(found)))
    return 1 if found.failed or found.left else 0


for command in (status, show, replay):
    spool.add_command(command)
