"""Keys and rules that checks make up: of an index, of columns; how a table is named in a rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from onerow.checks.base import Context
from onerow.enforcement import verdict
from onerow.errors import RuleError
from onerow.keys import BoundKey, bind_key_to, bind_table
from onerow.rules import Key, Nulls, rule_to_dict
from onerow.schema import Column, Index, Snapshot, Table
from onerow.sql import Name, comma, conjunction, quote

#: Names of columns that say when a row was last changed, the plainest first.
_CHANGED = (
    "updated_at", "modified_at", "changed_at", "last_modified", "last_updated", "updated_on",
    "modified_on", "date_modified", "date_updated", "updated", "modified", "update_time",
    "updatedat", "modifiedat",
)  # fmt: skip
_TIMES = ("DATE", "TIME")

#: Columns whose NULL says that the row stands.
SOFT_DELETE = frozenset(
    {"deleted_at", "archived_at", "removed_at", "deletedat", "archivedat", "deleted_on"}
)


def rule(key: Key) -> Mapping[str, Any]:
    """The key as a table of the rule file."""
    return rule_to_dict(key)


def written(table: Table, snapshot: Snapshot) -> str:
    """The table's name as a rule writes it, no longer than it must be."""
    for text in (table.name, str(table), f"{quote(table.schema)}.{quote(table.name)}"):
        try:
            if bind_table(text, snapshot).ident == table.ident:
                return text
        except RuleError:
            continue
    return str(table)


def label(table: Table, labels: Iterable[str]) -> str:
    """`public.users(email, tenant_id)`: what a finding is about."""
    return f"{table}({comma(labels)})"


def labels(index: Index) -> tuple[str, ...]:
    return tuple(c.expression for c in index.columns)


def key_columns(index: Index) -> tuple[str, ...]:
    """The elements of an index, as a rule names them."""
    return tuple(f"({c.expression})" if c.is_expression else c.expression for c in index.columns)


def bound(table: Table, key: Key, context: Context) -> BoundKey | None:
    """The key bound; None where an expression is not understood or a type knows no equality."""
    try:
        return bind_key_to(table, key, context.snapshot)
    except RuleError:
        return None


def on(table: Table, columns: Sequence[str], context: Context, **options: Any) -> Key:
    """A key on columns of a table, with the row kept that suits the table."""
    options.setdefault("keep", keep(table))
    name = context.once(("name", table.ident), lambda: written(table, context.snapshot))
    return Key(name, *columns, **options)


def of_index(index: Index, table: Table, context: Context) -> BoundKey | None:
    """The key that an index would enforce, were it in force."""
    nulls: Nulls = "equal" if index.nulls_not_distinct else "distinct"
    key = on(table, key_columns(index), context, where=index.predicate, nulls=nulls)
    return bound(table, key, context)


def keep(table: Table) -> str:
    """Which row of a group to keep: the one changed last where a column tells it."""
    by_name = {c.name.casefold(): c for c in table.columns}
    for name in _CHANGED:
        column = by_name.get(name)
        if column is not None and _is_time(column):
            return f"latest {column.name}"
    return "first"


def _is_time(column: Column) -> bool:
    """SQLite declares times as it likes, and keeps them as text or number."""
    if len(column.type_category) == 1:
        return column.type_category == "D"
    return not column.type or any(t in column.type.upper() for t in (*_TIMES, "TEXT", "INT"))


def is_time(column: Column) -> bool:
    return column.type_category == "D" or any(t in column.type.upper() for t in _TIMES)


def is_enforced(table: Table, columns: Sequence[str], context: Context) -> bool:
    """The catalog lets one row in for each value of the columns."""
    found = bound(table, on(table, columns, context), context)
    return found is not None and verdict(found).enforced


def replaceable(index: Index, table: Table, context: Context) -> bool:
    """Another key may take the place of the index: nothing leans on it."""
    if index.primary or index.replica_identity:
        return False
    if context.snapshot.dialect == "sqlite" and not index.definition:
        return False  # it stands inside of CREATE TABLE
    return Name(index.schema, index.name) not in context.once(
        "leant on", lambda: _leant_on(context)
    )


def _leant_on(context: Context) -> frozenset[Name]:
    """The unique indexes that foreign keys need."""
    found = (fk.index for table in context.snapshot for fk in table.foreign_keys)
    return frozenset(index for index in found if index is not None)


def where(*conditions: str | None) -> str | None:
    """Filters joined; None for none."""
    given = [c for c in conditions if c]
    if len(given) < 2:
        return given[0] if given else None
    return conjunction(f"({c})" for c in given)
