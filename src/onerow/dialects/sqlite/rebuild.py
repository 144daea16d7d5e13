"""Changing what ALTER TABLE cannot: a table is made again from an edited text, and filled.

The order differs from the manual's (lang_altertable §7) in one point: the old table is moved away
first and the new one made under its own name, so that the stored text is the edited one to the
letter, and an undo can put the former text back to the letter.
"""

from __future__ import annotations

from onerow.dialects.archived import restored_columns
from onerow.dialects.sqlite import ddl
from onerow.dialects.sqlite.tokens import Text
from onerow.errors import RuleError
from onerow.schema import Index, Table
from onerow.sql import comma, cut, literal, quote


def without_unique(table: Table, index: Index) -> str:
    """The table's text without the UNIQUE constraint behind an automatic index.

    Raises:
        RuleError: the constraint is not found in the text.
    """
    parts = ddl.split_create_table(table.definition)
    wanted = [c.expression.casefold() for c in index.columns]
    constraints = tuple(c for c in parts.constraints if not _is_unique(c, wanted))
    columns = parts.columns
    if constraints == parts.constraints and len(wanted) == 1:
        columns = tuple(_bare(c) if _named(c, wanted[0]) else c for c in parts.columns)
    text = parts._replace(columns=columns, constraints=constraints).sql
    if text == parts.sql:
        raise RuleError(f"the constraint {index.name} is not found in the text of {table}.")
    return text


def with_check(text: str, name: str, expression: str) -> str:
    """The table's text with one more CHECK."""
    parts = ddl.split_create_table(text)
    check = f" CONSTRAINT {quote(name)} CHECK ({expression})"
    return parts._replace(constraints=(*parts.constraints, check)).sql


def _is_unique(definition: str, columns: list[str]) -> bool:
    clause = ddl.parse_constraint(definition)
    return (
        clause is not None
        and clause.kind == "unique"
        and [c.casefold() for c in clause.columns] == columns
    )


def _named(definition: str, column: str) -> bool:
    return ddl.parse_column(definition).name.casefold() == column


def _bare(definition: str) -> str:
    """A column's definition without UNIQUE."""
    text = Text(definition)
    head, *pieces = text.cut(list(ddl._starts(text, 1, ddl._COLUMN_CLAUSES)))
    kept = [p for p in pieces if (c := ddl._clause(p)) is None or c.kind != "unique"]
    return "".join([head, *kept]).rstrip()


def rebuild(table: Table, text: str) -> tuple[str, ...]:
    """Statements, for one transaction with foreign_keys off, that give a table another text.

    Row ids, the AUTOINCREMENT counter, indexes and triggers are kept. Views and the foreign keys
    of other tables name the table and are not rewritten, thanks to legacy_alter_table.
    """
    name, old = table.name, cut(f"onerow_old_{table.name}")
    columns = [quote(c.name) for c in restored_columns(table)]
    if _has_bare_rowid(table):
        columns.insert(0, "rowid")
    names = comma(columns)
    return (
        "PRAGMA legacy_alter_table = ON",
        f"ALTER TABLE {quote(name)} RENAME TO {quote(old)}",
        text,
        f"INSERT INTO {quote(name)} ({names}) SELECT {names} FROM {quote(old)}",
        *(_counter(name, old) if _counts(table) else ()),
        f"DROP TABLE {quote(old)}",
        *(i.definition for i in table.indexes if i.definition),
        *(t.definition for t in table.triggers),
        "PRAGMA legacy_alter_table = OFF",
    )


def _has_bare_rowid(table: Table) -> bool:
    """Rows are told apart by a rowid that no column holds."""
    names = {c.name.casefold() for c in table.columns}
    alias = any(i.primary and len(i.columns) == 1 and not i.definition for i in table.indexes) and (
        any(
            c.type.upper() == "INTEGER" and [c.name] == list(table.primary_key)
            for c in table.columns
        )
    )
    return not (table.without_rowid or alias or "rowid" in names)


def _counts(table: Table) -> bool:
    parts = ddl.split_create_table(table.definition)
    return any(
        clause.autoincrement
        for column in parts.columns
        for clause in ddl.parse_column(column).clauses
    )


def _counter(name: str, old: str) -> tuple[str, ...]:
    return (
        f"DELETE FROM sqlite_sequence WHERE name = {literal(name)}",
        f"UPDATE sqlite_sequence SET name = {literal(name)} WHERE name = {literal(old)}",
    )


def with_not_null(text: str, column: str) -> str:
    """The table's text with NULL forbidden in a column."""
    return _with_clause(text, column, "NOT NULL")


def with_foreign_key(text: str, name: str, clause: str) -> str:
    """The table's text with one more foreign key."""
    parts = ddl.split_create_table(text)
    added = f" CONSTRAINT {quote(name)} {clause}"
    return parts._replace(constraints=(*parts.constraints, added)).sql


def _with_clause(text: str, column: str, clause: str) -> str:
    parts = ddl.split_create_table(text)
    columns = tuple(
        _extended(c, clause) if _named(c, column.casefold()) else c for c in parts.columns
    )
    return parts._replace(columns=columns).sql


def _extended(definition: str, clause: str) -> str:
    """The clause comes before a comment that trails, which would swallow it."""
    end = Text(definition).tokens[-1].end
    return f"{definition[:end]} {clause}{definition[end:]}"


def with_column(text: str, definition: str) -> str:
    """The table's text as ALTER TABLE ADD COLUMN leaves it (src/alter.c)."""
    body = Text(text)
    opening = body.open(0)
    parts = body.parts(opening)
    first = next((i for i, p in enumerate(parts) if _is_constraint(p)), len(parts))
    closing = body.partner[opening]
    commas = [i for i in body.level(opening + 1, closing) if body.is_at(i, ",")]
    place = body.tokens[commas[first - 1] if first < len(parts) else closing].start
    return f"{text[:place]}, {definition}{text[place:]}"


def _is_constraint(part: str) -> bool:
    return Text(part).word(0) in ddl._TABLE_CONSTRAINTS
