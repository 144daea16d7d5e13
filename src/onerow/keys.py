"""A Key bound to a table of a Snapshot: its parts, its filter, its name.

Everything that is made from a key (detection, merge, DDL, verdict) is made from this one value.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from onerow.errors import RuleError, nearest
from onerow.expressions import columns_in, is_one_expression
from onerow.rules import Key
from onerow.schema import FOREIGN, MATERIALIZED_VIEW, VIEW, VIRTUAL, Column, Snapshot, Table
from onerow.sql import Name, comma, cut, quote, split_identifier


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPart:
    """One column or expression of a key."""

    label: str  #: as the rule writes it
    sql: str  #: what is compared: `"name"`, `lower("name")`, `(expression)`
    column: Column | None = None
    folded: bool = False  #: compared without case
    nullable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundKey:
    key: Key
    table: Table
    parts: tuple[KeyPart, ...]
    name: str  #: of its index or constraint
    dialect: str
    version: tuple[int, ...]
    source: str = ""  #: what stands in for a table that lacks columns which other rules bring

    @property
    def label(self) -> str:
        return self.key.label

    @property
    def rows(self) -> str:
        """What its rows are read from."""
        return self.source or self.table.sql

    @property
    def where(self) -> str | None:
        return self.key.where

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the plain columns among the parts."""
        return tuple(p.column.name for p in self.parts if p.column)

    @property
    def attachable(self) -> bool:
        """Can be a constraint: PostgreSQL takes no expression and no filter there.

        Before 15 equal NULLs take an expression, as there is no NULLS NOT DISTINCT.
        """
        plain = all(p.column and not p.folded for p in self.parts)
        nullable = self.key.nulls == "equal" and any(p.nullable for p in self.parts)
        known = self.dialect != "postgresql" or self.version >= (15,)
        return bool(self.parts) and plain and self.where is None and (known or not nullable)

    def __str__(self) -> str:
        return f"{self.table}({comma(p.label for p in self.parts)})"


def bind_table(name: str, snapshot: Snapshot, rule: str = "") -> Table:
    """The table that a rule names.

    Tried in turn: the whole text as a name in the schemas that were read, then as `schema.name`,
    then as SQL with quotes. SQLite's names know no case (lang_keywords, sqlite3_stricmp).

    Raises:
        RuleError: no such table, several of that name, or something that is no table.
    """
    found = _find_table(name, snapshot)
    if len(found) > 1:
        names = comma(sorted(str(t) for t in found))
        raise RuleError(
            f"there are several tables {name!r}: {names}.", rule=rule, hint="Name the schema."
        )
    if not found:
        known = [t.name for t in snapshot] + [str(t) for t in snapshot]
        others = f" (schemas read: {comma(snapshot.schemas)})" if snapshot.schemas else ""
        raise RuleError(
            f"there is no table {name!r}{others}.", rule=rule, hint=nearest(name, known)
        )
    table = found[0]
    if table.kind in (VIEW, MATERIALIZED_VIEW, FOREIGN, VIRTUAL):
        raise RuleError(
            f"{table} is a {table.kind}; a rule needs a table.",
            rule=rule,
            hint="Name the table behind it.",
        )
    return table


def _find_table(name: str, snapshot: Snapshot) -> list[Table]:
    fold = str.casefold if snapshot.dialect == "sqlite" else str
    exact = [t for t in snapshot if t.name == name] or [
        t for t in snapshot if fold(t.name) == fold(name)
    ]
    if exact:
        return _first_in_path(exact, snapshot)
    for schema, table in _spellings(name):
        hits = [
            t
            for t in snapshot
            if fold(t.name) == fold(table) and (schema is None or fold(t.schema) == fold(schema))
        ]
        if hits:
            return hits if schema else _first_in_path(hits, snapshot)
    return []


def _spellings(name: str) -> Iterable[tuple[str | None, str]]:
    if "." in name:
        schema, _, table = name.partition(".")
        yield schema, table
    try:
        parts = split_identifier(name)
    except ValueError:
        return
    if len(parts) == 1:
        yield None, parts[0]
    elif len(parts) == 2:
        yield parts[0], parts[1]


def _first_in_path(tables: list[Table], snapshot: Snapshot) -> list[Table]:
    """As the server would resolve the bare name: the first schema of the search path wins."""
    for schema in snapshot.search_path:
        hits = [t for t in tables if t.schema == schema]
        if hits:
            return hits
    return tables


