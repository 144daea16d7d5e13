"""A Key bound to a table: which columns, how they are compared, which filter. Pure.

What the live database says about it is `live.py`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from onerow.errors import nearest
from onerow.rules import Key
from onerow.sql import comma, quote
from onerow.write.errors import NoUniqueIndex, UnknownColumn, WriteError

_WORD = re.compile(r'"(?:[^"]|"")+"|[A-Za-z_][A-Za-z_0-9$]*')


def normal(expression: str) -> str:
    """An index element without what the engines add: casts to text, outer parentheses, quotes."""
    text = re.sub(r"::(text|character varying|varchar|bpchar)(\(\d+\))?", "", expression.lower())
    text = re.sub(r'[\s"`]+', "", text)
    text = re.sub(r"(?<![a-z_0-9])\((\w+)\)", r"\1", text)
    while text.startswith("(") and text.endswith(")") and _closes_last(text):
        text = text[1:-1]
    return text


def _closes_last(text: str) -> bool:
    depth = 0
    for i, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if depth == 0:
            return i == len(text) - 1
    return False


@dataclass(frozen=True, slots=True)
class Part:
    """One element of a key: a column, a column without case, or an expression."""

    name: str
    column: sa.Column[Any] | None
    fold: bool
    expression: str | None
    null_equal: bool
    needs: tuple[sa.Column[Any], ...]
    """Columns whose values the look-up needs; not the part's own when the database computes it."""

    @property
    def computed(self) -> bool:
        """Its value comes from other columns, so the look-up lets the database compute it."""
        return self.expression is not None

    @property
    def element(self) -> str:
        """As an element of CREATE INDEX and ON CONFLICT."""
        if self.column is None:
            return f"({self.expression})"
        return f"lower({quote(self.column.name)})" if self.fold else quote(self.column.name)

    def accepts(self, element: str) -> bool:
        """An index element that is at least as strict as this part."""
        if self.column is None:
            return element == normal(self.expression or "")
        name = normal(self.column.name)
        folded = f"lower({name})"
        return element == folded or (not self.fold and element == name)

    def accepts_null_equal(self, element: str) -> bool:
        """``coalesce(column, …)``: how NULLs are made equal where the engine has no word for it."""
        if self.column is None:
            return False
        name = re.escape(normal(self.column.name))
        inner = rf"(lower\({name}\)|{name})"
        return bool(re.fullmatch(rf"(lower\()?(coalesce|ifnull)\({inner},.*\)\)?", element))

    def row_side(self) -> ColumnElement[Any]:
        """What the index holds, over the row."""
        if self.column is None:
            return sa.literal_column(f"({self.expression})")
        return sa.func.lower(self.column) if self.fold else self.column


class Bound:
    """A Key on a Table.

    Raises:
        UnknownColumn: the key names a column that the table does not have.
    """

    def __init__(self, key: Key, table: sa.Table, mapper: Any = None) -> None:
        self.key = key
        self.table = table
        self.mapper = mapper
        self.entity = mapper.class_ if mapper is not None else None
        self.columns: dict[str, sa.Column[Any]] = {c.name: c for c in table.columns}
        self.attributes = {**self.columns, **_attributes(mapper)}
        self.parts = tuple(self._part(c) for c in key.columns)
        self.memo: dict[Any, Any] = {}

    def column(self, name: Any) -> sa.Column[Any]:
        """The column of a name, an attribute's name, a Column or a mapped attribute."""
        text = name if isinstance(name, str) else getattr(name, "key", None) or str(name)
        found = self.attributes.get(text)
        if found is None:
            hint = nearest(text, self.attributes)
            raise UnknownColumn(f"{self.table.name} has no column {text!r}.", hint=hint)
        return found

    def values(self, given: Mapping[Any, Any]) -> dict[str, Any]:
        """Values by column name."""
        return {self.column(name).name: value for name, value in given.items()}

    @cached_property
    def version(self) -> sa.Column[Any] | None:
        """The counter that SQLAlchemy's mapper keeps for this class, if it keeps one."""
        if self.mapper is None or self.mapper.version_id_col is None:
            return None
        column: sa.Column[Any] = self.mapper.version_id_col
        return column if isinstance(column.type, sa.Integer) else None

    @cached_property
    def primary(self) -> tuple[sa.Column[Any], ...]:
        return tuple(self.table.primary_key.columns)

    @cached_property
    def filter(self) -> ColumnElement[bool] | None:
        return sa.literal_column(f"({self.key.where})", sa.Boolean) if self.key.where else None

    @cached_property
    def needed(self) -> tuple[sa.Column[Any], ...]:
        """The columns without which a row of this key cannot be named."""
        return tuple(dict.fromkeys(c for part in self.parts for c in part.needs))

    def names(self, values: Iterable[str]) -> None:
        """Raise when a column of the key has no value."""
        missing = [c.name for c in self.needed if c.name not in values]
        if missing:
            raise WriteError(f"The key {self.key.label} needs a value for {comma(missing)}.")

    @cached_property
    def ddl(self) -> str:
        """CREATE UNIQUE INDEX for this key, to read, not to run."""
        elements = comma(p.element for p in self.parts) or "(1)"
        elements = elements if self.parts else f"({elements})"
        nulls = " NULLS NOT DISTINCT" if self.key.nulls == "equal" else ""
        where = f" WHERE {self.key.where}" if self.key.where else ""
        return f"CREATE UNIQUE INDEX ON {self.key.table} ({elements.strip()}){nulls}{where}"

    def refuse(self, why: str = "") -> NoUniqueIndex:
        """The error for a key that nothing holds."""
        return NoUniqueIndex(
            f"No unique index holds the key {self.key.label}{why}.",
            hint=f"The rule [[key]] table = {self.key.table!r} makes it with `onerow apply` "
            f"({self.ddl}); until then write with Key(…, transitional=True).",
        )

    def _part(self, name: str) -> Part:
        if name.startswith("("):
            expression = name.strip()[1:-1]
            return Part(name, None, False, expression, False, self._mentioned(expression))
        column = self.column(name)
        fold = any(self.column(n) is column for n in self.key.ignore_case)
        equal = self.key.nulls == "equal" and bool(column.nullable)
        if column.computed is None:
            return Part(column.name, column, fold, None, equal, (column,))
        expression = str(column.computed.sqltext)
        return Part(column.name, column, fold, expression, equal, self._mentioned(expression))

    def mentioned(self, elements: Iterable[str]) -> tuple[str, ...]:
        """Names of the columns that index elements are about."""
        return tuple(dict.fromkeys(c.name for e in elements for c in self._mentioned(e)))

    def _mentioned(self, expression: str) -> tuple[sa.Column[Any], ...]:
        words = {w.strip('"') for w in _WORD.findall(re.sub(r"'(?:[^']|'')*'", "", expression))}
        lower = {w.lower() for w in words}
        return tuple(c for c in self.columns.values() if c.name in words or c.name in lower)


