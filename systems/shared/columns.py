"""Column types and defaults that both engines have, each in its own way."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import TypeDecorator, TypeEngine

#: PostgreSQL's own names for what a table declares, also on SQLite.
NAMES = {
    "pk": "%(table_name)s_pkey",
    "fk": "%(table_name)s_%(column_0_name)s_fkey",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "ck": "%(constraint_name)s",
}


class Money(TypeDecorator[Decimal]):
    """An amount with two decimals; whole minor units on SQLite, whose numbers are floats."""

    impl = sa.Numeric
    cache_ok = True

    def __init__(self, precision: int = 18) -> None:
        super().__init__(precision, 2)
        self.precision = precision

    def load_dialect_impl(self, dialect: sa.Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.BigInteger())
        return dialect.type_descriptor(sa.Numeric(self.precision, 2))

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        if value is None or dialect.name != "sqlite":
            return value
        return int((Decimal(value) * 100).to_integral_exact())

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Decimal | None:
        if value is None or dialect.name != "sqlite":
            return value  # type: ignore[no-any-return]
        return Decimal(value).scaleb(-2)


def uuid() -> TypeEngine[Any]:
    """A uuid, as text in Python and on SQLite."""
    return sa.Text().with_variant(UUID(as_uuid=False), "postgresql")


class _JsonText(sa.JSON):
    """SQLite's JSON functions work on text, and a column named JSON would be numeric there."""


@compiles(_JsonText, "sqlite")
def _text(_type: _JsonText, _compiler: Any, **_: Any) -> str:
    return "TEXT"


def json() -> TypeEngine[Any]:
    return _JsonText().with_variant(JSONB(), "postgresql")


def moment() -> sa.DateTime:
    return sa.DateTime(timezone=True)


class now(sa.sql.functions.FunctionElement[Any]):
    """The moment, as a column's default: in SQLite with six digits, as SQLAlchemy writes it."""

    inherit_cache = True
    type = sa.DateTime(timezone=True)


@compiles(now, "postgresql")
def _now_postgresql(_element: now, _compiler: Any, **_: Any) -> str:
    return "now()"


@compiles(now, "sqlite")
def _now_sqlite(_element: now, _compiler: Any, **_: Any) -> str:
    return "(strftime('%Y-%m-%d %H:%M:%f000', 'now'))"


class new_uuid(sa.sql.functions.FunctionElement[Any]):
    """A random uuid, as a column's default."""

    inherit_cache = True
    type = sa.Text()


@compiles(new_uuid, "postgresql")
def _uuid_postgresql(_element: new_uuid, _compiler: Any, **_: Any) -> str:
    return "gen_random_uuid()"


@compiles(new_uuid, "sqlite")
def _uuid_sqlite(_element: new_uuid, _compiler: Any, **_: Any) -> str:
    return (
        "(lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' ||"
        " substr(hex(randomblob(2)), 2) || '-' || substr('89AB', 1 + (random() & 3), 1) ||"
        " substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))))"
    )


class Generated(sa.Computed):
    """Kept by the database: STORED on PostgreSQL, VIRTUAL on SQLite, which can add no other."""

    def __init__(self, expression: str) -> None:
        super().__init__(expression)


@compiles(Generated, "postgresql")
def _stored(element: Generated, _compiler: Any, **_: Any) -> str:
    return f"GENERATED ALWAYS AS ({element.sqltext}) STORED"


@compiles(Generated, "sqlite")
def _virtual(element: Generated, _compiler: Any, **_: Any) -> str:
    return f"GENERATED ALWAYS AS ({element.sqltext}) VIRTUAL"


def serial() -> sa.Column[int]:
    """An id that the database counts up."""
    return sa.Column("id", sa.Integer, sa.Identity(), primary_key=True)


def text_id() -> sa.Column[str]:
    """An id that the application gives."""
    return sa.Column("id", sa.Text, primary_key=True)


def created_at() -> sa.Column[Any]:
    return sa.Column("created_at", moment(), nullable=False, server_default=now())


def updated_at() -> sa.Column[Any]:
    return sa.Column("updated_at", moment(), nullable=False, server_default=now())


def text(name: str, *, null: bool = False, default: str | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=null, server_default=default)


def integer(name: str, *, null: bool = False, default: str | None = None) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=null, server_default=default)


def day(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Date, nullable=null)


def yes_no(name: str, default: bool) -> sa.Column[bool]:
    value = sa.true() if default else sa.false()
    return sa.Column(name, sa.Boolean, nullable=False, server_default=value)


def refers(
    name: str, to: str, *, null: bool = False, on_delete: str | None = None
) -> sa.Column[Any]:
    """A column with a foreign key; it takes the type of what it refers to."""
    return sa.Column(name, sa.ForeignKey(to, ondelete=on_delete), nullable=null)


def metadata() -> sa.MetaData:
    return sa.MetaData(naming_convention=NAMES)


def table(name: str, of: sa.MetaData, *parts: Any) -> sa.Table:
    # AUTOINCREMENT: SQLite otherwise gives the id of a deleted row to the next one, and an undo
    # could not bring that row back.
    counted = any(isinstance(p, sa.Column) and p.identity is not None for p in parts)
    return sa.Table(name, of, *parts, sqlite_autoincrement=counted)
