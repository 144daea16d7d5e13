"""`python -m systems`: which systems there are."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import click

import systems
from systems.shared.commands import SETTINGS, run


def names() -> list[str]:
    """The systems: every package here that can be run."""
    found = (m.name for m in pkgutil.iter_modules(systems.__path__) if m.ispkg)
    return sorted(n for n in found if n != "shared")


@click.group(invoke_without_command=True, context_settings=SETTINGS)
@click.pass_context
def cli(context: click.Context) -> None:
    """The five systems. Each is run as `python -m systems.NAME COMMAND`."""
    if context.invoked_subcommand is not None:
        return
    width = max(map(len, names()))
    for name in names():
        about = (import_module(f"systems.{name}").__doc__ or "").strip().splitlines()[0]
        click.echo(f"{name:<{width}}  {about}")


if __name__ == "__main__":
    run(cli, "python -m systems")
