"""The way back: rows put back from the archive as they were."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from onerow.codes import code_of
from onerow.database import driver_text, run
from onerow.dialects import Restore
from onerow.dialects.phrases import quoted_names, unquote
from onerow.errors import Stopped
from onerow.journal import OperationRecord
from onerow.measure import plain
from onerow.schema import Snapshot, Table
from onerow.session import Session, run_all
from onerow.sql import Name
from onerow.triggers import without_triggers


def put_back(
    session: Session,
    run_id: str,
    batch: Sequence[OperationRecord],
    snapshot: Snapshot,
    *,
    force: bool,
) -> int:
    """Take the operations of one batch back, in the order given. Returns the rows restored.

    In one transaction, as they were done in one: nobody sees a group half restored.
    """
    tables = ", ".join(sorted({str(o.table) for o in batch}))
    return session.batch(
        lambda: _put_batch_back(session, run_id, batch, snapshot, force=force),
        f"Rows of {tables}",
    )


def _put_batch_back(
    session: Session,
    run_id: str,
    batch: Sequence[OperationRecord],
    snapshot: Snapshot,
    *,
    force: bool,
) -> int:
    journal = session.journal
    archives = journal.archives(run_id)
    found = [_as_archived(session.connection, snapshot, archives, o) for o in batch]
    tables = {t.ident: t for t, _ in found}
    restored = 0
    with without_triggers(session, list(tables.values())) as replica:
        for operation, (table, archive) in zip(batch, found, strict=True):
            # Rows that an undo has put back are the application's again, force or not.
            only = journal.left_keys(run_id, operation.op) if operation.undone else None
            work = _Return(session, table, archive, operation, force, replica)
            left = work.all_rows() if only is None else work.rows(only)
            restored += (operation.rows if only is None else len(only)) - len(left)
            journal.leave_alone(run_id, operation.op, left)
            journal.set_undone(run_id, operation.op)
    return restored


def _as_archived(
    connection: Connection,
    snapshot: Snapshot,
    archives: dict[Name, Name],
    operation: OperationRecord,
) -> tuple[Table, str]:
    """The table with the columns that its archive knows (others may have come since), and that."""
    table, archive = snapshot.get(operation.table), archives.get(operation.table)
    if archive is None or table is None:
        raise Stopped(f"{operation.table} or its archive is gone; nothing to put back.")
    there = set(run(connection, f"SELECT * FROM {archive.sql} LIMIT 0").keys())
    changed = map(unquote, quoted_names(operation.detail))
    gone = [c for c in (*changed, *table.row_identity) if not table.column(c) or c not in there]
    if gone or not table.row_identity:
        raise Stopped(
            f"{table} was altered since ({gone[0] if gone else 'its primary key'}), so its rows "
            "cannot be found again.",
            hint="Bring it back as it was, and run the undo again.",
        )
    columns = tuple(c for c in table.columns if c.name in there)
    return replace(table, columns=columns), archive.sql


@dataclass(frozen=True, slots=True)
class _Return:
    """One archived operation on its way back, in the caller's transaction."""

    session: Session
    table: Table
    archive: str
    operation: OperationRecord
    force: bool
    replica: bool

    def all_rows(self) -> dict[str, str]:
        """Put back what can be. Returns the rows left alone (key as JSON -> reason).

        All rows in one go; where one of them breaks a constraint, each by itself.
        """
        connection = self.session.connection
        if self.session.database.dialect == "postgresql":
            run(connection, "SET CONSTRAINTS ALL IMMEDIATE")
        try:
            with connection.begin_nested():
                return self._rows("")
        except DBAPIError as error:
            if not _breaks_constraint(error):
                raise
        return self.rows()

    def rows(self, only: frozenset[str] | None = None) -> dict[str, str]:
        """The same row by row, of the rows with these keys or of all."""
        numbers = self.session.dialect.row_numbers(self.table, self.archive, self.operation.op)
        left: dict[str, str] = {}
        for key, row in _listed(self.session.connection, numbers, self.table).items():
            if only is None or key in only:
                left |= self._row(row)
        return left

    def _row(self, row: str) -> dict[str, str]:
        connection = self.session.connection
        try:
            with connection.begin_nested():
                return self._rows(row)
        except DBAPIError as error:
            if not _breaks_constraint(error):
                raise
            missing = _listed(connection, self._restore(row).missing, self.table)
            return dict.fromkeys(missing, driver_text(error))

    def _rows(self, row: str) -> dict[str, str]:
        connection, restore = self.session.connection, self._restore(row)
        if restore.lock:
            run(connection, restore.lock)
        if self.replica:
            run_all(connection, restore.guards)
        left = {} if self.force else _listed(connection, restore.changed, self.table)
        run_all(connection, restore.forced if self.force else (restore.statement,))
        return {**_listed(connection, restore.missing, self.table), **left}

    def _restore(self, row: str) -> Restore:
        operation = self.operation
        return self.session.dialect.restore(
            self.table, self.archive, operation.action, operation.detail, operation.op, row
        )


def _breaks_constraint(error: DBAPIError) -> bool:
    return code_of(error).startswith(("23", "SQLITE_CONSTRAINT"))


def _listed(connection: Connection, sql: str, table: Table) -> dict[str, str]:
    names = table.row_identity
    return {
        json.dumps(dict(zip(names, map(plain, row[:-1]), strict=True)), ensure_ascii=False): row[-1]
        for row in run(connection, sql)
    }
