"""Types and sizes, from the rows of the catalog."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from onerow.sql import Name


def json_list(text: str | None) -> list[Any]:
    return json.loads(text) if text else []


class Types:
    """What is known of the types: their base, and whether values can be compared."""

    def __init__(self, rows: Iterable[Any]) -> None:
        self._rows = {row.oid: row for row in rows}

    def base(self, oid: int) -> Any:
        row = self._rows[oid]
        return self.base(row.base) if row.base else row

    def has_equality(self, oid: int) -> bool:
        row = self.base(oid)
        # The operator classes of enums, ranges and multiranges are those of pseudo-types.
        if row.ordered or row.kind in ("e", "r", "m"):
            return True
        if row.element:
            return self.has_equality(row.element)
        return row.members is not None and all(map(self.has_equality, json_list(row.members)))


@dataclass(frozen=True)
class Size:
    rows: int | None
    bytes: int | None
    pages: int | None


class Sizes:
    """Estimates, those of a partitioned table being the sums over its partitions."""

    def __init__(self, tables: Sequence[Any], block_size: int) -> None:
        self._tables = {t.oid: t for t in tables}
        self._block = block_size
        by_name = {Name(t.schema, t.name): t.oid for t in tables}
        self._partitions: dict[int, list[int]] = defaultdict(list)
        for table in tables:
            if table.is_partition:
                for parent in json_list(table.parents):
                    self._partitions[by_name.get(Name(*parent), 0)].append(table.oid)

    def of(self, oid: int) -> Size:
        table = self._tables[oid]
        if table.kind != "p":
            pages = None if table.size is None else int(table.size) // self._block
            return Size(self._estimate(table), table.size, pages)
        parts = [self.of(part) for part in self._partitions[oid]]
        known = all(p.rows is not None for p in parts)
        return Size(
            sum(p.rows or 0 for p in parts) if known else None,
            _sum(p.bytes for p in parts),
            _sum(p.pages for p in parts),
        )

    def _estimate(self, table: Any) -> int | None:
        """The statistics, drawn out to today's size, as the planner does."""
        if table.tuples < 0:
            return None
        if table.size is None:
            return int(table.tuples)
        if table.pages == 0:
            # Analysed when it was empty: that tells nothing of what has come since.
            return 0 if table.size == 0 else None
        return int(table.tuples / table.pages * table.size / self._block)


def _sum(values: Iterable[int | None]) -> int | None:
    known = [v for v in values if v is not None]
    return sum(known) if known else None
