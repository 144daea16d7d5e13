"""What a revision for SQLite does: compare stored texts first, then change all or nothing.

A table is made again with foreign_keys off, which SQLite obeys outside of a transaction only, and
with the foreign keys looked at before the commit (lang_altertable §7).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError


def _sql(statement: str) -> sa.TextClause:
    """SQL as it stands: a colon is no parameter."""
    return sa.text(statement.replace(":", "\\:"))


def _ask(question: str) -> Any:
    """The first value of an answer, None where there is none."""
    if op.get_context().as_sql:
        raise CommandError(
            "This revision looks at the SQLite file before it changes it, which it cannot do"
            " with --sql. Run it without."
        )
    return op.get_bind().execute(_sql(question)).scalar()


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _refuse(question: str, told: str) -> None:
    """Stop while there are rows that `onerow apply` mends without losing any."""
    count = _ask(question)
    if count:
        raise CommandError(told.replace("{n}", f"{count:,}"))


def _has_column(table: str, column: str) -> bool:
    where = f"name = {_literal(column)} COLLATE NOCASE"
    return bool(_ask(f"SELECT count(*) FROM pragma_table_xinfo({_literal(table)}) WHERE {where}"))


def _text(name: str) -> str | None:
    found = _ask(f"SELECT sql FROM sqlite_master WHERE name = {_literal(name)}")
    return str(found) if found is not None else None


def _change(
    before: Mapping[str, str | None], after: Mapping[str, str | None], statements: tuple[str, ...]
) -> None:
    """Run statements that give objects other texts, unless they have them.

    None is the text of what is not there.
    """
    now = {name: _text(name) for name in {**before, **after}}
    if all(now[name] == text for name, text in after.items()):
        return
    for name, text in before.items():
        if now[name] != text:
            raise CommandError(
                f"{name} is not what it was where the plan was made: it is {now[name]!r}."
            )
    _all_or_nothing(statements)


def _all_or_nothing(statements: tuple[str, ...]) -> None:
    with op.get_context().autocommit_block():
        keys = _ask("PRAGMA foreign_keys")
        op.execute("PRAGMA foreign_keys = OFF")
        op.execute("BEGIN IMMEDIATE")
        try:
            broken = _ask("SELECT count(*) FROM pragma_foreign_key_check")
            for statement in statements:
                op.execute(_sql(statement))
            if _ask("SELECT count(*) FROM pragma_foreign_key_check") > broken:
                raise CommandError("Rows would refer to what is not there; nothing was changed.")
            op.execute("COMMIT")
        except BaseException:
            op.execute("ROLLBACK")
            raise
        finally:
            op.execute("PRAGMA legacy_alter_table = OFF")
            op.execute(f"PRAGMA foreign_keys = {keys}")


def _add_column(table: str, column: str, *statements: str) -> None:
    """Add a column unless it is there."""
    if not _has_column(table, column):
        _all_or_nothing(statements)


def _drop_column(table: str, column: str, *statements: str) -> None:
    """Drop a column unless it is gone."""
    if _has_column(table, column):
        _all_or_nothing(statements)
