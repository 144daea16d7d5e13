"""A plan for SQLite, tried on an empty copy of the schema: a script has to say texts beforehand."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlalchemy import Connection

from onerow.catalog import snapshot_of
from onerow.database import Database, errors, run
from onerow.emit.parts import LEFT_OUT
from onerow.emit.shadow import Shadow, Texts
from onerow.errors import OnerowError
from onerow.plan import Plan, Step
from onerow.schema import Snapshot
from onerow.session import run_all
from onerow.sql import literal
from onerow.steps import Action, kind, rebuild_table

#: Kinds whose statements move rows, or only look.
OF_ROWS = ("merge", "backfill", "orphans", "verify")


def shadows(database: Database, plan: Plan) -> dict[str, Shadow]:
    """Step id -> what it does to the schema, of a plan for SQLite that is still to be run.

    Raises:
        OnerowError: the way back does not lead to where it began.
    """
    texts = _schema(database, plan)
    with tempfile.TemporaryDirectory(prefix="onerow-") as folder:
        file = Path(folder) / "trial.sqlite3"
        file.touch()
        copy = Database(f"sqlite:///{file}")
        try:
            with errors(copy), copy.connect() as connection:
                run(connection, "PRAGMA foreign_keys = OFF")
                run_all(connection, texts)
                connection.commit()
                return _tried(connection, plan)
        finally:
            copy.engine.dispose()


def _schema(database: Database, plan: Plan) -> list[str]:
    """Tables first, and whatever belongs to them after."""
    names = ", ".join(literal(t.name) for t in plan.tables)
    query = (
        f"SELECT sql FROM sqlite_master WHERE tbl_name COLLATE NOCASE IN ({names})"
        " AND sql IS NOT NULL AND type <> 'view' ORDER BY type <> 'table', type <> 'index'"
    )
    with errors(database), database.connect() as connection:
        return [str(r[0]) for r in run(connection, query)]


def _tried(connection: Connection, plan: Plan) -> dict[str, Shadow]:
    start = _texts(connection)
    found = _forward(connection, plan)
    for shadow in reversed(found.values()):
        run_all(connection, shadow.back)
    if _texts(connection) != start:
        raise OnerowError("The plan's way back does not lead to where it began.")
    connection.rollback()
    return found


def _forward(connection: Connection, plan: Plan) -> dict[str, Shadow]:
    found: dict[str, Shadow] = {}
    ahead: dict[str, tuple[str, ...]] = {}  #: index built under another name -> its statements
    swapped = {s.args["built"] for s in plan.steps if s.kind == "swap_constraint"}
    for step in (s for s in plan.steps if s.kind not in LEFT_OUT):
        snapshot, before = _snapshot(connection, plan), _texts(connection)
        statements = _statements(step, snapshot)
        if step.kind == "create_index" and step.args["name"] in swapped:
            # Afterwards nothing tells that it was there, so the two are one change.
            ahead[step.args["name"]] = statements
            continue
        if step.kind == "swap_constraint":
            statements = ahead[step.args["built"]] + statements
        run_all(connection, statements)
        after = _texts(connection)
        back = kind(step.kind).undo(step, _snapshot(connection, plan)) if statements else ()
        found[step.id] = _shadow(statements, back, before, after)
    return found


def _statements(step: Step, snapshot: Snapshot) -> tuple[str, ...]:
    if kind(step.kind).MODE in OF_ROWS or kind(step.kind).is_done(step, snapshot):
        return ()
    if step.kind == "rebuild_table":
        return rebuild_table.redo(step, snapshot).sql
    return step.sql


def _shadow(
    forward: tuple[str, ...], back: Sequence[Action], before: Texts, after: Texts
) -> Shadow:
    changed = [n for n in {**before, **after} if before.get(n) != after.get(n)]
    return Shadow(
        forward=forward,
        back=tuple(sql for action in back for sql in action.sql),
        before={n: before.get(n) for n in changed},
        after={n: after.get(n) for n in changed},
    )


def _snapshot(connection: Connection, plan: Plan) -> Snapshot:
    return snapshot_of(connection, tables=plan.tables)


def _texts(connection: Connection) -> Mapping[str, str | None]:
    query = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
    return {str(r[0]): str(r[1]) for r in run(connection, query)}
