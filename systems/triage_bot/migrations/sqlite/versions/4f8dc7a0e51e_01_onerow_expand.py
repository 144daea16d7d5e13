"""Add what the rules need, and hold new rows to them: main.users, main.overrides.

Revision 1 of 3 made by `onerow plan --alembic` of plan 4f8dc7a0e51e. Each step
looks first whether it is done, so this may be run again, and does nothing where
`onerow apply` was. Rows are not moved here: where some would have to be, it stops
and says so. Rows that `onerow apply` merged come back by `onerow undo`.

Revision ID: 4f8dc7a0e51e_01
Revises: before
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "4f8dc7a0e51e_01"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # 1. Add the column position integer to main.users, a change of the catalog only.
    # Lock: the write lock for a moment.
    _add_column(
        "users",
        "position",
        'ALTER TABLE "main"."users" ADD COLUMN "position" integer',
    )
    # 2. Add the column active boolean to main.users, a change of the catalog only.
    # Lock: the write lock for a moment.
    _add_column(
        "users",
        "active",
        'ALTER TABLE "main"."users" ADD COLUMN "active" boolean',
    )
    # 3. Add the column status text to main.overrides, a change of the catalog only.
    # Lock: the write lock for a moment.
    _add_column(
        "overrides",
        "status",
        'ALTER TABLE "main"."overrides" ADD COLUMN "status" text',
    )


def downgrade() -> None:
    _drop_column(
        "overrides",
        "status",
        'ALTER TABLE "main"."overrides" DROP COLUMN "status"',
    )
    _drop_column("users", "active", 'ALTER TABLE "main"."users" DROP COLUMN "active"')
    _drop_column(
        "users",
        "position",
        'ALTER TABLE "main"."users" DROP COLUMN "position"',
    )


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


def _has_column(table: str, column: str) -> bool:
    where = f"name = {_literal(column)} COLLATE NOCASE"
    return bool(_ask(f"SELECT count(*) FROM pragma_table_xinfo({_literal(table)}) WHERE {where}"))


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
