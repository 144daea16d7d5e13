"""The archive as functions: what runs have kept, and what may go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from onerow import archives
from onerow.api.inputs import Address, open_database
from onerow.archives import Archive, ArchivedRow


def archive_list(url: Address | None = None) -> tuple[Archive, ...]:
    """What each run has kept of each table, the newest run first."""
    return archives.listed(open_database(url))


def archive_show(
    url: Address | None = None,
    run: str = "last",
    *,
    table: str = "",
    key: Mapping[str, Any] | None = None,
    limit: int | None = None,
) -> tuple[ArchivedRow, ...]:
    """The rows that a run has archived, as they were, and which row took them.

    Args:
        run: id of the run; the newest when "last".
        table: of this table alone.
        key: values that columns must have.
        limit: of rows; all when None.

    Raises:
        InputError: no such run, table or column.
        Refused: the archive was pruned.
    """
    database = open_database(url)
    return archives.shown(database, run, table=table, key=key, limit=limit)


def archive_prune(
    url: Address | None = None,
    runs: Sequence[str] = (),
    *,
    older_than: timedelta | None = None,
) -> tuple[str, ...]:
    """Drop the archive of runs that are at their end; there is no undo of them then.

    Args:
        runs: ids; all that are at their end when empty.
        older_than: only those that ended longer ago.

    Returns:
        The runs whose archive was dropped now.

    Raises:
        InputError: no such run.
        Refused: a named run is not at its end, or another onerow is at work.
    """
    return archives.pruned(open_database(url), runs, older_than)
