"""`onerow init`: look at a database and write a rule file."""

from __future__ import annotations

from pathlib import Path

import click

from onerow.cli._verb import DEFAULT_RULES, Shared, verb
from onerow.errors import InputError
from onerow.files import write_file
from onerow.report import json, text
from onerow.starter import look


@verb(
    "onerow init postgresql://app@localhost/app",
    "onerow init sqlite:///app.db --out rules.toml --force",
)
@click.argument("address", metavar="[URL]", required=False)
@click.option("--out", metavar="FILE", help=f"File to write.  [default: {DEFAULT_RULES}]")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def init(shared: Shared, address: str | None, out: str | None, force: bool) -> int:
    """Look at the database and write a rule file.

    What rows prove stands in it as a rule, what is a guess as a comment.
    """
    shared.take_url(address)
    file = Path(out or shared.rule_file or DEFAULT_RULES)
    if file.exists() and not force:
        raise InputError(
            f"There is a file {str(file)!r} already.",
            hint="--force writes over it, --out elsewhere.",
        )
    found = look(shared.database_without_rules)
    write_file(file, found.text)
    shared.output.show(json.init(str(file), found), text.init(str(file), found))
    return 0
