"""Columns that rules bring and tables lack: keys over them are looked at as if they were there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from onerow.expressions import columns_in
from onerow.keys import BoundKey, bind_key
from onerow.planning.binding import with_table
from onerow.planning.column import bind_rule
from onerow.rules import Column as ColumnRule
from onerow.rules import Key, Rule
from onerow.schema import Column, Snapshot, Table
from onerow.sql import Name, comma, quote


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """The catalog with the columns that rules are to add.

    Attributes:
        values: what generates each of them; None where a backfill fills it.
    """

    catalog: Snapshot
    values: Mapping[tuple[Name, str], str | None] = field(default_factory=dict)

    def missing(self, table: Table, names: Iterable[str]) -> list[str]:
        """Those of the columns that are not there yet."""
        return [n for n in dict.fromkeys(names) if (table.ident, n) in self.values]

    def missing_in(self, bound: BoundKey) -> list[str]:
        return self.missing(bound.table, [*bound.columns, *self.used(bound.where, *_texts(bound))])

    def used(self, *expressions: str | None) -> list[str]:
        return [c for e in expressions if e for c in columns_in(e, self.catalog.dialect) or ()]

    def key(self, rule: Key) -> BoundKey:
        """The key bound to the table as it will be.

        Its rows are asked for with what generates the columns that are missing; where one of them
        is filled in another way, they cannot be asked for.
        """
        bound = bind_key(rule, self.catalog)
        return replace(bound, source=self._source(bound.table, self.missing_in(bound)))

    def countable(self, bound: BoundKey) -> bool:
        """Its rows can be looked at."""
        return bool(bound.source) or not self.missing_in(bound)

    def _source(self, table: Table, names: Sequence[str]) -> str:
        values = {n: self.values[table.ident, n] for n in names}
        if not values or None in values.values():
            return ""
        shown = comma(f"({value}) AS {quote(name)}" for name, value in values.items())
        return f"(SELECT *, {shown} FROM {table.sql}) AS {quote(table.name)}"


def _texts(bound: BoundKey) -> list[str]:
    return [p.sql for p in bound.parts if p.column is None]


def coming(rules: Iterable[Rule], catalog: Snapshot) -> Coming:
    """What rules are to add to the tables.

    Raises:
        RuleError: a rule names what is not there.
    """
    found = Coming(catalog=catalog)
    for rule in rules:
        if isinstance(rule, ColumnRule):
            found = _with(found, rule)
    return found


def _with(found: Coming, rule: ColumnRule) -> Coming:
    bound = bind_rule(rule, found.catalog)
    if bound.there is not None:
        return found
    table = bound.table
    # No engine lets a column that it generates read another one that is not there.
    unclear = found.missing(table, found.used(rule.generated))
    value = None if unclear else rule.generated
    wider = replace(table, columns=(*table.columns, Column(name=rule.name, type=rule.type)))
    return Coming(
        catalog=with_table(found.catalog, wider),
        values={**found.values, (table.ident, rule.name): value},
    )
