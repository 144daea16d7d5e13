"""Tables and engines for the write tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from onerow.rules import Key


class Base(DeclarativeBase):
    """The models of these tests."""


class User(Base):
    __tablename__ = "users"
    __table_args__ = (sa.UniqueConstraint("tenant_id", "slug", name="users_tenant_slug"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int]
    slug: Mapped[str]
    title: Mapped[str | None]
    hits: Mapped[int] = mapped_column(default=0)
    touched: Mapped[str | None] = mapped_column(onupdate=lambda: "touched")


class Plan(Base):
    """NULL scope, case and archived rows: everything a key can have."""

    __tablename__ = "plans"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    branch_id: Mapped[str | None]
    scope_key: Mapped[str] = mapped_column(
        sa.Computed("coalesce(branch_id, 'TENANT')", persisted=True)
    )
    name: Mapped[str]
    status: Mapped[str] = mapped_column(default="ACTIVE")
    price: Mapped[int] = mapped_column(default=0)


sa.Index(
    "plans_active_name",
    Plan.tenant_id,
    Plan.scope_key,
    sa.func.lower(Plan.name),
    unique=True,
    postgresql_where=Plan.status == "ACTIVE",
    sqlite_where=Plan.status == "ACTIVE",
)


class Two(Base):
    """Two unique keys."""

    __tablename__ = "two"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    handle: Mapped[str] = mapped_column(unique=True)
    n: Mapped[int] = mapped_column(default=0)


class Page(Base):
    """Deleted softly."""

    __tablename__ = "pages"
    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str]
    body: Mapped[str | None]
    deleted_at: Mapped[datetime | None]


sa.Index(
    "pages_living_slug",
    Page.slug,
    unique=True,
    postgresql_where=Page.deleted_at.is_(None),
    sqlite_where=Page.deleted_at.is_(None),
)


class State(Base):
    """One row."""

    __tablename__ = "state"
    __table_args__ = (sa.CheckConstraint("id = 1", name="state_one"),)
    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    sprint_index: Mapped[int | None]
    lead: Mapped[str | None]


class Selection(Base):
    """A version that the mapper keeps."""

    __tablename__ = "selections"
    id: Mapped[int] = mapped_column(primary_key=True)
    workout_id: Mapped[int] = mapped_column(unique=True)
    day: Mapped[str | None]
    slot: Mapped[str | None]
    version: Mapped[int] = mapped_column(sa.Integer)
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class Ticket(Base):
    """Work that is claimed."""

    __tablename__ = "tickets"
    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(default="pending")
    claimed_by: Mapped[str | None]
    claimed_until: Mapped[datetime | None]
    claim_token: Mapped[int | None]


class Label(Base):
    """Equal NULLs, by an expression of the index."""

    __tablename__ = "labels"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[int | None]
    name: Mapped[str]
    n: Mapped[int] = mapped_column(default=0)


sa.Index(
    "labels_owner_name", sa.func.coalesce(Label.owner, -1), sa.func.lower(Label.name), unique=True
)


class Loose(Base):
    """No unique key yet."""

    __tablename__ = "loose"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    n: Mapped[int] = mapped_column(default=0)


USER = Key(User, "tenant_id", "slug")
PLAN = Key(Plan, "tenant_id", "scope_key", "name", where="status = 'ACTIVE'", ignore_case=("name",))
EMAIL = Key(Two, "email")
PAGE = Key(Page, "slug", where="deleted_at IS NULL")
SELECTION = Key(Selection, "workout_id")
LABEL = Key(Label, "owner", "name", nulls="equal", ignore_case=("name",))
LOOSE = Key(Loose, "name", transitional=True)
ASYNC = {"postgresql+psycopg": "postgresql+psycopg", "sqlite": "sqlite+aiosqlite"}


def with_driver(url: str, driver: str) -> sa.URL:
    """A fixture's address with a driver of our choice."""
    return sa.make_url(url).set(drivername=driver)


def sync_url(url: str) -> sa.URL:
    return with_driver(url, "sqlite" if url.startswith("sqlite") else "postgresql+psycopg")


def async_url(url: str, postgres: str = "asyncpg") -> sa.URL:
    driver = "sqlite+aiosqlite" if url.startswith("sqlite") else f"postgresql+{postgres}"
    return with_driver(url, driver)


@contextmanager
def engine_of(url: str | sa.URL, **options: object) -> Iterator[sa.Engine]:
    """An engine with the tables, closed at the end."""
    engine = sa.create_engine(sync_url(url) if isinstance(url, str) else url, **options)
    try:
        if engine.dialect.name == "sqlite":
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        Base.metadata.create_all(engine)
        yield engine
    finally:
        engine.dispose()


def async_engine_of(url: str, postgres: str = "asyncpg", **options: object) -> AsyncEngine:
    return create_async_engine(async_url(url, postgres), **options)


def sessions(engine: sa.Engine) -> sessionmaker[Session]:
    return sessionmaker(engine, expire_on_commit=False)


def count(engine: sa.Engine, table: object) -> int:
    with engine.connect() as connection:
        select = sa.select(sa.func.count()).select_from(table)  # type: ignore[arg-type]
        return connection.execute(select).scalar_one()
