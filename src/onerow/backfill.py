"""Filling a column along its table. Nothing is guessed: what no source covers stops the run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Connection

from onerow import mapping
from onerow.archive import archives_of, perform
from onerow.database import run
from onerow.dialects.changes import Entry, Place, changes
from onerow.errors import RuleError, Stopped
from onerow.plan import Step
from onerow.planning.fill import Source
from onerow.schema import Snapshot, Table
from onerow.session import Session
from onerow.sql import quote
from onerow.survey import LISTED, rows_where
from onerow.triggers import without_triggers
from onerow.walk import Tell, leaves, walk


@dataclass(frozen=True, slots=True)
class _Fill:
    """One backfill at work."""

    session: Session
    run_id: str
    step: Step
    table: Table
    snapshot: Snapshot
    source: Source
    archive: str | None  #: where rows are kept; None for a column that the plan has added

    @property
    def args(self) -> Mapping[str, Any]:
        return self.step.args

    def value(self, leaf: Table) -> str:
        return f"({self.source.value(leaf.name, self.snapshot.dialect)})"

    def todo(self, leaf: Table) -> str:
        return f"{quote(self.args['column'])} IS NULL AND {self.value(leaf)} IS NOT NULL"


def fill(
    session: Session, run_id: str, step: Step, snapshot: Snapshot, base: str, tell: Tell
) -> None:
    """Walk until a whole walk finds nothing to do.

    Raises:
        Stopped: rows that must not be NULL are covered by nothing or keep arriving, or a file
            cannot be used.
    """
    table = snapshot.get(step.table)
    if table is None or table.column(step.args["column"]) is None:
        raise Stopped(f"{step.table} has no column {step.args['column']} any more.")
    source = Source.from_dict(step.args["source"])
    archive = None
    if step.args["archived"]:
        archive = archives_of(session, run_id, [table])[table.ident]
    work = _Fill(session, run_id, step, table, snapshot, source, archive)
    if not _any_empty(work):
        return
    _load(work, base, tell)
    _walks(work, tell)
    if step.args["not_null"]:
        _refuse_uncovered(work)


def _any_empty(work: _Fill) -> bool:
    sql = f"SELECT 1 FROM {work.table.sql} WHERE {quote(work.args['column'])} IS NULL LIMIT 1"
    with work.session.reading() as connection:
        return run(connection, sql).first() is not None


def _load(work: _Fill, base: str, tell: Tell) -> None:
    """The file is read anew each time, so that a person can complete it."""
    if work.source.kind != "csv":
        return
    session, args = work.session, work.args
    try:
        # Not a reading transaction: SQLite's session tables are written in it.
        with session.transaction() as connection:
            found = mapping.load(
                connection, work.table, args["column"], args["type"], work.source, base
            )
            unknown = found.unknown(connection)
    except RuleError as error:
        raise Stopped(
            f"The backfill of {args['column']} cannot go on: {error.message}",
            hint="Mend the file; then `onerow apply` goes on.",
        ) from error
    if unknown:
        tell(0, f"{work.source.given} names rows that {work.table} does not have (any more)")


def _walks(work: _Fill, tell: Tell) -> None:
    for _ in range(work.session.limits.passes):
        if not _left(work):
            return
        for leaf in leaves(work.table, work.snapshot):
            walk(work.session, leaf, partial(_visit, work, leaf), tell)
    if _left(work):
        _tell_arriving(work, tell)


def _tell_arriving(work: _Fill, tell: Tell) -> None:
    """Writers leave the column empty. Where it may be, that is theirs: what was there is filled."""
    column = work.args["column"]
    if work.args["not_null"]:
        raise Stopped(
            f"Rows without {column} keep arriving in {work.table}.",
            hint="Deploy the writer that fills it first; then `onerow apply` goes on.",
        )
    tell(
        0, f"rows without {column} keep arriving; it may be NULL, so they stay as they are written"
    )


def _left(work: _Fill) -> bool:
    sql = f"SELECT 1 FROM {work.table.sql} WHERE {work.todo(work.table)} LIMIT 1"
    with work.session.reading() as connection:
        return run(connection, sql).first() is not None


def _visit(work: _Fill, leaf: Table, where: str) -> int:
    session, journal = work.session, work.session.journal
    began = time.monotonic()
    column = work.args["column"]
    with without_triggers(session, [work.table]) as replica:
        place = Place(table=work.table, leaf=leaf, where=f"{where} AND {work.todo(leaf)}")
        if work.archive is None:
            count = _plainly(session.connection, place, {column: work.value(leaf)})
        else:
            count = _archived(work, place, {column: work.value(leaf)}, work.archive)
        if count and replica:
            _check_references(work, leaf, where)
    if count:  # else there is nothing to write down, and nothing to wait for the disk for
        seconds = time.monotonic() - began
        journal.set_step(work.run_id, work.step, "running", add_rows=count, add_seconds=seconds)
    return count


def _plainly(connection: Connection, place: Place, sets: Mapping[str, str]) -> int:
    only = "ONLY " if connection.dialect.name == "postgresql" else ""
    assignments = ", ".join(f"{quote(c)} = {value}" for c, value in sets.items())
    sql = f"UPDATE {only}{place.leaf.sql} SET {assignments} WHERE {place.where}"
    return int(run(connection, sql).rowcount)


def _archived(work: _Fill, place: Place, sets: Mapping[str, str], archive: str) -> int:
    session = work.session
    op, batch = session.journal.next_numbers(work.run_id)
    entry = Entry(archive=archive, op=op, batch=batch)
    operation = changes(session.database.dialect).update(place, sets, entry)
    count = perform(session.connection, operation, replica=False)
    session.journal.add_operations(work.run_id, work.step, batch, [(op, operation, count)])
    return count


def _check_references(work: _Fill, leaf: Table, where: str) -> None:
    """As replica the server checks no foreign key, so we hold and look for what is referred to."""
    if not work.args["references"]:
        return
    parent, key = work.args["references"]
    column, connection = quote(work.args["column"]), work.session.connection
    rows = f"ONLY {leaf.sql} WHERE {where} AND {column} IS NOT NULL"
    run(
        connection,
        f"SELECT count(*) FROM (SELECT 1 FROM {parent} WHERE {key} IN (SELECT {column} FROM {rows})"
        " FOR KEY SHARE) AS held",
    )
    lost = run(
        connection,
        f"SELECT {column} FROM {rows}"
        f" AND NOT EXISTS (SELECT 1 FROM {parent} AS q WHERE q.{key} = {column}) LIMIT 1",
    ).first()
    if lost is not None:
        raise Stopped(
            f"The backfill would put {lost[0]} into {work.args['column']} of {work.table}, and "
            f"{parent} has no such row.",
            hint="Mend what it is filled from; then `onerow apply` goes on.",
        )


def _refuse_uncovered(work: _Fill) -> None:
    column = work.args["column"]
    with work.session.reading() as connection:
        found = rows_where(connection, work.table, f"{quote(column)} IS NULL", limit=LISTED)
    if found.rows:
        raise Stopped(
            f"unmapped_rows: {found.rows:,} row(s) of {work.table} hold nothing in {column} and "
            f"nothing covers them: {found.shown}.",
            hint="Complete what it is filled from; then `onerow apply` goes on.",
        )