def bind_column(name: str, table: Table, dialect: str, rule: str = "") -> Column:
    """The column that a rule names. Raises RuleError with the nearest name."""
    column = table.column(name)
    if column is None and dialect == "sqlite":
        column = next((c for c in table.columns if c.name.casefold() == name.casefold()), None)
    if column is None and name.startswith('"'):
        column = _quoted_column(name, table)
    if column is None:
        hint = nearest(name, (c.name for c in table.columns))
        if "(" in name and not hint:
            hint = "An expression is written in parentheses: '(lower(name))'."
        raise RuleError(f"{table} has no column {name!r}.", rule=rule, hint=hint)
    return column


def _quoted_column(name: str, table: Table) -> Column | None:
    try:
        parts = split_identifier(name)
    except ValueError:
        return None
    return table.column(parts[0]) if len(parts) == 1 else None


def check_expression(text: str, what: str, table: Table, dialect: str, rule: str) -> None:
    """Raise RuleError unless the text is one expression over columns that the table has."""
    if not is_one_expression(text, dialect):
        raise RuleError(f"{what} is not one SQL expression: {text!r}.", rule=rule)
    fold = str.casefold if dialect == "sqlite" else str
    known = {fold(c.name) for c in table.columns}
    for name in columns_in(text, dialect) or ():
        if fold(name) not in known:
            raise RuleError(
                f"{what} names {name!r}, which is no column of {table}.",
                rule=rule,
                hint=_nearest_in_sql(name, table),
            )


def _nearest_in_sql(name: str, table: Table) -> str:
    for column in table.columns:
        if column.name.casefold() == name.casefold():
            return f"In SQL that column is written with quotes: {quote(column.name)}."
    return nearest(name, (c.name for c in table.columns))


def fold_case(column: Column, dialect: str) -> str:
    """The SQL that compares a column without case; SQLite's lower() folds ASCII only."""
    return quote(column.name) if column.case_insensitive else f"lower({quote(column.name)})"


def _part(text: str, key: Key, table: Table, dialect: str) -> KeyPart:
    if text.startswith("(") and text.endswith(")") and table.column(text) is None:
        check_expression(text, "a column expression", table, dialect, key.label)
        return KeyPart(label=text, sql=text)
    column = bind_column(text, table, dialect, key.label)
    if not column.has_equality:
        raise RuleError(
            f"column {column.name!r} has type {column.type}, which knows no equality.",
            rule=key.label,
        )
    if text in key.ignore_case and dialect == "postgresql" and column.type_category != "S":
        raise RuleError(
            f"ignore_case names {column.name!r}, whose type {column.type} knows no case.",
            rule=key.label,
        )
    folded = text in key.ignore_case and not column.case_insensitive
    sql = fold_case(column, dialect) if folded else quote(column.name)
    return KeyPart(
        label=column.name, sql=sql, column=column, folded=folded, nullable=not column.not_null
    )


def made_up_name(table: Table, labels: Iterable[str]) -> str:
    """A name for a key that has none, 63 bytes at most."""
    words = [w for label in labels for w in [_word(label)] if w] or ["singleton"]
    return cut("_".join(["uq", _word(table.name), *words]))


def _word(text: str) -> str:
    return "_".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


def bind_key(key: Key, snapshot: Snapshot) -> BoundKey:
    """Bind a key to the table that it names.

    Raises:
        RuleError: table, column or expression that is not there, or a policy that does not fit.
    """
    return bind_key_to(bind_table(key.table, snapshot, key.label), key, snapshot)


def bind_key_to(table: Table, key: Key, snapshot: Snapshot) -> BoundKey:
    """Bind a key to a table that is found already. Raises RuleError as `bind_key` does."""
    parts = tuple(_part(c, key, table, snapshot.dialect) for c in key.columns)
    if key.where is not None:
        check_expression(key.where, "where", table, snapshot.dialect, key.label)
    if key.keep.how not in ("first", "manual") and table.column(key.keep.what) is None:
        check_expression(key.keep.what, "keep", table, snapshot.dialect, key.label)
    for column in key.merge:
        if column != "default":
            bind_column(column, table, snapshot.dialect, key.label)
    if not snapshot.get(Name(table.schema, table.name)):
        raise RuleError(f"{table} is not in the snapshot.", rule=key.label)
    return BoundKey(
        key=key,
        table=table,
        parts=parts,
        name=cut(key.name) if key.name else made_up_name(table, (p.label for p in parts)),
        dialect=snapshot.dialect,
        version=snapshot.version,
    )
