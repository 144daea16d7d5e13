"""What the command lines of all systems share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, ParamSpec, TypeVar

import click

from systems.shared.errors import SystemFailure
from systems.shared.fixtures import State, build

P = ParamSpec("P")
T = TypeVar("T")

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
DEFAULT_ROWS = 2_000
MOST_ROWS = 10_000_000

url_option = click.option(
    "--url", required=True, metavar="URL", help="Database: postgresql://… or sqlite:///FILE."
)
force_option = click.option(
    "--force", is_flag=True, help="Drop the tables of this system first, and only those."
)


def size_options(of: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """--rows and --seed of a `before` command."""

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        rows = click.option(
            "--rows",
            type=click.IntRange(0, MOST_ROWS),
            default=DEFAULT_ROWS,
            show_default=True,
            help=f"How many {of}; other tables in proportion.",
        )
        seed = click.option(
            "--seed",
            type=int,
            default=1,
            show_default=True,
            help="The same rows for the same seed.",
        )
        return rows(seed(function))

    return decorate


def tell(text: str) -> None:
    """Progress goes to standard error."""
    click.echo(text, err=True)


def make(url: str, state: State, *, force: bool) -> None:
    """Make a state, and tell how it goes."""
    build(url, state, force=force, tell=tell)


def rules_text(package: str, name: str = "rules.toml") -> str:
    """The rule file that stands beside a system's code."""
    return Path(package).with_name(name).read_text(encoding="utf-8")


def run(cli: click.Command, name: str, words: Sequence[str] | None = None) -> NoReturn:
    """Run a command line: 0 done, 1 refused, 2 could not run."""
    try:
        result = cli.main(args=words, prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except SystemFailure as failure:
        click.echo(f"Error: {failure}", err=True)
        sys.exit(failure.exit_code)
    except OSError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted; nothing was changed.", err=True)
        sys.exit(130)
    sys.exit(int(result or 0))
