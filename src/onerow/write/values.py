"""The values of a statement: parameters, or expressions of the caller's. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement


def is_expression(value: Any) -> bool:
    """A value that the database computes."""
    return isinstance(value, ColumnElement) or hasattr(value, "__clause_element__")


def value_params(values: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of new values; expressions have none."""
    return {f"v_{n}": v for n, v in values.items() if not is_expression(v)}


def param(prefix: str, column: sa.Column[Any]) -> ColumnElement[Any]:
    """A parameter of a column's type: ``k_…`` of the key, ``v_…`` new, ``e_…`` expected."""
    return sa.bindparam(f"{prefix}_{column.name}", type_=column.type)


def value(column: sa.Column[Any], value: Any) -> Any:
    """The parameter of a column's new value, or the expression that was given for it."""
    return value if is_expression(value) else param("v", column)


def raised(version: sa.Column[Any]) -> ColumnElement[Any]:
    """The next version; without parameters of SQLAlchemy's own naming."""
    return sa.func.coalesce(version, sa.literal_column("0")) + sa.literal_column("1")