def _attributes(mapper: Any) -> dict[str, sa.Column[Any]]:
    if mapper is None:
        return {}
    return {attribute.key: attribute.columns[0] for attribute in mapper.column_attrs}


def bind_metadata(key: Key) -> Bound | None:
    """The key on its own model or Table; None for a key that only names its table.

    Raises:
        WriteError: the class is spread over several tables.
    """
    source = key.source
    if source is None:
        return None
    mapper = getattr(source, "__mapper__", None)
    table = getattr(source, "__table__", source)
    if mapper is not None and len(mapper.tables) > 1:
        raise WriteError(f"{source.__name__} is mapped to several tables; use a Table in the Key.")
    return Bound(key, table, mapper)


def declared_elements(table: sa.Table) -> list[tuple[str, list[str], str | None]]:
    """The unique keys that the metadata declare: name, elements, predicate."""
    found: list[tuple[str, list[str], str | None]] = []
    for constraint in table.constraints:
        if not isinstance(constraint, (sa.PrimaryKeyConstraint, sa.UniqueConstraint)):
            continue
        if not constraint.deferrable:
            names = [normal(c.name) for c in constraint.columns]
            found.append((str(constraint.name or ""), names, None))
    for index in table.indexes:
        if index.unique:
            found.append((str(index.name), _index_elements(index), _index_where(index)))
    return [(name, elements, where) for name, elements, where in found if elements]


def _index_elements(index: sa.Index) -> list[str]:
    return [normal(_text(e)) for e in index.expressions]


def _index_where(index: sa.Index) -> str | None:
    for dialect in ("postgresql", "sqlite"):
        where = index.dialect_options[dialect]["where"]
        if where is not None:
            return _text(where)
    return None


def _text(clause: Any) -> str:
    if isinstance(clause, sa.Column):
        return clause.name
    options = {"literal_binds": True, "include_table": False}
    return str(clause.compile(compile_kwargs=options))


def holds(bound: Bound, elements: list[str], predicate: str | None) -> bool:
    """An index with these elements lets in at most one row per value of the key.

    Fewer columns are stricter and count; an index over a part of the rows counts only for a key
    over that part (the same text; for more the database is asked).
    """
    if predicate is not None and normal(predicate) != normal(bound.key.where or ""):
        return False
    if not bound.parts:
        return all(re.fullmatch(r"\d+|true|'[^']*'", e) for e in elements)
    return all(any(part.accepts(e) for part in bound.parts) for e in elements)


def bind(key: Key) -> Bound:
    """Bind a key to its model at import time, and refuse when the metadata declare no such key.

    Args:
        key: made from a model or Table.

    Returns:
        Bound: the key on its table.

    Raises:
        NoUniqueIndex: the metadata have no unique index, constraint or primary key for it
            (and the key is not transitional).
        WriteError: the key only names its table, so there is nothing to look at yet.
    """
    bound = bind_metadata(key)
    if bound is None:
        raise WriteError(f"{key.label} names a table; give Key the model to bind it at import.")
    keys = declared_elements(bound.table)
    if not key.transitional and not any(holds(bound, e, w) for _, e, w in keys):
        raise bound.refuse(" in the metadata")
    return bound
