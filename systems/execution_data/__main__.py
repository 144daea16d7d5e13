"""`python -m systems.execution_data`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from systems.execution_data import reports, states
from systems.shared import commands
from systems.shared.web.commands import serve_command, token_command

if TYPE_CHECKING:
    from pydantic import BaseModel

    from systems.shared.web.server import Make

MAPPING = "facility_of_row.csv"  #: the name that the rule file has

csv_file = click.Path(dir_okay=False, path_type=Path)


@click.group(context_settings=commands.SETTINGS)
def cli() -> None:
    """Budget execution of health facilities."""


@cli.command()
@commands.url_option
@commands.size_options("rows of execution data")
@click.option(
    "--unmapped",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Rows whose facility nobody knows: the mapping leaves them out.",
)
@click.option("--mapping", type=csv_file, help="Write the facility of every row to this CSV.")
@commands.force_option
def before(
    url: str, rows: int, seed: int, unmapped: int, mapping: Path | None, force: bool
) -> None:
    """Make the broken state, with the damage in it."""
    if unmapped > rows:
        raise click.BadParameter("more than there are rows.", param_hint="--unmapped")
    commands.make(url, states.before(rows, seed, unmapped=unmapped), force=force)
    if mapping is not None:
        reports.write_mapping(mapping, reports.Size(rows, unmapped), seed)


@cli.command()
@commands.url_option
@commands.force_option
def after(url: str, force: bool) -> None:
    """Make the repaired state in a fresh database."""
    commands.make(url, states.after(), force=force)


@cli.command()
@click.option("--mapping", type=csv_file, help=f"The CSV to name in it.  [default: {MAPPING}]")
@click.option("--column", is_flag=True, help="Only the column, empty: applied first under traffic.")
def rules(mapping: Path | None, column: bool) -> None:
    """Print the rule file. The CSV is looked for beside it."""
    text = commands.rules_text(__file__, "column.toml" if column else "rules.toml")
    # A JSON string is a TOML string, with what needs escaping escaped.
    named = json.dumps(str(mapping), ensure_ascii=False) if mapping else f'"{MAPPING}"'
    click.echo(text.replace(f'"{MAPPING}"', named), nl=False)


def _make() -> Make:
    from systems.execution_data.app import make

    return make


def _claims() -> type[BaseModel]:
    from systems.execution_data.claims import Claims

    return Claims


cli.add_command(serve_command(_make))
cli.add_command(token_command(_claims))


if __name__ == "__main__":
    commands.run(cli, "python -m systems.execution_data")
