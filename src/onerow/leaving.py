"""Values that others wrote into a column that a run had added: archived before an undo drops it.

What the run's own backfill put there can be made again from its source, and is not kept. The walk
goes first, in batches; what is written behind it is taken in the transaction that drops the column.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from sqlalchemy import Connection

from onerow import mapping
from onerow.archive import archives_of, perform
from onerow.database import run
from onerow.dialects.changes import Entry, Place, changes
from onerow.errors import RuleError
from onerow.plan import Plan, Step
from onerow.planning.fill import Source
from onerow.schema import Snapshot, Table
from onerow.session import Session, run_all
from onerow.sql import conjunction, quote
from onerow.steps import Action
from onerow.walk import Tell, leaves, walk

VALUE_SET_ASIDE = "value set aside"  #: what the archive calls it


@dataclass(frozen=True, slots=True)
class _Leaving:
    """One column on its way out."""

    session: Session
    run_id: str
    step: Step
    table: Table
    archive: str
    source: Source | None  #: of the run's own backfill, where its values can be told

    @property
    def column(self) -> str:
        return str(self.step.args["column"])

    def written(self, leaf: Table) -> str:
        """The row holds what the backfill would not have put there."""
        column = quote(self.column)
        if self.source is None:
            return f"{column} IS NOT NULL"
        value = self.source.value(leaf.name, self.session.database.dialect)
        same = "IS" if self.session.database.dialect == "sqlite" else "IS NOT DISTINCT FROM"
        return f"{column} IS NOT NULL AND NOT ({column} {same} ({value}))"

    def keep(self, leaf: Table, where: str) -> int:
        journal = self.session.journal
        op, batch = journal.next_numbers(self.run_id)
        place = Place(table=self.table, leaf=leaf, where=where)
        entry = Entry(archive=self.archive, op=op, batch=batch)
        makes = changes(self.session.database.dialect)
        operation = makes.keep(place, entry, VALUE_SET_ASIDE, quote(self.column))
        count = perform(self.session.connection, operation, replica=False)
        journal.add_operations(self.run_id, self.step, batch, [(op, operation, count)])
        return count


def is_of(step: Step) -> bool:
    """The way back of the step takes a column away that others may have written into."""
    return step.kind == "add_column" and " GENERATED ALWAYS AS " not in step.args["definition"]


def drop_column(
    session: Session,
    run_id: str,
    plan: Plan,
    step: Step,
    snapshot: Snapshot,
    drop: Action,
    short: Callable[[Callable[[Connection], None]], None],
    tell: Tell,
) -> None:
    """Archive what others wrote, and drop the column.

    Args:
        short: runs work under the regime of strong locks.
    """
    table = snapshot.get(step.table)
    assert table is not None
    archive = archives_of(session, run_id, [table])[table.ident]
    with session.reading() as connection:
        there = set(run(connection, f"SELECT * FROM {archive} LIMIT 0").keys())
    table = replace(table, columns=tuple(c for c in table.columns if c.name in there))
    source = _source(session, plan, step, table)
    work = _Leaving(session, run_id, step, table, archive, source)
    with session.transaction():
        session.journal.forget(run_id, step.id, archive)
    since = _walked(work, snapshot, tell) if session.database.dialect == "postgresql" else ""

    def last(connection: Connection) -> None:
        if since:
            # Readers go on while those rows are looked for that were written behind the walk.
            run(connection, f"LOCK TABLE {table.sql} IN SHARE ROW EXCLUSIVE MODE")
        work.keep(table, conjunction([since, work.written(table)]))
        run_all(connection, drop.sql)

    short(last)


def _source(session: Session, plan: Plan, step: Step, table: Table) -> Source | None:
    """Where the file of a backfill cannot be read any more, every value is kept."""
    filled = next(
        (
            s
            for s in plan.steps
            if s.kind == "backfill"
            and s.table == step.table
            and s.args["column"] == step.args["column"]
        ),
        None,
    )
    if filled is None:
        return None
    source = Source.from_dict(filled.args["source"])
    if source.kind != "csv":
        return source
    args = filled.args
    try:
        with session.transaction() as connection:
            mapping.load(connection, table, args["column"], args["type"], source, plan.base)
    except RuleError:
        return None
    return source


def _walked(work: _Leaving, snapshot: Snapshot, tell: Tell) -> str:
    """What is there now. Returns the condition of rows written since."""
    session = work.session
    with session.reading() as connection:
        began = run(connection, "SELECT pg_snapshot_xmin(pg_current_snapshot())::xid").scalar_one()
    for leaf in leaves(work.table, snapshot):

        def visit(where: str, leaf: Table = leaf) -> int:
            return work.keep(leaf, f"{where} AND {work.written(leaf)}")

        walk(session, leaf, partial(visit), tell)
    return f"age(xmin) <= age('{began}'::xid)"


__all__ = ["VALUE_SET_ASIDE", "drop_column", "is_of"]
