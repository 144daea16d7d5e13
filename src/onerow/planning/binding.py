"""What all kinds of rules ask before they plan: names, equality of definitions, what we may do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from onerow.keys import bind_column, check_expression
from onerow.plan import Blocker
from onerow.schema import IndexColumn, Snapshot, Table
from onerow.sql import cut, quote


def made_up(prefix: str, table: Table, labels: Iterable[str], suffix: str = "") -> str:
    """A name for an object that the rule gives none, 63 bytes at most."""
    words = ["_".join("".join(c if c.isalnum() else " " for c in x).split()) for x in labels]
    return cut("_".join(w for w in [prefix, table.name, *words, suffix] if w))


def bind_element(text: str, table: Table, dialect: str, rule: str) -> IndexColumn:
    """A column by its name, or an expression in parentheses."""
    if text.startswith("(") and text.endswith(")") and table.column(text) is None:
        check_expression(text, "a column expression", table, dialect, rule)
        return IndexColumn(expression=text, is_expression=True)
    return IndexColumn(expression=bind_column(text, table, dialect, rule).name)


# -- what we may do --------------------------------------------------------------------------


def may_define(table: Table, snapshot: Snapshot, what: str) -> Iterator[Blocker]:
    """Blockers where the role may not alter a table, or keep a journal."""
    if snapshot.read_only:
        where = snapshot.database or "The database"
        yield Blocker(code="missing_privilege", message=f"{where} is read-only.")
    if not table.we_own:
        yield Blocker(
            code="missing_privilege",
            message=f"Only the owner of {table} ({table.owner}) may {what}; we are "
            f"{snapshot.user}. Connect as {table.owner}, or GRANT {quote(table.owner)} TO "
            f"{quote(snapshot.user)}.",
        )
    if not snapshot.may_create_schema:
        yield Blocker(
            code="missing_privilege",
            message=f"The journal needs a schema onerow, and {snapshot.user} may not make one. "
            f"GRANT CREATE ON DATABASE {quote(snapshot.database)} TO {quote(snapshot.user)}, or "
            f"CREATE SCHEMA onerow AUTHORIZATION {quote(snapshot.user)}.",
        )


def may_write(
    table: Table, snapshot: Snapshot, privileges: Sequence[str] = ("select", "update")
) -> Iterator[Blocker]:
    """Blockers where the role may not read and change the rows of a table."""
    lacking = [p.upper() for p in privileges if p not in table.privileges]
    if lacking:
        words = ", ".join(lacking)
        yield Blocker(
            code="missing_privilege",
            message=f"The role {snapshot.user} may not {words} on {table}. GRANT {words} ON "
            f"{table.sql} TO {quote(snapshot.user)}.",
        )
    if table.row_security_applies:
        yield Blocker(
            code="row_security_hides_rows",
            message=f"Row security on {table} hides rows from us. Connect as a role with "
            "BYPASSRLS, or as the owner where it is not forced.",
        )


def name_taken(name: str, what: str) -> Blocker:
    return Blocker(
        code="name_taken",
        message=f"The name {name} is taken by another {what}. Give the rule another name.",
    )


# -- the catalog, one rule further -----------------------------------------------------------


def with_table(snapshot: Snapshot, table: Table) -> Snapshot:
    """The snapshot with another state of a table."""
    tables = tuple(table if t.ident == table.ident else t for t in snapshot.tables)
    return replace(snapshot, tables=tables)
