"""The only module that moves the user's rows: merging duplicates, and putting rows back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from onerow.database import code_of, driver_text, is_lock_failure, run
from onerow.dialects import MergeSpec, Operation, Restore
from onerow.dialects.base import may_lack_target, quoted_names, unquote
from onerow.errors import NameTaken, Stopped
from onerow.journal import OperationRecord
from onerow.measure import plain
from onerow.plan import Step
from onerow.planning.blockers import firing_triggers
from onerow.schema import Snapshot, Table, Trigger
from onerow.session import Session, backoff, run_all
from onerow.sql import Name, literal, quote

MOST_LEVELS = 1_000  #: of a tree whose keys break again as the rows above them are merged
FEW = 0.07  #: share of rows in duplicate groups up to which finding the keys first is faster

Advance = Callable[[int, int | None], None]  #: (rows done, rows in all)


@dataclass(frozen=True, slots=True)
class Work:
    """Groups that are to be merged: their number, and how many rows they have."""

    groups: int
    rows: int


def merge(session: Session, run_id: str, step: Step, spec: MergeSpec, advance: Advance) -> int:
    """Merge the duplicates that are there now. Returns the rows archived.

    Those that arrive meanwhile are met when the unique index is built: it refuses, and the next
    merge takes them.

    Raises:
        Stopped: a policy cannot decide, or rows could not be locked.
    """
    archives = archives_of(session, run_id, [spec.table, *(c.table for c in spec.children)])
    with session.transaction():
        run_all(session.connection, session.dialect.batch_table(spec))
    done = 0
    for _ in range(MOST_LEVELS if _breaks_itself(spec) else 1):
        work = _list(session, spec)
        if not work.groups:
            break
        done += _merge_pass(session, run_id, step, spec, archives, work, advance, done)
    return done


def _breaks_itself(spec: MergeSpec) -> bool:
    """Rows of the table move with the merge, and with them the key: a tree, level by level."""
    own = {c for child in spec.children if child.table == spec.table for c in child.columns}
    expressions = any(p.column is None for p in spec.bound.parts) or spec.bound.where is not None
    return bool(own) and (expressions or bool(own & set(spec.bound.columns)))


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


def _list(session: Session, spec: MergeSpec) -> Work:
    """Find the duplicate groups, into the session's own tables."""
    with session.reading() as connection:
        if session.database.dialect == "postgresql":
            run(connection, "SET LOCAL enable_hashagg = off")
            run(connection, "SET LOCAL work_mem = '64MB'")
        keys = session.dialect.list_keys(spec)
        run_all(connection, keys)
        by_keys = False
        if len(keys) > 1:
            counted = f"SELECT count(*), coalesce(sum(n), 0) FROM {session.dialect.keys}"
            groups, rows = run(connection, counted).one()
            if not groups:
                return Work(0, 0)
            by_keys = _are_few(int(rows), spec)
        run_all(connection, session.dialect.list_members(spec, by_keys=by_keys))
        counted = f"SELECT coalesce(max(grp), 0), count(*) FROM {session.dialect.members}"
        groups, rows = run(connection, counted).one()
    return Work(int(groups), int(rows))


def _are_few(rows: int, spec: MergeSpec) -> bool:
    """The rows of duplicate groups are a small share of the table, as far as is known."""
    total = spec.table.estimated_rows
    return total is None or rows <= FEW * max(total, 1)


def _merge_pass(
    session: Session,
    run_id: str,
    step: Step,
    spec: MergeSpec,
    archives: dict[Name, str],
    work: Work,
    advance: Advance,
    before: int,
) -> int:
    size = _BatchSize(session, work)
    expected = before + work.rows - work.groups
    done, first = 0, 1
    while first <= work.groups:
        session.check_budget()
        last = min(first + size.groups - 1, work.groups)
        began = time.monotonic()
        done += _batch(session, run_id, step, spec, archives, first, last)
        size.learn(time.monotonic() - began)
        advance(before + done, expected)
        first = last + 1
    return done


class _BatchSize:
    """How many groups a batch takes: grows and shrinks towards the target time."""

    def __init__(self, session: Session, work: Work) -> None:
        self.limits = session.limits
        self.per_group = max(1.0, work.rows / work.groups)
        self.least = max(1, int(self.limits.least_batch_rows / self.per_group))
        self.most = max(1, int(self.limits.most_batch_rows / self.per_group))
        self.groups = max(1, int(self.limits.batch_rows / self.per_group))

    def learn(self, seconds: float) -> None:
        factor = min(1.5, max(0.5, self.limits.batch_time / max(seconds, 1e-4)))
        # On a busy machine any batch misses its time; ever smaller ones would never get done.
        self.groups = max(self.least, min(self.most, int(self.groups * factor)))


def _batch(
    session: Session,
    run_id: str,
    step: Step,
    spec: MergeSpec,
    archives: dict[Name, str],
    first: int,
    last: int,
) -> int:
    """One transaction: lock, rank, merge, re-point, archive, delete, and its entry."""
    for attempt in range(1, session.limits.lock_tries + 1):
        try:
            with session.transaction(lock_timeout=session.limits.long_timeout * 2):
                return _merge_groups(session, run_id, step, spec, archives, first, last)
        except DBAPIError as error:
            if not is_lock_failure(error):
                raise
            time.sleep(backoff(attempt))
    raise Stopped(
        f"A batch of {spec.bound} could not lock its rows.", hint="`onerow apply` goes on."
    )


