"""Build keys and look at old rows while writers write: main.report_data_weeks, main.report_data_collections.

Revision 2 of 3 made by `onerow plan --alembic` of plan 8d183182d29e. Each step
looks first whether it is done, so this may be run again, and does nothing where
`onerow apply` was. Rows are not moved here: where some would have to be, it stops
and says so. Rows that `onerow apply` merged come back by `onerow undo`.

Revision ID: 8d183182d29e_02
Revises: 8d183182d29e_01
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "8d183182d29e_02"
down_revision = "8d183182d29e_01"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # 4. Build the index idx_report_data_weeks_execution_id on main.report_data_weeks
    # ("execution_id") for rows where execution_id IS NOT NULL, in one transaction.
    # Lock: the write lock for the build.
    _change(
        {"idx_report_data_weeks_execution_id": None},
        {
            "idx_report_data_weeks_execution_id": 'CREATE INDEX "idx_report_data_weeks_execution_id" ON "report_data_weeks" ("execution_id") WHERE (execution_id IS NOT NULL)',
        },
        (
            'CREATE INDEX "idx_report_data_weeks_execution_id" ON "report_data_weeks" ("execution_id") WHERE (execution_id IS NOT NULL)',
        ),
    )
    # 5. Build the index idx_report_data_weeks_collection_execution on
    # main.report_data_weeks ("collection_id", "execution_id") for rows where
    # execution_id IS NOT NULL, in one transaction.
    # Lock: the write lock for the build.
    _change(
        {"idx_report_data_weeks_collection_execution": None},
        {
            "idx_report_data_weeks_collection_execution": 'CREATE INDEX "idx_report_data_weeks_collection_execution" ON "report_data_weeks" ("collection_id", "execution_id") WHERE (execution_id IS NOT NULL)',
        },
        (
            'CREATE INDEX "idx_report_data_weeks_collection_execution" ON "report_data_weeks" ("collection_id", "execution_id") WHERE (execution_id IS NOT NULL)',
        ),
    )
    # 6. 11 rows by execution_id of main.report_data_weeks refer to nothing in
    # main.workflow_executions: empty the reference, each archived.
    # Lock: the write lock for each batch.
    _refuse(
        'SELECT count(*) FROM "main"."report_data_weeks" WHERE "main"."report_data_weeks"."execution_id" IS NOT NULL AND NOT EXISTS (SELECT 1 FROM "main"."workflow_executions" AS q WHERE q."id" = "main"."report_data_weeks"."execution_id")',
        "{n} row(s) of main.report_data_weeks refer to nothing in main.workflow_executions. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 7. Merge 2 groups of duplicates in main.report_data_collections(name, workflow_id,
    # instance_id, start_date, end_date): keep the row with the max weeks_completed,
    # fill what is NULL in it from the next best row that has it; re-point
    # main.report_data_weeks(collection_id); where children in main.report_data_weeks
    # collide then: keep the best filled, fill what is NULL in it from the others (none
    # now); archive and delete 2 surplus rows.
    # Lock: the write lock for each batch.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, k2, k3, k4, k5, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "name" AS k1, "workflow_id" AS k2, "instance_id" AS k3, "start_date" AS k4, "end_date" AS k5, count(*) AS n FROM "main"."report_data_collections" WHERE 1 = 1 GROUP BY "name", "workflow_id", "instance_id", "start_date", "end_date" HAVING count(*) > 1) AS g ORDER BY n DESC, k1, k2, k3, k4, k5 LIMIT 1) AS d',
        "{n} group(s) of duplicates in report_data_collections_request_key of main.report_data_collections. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 8. Build the unique index report_data_collections_request_key on
    # main.report_data_collections(name, workflow_id, instance_id, start_date,
    # end_date), in one transaction.
    # Lock: the write lock for the build.
    _change(
        {"report_data_collections_request_key": None},
        {
            "report_data_collections_request_key": 'CREATE UNIQUE INDEX "report_data_collections_request_key" ON "report_data_collections" ("name", "workflow_id", "instance_id", "start_date", "end_date")',
        },
        (
            'CREATE UNIQUE INDEX "report_data_collections_request_key" ON "report_data_collections" ("name", "workflow_id", "instance_id", "start_date", "end_date")',
        ),
    )
    # 9. Merge 80 groups of duplicates in main.report_data_weeks(collection_id,
    # week_start_date): keep the row with the max CASE WHEN status = 'completed' THEN
    # '9999-12-31' ELSE updated_at END, fill what is NULL in it from the next best row
    # that has it; archive and delete 80 surplus rows.
    # Lock: the write lock for each batch.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, k2, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "collection_id" AS k1, "week_start_date" AS k2, count(*) AS n FROM "main"."report_data_weeks" WHERE 1 = 1 GROUP BY "collection_id", "week_start_date" HAVING count(*) > 1) AS g ORDER BY n DESC, k1, k2 LIMIT 1) AS d',
        "{n} group(s) of duplicates in report_data_weeks_collection_id_week_start_date_key of main.report_data_weeks. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 10. Build the unique index report_data_weeks_collection_id_week_start_date_key on
    # main.report_data_weeks(collection_id, week_start_date), in one transaction.
    # Lock: the write lock for the build.
    _change(
        {"report_data_weeks_collection_id_week_start_date_key": None},
        {
            "report_data_weeks_collection_id_week_start_date_key": 'CREATE UNIQUE INDEX "report_data_weeks_collection_id_week_start_date_key" ON "report_data_weeks" ("collection_id", "week_start_date")',
        },
        (
            'CREATE UNIQUE INDEX "report_data_weeks_collection_id_week_start_date_key" ON "report_data_weeks" ("collection_id", "week_start_date")',
        ),
    )


def downgrade() -> None:
    _change(
        {
            "report_data_weeks_collection_id_week_start_date_key": 'CREATE UNIQUE INDEX "report_data_weeks_collection_id_week_start_date_key" ON "report_data_weeks" ("collection_id", "week_start_date")',
        },
        {"report_data_weeks_collection_id_week_start_date_key": None},
        ('DROP INDEX "main"."report_data_weeks_collection_id_week_start_date_key"',),
    )
    _change(
        {
            "report_data_collections_request_key": 'CREATE UNIQUE INDEX "report_data_collections_request_key" ON "report_data_collections" ("name", "workflow_id", "instance_id", "start_date", "end_date")',
        },
        {"report_data_collections_request_key": None},
        ('DROP INDEX "main"."report_data_collections_request_key"',),
    )
    _change(
        {
            "idx_report_data_weeks_collection_execution": 'CREATE INDEX "idx_report_data_weeks_collection_execution" ON "report_data_weeks" ("collection_id", "execution_id") WHERE (execution_id IS NOT NULL)',
        },
        {"idx_report_data_weeks_collection_execution": None},
        ('DROP INDEX "main"."idx_report_data_weeks_collection_execution"',),
    )
    _change(
        {
            "idx_report_data_weeks_execution_id": 'CREATE INDEX "idx_report_data_weeks_execution_id" ON "report_data_weeks" ("execution_id") WHERE (execution_id IS NOT NULL)',
        },
        {"idx_report_data_weeks_execution_id": None},
        ('DROP INDEX "main"."idx_report_data_weeks_execution_id"',),
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
