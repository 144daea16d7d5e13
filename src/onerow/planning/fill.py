"""What a backfill takes its values from, as one SQL expression over the row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from onerow.errors import RuleError
from onerow.sql import conjunction, literal, quote

SOURCES = ("value", "sql", "csv")
MAPPING = {"postgresql": "pg_temp.onerow_mapping", "sqlite": "temp.onerow_mapping"}
"""The session's table that a CSV file is read into: onerow_k1 …, onerow_value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    kind: str  #: of `SOURCES`
    given: Any  #: the value, the expression, or the file's name
    keys: tuple[str, ...] = ()  #: columns of the table that the file names rows by
    references: tuple[str, str] | None = None  #: table and column that values must be in, as SQL

    @property
    def told(self) -> str:
        match self.kind:
            case "value":
                return f"with {self.given!r}"
            case "sql":
                return f"with {self.given}"
        return f"from {self.given}, by {', '.join(self.keys)}"

    def value(self, table: str, dialect: str) -> str:
        """The expression; `table` is the bare name that the statement knows the table by."""
        match self.kind:
            case "value":
                return constant(self.given, dialect)
            case "sql":
                return str(self.given)
        test = conjunction(
            f"m.onerow_k{i} = {quote(table)}.{quote(k)}" for i, k in enumerate(self.keys, 1)
        )
        # A subquery by key is looked up row by row, never joined to a whole batch.
        return f"SELECT m.onerow_value FROM {MAPPING[dialect]} AS m WHERE {test}"

    def to_dict(self) -> dict[str, Any]:
        given = self.given.isoformat() if isinstance(self.given, date | time) else self.given
        return {"kind": self.kind, "given": given, "keys": list(self.keys)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Source:
        return cls(kind=data["kind"], given=data["given"], keys=tuple(data["keys"]))


def constant(value: Any, dialect: str) -> str:
    """A value of the rule file as SQL. Raises RuleError for a list or a table."""
    if isinstance(value, bool):
        return str(value).upper() if dialect == "postgresql" else str(int(value))
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, datetime | date | time):
        return literal(value.isoformat())
    if isinstance(value, str):
        return literal(value)
    raise RuleError(f"backfill = {{ value = {value!r} }} is no single value.")
