"""Mending rows that refer to nothing, along their table, each archived as it was."""

from __future__ import annotations

import time

from onerow.archive import archives_of, perform
from onerow.database import run
from onerow.dialects.changes import Entry, Place, changes
from onerow.errors import Stopped
from onerow.plan import Step
from onerow.schema import ForeignKey, Snapshot, Table
from onerow.session import Session, run_all
from onerow.sql import Name, conjunction, quote
from onerow.steps.archive_orphans import orphaned
from onerow.survey import grandchildren
from onerow.triggers import without_triggers
from onerow.walk import Tell, leaves, walk


def mend(
    session: Session,
    run_id: str,
    step: Step,
    snapshot: Snapshot,
    tell: Tell,
) -> None:
    """Empty the references, or remove the rows, until none is left.

    Raises:
        Stopped: other rows refer to one that would go, or orphans keep arriving.
    """
    table = snapshot.get(step.table)
    if table is None:
        raise Stopped(f"{step.table} is gone.")
    key = key_of(step)
    archive = archives_of(session, run_id, [table])[table.ident]
    for _ in range(session.limits.passes):
        if not _left(session, key, table):
            return
        for leaf in leaves(table, snapshot):

            def visit(where: str, leaf: Table = leaf) -> int:
                return _visit(session, run_id, step, snapshot, key, table, leaf, where, archive)

            walk(session, leaf, visit, tell)
    if _left(session, key, table):
        raise Stopped(f"Rows that refer to nothing keep arriving in {table}.")


def key_of(step: Step) -> ForeignKey:
    args = step.args
    return ForeignKey(
        name=args["foreign_key"],
        table=step.table,
        columns=tuple(args["columns"]),
        target=Name(*args["target"]),
        target_columns=tuple(args["target_columns"]),
    )


def _left(session: Session, key: ForeignKey, table: Table) -> bool:
    tests = conjunction(orphaned(key, table.sql))
    with session.reading() as connection:
        return (
            run(connection, f"SELECT 1 FROM {table.sql} WHERE {tests} LIMIT 1").first() is not None
        )


def _visit(
    session: Session,
    run_id: str,
    step: Step,
    snapshot: Snapshot,
    key: ForeignKey,
    table: Table,
    leaf: Table,
    where: str,
    archive: str,
) -> int:
    began = time.monotonic()
    journal = session.journal
    op, batch = journal.next_numbers(run_id)
    tests = conjunction([where, *orphaned(key, quote(leaf.name))])
    place = Place(table=table, leaf=leaf, where=tests)
    entry = Entry(archive=archive, op=op, batch=batch)
    makes = changes(session.database.dialect)
    if step.args["policy"] == "null":
        operation = makes.update(place, dict.fromkeys(step.args["emptied"], "NULL"), entry)
    else:
        operation = makes.delete(place, entry)
        # Locked first, so that nobody can refer to them any more when children are looked for.
        run_all(session.connection, operation.before)
        _refuse_children(session, snapshot, key, table)
    with without_triggers(session, [table]):
        count = perform(session.connection, operation, replica=False)
    done, seconds = [(op, operation, count)], time.monotonic() - began
    journal.add_batch(run_id, step, batch, done, rows=count, seconds=seconds)
    return count


def _refuse_children(session: Session, snapshot: Snapshot, key: ForeignKey, table: Table) -> None:
    """The server would let them follow into nothing, or take them along."""
    for child in snapshot.references_to(table.ident):
        if run(session.connection, grandchildren(key, child)).scalar_one():
            raise Stopped(
                f"Rows of {child.table} refer to rows of {table} that refer to nothing themselves.",
                hint="Mend them; then `onerow apply` goes on.",
            )
