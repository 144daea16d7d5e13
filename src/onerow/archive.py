"""The only module that moves the user's rows: merging duplicates, and putting rows back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from onerow.database import is_lock_failure, run
from onerow.dialects import MergeSpec, Operation, Restore
from onerow.errors import NameTaken, Stopped
from onerow.journal import OperationRecord
from onerow.measure import plain
from onerow.plan import Step
from onerow.planning.blockers import firing_triggers
from onerow.schema import Snapshot, Table, Trigger
from onerow.session import Session, backoff, run_all
from onerow.sql import Name, quote

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
    archives = _archives(session, run_id, spec)
    with session.transaction():
        run_all(session.connection, session.dialect.batch_table(spec))
    work = _list(session, spec)
    if not work.groups:
        return 0
    return _merge_pass(session, run_id, step, spec, archives, work, advance)


def _archives(session: Session, run_id: str, spec: MergeSpec) -> dict[Name, str]:
    """The archive tables of the run, made where they are not there yet."""
    tables = {t.ident: t for t in [spec.table, *(c.table for c in spec.children)]}
    with session.transaction():
        known = session.journal.archives(run_id)
        for ident, table in tables.items():
            _check_names(table)
            if ident not in known:
                known[ident] = session.journal.add_archive(run_id, ident)
                run(session.connection, session.dialect.create_archive(table, known[ident].name))
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
) -> int:
    size = _BatchSize(session, work)
    expected = work.rows - work.groups
    done, first = 0, 1
    while first <= work.groups:
        session.check_budget()
        last = min(first + size.groups - 1, work.groups)
        began = time.monotonic()
        done += _batch(session, run_id, step, spec, archives, first, last)
        size.learn(time.monotonic() - began)
        advance(done, expected)
        first = last + 1
    return done


class _BatchSize:
    """How many groups a batch takes: grows and shrinks towards the target time."""

    def __init__(self, session: Session, work: Work) -> None:
        self.limits = session.limits
        self.per_group = max(1.0, work.rows / work.groups)
        self.groups = max(1, int(self.limits.batch_rows / self.per_group))

    def learn(self, seconds: float) -> None:
        factor = min(1.5, max(0.5, self.limits.batch_time / max(seconds, 1e-4)))
        most = max(1, int(self.limits.most_batch_rows / self.per_group))
        self.groups = max(1, min(most, int(self.groups * factor) or 1))


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
    with without_triggers(session, tables):
        run_all(connection, session.dialect.rank(spec, first, last))
        _stop_at_disagreement(connection, session, spec)
        counted = [
            (op + i, operation, _perform(connection, operation))
            for i, operation in enumerate(operations)
        ]
    gone = sum(n for _, operation, n in counted if operation.action == "deleted")
    journal.add_operations(run_id, step, batch, counted)
    seconds = time.monotonic() - began
    journal.set_step(run_id, step, "running", add_rows=gone, add_seconds=seconds)
    return gone


def _perform(connection: Connection, operation: Operation) -> int:
    run_all(connection, operation.before)
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


@contextmanager
def without_triggers(session: Session, tables: Sequence[Table]) -> Iterator[None]:
    """Keep user triggers from firing in this transaction.

    PostgreSQL: as replica where the role may (foreign keys are then not checked by the server,
    but every row that is deleted is locked and every child of it moved), else by disabling them,
    which takes SHARE ROW EXCLUSIVE until the commit. SQLite: they are dropped and made again;
    nobody sees the transaction's inside.
    """
    firing = [(t, firing_triggers(t)) for t in tables]
    firing = [(t, triggers) for t, triggers in firing if triggers]
    if not firing:
        yield
        return
    before, after = _suppress(session, firing)
    run_all(session.connection, before)
    yield
    run_all(session.connection, after)


def _suppress(
    session: Session, firing: list[tuple[Table, list[Trigger]]]
) -> tuple[list[str], list[str]]:
    triggers = [(t, g) for t, gs in firing for g in gs]
    if session.database.dialect == "sqlite":
        drops = {f"DROP TRIGGER {quote(g.name)}": g.definition for _, g in triggers}
        return list(drops), list(drops.values())
    if _may_be_replica(session):
        return ["SET LOCAL session_replication_role = replica"], [
            "SET LOCAL session_replication_role = origin"
        ]
    names = {(t.sql, g.name) for t, g in triggers}
    return (
        [f"ALTER TABLE {t} DISABLE TRIGGER {quote(n)}" for t, n in sorted(names)],
        [f"ALTER TABLE {t} ENABLE TRIGGER {quote(n)}" for t, n in sorted(names)],
    )


def _may_be_replica(session: Session) -> bool:
    version = session.connection.dialect.server_version_info or (0,)
    by_grant = (
        " OR has_parameter_privilege('session_replication_role', 'SET')" if version >= (15,) else ""
    )
    sql = f"SELECT current_setting('is_superuser') = 'on'{by_grant}"
    return bool(run(session.connection, sql).scalar_one())


# -- the way back -------------------------------------------------------------------------------


def put_back(
    session: Session,
    run_id: str,
    operation: OperationRecord,
    snapshot: Snapshot,
    *,
    force: bool,
) -> tuple[int, int]:
    """Take one archived operation back, in one transaction. Returns (rows restored, left alone)."""
    table = snapshot.get(operation.table)
    for attempt in range(1, session.limits.lock_tries + 1):
        try:
            with session.transaction(lock_timeout=session.limits.long_timeout * 2) as connection:
                archive = session.journal.archives(run_id).get(operation.table)
                if archive is None or table is None:
                    raise Stopped(f"{operation.table} or its archive is gone; nothing to put back.")
                restore = session.dialect.restore(
                    table, archive.sql, operation.action, operation.detail, operation.op
                )
                with without_triggers(session, [table]):
                    left = _put_back(connection, restore, table, force=force)
                session.journal.leave_alone(run_id, operation.op, left)
                session.journal.set_undone(run_id, operation.op)
            return operation.rows - len(left), len(left)
        except DBAPIError as error:
            if not is_lock_failure(error):
                raise
            time.sleep(backoff(attempt))
    raise Stopped(f"Rows of {table} could not be locked.", hint="Run the undo again.")


def _put_back(
    connection: Connection, restore: Restore, table: Table, *, force: bool
) -> dict[str, str]:
    if restore.lock:
        run(connection, restore.lock)
    left = {} if force else _listed(connection, restore.changed, table)
    run_all(connection, restore.forced if force else (restore.statement,))
    if restore.missing:
        left = {**_listed(connection, restore.missing, table), **left}
    return left


def _listed(connection: Connection, sql: str, table: Table) -> dict[str, str]:
    names = table.row_identity
    return {
        json.dumps(dict(zip(names, map(plain, row[:-1]), strict=True)), ensure_ascii=False): row[-1]
        for row in run(connection, sql)
    }
