"""The journal's tables, and the versions that they have been through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection


class Tables:
    """The journal's tables, as SQLAlchemy Core sees them."""

    def __init__(self, dialect: str) -> None:
        schema, prefix = ("onerow", "") if dialect == "postgresql" else (None, "onerow_")
        self.metadata = sa.MetaData(schema=schema)
        time = sa.DateTime(timezone=True)

        def table(name: str, *columns: Any) -> sa.Table:
            return sa.Table(prefix + name, self.metadata, *columns)

        self.migration = table("migration", sa.Column("version", sa.Integer, primary_key=True))
        self.run = table(
            "run",
            sa.Column("id", sa.Text, primary_key=True),
            sa.Column("plan_id", sa.Text, nullable=False),
            sa.Column("fingerprint", sa.Text, nullable=False),
            sa.Column("plan", sa.Text, nullable=False),
            sa.Column("direction", sa.Text, nullable=False),
            sa.Column("status", sa.Text, nullable=False),
            sa.Column("message", sa.Text, nullable=False),
            sa.Column("runner", sa.Text, nullable=False),
            sa.Column("started_at", time, nullable=False),
            sa.Column("finished_at", time),
        )
        self.step = table(
            "step",
            sa.Column("run_id", sa.Text, primary_key=True),
            sa.Column("step_id", sa.Text, primary_key=True),
            sa.Column("position", sa.Integer, nullable=False),
            sa.Column("kind", sa.Text, nullable=False),
            sa.Column("status", sa.Text, nullable=False),
            sa.Column("rows", sa.BigInteger, nullable=False),
            sa.Column("seconds", sa.Float, nullable=False),
            sa.Column("message", sa.Text, nullable=False),
        )
        self.archive = table(
            "archive",
            sa.Column("run_id", sa.Text, primary_key=True),
            sa.Column("schema_name", sa.Text, primary_key=True),
            sa.Column("table_name", sa.Text, primary_key=True),
            sa.Column("archive_name", sa.Text, nullable=False),
        )
        self.operation = table(
            "operation",
            sa.Column("run_id", sa.Text, primary_key=True),
            sa.Column("op", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("step_id", sa.Text, nullable=False),
            sa.Column("batch", sa.BigInteger, nullable=False),
            sa.Column("schema_name", sa.Text, nullable=False),
            sa.Column("table_name", sa.Text, nullable=False),
            sa.Column("action", sa.Text, nullable=False),
            sa.Column("detail", sa.Text, nullable=False),
            sa.Column("rows", sa.BigInteger, nullable=False),
            sa.Column("undone", sa.Boolean, nullable=False),
        )
        self.pruned = table(
            "pruned",
            sa.Column("run_id", sa.Text, primary_key=True),
            sa.Column("pruned_at", time, nullable=False),
        )
        self.left_alone = table(
            "left_alone",
            sa.Column("run_id", sa.Text, primary_key=True),
            sa.Column("op", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("key", sa.Text, primary_key=True),
            sa.Column("reason", sa.Text, nullable=False),
        )


def _first(connection: Connection, tables: Tables) -> None:
    """What version 1 had."""
    later = {tables.pruned}
    first = [t for t in tables.metadata.sorted_tables if t not in later]
    tables.metadata.create_all(connection, tables=first)


def _pruned(connection: Connection, tables: Tables) -> None:
    """Runs whose archive was dropped are remembered as such."""
    tables.pruned.create(connection)


#: One function a version; a version that was released is never changed.
MIGRATIONS: tuple[Callable[[Connection, Tables], None], ...] = (_first, _pruned)
