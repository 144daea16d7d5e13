"""`onerow undo`: the exact way back."""

from __future__ import annotations

import click

from onerow import api
from onerow.cli._limits import limit_options, limits_of
from onerow.cli._progress import progress
from onerow.cli._verb import Shared, verb
from onerow.report import json, text


@verb("onerow undo", "onerow undo 20260101-0a1b2c3d --json")
@click.argument("run", default="last", metavar="[RUN]")
@click.option("--force", is_flag=True, help="Put rows back over what others have changed since.")
@click.option(
    "--archive-newer",
    is_flag=True,
    help="Archive rows that came since and break a key that is to come back.",
)
@limit_options("--lock-timeout", "--max-lag", "--budget", "--pause-when")
def undo(
    shared: Shared, run: str, force: bool, archive_newer: bool, **limits: float | str | None
) -> int:
    """Take RUN back: rows and schema as they were.

    Without RUN it is the newest. Rows that others have changed since are told and left alone. Rows
    that came since and break a key that is to come back stop it, or are archived if you say so.
    """
    output = shared.output
    with progress(output) as listen:
        outcome = api.undo(
            shared.database,
            run,
            force=force,
            archive_newer=archive_newer,
            limits=limits_of(limits),
            listen=listen,
        )
    if outcome.exit_code:
        output.warn(text.stopped(outcome))
    output.show(json.undo(outcome), text.undo(outcome))
    return outcome.exit_code
