"""Moving the children of merged rows to the survivor."""

from __future__ import annotations

from collections.abc import Sequence

from onerow.children import Child
from onerow.dialects.archived import archived_columns, found_again, now_names, renamed
from onerow.dialects.base import Dialect
from onerow.dialects.collisions import condition, followed
from onerow.dialects.folds import emptied
from onerow.dialects.phrases import element_names, of, same
from onerow.dialects.values import Entry, Merged, Operation
from onerow.schema import Table
from onerow.sql import comma, conjunction, quote


def row_text(alias: str, columns: Sequence[str]) -> str:
    """The text that stands for a row's content; quote() writes every storage class apart."""
    return " || ',' || ".join(f"quote({c})" for c in of(alias, columns)) or "''"


def sign(entry: Entry, table: Table, columns: Sequence[str], text: str) -> str:
    """Writes down what the changed rows look like now, to know later if others changed them."""
    here = same(of("t", table.row_identity), found_again(table, columns))
    return (
        f"UPDATE {entry.archive} AS a SET onerow_after = (SELECT {text} FROM {table.sql} AS t"
        f" WHERE {here}) WHERE a.onerow_op = {entry.op}"
    )


def repoint(dialect: Dialect, merged: Merged, child: Child, entry: Entry) -> Operation:
    """Archives the children as they were, and points them at the survivors."""
    table, columns = child.table, child.columns
    mapping = f"({followed(dialect, merged, child)}) AS m"
    old = [f"m.old{i}" for i, _ in enumerate(columns, 1)]
    mine = conjunction([same(of("c", columns), old), condition(child)])
    new = {c: f"m.new{i}" for i, c in enumerate(columns, 1)}
    return _change(table, new, mapping, mine, entry)


def park(dialect: Dialect, merged: Merged, child: Child, entry: Entry) -> Operation:
    """Empties a reference in the rows of its own table that go, so that it holds no place."""
    p = element_names(merged.identity, "b.p")
    mine = conjunction(
        [
            same(of("c", merged.identity), p),
            "b.rank > 1",
            *(f"{c} IS NOT NULL" for c in of("c", child.columns)),
        ]
    )
    new = dict.fromkeys(emptied(child), "NULL")
    return _change(child.table, new, f"{dialect.batch_of(merged)} AS b", mine, entry)


def _change(table: Table, new: dict[str, str], source: str, mine: str, entry: Entry) -> Operation:
    """Gives rows `c` of a table other values, and keeps them as they were."""
    columns = tuple(new)
    kept = archived_columns(table)
    now = [new.get(k, f"c.{quote(k)}") for k in table.row_identity]
    if not renamed(table, columns):
        now = ["NULL" for _ in now]
    names = comma([*now_names(table), *(quote(c.name) for c in kept)])
    archived = comma([*now, *(f"c.{quote(c.name)}" for c in kept)])
    keep = (
        f"INSERT INTO {entry.archive} (onerow_op, onerow_batch, {names})"
        f" SELECT {entry.op}, {entry.batch}, {archived}"
        f" FROM {source} JOIN {table.sql} AS c ON {mine}"
    )
    sets = comma(f"{quote(c)} = {value}" for c, value in new.items())
    update = f"UPDATE {table.sql} AS c SET {sets} FROM {source} WHERE {mine}"
    return Operation(
        table=table.ident,
        action="repointed",
        detail=comma(map(quote, columns)),
        before=(),
        main=keep,
        after=(update, sign(entry, table, columns, row_text("t", columns))),
    )
