"""Keeping rows as they were: the archive tables of a run, and one archived change."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from onerow.database import run
from onerow.dialects import Operation
from onerow.errors import NameTaken
from onerow.schema import Table
from onerow.session import Session, run_all
from onerow.sql import Name


def archives_of(session: Session, run_id: str, changed: Sequence[Table]) -> dict[Name, str]:
    """The archive tables of the run, made where they are not there yet."""
    tables = {t.ident: t for t in changed}
    with session.transaction():
        known = session.journal.archives(run_id)
        for ident, table in tables.items():
            _check_names(table)
            if ident not in known:
                known[ident] = session.journal.add_archive(run_id, ident)
                run(session.connection, session.dialect.create_archive(table, known[ident].name))
                if session.database.dialect == "sqlite":
                    # It is read back with every batch there.
                    run_all(session.connection, session.dialect.index_archive(known[ident]))
    return {ident: name.sql for ident, name in known.items()}


def _check_names(table: Table) -> None:
    ours = [c.name for c in table.columns if c.name.lower().startswith("onerow_")]
    if ours:
        raise NameTaken(f"{table} has a column {ours[0]}; names in onerow_ are the archive's own.")


def perform(connection: Connection, operation: Operation, *, replica: bool) -> int:
    run_all(connection, operation.before)
    if replica:
        run_all(connection, operation.guards)
    count = run(connection, operation.main).rowcount
    if count:
        run_all(connection, operation.after)
    return int(count)
