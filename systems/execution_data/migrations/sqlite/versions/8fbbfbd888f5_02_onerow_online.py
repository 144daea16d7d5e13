"""Build keys and look at old rows while writers write: main.execution_data.

Revision 2 of 3 made by `onerow plan --alembic` of plan 8fbbfbd888f5. Each step
looks first whether it is done, so this may be run again, and does nothing where
`onerow apply` was. Rows are not moved here: where some would have to be, it stops
and says so. Rows that `onerow apply` merged come back by `onerow undo`.

Revision ID: 8fbbfbd888f5_02
Revises: 8fbbfbd888f5_01
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "8fbbfbd888f5_02"
down_revision = "8fbbfbd888f5_01"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # 2. Fill facility_id of main.execution_data from facility_of_row.csv, by id, batch
    # by batch.
    # Lock: the write lock for each batch.
    _refuse(
        'SELECT count(*) FROM "main"."execution_data" WHERE "facility_id" IS NULL',
        "{n} row(s) of main.execution_data have nothing in facility_id. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 3. No duplicates in main.execution_data(reporting_period_id, activity_id,
    # facility_id) now; any that arrive before its key stands are merged (keep the row
    # with the lowest primary key).
    # Lock: the write lock for each batch.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, k2, k3, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "reporting_period_id" AS k1, "activity_id" AS k2, "facility_id" AS k3, count(*) AS n FROM "main"."execution_data" WHERE 1 = 1 GROUP BY "reporting_period_id", "activity_id", "facility_id" HAVING count(*) > 1) AS g ORDER BY n DESC, k1, k2, k3 LIMIT 1) AS d',
        "{n} group(s) of duplicates in execution_data_reporting_period_id_activity_id_facility_id_key of main.execution_data. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 4. Build the unique index
    # execution_data_reporting_period_id_activity_id_facility_id_key on
    # main.execution_data(reporting_period_id, activity_id, facility_id), in one
    # transaction.
    # Lock: the write lock for the build.
    _change(
        {"execution_data_reporting_period_id_activity_id_facility_id_key": None},
        {
            "execution_data_reporting_period_id_activity_id_facility_id_key": 'CREATE UNIQUE INDEX "execution_data_reporting_period_id_activity_id_facility_id_key" ON "execution_data" ("reporting_period_id", "activity_id", "facility_id")',
        },
        (
            'CREATE UNIQUE INDEX "execution_data_reporting_period_id_activity_id_facility_id_key" ON "execution_data" ("reporting_period_id", "activity_id", "facility_id")',
        ),
    )


def downgrade() -> None:
    _change(
        {
            "execution_data_reporting_period_id_activity_id_facility_id_key": 'CREATE UNIQUE INDEX "execution_data_reporting_period_id_activity_id_facility_id_key" ON "execution_data" ("reporting_period_id", "activity_id", "facility_id")',
        },
        {"execution_data_reporting_period_id_activity_id_facility_id_key": None},
        (
            'DROP INDEX "main"."execution_data_reporting_period_id_activity_id_facility_id_key"',
        ),
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


def _refuse(question: str, told: str) -> None:
    """Stop while there are rows that `onerow apply` mends without losing any."""
    count = _ask(question)
    if count:
        raise CommandError(told.replace("{n}", f"{count:,}"))


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
