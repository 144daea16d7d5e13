"""The tables that the application works on, and how it compares names in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

from onerow import Key
from systems.membership_plans import names, schema

FOLDED = "name_folded"  #: SQLite only: its indexes can fold ASCII letters, and no others
FOLDED_KEY = "membership_plans_one_active_folded_name"


class fold(sa.sql.functions.FunctionElement[str]):
    """A name without its case: by PostgreSQL itself, on SQLite by us (`prepare`)."""

    inherit_cache = True
    type = sa.Text()


@compiles(fold, "postgresql")
def _fold_postgresql(element: fold, compiler: Any, **options: Any) -> str:
    return f"lower({compiler.process(element.clauses, **options)})"


@compiles(fold, "sqlite")
def _fold_sqlite(element: fold, compiler: Any, **options: Any) -> str:
    return f"folded({compiler.process(element.clauses, **options)})"


def prepare(engine: sa.Engine) -> None:
    """Teach the connections of a SQLite engine what `fold` needs."""
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _teach)


def _teach(dbapi: Any, _record: Any) -> None:
    dbapi.create_function("folded", 1, names.folded, deterministic=True)


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of one state of the schema, and the key by which one plan is changed."""

    tenants: sa.Table
    branches: sa.Table
    plans: sa.Table
    members: sa.Table
    by_id: Key

    @property
    def folds(self) -> bool:
        """The application keeps a folded name itself."""
        return FOLDED in self.plans.c


def _tables(metadata: sa.MetaData) -> Tables:
    t = metadata.tables
    plans = t["membership_plans"]
    return Tables(t["tenants"], t["branches"], plans, t["members"], Key(plans, "id"))


def before() -> Tables:
    """As they were when the key held nothing back; they are read and written after, too."""
    return _tables(schema.before())


def after(dialect: str) -> Tables:
    """As they are now."""
    found = _tables(schema.after())
    if dialect == "sqlite":
        found.plans.append_column(sa.Column(FOLDED, sa.Text))
    return found
