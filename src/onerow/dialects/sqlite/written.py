"""What the stored text of a SQLite table says, by names in any case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from onerow.dialects.nulls import never_null
from onerow.dialects.sqlite.ddl import (
    Clause,
    ColumnText,
    parse_column,
    parse_constraint,
    split_create_table,
)


def affinity(declared: str) -> str:
    """The affinity of a declared type, by the rules of datatype3.html §3.1, in their order."""
    text = declared.upper()
    if "INT" in text:
        return "INTEGER"
    if any(part in text for part in ("CHAR", "CLOB", "TEXT")):
        return "TEXT"
    if "BLOB" in text or not text:
        return "BLOB"
    if any(part in text for part in ("REAL", "FLOA", "DOUB")):
        return "REAL"
    return "NUMERIC"


def fold(name: str) -> str:
    """SQLite's names know no case among ASCII letters, and only there."""
    return name.translate(_LOWER)


_LOWER = {c: c + 32 for c in range(ord("A"), ord("Z") + 1)}


@dataclass(frozen=True)
class Written:
    """What the text of a table says."""

    columns: Mapping[str, ColumnText]  #: by folded name
    clauses: tuple[Clause, ...]  #: of the table and, with their column, of the columns
    options: tuple[str, ...] = ()

    def of_kind(self, kind: str) -> list[Clause]:
        return [c for c in self.clauses if c.kind == kind]

    @cached_property
    def checked_not_null(self) -> frozenset[str]:
        tests = [never_null(c.expression, "sqlite") for c in self.of_kind("check")]
        return frozenset(fold(name) for names in tests for name in names)


@lru_cache(maxsize=2048)  # the same tables are read many times in a run
def read_text(sql: str) -> Written:
    parts = split_create_table(sql)
    columns = [parse_column(text) for text in parts.columns]
    clauses = [
        replace(clause, columns=(column.name,)) for column in columns for clause in column.clauses
    ]
    clauses += [c for c in map(parse_constraint, parts.constraints) if c is not None]
    return Written({fold(c.name): c for c in columns}, tuple(clauses), parts.options)


NOTHING_WRITTEN = Written({}, ())
