"""What runs have put into the archive: listed, shown, and dropped when it is no longer wanted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from onerow.catalog import snapshot_of
from onerow.database import Database, errors, run
from onerow.errors import InputError, Refused, nearest
from onerow.journal import Journal, OperationRecord, RunRecord
from onerow.measure import plain
from onerow.session import Limits, Session, one_runner
from onerow.sql import Name, conjunction, literal, quote


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """What a run has kept of a table."""

    run: str
    table: Name
    rows: int
    size: int | None  #: bytes, None where SQLite was built without dbstat
    status: str  #: of the run
    finished_at: datetime | None
    prunable: bool  #: the run is at its end, so only an undo would need it
    pruned: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedRow:
    """A row as it was."""

    table: Name
    action: str  #: 'deleted', 'updated', 'repointed', ...
    step: str
    undone: bool
    row: Mapping[str, Any]
    survivor: Mapping[str, Any] | None  #: primary key of the row that it was merged into


# -- list ---------------------------------------------------------------------------------------


def listed(database: Database) -> tuple[Archive, ...]:
    """What each run has kept of each table, the newest run first."""
    with errors(database), database.connect() as connection:
        journal = Journal(connection, database.dialect)
        runs = journal.runs() if journal.exists() else ()
        return tuple(a for r in runs for a in _of_run(journal, r))


def _of_run(journal: Journal, record: RunRecord) -> Iterator[Archive]:
    rows: dict[Name, int] = {}
    for operation in journal.operations(record.id):
        rows[operation.table] = rows.get(operation.table, 0) + operation.rows
    places, pruned = journal.archives(record.id), journal.pruned(record.id)
    for table in sorted({*rows, *places}, key=str):
        yield Archive(
            run=record.id,
            table=table,
            rows=rows.get(table, 0),
            size=_size(journal, places[table]) if table in places else 0,
            status=record.status,
            finished_at=record.finished_at,
            prunable=table in places and not record.open and record.status != "running",
            pruned=pruned,
        )


def _size(journal: Journal, archive: Name) -> int | None:
    if journal.dialect == "postgresql":
        sql = f"SELECT pg_total_relation_size({literal(archive.sql)}::regclass)"
        return int(run(journal.connection, sql).scalar_one())
    options = {r[0] for r in run(journal.connection, "PRAGMA compile_options")}
    if "ENABLE_DBSTAT_VTAB" not in options:
        return None
    sql = f"SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE name = {literal(archive.name)}"
    return int(run(journal.connection, sql).scalar_one())


# -- show ---------------------------------------------------------------------------------------


def shown(
    database: Database,
    run_id: str,
    *,
    table: str = "",
    key: Mapping[str, Any] | None = None,
    limit: int | None = None,
) -> tuple[ArchivedRow, ...]:
    """The archived rows of a run, in the order in which they were taken.

    Args:
        table: name, with or without its schema; all tables when empty.
        key: values that columns must have, compared as text.
        limit: of rows; all when None.

    Raises:
        InputError: no such run, table or column.
        Refused: the archive was pruned.
    """
    with errors(database), database.connect() as connection:
        journal = Journal(connection, database.dialect)
        record = found_run(journal, run_id)
        pruned = journal.pruned(record.id)
        if pruned is not None:
            raise Refused(f"The archive of run {record.id} was pruned on {pruned:%Y-%m-%d}.")
        places = journal.archives(record.id)
        wanted = _chosen(places, table)
        operations = {o.op: o for o in journal.operations(record.id)}
        rows: list[tuple[int, ArchivedRow]] = []
        for name in wanted:
            rows += _rows(connection, name, places[name], operations, key or {}, limit)
        rows.sort(key=lambda pair: pair[0])
        return tuple(r for _, r in rows[:limit])


def found_run(journal: Journal, run_id: str) -> RunRecord:
    """Raises InputError where there is no such run."""
    runs = journal.runs() if journal.exists() else ()
    if run_id == "last" and runs:
        return runs[0]
    known = {r.id: r for r in runs}
    if run_id not in known:
        raise InputError(f"There is no run {run_id!r}.", hint=nearest(run_id, known))
    return known[run_id]


def _chosen(places: Mapping[Name, Name], table: str) -> list[Name]:
    found = [n for n in places if not table or table in (n.name, str(n))]
    if table and not found:
        raise InputError(
            f"The run has archived nothing of {table!r}.", hint=nearest(table, map(str, places))
        )
    return found


def _rows(
    connection: Connection,
    table: Name,
    archive: Name,
    operations: Mapping[int, OperationRecord],
    key: Mapping[str, Any],
    limit: int | None,
) -> Iterator[tuple[int, ArchivedRow]]:
    there = list(run(connection, f"SELECT * FROM {archive.sql} LIMIT 0").keys())
    for column in key:
        if column not in there:
            raise InputError(f"{table} has no column {column!r}.", hint=nearest(column, there))
    tests = [
        f"CAST({quote(c)} AS text) = {literal(str(v))}" if v is not None else f"{quote(c)} IS NULL"
        for c, v in key.items()
    ]
    sql = f"SELECT * FROM {archive.sql} WHERE {conjunction(tests)} ORDER BY onerow_op"
    names = _identity(connection, table)
    for row in run(connection, sql + (f" LIMIT {limit}" if limit is not None else "")).mappings():
        operation = operations[row["onerow_op"]]
        yield (
            row["onerow_op"],
            ArchivedRow(
                table=table,
                action=operation.action,
                step=operation.step_id,
                undone=operation.undone,
                row={c: plain(v) for c, v in row.items() if not c.startswith("onerow_")},
                survivor=_survivor(row, names),
            ),
        )


def _identity(connection: Connection, table: Name) -> tuple[str, ...]:
    found = snapshot_of(connection, tables=[table]).get(table)
    return found.row_identity if found is not None else ()


_VALUES = re.compile(r"""'((?:[^']|'')*)'|"((?:[^"\\]|\\.|"")*)"|([^,]+)""")


