"""Finding the children that collide when they are re-pointed, before any row is changed."""

from __future__ import annotations

from sqlalchemy import Connection

from onerow.database import run
from onerow.dialects import Dialect, MergeSpec
from onerow.dialects.folds import (
    Meeting,
    circular,
    cleared,
    going,
    groups_met,
    join,
    meet,
    meetings,
    touched,
)
from onerow.errors import Stopped
from onerow.facts import FoldFacts
from onerow.session import run_all

MOST_SWEEPS = 50  #: of a circle in which every row that goes makes another one go


def collect(
    connection: Connection, spec: MergeSpec, dialect: Dialect, *, lock: bool
) -> dict[str, int]:
    """Fill the lists of children that are merged or kept away, to a fixpoint.

    Args:
        lock: hold the rows that are looked at until the transaction ends.

    Returns:
        unique index -> groups of rows that would collide in it and that no policy covers.

    Raises:
        Stopped: a circle of references has no end in sight.
    """
    run_all(connection, cleared(dialect, spec))
    all_of_them = meetings(spec, dialect.name)
    for _ in range(MOST_SWEEPS):
        found = [_met(connection, dialect, m, lock=lock) for m in all_of_them if m.fold]
        if not (any(found) and circular(spec)):
            break
    else:
        raise Stopped(
            f"Children of {spec.table} go round in a circle for more than {MOST_SWEEPS} times.",
            hint="Merge one of these tables by a [[key]] of its own first.",
        )
    return {
        m.label: int(run(connection, groups_met(dialect, m)).scalar_one())
        for m in all_of_them
        if m.fold is None
    }


def _met(connection: Connection, dialect: Dialect, meeting: Meeting, *, lock: bool) -> int:
    assert meeting.fold is not None
    if lock:
        run_all(connection, dialect.lock_rows(meeting.table, touched(dialect, meeting)))
    empty, fill = meet(dialect, meeting, meeting.fold)
    run(connection, empty)
    count = run(connection, fill).rowcount
    if count:
        run_all(connection, join(dialect, meeting.fold))
    return int(count)


def fold_facts(
    connection: Connection, spec: MergeSpec, dialect: Dialect, samples: int
) -> tuple[FoldFacts, ...]:
    """What was collected, told for each child table."""
    return tuple(
        FoldFacts(
            table=str(fold.table),
            policy=fold.policy,
            groups=int(groups),
            rows=int(rows),
            samples=tuple(dict(r) for r in run(connection, listed).mappings()),
        )
        for fold in spec.folds
        if fold.number
        for counted, listed in [going(dialect, fold, samples)]
        for groups, rows in [run(connection, counted).one()]
    )
