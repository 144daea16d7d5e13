"""`onerow demo`: one story from failure to proof."""

from __future__ import annotations

import sys
from typing import cast

import click

from onerow.cli._verb import Shared, verb
from onerow.demo import EngineName
from onerow.demo import demo as tell_story


@verb("onerow demo", "onerow demo --engine sqlite")
@click.option(
    "--engine",
    type=click.Choice(["all", "postgresql", "sqlite"]),
    default="all",
    show_default=True,
    help="Where to tell it.",
)
@click.option("--keep", is_flag=True, help="Leave the databases to look at.")
def demo(shared: Shared, engine: str, keep: bool) -> int:
    """Tell one story from failure to proof, on databases of its own.

    Duplicates arise, are merged while writers write, and are kept out. It starts a PostgreSQL and
    makes a SQLite file, in a temporary directory that is gone afterwards; no database of yours is
    touched.
    """
    output = shared.output
    output.out.quiet = output.err.quiet = output.quiet
    return tell_story(
        cast(EngineName, engine),
        out=output.err if output.json else output.out,
        summary=sys.stdout if output.json else None,
        keep=keep,
    )
