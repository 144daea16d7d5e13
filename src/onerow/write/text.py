"""Statements rendered once. SQLAlchemy walks a statement at every call, to find it in its cache;
text with typed parameters and columns is a shorter walk, and means the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from onerow.write.binding import Bound


def fits(bound: Bound) -> bool:
    """Whether nothing in it could be taken for a parameter, or be changed in one's name."""
    table = bound.table
    names = [table.schema or "", table.name, *(c.name for c in table.columns)]
    plain = not any(part.computed for part in bound.parts) and bound.filter is None
    return plain and all(re.fullmatch(r"\w*", name) for name in names)


def as_text(statement: Any, dialect: str, columns: Iterable[sa.Column[Any]]) -> Any:
    """The statement as text that has the parameters and gives the columns that it has.

    Only for a statement of which Python computes nothing, and whose names fit.
    """
    compiled = statement.compile(dialect=_dialect(dialect))
    binds = (sa.bindparam(name, type_=bind.type) for name, bind in compiled.binds.items())
    # Some types bring a cast along (`:id::UUID`), behind which `text` sees no parameter.
    text = str(compiled).replace("::", r"\:\:")
    return sa.text(text).bindparams(*binds).columns(*columns)


def _dialect(name: str) -> Any:
    """Without a driver, whose casts of parameters `text` would not tell from the parameters."""
    if name == "postgresql":
        from sqlalchemy.dialects.postgresql.base import PGDialect

        return PGDialect(paramstyle="named")  # type: ignore[no-untyped-call]
    from sqlalchemy.dialects.sqlite.base import SQLiteDialect

    return SQLiteDialect(paramstyle="named")
