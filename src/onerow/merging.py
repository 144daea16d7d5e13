"""Merging duplicate rows, batch by batch, each one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from onerow.archive import archives_of, perform
from onerow.database import driver_text, excludes_each_other, run
from onerow.dialects import MergeSpec
from onerow.dialects.collisions import may_lack_target
from onerow.dialects.folds import fold_tables
from onerow.errors import Stopped
from onerow.folding import collect
from onerow.pace import Pace
from onerow.plan import Step
from onerow.session import Session, backoff, run_all
from onerow.sql import Name
from onerow.triggers import without_triggers

MOST_LEVELS = 1_000  #: of a tree whose keys break again as the rows above them are merged
UNIQUE_TRIES = 3  #: of a batch in which somebody else's new rows collide; it looks again
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
    archives = archives_of(session, run_id, spec.tables)
    with session.transaction():
        run_all(session.connection, session.dialect.batch_table(spec))
        run_all(session.connection, tuple(fold_tables(session.dialect, spec)))
    with session.reading():
        fresh = session.journal.next_numbers(run_id)[1] == 1
    # A run that has merged already has but few left, whatever the plan has seen.
    surplus = step.rows or 0 if fresh else 0
    done = 0
    for _ in range(MOST_LEVELS if _breaks_itself(spec) else 1):
        work = _list(session, spec, surplus)
        if not work.groups:
            break
        done += _merge_pass(session, run_id, step, spec, archives, work, advance, done)
        surplus = 0
    return done


def _breaks_itself(spec: MergeSpec) -> bool:
    """Rows of the table move with the merge, and with them the key: a tree, level by level."""
    own = {c for child in spec.children if child.table == spec.table for c in child.columns}
    expressions = any(p.column is None for p in spec.bound.parts) or spec.bound.where is not None
    return bool(own) and (expressions or bool(own & set(spec.bound.columns)))


def _list(session: Session, spec: MergeSpec, surplus: int) -> Work:
    """Find the duplicate groups, into the session's own tables.

    Args:
        surplus: rows that the plan has seen to be too many.
    """
    with session.reading() as connection:
        if session.database.dialect == "postgresql":
            run(connection, "SET LOCAL enable_hashagg = off")
            run(connection, "SET LOCAL work_mem = '64MB'")
        # Where the plan has seen many already, it would be in vain to list their keys first.
        keys = session.dialect.list_keys(spec) if _are_few(surplus, spec) else ()
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
    total = max(spec.table.estimated_rows or 0, work.rows)
    of = total if session.database.dialect == "postgresql" else None
    pace = Pace(session.limits, work.rows / work.groups, of)
    expected = before + work.rows - work.groups
    done, first = 0, 1
    while first <= work.groups:
        session.breathe()
        last = min(first + pace.size - 1, work.groups)
        with pace.timed():
            done += _batch(session, run_id, step, spec, archives, first, last)
        advance(before + done, expected)
        first = last + 1
    return done


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
    tries = UNIQUE_TRIES if spec.folds else 1
    while True:
        try:
            return session.batch(
                lambda: _merge_groups(session, run_id, step, spec, archives, first, last),
                f"Rows of {spec.bound}",
            )
        except DBAPIError as error:
            if not excludes_each_other(error):
                raise
            tries -= 1
            if not tries:
                raise Stopped(
                    f"Merging {spec.bound} would break another key: {driver_text(error)}.",
                    hint="Settle these rows, or give their table a policy (`children`).",
                ) from error
            time.sleep(backoff(UNIQUE_TRIES - tries))


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
    with without_triggers(session, spec.tables) as replica:
        run_all(connection, session.dialect.rank(spec, first, last))
        _fold_children(connection, session, spec)
        _stop_at_disagreement(connection, session, spec)
        _stop_at_unplaced(connection, session, spec)
        counted = [
            (op + i, operation, perform(connection, operation, replica=replica))
            for i, operation in enumerate(operations)
        ]
    gone = sum(n for _, operation, n in counted if operation.action == "deleted")
    seconds = time.monotonic() - began
    journal.add_batch(run_id, step, batch, counted, rows=gone, seconds=seconds)
    return gone


def _stop_at_disagreement(connection: Connection, session: Session, spec: MergeSpec) -> None:
    manual = spec.bound.key.keep.how == "manual"
    if manual and run(connection, session.dialect.batch_undecided(spec)).scalar_one():
        raise Stopped(
            f"Duplicates have arrived in {spec.bound} that nobody has decided on.",
            hint="`onerow plan --decisions FILE` lists them; undo, decide, and plan again.",
        )
    for merged, change in ((m, c) for m in spec.merged for c in m.changes):
        if change.policy != "error":
            continue
        groups = run(connection, session.dialect.batch_disagreements(merged, change.column))
        if groups.scalar_one():
            raise Stopped(
                f"Rows of one group of {merged.table} hold different values of "
                f"{change.column.name}, and its policy is error.",
                hint="Settle them, or plan again with another policy.",
            )


def _fold_children(connection: Connection, session: Session, spec: MergeSpec) -> None:
    """Find the children that collide; those without a policy are nobody's to decide on."""
    if not spec.folds:
        return
    for index, groups in collect(connection, spec, session.dialect, lock=True).items():
        if groups:
            raise Stopped(
                f"Re-pointing the children would break {index} for {groups:,} value(s), and the "
                "rule has no policy for them.",
                hint="Settle these rows, then `onerow apply` goes on; or undo, and plan again.",
            )


def _stop_at_unplaced(connection: Connection, session: Session, spec: MergeSpec) -> None:
    for merged, child in ((m, c) for m in spec.merged for c in m.children):
        if (
            may_lack_target(merged, child)
            and run(connection, session.dialect.unplaced(merged, child)).scalar_one()
        ):
            raise Stopped(
                f"Rows of {child.table} refer to {merged.table} by a value which the row that "
                "stays does not have.",
                hint="Give it to that row, or keep another one; then `onerow apply` goes on.",
            )
