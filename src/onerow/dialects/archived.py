"""What the archive keeps of a row, and how the row is found again."""

from __future__ import annotations

from collections.abc import Sequence

from onerow.dialects.phrases import of, same
from onerow.schema import Column, Table
from onerow.sql import quote

#: Why an archived row is not as it was, where nobody has changed it since.
NOT_BACK = "a row that it refers to is gone, or its place in a unique key is taken"


def archived_columns(table: Table) -> tuple[Column, ...]:
    """What the archive keeps of a row: all but virtual columns, which hold nothing."""
    return tuple(c for c in table.columns if c.generated != "virtual")


def restored_columns(table: Table) -> tuple[Column, ...]:
    return tuple(c for c in table.columns if c.writable)


def renamed(table: Table, columns: Sequence[str]) -> bool:
    """Changing the columns changes what rows of the table are known by."""
    return bool(set(table.row_identity) & set(columns))


def now_names(table: Table) -> list[str]:
    """Columns of the archive that hold what a row is known by since it was changed."""
    return [f"onerow_now{i}" for i, _ in enumerate(table.row_identity, 1)]


def found_again(table: Table, columns: Sequence[str]) -> list[str]:
    """Where an archived row `a`, whose `columns` were changed, is found in the table now."""
    old = of("a", table.row_identity)
    if not renamed(table, columns):
        return old
    return [f"coalesce(a.{n}, {o})" for n, o in zip(now_names(table), old, strict=True)]


def referred_to(
    table: Table, archive: str, op: int, columns: Sequence[str] | None = None
) -> list[str]:
    """Tests that whatever an archived row `a` refers to is there, or comes back with it.

    Args:
        columns: those that are put back, the others are as they are in `t`; None: all.
    """
    tests = []
    for fk in table.foreign_keys:
        if columns is not None and not set(columns) & set(fk.columns):
            continue
        own = [f"{'a' if columns is None or c in columns else 't'}.{quote(c)}" for c in fk.columns]
        match = same(of("q", fk.target_columns), own)
        found = [f"EXISTS (SELECT 1 FROM {fk.target.sql} AS q WHERE {match})"]
        if columns is None and fk.target == table.ident:
            found.append(
                f"EXISTS (SELECT 1 FROM {archive} AS q WHERE q.onerow_op = {op} AND {match})"
            )
        tests.append(f"({' OR '.join([*(f'{c} IS NULL' for c in own), *found])})")
    return tests
