"""The text and the hash that stand for the content of a row."""

from __future__ import annotations

from collections.abc import Sequence

from onerow.dialects.archived import restored_columns
from onerow.dialects.phrases import of
from onerow.schema import Table
from onerow.sql import comma


def row_text(alias: str, columns: Sequence[str]) -> str:
    """The text that stands for a row's content; session settings fix how values are written."""
    return f"ROW({comma(of(alias, columns))})::text"


def row_hash(alias: str, table: Table) -> str:
    columns = [c.name for c in restored_columns(table)]
    return f"md5({row_text(alias, columns)})"