def _merge_groups(
    session: Session,
    run_id: str,
    step: Step,
    spec: MergeSpec,
    archives: dict[Name, str],
    first: int,
    last: int,
) -> int:
    connection, journal = session.connection, session.journal
    began = time.monotonic()
    op, batch = journal.next_numbers(run_id)
    operations = session.dialect.operations(spec, archives, op, batch)
    tables = [spec.table, *(c.table for c in spec.children)]
    with without_triggers(session, tables) as replica:
        run_all(connection, session.dialect.rank(spec, first, last))
        _stop_at_disagreement(connection, session, spec)
        _stop_at_unplaced(connection, session, spec)
        counted = [
            (op + i, operation, perform(connection, operation, replica=replica))
            for i, operation in enumerate(operations)
        ]
    gone = sum(n for _, operation, n in counted if operation.action == "deleted")
    journal.add_operations(run_id, step, batch, counted)
    seconds = time.monotonic() - began
    journal.set_step(run_id, step, "running", add_rows=gone, add_seconds=seconds)
    return gone


def perform(connection: Connection, operation: Operation, *, replica: bool) -> int:
    run_all(connection, operation.before)
    if replica:
        run_all(connection, operation.guards)
    count = run(connection, operation.main).rowcount
    if count:
        run_all(connection, operation.after)
    return int(count)


def _stop_at_disagreement(connection: Connection, session: Session, spec: MergeSpec) -> None:
    manual = spec.bound.key.keep.how == "manual"
    if manual and run(connection, session.dialect.batch_undecided(spec)).scalar_one():
        raise Stopped(
            f"Duplicates have arrived in {spec.bound} that nobody has decided on.",
            hint="`onerow plan --decisions FILE` lists them; undo, decide, and plan again.",
        )
    for change in spec.changes:
        if change.policy != "error":
            continue
        groups = run(connection, session.dialect.batch_disagreements(spec, change.column))
        if groups.scalar_one():
            raise Stopped(
                f"Rows of one group hold different values of {change.column.name}, and its policy "
                "is error.",
                hint="Settle them, or plan again with another policy.",
            )


def _stop_at_unplaced(connection: Connection, session: Session, spec: MergeSpec) -> None:
    for child in spec.children:
        if (
            may_lack_target(spec, child)
            and run(connection, session.dialect.unplaced(spec, child)).scalar_one()
        ):
            raise Stopped(
                f"Rows of {child.table} refer to {spec.table} by a value which the row that stays "
                "does not have.",
                hint="Give it to that row, or keep another one; then `onerow apply` goes on.",
            )


@contextmanager
def without_triggers(session: Session, tables: Sequence[Table]) -> Iterator[bool]:
    """Keep user triggers from firing in this transaction.

    PostgreSQL: as replica where the role may (foreign keys are then not checked by the server,
    but every row that is deleted is locked and every child of it moved), else by disabling them,
    which takes SHARE ROW EXCLUSIVE until the commit. SQLite: they are dropped and made again;
    nobody sees the transaction's inside.

    Yields whether the server leaves foreign keys unchecked, so that we must hold what is
    referred to.
    """
    firing = [(t, firing_triggers(t)) for t in tables]
    firing = [(t, triggers) for t, triggers in firing if triggers]
    if not firing:
        yield False
        return
    replica = session.database.dialect == "postgresql" and _may_be_replica(session, tables)
    before, after = _suppress(session, firing, replica=replica)
    run_all(session.connection, before)
    yield replica
    run_all(session.connection, after)


def _suppress(
    session: Session, firing: list[tuple[Table, list[Trigger]]], *, replica: bool
) -> tuple[list[str], list[str]]:
    triggers = [(t, g) for t, gs in firing for g in gs]
    if session.database.dialect == "sqlite":
        drops = {f"DROP TRIGGER {quote(g.name)}": g.definition for _, g in triggers}
        return list(drops), list(drops.values())
    if replica:
        return ["SET LOCAL session_replication_role = replica"], [
            "SET LOCAL session_replication_role = origin"
        ]
    names = {(t.sql, g.name) for t, g in triggers}
    return (
        [f"ALTER TABLE {t} DISABLE TRIGGER {quote(n)}" for t, n in sorted(names)],
        [
            # A table with deferred checks still to come cannot be altered.
            "SET CONSTRAINTS ALL IMMEDIATE",
            *(f"ALTER TABLE {t} ENABLE TRIGGER {quote(n)}" for t, n in sorted(names)),
        ],
    )


def _may_be_replica(session: Session, tables: Sequence[Table]) -> bool:
    """We may be replica, and may lock what the tables refer to in the server's place."""
    version = session.connection.dialect.server_version_info or (0,)
    by_grant = (
        " OR has_parameter_privilege('session_replication_role', 'SET')" if version >= (15,) else ""
    )
    targets = {fk.target.sql for t in tables for fk in t.foreign_keys}
    lockable = "".join(f" AND has_table_privilege({literal(t)}, 'UPDATE')" for t in sorted(targets))
    sql = f"SELECT (current_setting('is_superuser') = 'on'{by_grant}){lockable}"
    return bool(run(session.connection, sql).scalar_one())


# -- the way back -------------------------------------------------------------------------------


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
    for attempt in range(1, session.limits.lock_tries + 1):
        try:
            with session.transaction(lock_timeout=session.limits.long_timeout * 2):
                return _put_batch_back(session, run_id, batch, snapshot, force=force)
        except DBAPIError as error:
            if not is_lock_failure(error):
                raise
            time.sleep(backoff(attempt))
    tables = ", ".join(sorted({str(o.table) for o in batch}))
    raise Stopped(f"Rows of {tables} could not be locked.", hint="Run the undo again.")


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
    return (code_of(error) or "").startswith(("23", "SQLITE_CONSTRAINT"))


def _listed(connection: Connection, sql: str, table: Table) -> dict[str, str]:
    names = table.row_identity
    return {
        json.dumps(dict(zip(names, map(plain, row[:-1]), strict=True)), ensure_ascii=False): row[-1]
        for row in run(connection, sql)
    }
