"""`onerow status`: where runs stand."""

from __future__ import annotations

from onerow import api
from onerow.cli._verb import Shared, verb
from onerow.report import json, text


@verb("onerow status", "onerow status --url sqlite:///app.db --json")
def status(shared: Shared) -> int:
    """Tell the runs on this database and how they stand."""
    runs = api.status(shared.database)
    shared.output.show(json.status(runs), text.status(runs))
    return 0
