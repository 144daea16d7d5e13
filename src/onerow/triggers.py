"""User triggers that must not fire while rows are moved, and the locks that they leave to us."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from onerow.database import run
from onerow.planning.blockers import firing_triggers
from onerow.schema import Table, Trigger
from onerow.session import Session, run_all
from onerow.sql import literal, quote


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
