"""Foreign keys that lean on a key which is to go: whether they can lean on its successor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onerow.keys import BoundKey
from onerow.plan import Step
from onerow.schema import PARTITIONED, ForeignKey, Index, Snapshot
from onerow.sql import Name, comma
from onerow.steps import move_foreign_key, validate_foreign_key


def leaning(index: Index, snapshot: Snapshot) -> tuple[ForeignKey, ...]:
    """The foreign keys that lean on an index (pg_constraint.conindid)."""
    name = Name(index.schema, index.name)
    return tuple(fk for table in snapshot for fk in table.foreign_keys if fk.index == name)


def hindrance(
    key: ForeignKey, bound: BoundKey, old: Index, snapshot: Snapshot, *, made: bool
) -> str:
    """Why a foreign key cannot follow, as a sentence; empty when it can.

    `made`: the plan makes the successor of the old key.
    """
    child = snapshot.get(key.table)
    if bound.table.kind == PARTITIONED:
        return f"{bound.table} is partitioned, and it would have to be added again to every part."
    if not bound.attachable or set(bound.columns) != set(key.target_columns):
        labels = comma(p.label for p in bound.parts)
        return (
            f"It refers to ({comma(key.target_columns)}), and the new key is of ({labels})"
            f"{' with a filter' if bound.where is not None else ''}."
        )
    if not made or any(i != old and _fits(i, key) for i in bound.table.indexes):
        return "Another key of the same columns stands besides; an undo could not tell them apart."
    if child is None or not child.we_own:
        return f"It would have to be added again, and {key.table} is not ours."
    if key.period or (child.kind == PARTITIONED and snapshot.version < (18,)):
        return "It would have to be added again, with a scan of both tables under a strong lock."
    return ""


def _fits(index: Index, key: ForeignKey) -> bool:
    plain = all(not c.is_expression for c in index.columns) and index.predicate is None
    columns = {c.expression for c in index.columns}
    return plain and index.unique and index.immediate and columns == set(key.target_columns)


def moved(taking: Step, bound: BoundKey, old: Index, keys: Sequence[ForeignKey]) -> Iterator[Step]:
    """The step that takes the old key away from under foreign keys, and their validation."""
    if not keys:
        yield taking
        return
    yield move_foreign_key.plan(taking, keys, old, bound.name)
    for key in keys:
        if key.validated:
            yield validate_foreign_key.plan(key, bound.label)
