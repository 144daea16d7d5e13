"""The command line: `onerow VERB`. One module a verb, named like it; the package is the registry.

Nothing is decided here: a verb reads its options, calls a function of `onerow.api`, and hands the
value that comes back to `onerow.report`.
"""

from __future__ import annotations

import logging
import pkgutil
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import click

from onerow import __version__
from onerow.cli._failure import tell
from onerow.cli._verb import global_options

#: As one uses them; verbs that are not named here come after.
_ORDER = (
    "init",
    "check",
    "plan",
    "apply",
    "status",
    "verify",
    "undo",
    "archive",
    "race",
    "spool",
    "demo",
)


class Verbs(click.Group):
    """Loads a verb's module when the verb is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        found = {m.name for m in pkgutil.iter_modules(__path__) if m.name[0] != "_"}
        return [v for v in _ORDER if v in found] + sorted(found.difference(_ORDER))

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(ctx):
            return None
        command = getattr(import_module(f"{__name__}.{name}"), name)
        assert isinstance(command, click.Command)
        return command


@click.group(
    cls=Verbs,
    params=global_options(),
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message="onerow %(version)s")
def onerow(**_options: object) -> None:
    """One row per key, in a live database: find what breaks it, mend it, keep it so."""
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def run(words: Sequence[str]) -> int:
    """One call, from its words to its exit code: 0 done, 1 found or refused, 2 could not run."""
    try:
        result = onerow.main(args=list(words), prog_name="onerow", standalone_mode=False)
    except (SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        return tell(error, words)
    return int(result or 0)


def main() -> NoReturn:
    """The console script."""
    # A watcher that loses its connection is no news: the run itself tells what it meets.
    threading.excepthook = lambda _failure: None
    # Nor is what the driver notes of a statement that Ctrl-C has cut off: the verb says it itself.
    logging.getLogger("psycopg").addHandler(logging.NullHandler())
    sys.exit(run(sys.argv[1:]))
