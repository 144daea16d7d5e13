"""`python -m systems`: which systems there are."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import click

import systems
from systems.shared.commands import SETTINGS, run


def all_names() -> list[str]:
    """The systems: every package here that can be run."""
    found = (m.name for m in pkgutil.iter_modules(systems.__path__) if m.ispkg)
    return sorted(n for n in found if n != "shared")


@click.group(invoke_without_command=True, context_settings=SETTINGS)
@click.pass_context
def cli(context: click.Context) -> None:
    """The five systems. Each is run as `python -m systems.NAME COMMAND`."""
    if context.invoked_subcommand is not None:
        return
    width = max(map(len, all_names()))
    for name in all_names():
        about = (import_module(f"systems.{name}").__doc__ or "").strip().splitlines()[0]
        click.echo(f"{name:<{width}}  {about}")


@cli.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--engine",
    type=click.Choice(["postgresql", "sqlite"]),
    default="postgresql",
    show_default=True,
    help="Where to tell them.",
)
def demo(names: tuple[str, ...], engine: str) -> None:
    """Tell the systems' stories, failure to proof to undo, on databases of their own."""
    from rich.console import Console

    from systems.shared.story import have_stories, tell

    known = have_stories(all_names())
    for name in names:
        if name not in known:
            raise click.UsageError(f"{name!r} has no story; these have: {', '.join(known)}.")
    tell(names or known, engine, Console())


if __name__ == "__main__":
    run(cli, "python -m systems")
