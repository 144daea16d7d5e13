"""The rows of a batch: as tuples, one per key, with the defaults that Python computes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, Literal

import sqlalchemy as sa

from onerow.write.binding import Bound
from onerow.write.errors import DuplicateInBatch, WriteError
from onerow.write.values import is_expression

Duplicates = Literal["last", "first", "error"]
Row = tuple[Any, ...]


def as_tuples(
    bound: Bound, given: Iterable[Mapping[Any, Any]]
) -> tuple[tuple[str, ...], list[Row]]:
    """Mappings as column names and tuples. Raises WriteError when they differ in their columns."""
    source = list(given)
    if not source:
        return (), []
    keys = tuple(source[0])
    names = tuple(bound.column(k).name for k in keys)
    try:
        rows = list(map(_getter(keys), source))
    except KeyError as exc:
        raise WriteError("All rows of a batch must name the same columns.") from exc
    if set(map(len, source)) != {len(keys)}:
        raise WriteError("All rows of a batch must name the same columns.")
    if any(is_expression(v) for v in rows[0]):
        raise WriteError("A batch takes values, no SQL expressions.")
    return names, rows


def _getter(keys: Sequence[Any]) -> Callable[[Any], Any]:
    """A tuple of items; `itemgetter` gives no tuple for one."""
    if len(keys) == 1:
        return lambda row: (row[keys[0]],)
    return itemgetter(*keys) if keys else lambda row: ()


def once(bound: Bound, names: tuple[str, ...], rows: list[Row], policy: Duplicates) -> list[Row]:
    """One row per key."""
    if policy == "first":
        rows = rows[::-1]
    kept = dict(zip(map(_key_of(bound, names), rows), rows, strict=True))
    if policy == "error" and len(kept) < len(rows):
        raise DuplicateInBatch("Two rows of the batch have one key.")
    return list(kept.values())


def _key_of(bound: Bound, names: tuple[str, ...]) -> Callable[[tuple[Any, ...]], Any]:
    """What tells two rows of a batch apart. A NULL equals nothing unless the key says so."""
    places = [names.index(c.name) for c in bound.needed]
    folded = {p.column.name for p in bound.parts if p.fold and p.column is not None}
    folds = [names[i] in folded for i in places]
    loose = [
        names.index(p.column.name)
        for p in bound.parts
        if p.column is not None and p.column.nullable and not (p.computed or p.null_equal)
    ]
    if not any(folds) and not loose:
        return _getter(places)

    def of(row: tuple[Any, ...]) -> Any:
        if any(row[i] is None for i in loose):
            return object()
        values = [row[i] for i in places]
        return tuple(
            v.lower() if fold and isinstance(v, str) else v
            for v, fold in zip(values, folds, strict=True)
        )

    return of


class _Context:
    """What a context-sensitive default may ask for."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.current_parameters = row

    def get_current_parameters(self, isolate_multiinsert_groups: bool = True) -> Mapping[str, Any]:
        return self.current_parameters


def with_defaults(
    bound: Bound, names: tuple[str, ...], rows: list[Row]
) -> tuple[tuple[str, ...], list[Row]]:
    """Defaults that Python computes are computed for each row, not once for the statement."""
    computed = [
        c
        for c in bound.table.columns
        if c.name not in names and c.default is not None and c.default.is_callable
    ]
    if not computed or not names:
        return names, rows
    return (*names, *(c.name for c in computed)), list(_computed(names, rows, computed))


def _computed(
    names: tuple[str, ...], rows: list[Row], columns: Sequence[sa.Column[Any]]
) -> Iterator[tuple[Any, ...]]:
    defaults: list[Any] = [c.default for c in columns]
    for row in rows:
        context = _Context(dict(zip(names, row, strict=True)))
        yield (*row, *(d.arg(context) for d in defaults))
