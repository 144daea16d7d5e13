"""Who points at the rows of a table: declared foreign keys and the ones that a rule tells of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

from onerow.errors import RuleError
from onerow.expressions.parsing import parse
from onerow.keys import bind_column, bind_table, check_expression
from onerow.rules import Key
from onerow.schema import Index, Snapshot, Table
from onerow.sql import comma, split_identifier

_REFERENCE = re.compile(
    r"^\s*(?P<table>[^()]+?)\s*\(\s*(?P<columns>[^()]+?)\s*\)\s*(?:where\s+(?P<where>.+?)\s*)?$",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """Rows of `table` that point, by `columns`, at `target_columns` of a merged table."""

    table: Table
    columns: tuple[str, ...]
    target_columns: tuple[str, ...]
    name: str  #: of the foreign key, or the text of the declaration
    declared: bool = True  #: by a foreign key of the database
    where: str | None = None  #: which rows, when only the rule declares it

    @property
    def label(self) -> str:
        return f"{self.table}({comma(self.columns)})"

    @property
    def indexed(self) -> bool:
        """A usable index leads with the columns, in any order.

        A column that the declaration's own filter pins to one value may stand among them.
        """
        wanted, pinned = set(self.columns), self._pinned()
        return any(
            i.valid and i.predicate is None and _leads(i, wanted, pinned)
            for i in self.table.indexes
        )

    def _pinned(self) -> frozenset[str]:
        """Columns that the filter compares with a constant."""
        tree = parse(self.where, "postgresql") if self.where else None
        tests = tree.flatten() if isinstance(tree, exp.And) else [tree]
        return frozenset(
            t.this.name
            for t in tests
            if isinstance(t, exp.EQ)
            and isinstance(t.this, exp.Column)
            and isinstance(t.expression, exp.Literal)
        )


def _leads(index: Index, wanted: set[str], pinned: frozenset[str]) -> bool:
    """The first elements are the wanted columns, with none but pinned ones among them."""
    left = set(wanted)
    for element in index.columns:
        if not left:
            break
        if element.expression not in left | pinned:
            return False
        left.discard(element.expression)
    return not left


def children_of(table: Table, key: Key, snapshot: Snapshot) -> tuple[Child, ...]:
    """All children of a table, in a stable order. Raises RuleError for a bad declaration."""
    return (*referring(table, snapshot), *_declared_by_rule(table, key, snapshot))


def referring(table: Table, snapshot: Snapshot) -> list[Child]:
    """The children by foreign keys, in a stable order."""
    found = [
        Child(
            table=child,
            columns=fk.columns,
            target_columns=fk.target_columns,
            name=fk.name,
        )
        for child in snapshot
        for fk in child.foreign_keys
        if fk.target == table.ident and not fk.inherited
    ]
    return sorted(found, key=lambda c: (str(c.table), c.name, c.columns))


def _declared_by_rule(table: Table, key: Key, snapshot: Snapshot) -> Iterator[Child]:
    for text in key.also_referenced_by:
        match = _REFERENCE.match(text)
        if match is None:
            raise RuleError(
                f"also_referenced_by {text!r} should read 'table(column) where condition'.",
                rule=key.label,
            )
        child = bind_table(match["table"], snapshot, key.label)
        names = [n for part in match["columns"].split(",") for n in split_identifier(part.strip())]
        columns = tuple(bind_column(n, child, snapshot.dialect, key.label).name for n in names)
        where = match["where"]
        if where is not None:
            check_expression(where, "also_referenced_by", child, snapshot.dialect, key.label)
        target = table.row_identity
        if len(target) != len(columns):
            raise RuleError(
                f"also_referenced_by {text!r} names {len(columns)} columns; "
                f"{table} is known by {len(target)}.",
                rule=key.label,
            )
        yield Child(
            table=child,
            columns=columns,
            target_columns=target,
            name=text,
            declared=False,
            where=where,
        )
