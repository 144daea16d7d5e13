"""The shape of a case, the tables, and the retry loop that some cases close a race with."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

Body = Callable[[Session], None]

metadata = sa.MetaData()
users = sa.Table(
    "users", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("email", sa.Text)
)
members = sa.Table(
    "members",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("email", sa.Text, unique=True),
    sa.Column("phone", sa.Text, unique=True),
)
accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("balance", sa.Integer, nullable=False),
    sa.Column("version", sa.Integer, nullable=False, server_default="0"),
)
teams = sa.Table("teams", metadata, sa.Column("id", sa.Integer, primary_key=True))
players = sa.Table(
    "players",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("team_id", sa.ForeignKey("teams.id"), nullable=False),
)
pages = sa.Table(
    "pages",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("slug", sa.Text, nullable=False),
    sa.Column("deleted", sa.Boolean, nullable=False, server_default=sa.false()),
)
sa.Index(
    "pages_live_slug",
    pages.c.slug,
    unique=True,
    postgresql_where=~pages.c.deleted,
    sqlite_where=~pages.c.deleted,
)
plans = sa.Table(
    "plans",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("branch", sa.Text),
    sa.Column("name", sa.Text, nullable=False),
    sa.UniqueConstraint("branch", "name"),
)
scoped = sa.Table(
    "scoped_plans",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("branch", sa.Text),
    sa.Column("name", sa.Text, nullable=False),
)
sa.Index("scoped_plans_key", sa.func.coalesce(scoped.c.branch, ""), scoped.c.name, unique=True)
slots = sa.Table(
    "slots",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("place", sa.Integer),
    sa.UniqueConstraint("place", deferrable=True, initially="DEFERRED").ddl_if(
        dialect="postgresql"
    ),
)
jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("owner", sa.Text),
)
log = sa.Table(
    "log",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("said", sa.Text, nullable=False),
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A race, or the same with the cure.

    Attributes:
        name: its heading; told: what happens, in a sentence or two.
        workers: bodies, one for each session.
        rows: what the tables hold at the start; the tables named are emptied before.
        holds: the invariant.
        postgresql, sqlite: the verdict there; None where it makes no sense.
        anomaly: its name on PostgreSQL, else on SQLite.
        since: oldest major version of PostgreSQL.
    """

    name: str
    told: str
    workers: tuple[Body, ...]
    rows: Mapping[str, list[dict[str, Any]]]
    holds: Callable[[Connection], object] = lambda _connection: True
    postgresql: str
    sqlite: str | None = None
    anomaly: str = ""
    since: int = 14

    def setup(self, connection: Connection) -> None:
        """The rows back as they were."""
        for name in reversed(self.rows):
            connection.execute(metadata.tables[name].delete())
        for name, rows in self.rows.items():
            if rows:
                connection.execute(metadata.tables[name].insert(), rows)


def code(error: DBAPIError) -> str:
    """SQLSTATE of PostgreSQL's drivers, the name of SQLite's code."""
    orig = error.orig
    found = getattr(orig, "sqlstate", None) or getattr(orig, "pgcode", None)
    return found or getattr(orig, "sqlite_errorname", "")


TRANSIENT = ("40001", "40P01", "SQLITE_BUSY", "SQLITE_BUSY_SNAPSHOT")


def retried(body: Body) -> Body:
    """The whole transaction again, after a rollback, when the database says that it may help."""

    @wraps(body)
    def again(session: Session) -> None:
        for attempt in range(5):
            try:
                return body(session)
            except DBAPIError as error:
                session.rollback()
                if code(error) not in TRANSIENT:
                    raise
            time.sleep(0.05 * 2**attempt)
        raise TimeoutError("five attempts failed")

    return again


def at(level: str, body: Body) -> Body:
    """The body at an isolation level."""

    @wraps(body)
    def isolated(session: Session) -> None:
        session.connection(execution_options={"isolation_level": level})
        body(session)

    return isolated


def count(connection: Connection, table: sa.Table) -> int:
    return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
