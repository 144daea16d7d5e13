"""`onerow check`: where the rules stand, and what else is wrong."""

from __future__ import annotations

import click

from onerow import api
from onerow.cli._verb import Shared, verb
from onerow.finding import SEVERITIES, Severity
from onerow.report import checked, json


@verb(
    "onerow check postgresql://app@localhost/app",
    "onerow check --rules onerow.toml --json",
    "onerow check --fail-on warning --skip I -v",
)
@click.argument("address", metavar="[URL]", required=False)
@click.option(
    "--fail-on",
    type=click.Choice(SEVERITIES[::-1]),
    default="error",
    show_default=True,
    help="Least severity of a finding that makes the exit code 1.",
)
@click.option(
    "--only",
    multiple=True,
    metavar="ID",
    help="This check alone, or those that begin so (U101, R); repeatable.",
)
@click.option("--skip", multiple=True, metavar="ID", help="Leave this check out; repeatable.")
@click.option("--list-probes", is_flag=True, help="Print the questions to the rows; ask none.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), help="Form of the answer.")
@click.option("-v", "--verbose", is_flag=True, help="Show the SQL that found it.")
def check(
    shared: Shared,
    address: str | None,
    fail_on: Severity,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    list_probes: bool,
    form: str | None,
    verbose: bool,
) -> int:
    """Check rules, catalog and rows. Read-only.

    Without a rule file it needs a URL, and looks at what the database itself tells.
    """
    shared.take_url(address)
    shared.output.json |= form == "json"
    rules = shared.rules_if_any or ()
    if list_probes:
        probes = api.list_probes(shared.database, rules, only=only, skip=skip)
        shared.output.show(json.probes(probes), checked.probes(probes))
        return 0
    report = api.check(shared.database, rules, only=only, skip=skip)
    shared.output.show(json.check(report), checked.check(report, verbose=verbose))
    return 1 if api.fails(report, fail_on) else 0