def _survivor(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any] | None:
    """`(1,"a b")` as PostgreSQL writes a row, or `1,'a b'` as SQLite quotes values."""
    text = row["onerow_survivor"]
    if text is None:
        return None
    inner = text[1:-1] if text.startswith("(") else text
    values = [
        single.replace("''", "'") or double.replace('""', '"').replace("\\\\", "\\") or bare
        for single, double, bare in _VALUES.findall(inner)
    ]
    names = names if len(names) == len(values) else [str(n) for n, _ in enumerate(values, 1)]
    return {
        name: int(value) if isinstance(row.get(name), int) else value
        for name, value in zip(names, values, strict=True)
    }


# -- prune --------------------------------------------------------------------------------------


def pruned(
    database: Database, runs: Sequence[str] = (), older_than: timedelta | None = None
) -> tuple[str, ...]:
    """Drop the archive of finished runs: they cannot be undone then. Returns the runs.

    Each run in a transaction of its own, so that it can be killed anywhere and done again.

    Args:
        runs: ids; all that are at their end when empty.
        older_than: only what ended longer ago.

    Raises:
        InputError: no such run.
        Refused: a named run is not at its end, or somebody is at work.
    """
    with errors(database), one_runner(database, Limits()) as session:
        due = _due(session, runs, older_than)
        for run_id in due:
            with session.transaction():
                session.journal.prune(run_id)
        return due


def prunable(
    database: Database, runs: Sequence[str] = (), older_than: timedelta | None = None
) -> tuple[Archive, ...]:
    """What `pruned` would drop, with the same arguments."""
    since = datetime.now(UTC) - older_than if older_than is not None else None
    found = [a for a in listed(database) if a.prunable and (not runs or a.run in runs)]
    return tuple(a for a in found if since is None or _ended(a.finished_at) < since)


def _ended(at: datetime | None) -> datetime:
    at = at or datetime.now(UTC)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def _due(session: Session, runs: Sequence[str], older_than: timedelta | None) -> tuple[str, ...]:
    with session.transaction():
        if not session.journal.exists():
            return ()
        session.journal.create()
        for run_id in runs:
            record = found_run(session.journal, run_id)
            if record.open or record.status == "running":
                raise Refused(
                    f"Run {run_id} is {record.status}, and needs its archive.",
                    hint="Finish it with `onerow apply`, or take it back with `onerow undo`.",
                )
    found = prunable(session.database, runs, older_than)
    return tuple(dict.fromkeys(a.run for a in found))
