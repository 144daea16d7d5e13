"""Take away what is replaced, now that its successor stands: main.report_data_collections, main.report_data_weeks.

Revision 3 of 3 made by `onerow plan --alembic` of plan 8d183182d29e. Each step
looks first whether it is done, so this may be run again, and does nothing where
`onerow apply` was. Rows are not moved here: where some would have to be, it stops
and says so. Rows that `onerow apply` merged come back by `onerow undo`.

Revision ID: 8d183182d29e_03
Revises: 8d183182d29e_02
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "8d183182d29e_03"
down_revision = "8d183182d29e_02"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # 11. Prove that main.report_data_collections(name, workflow_id, instance_id,
    # start_date, end_date) is enforced and that no rows break it.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, k2, k3, k4, k5, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "name" AS k1, "workflow_id" AS k2, "instance_id" AS k3, "start_date" AS k4, "end_date" AS k5, count(*) AS n FROM "main"."report_data_collections" WHERE 1 = 1 GROUP BY "name", "workflow_id", "instance_id", "start_date", "end_date" HAVING count(*) > 1) AS g ORDER BY n DESC, k1, k2, k3, k4, k5 LIMIT 1) AS d',
        "{n} group(s) of duplicates in report_data_collections_request_key of main.report_data_collections. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 12. Prove that main.report_data_weeks(collection_id, week_start_date) is enforced
    # and that no rows break it.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, k2, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "collection_id" AS k1, "week_start_date" AS k2, count(*) AS n FROM "main"."report_data_weeks" WHERE 1 = 1 GROUP BY "collection_id", "week_start_date" HAVING count(*) > 1) AS g ORDER BY n DESC, k1, k2 LIMIT 1) AS d',
        "{n} group(s) of duplicates in report_data_weeks_collection_id_week_start_date_key of main.report_data_weeks. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 13. Make main.report_data_weeks again, with the foreign key
    # report_data_weeks_execution_id_fkey: one transaction that copies every row.
    # Lock: the write lock for a copy of the table.
    _change(
        {
            "report_data_weeks": "CREATE TABLE report_data_weeks (\n\tid TEXT DEFAULT (lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-' || substr('89AB', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))) NOT NULL, \n\tcollection_id TEXT NOT NULL, \n\tweek_start_date DATE NOT NULL, \n\tweek_end_date DATE NOT NULL, \n\tstatus VARCHAR(50) DEFAULT 'pending' NOT NULL, \n\texecution_id TEXT, \n\tdata TEXT, \n\tcreated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\terror_message TEXT, \"claimed_by\" text, \"claimed_until\" timestamptz, \"claim_token\" bigint, \n\tCONSTRAINT report_data_weeks_pkey PRIMARY KEY (id), \n\tCONSTRAINT report_data_weeks_collection_id_fkey FOREIGN KEY(collection_id) REFERENCES report_data_collections (id) ON DELETE CASCADE\n)",
        },
        {
            "report_data_weeks": "CREATE TABLE report_data_weeks (\n\tid TEXT DEFAULT (lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-' || substr('89AB', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))) NOT NULL, \n\tcollection_id TEXT NOT NULL, \n\tweek_start_date DATE NOT NULL, \n\tweek_end_date DATE NOT NULL, \n\tstatus VARCHAR(50) DEFAULT 'pending' NOT NULL, \n\texecution_id TEXT, \n\tdata TEXT, \n\tcreated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\terror_message TEXT, \"claimed_by\" text, \"claimed_until\" timestamptz, \"claim_token\" bigint, \n\tCONSTRAINT report_data_weeks_pkey PRIMARY KEY (id), \n\tCONSTRAINT report_data_weeks_collection_id_fkey FOREIGN KEY(collection_id) REFERENCES report_data_collections (id) ON DELETE CASCADE\n, CONSTRAINT \"report_data_weeks_execution_id_fkey\" FOREIGN KEY (\"execution_id\") REFERENCES \"workflow_executions\" (\"id\") ON DELETE SET NULL)",
        },
        (
            "PRAGMA legacy_alter_table = ON",
            'ALTER TABLE "report_data_weeks" RENAME TO "onerow_old_report_data_weeks"',
            "CREATE TABLE report_data_weeks (\n\tid TEXT DEFAULT (lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-' || substr('89AB', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))) NOT NULL, \n\tcollection_id TEXT NOT NULL, \n\tweek_start_date DATE NOT NULL, \n\tweek_end_date DATE NOT NULL, \n\tstatus VARCHAR(50) DEFAULT 'pending' NOT NULL, \n\texecution_id TEXT, \n\tdata TEXT, \n\tcreated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\terror_message TEXT, \"claimed_by\" text, \"claimed_until\" timestamptz, \"claim_token\" bigint, \n\tCONSTRAINT report_data_weeks_pkey PRIMARY KEY (id), \n\tCONSTRAINT report_data_weeks_collection_id_fkey FOREIGN KEY(collection_id) REFERENCES report_data_collections (id) ON DELETE CASCADE\n, CONSTRAINT \"report_data_weeks_execution_id_fkey\" FOREIGN KEY (\"execution_id\") REFERENCES \"workflow_executions\" (\"id\") ON DELETE SET NULL)",
            'INSERT INTO "report_data_weeks" (rowid, "id", "collection_id", "week_start_date", "week_end_date", "status", "execution_id", "data", "created_at", "updated_at", "error_message", "claimed_by", "claimed_until", "claim_token") SELECT rowid, "id", "collection_id", "week_start_date", "week_end_date", "status", "execution_id", "data", "created_at", "updated_at", "error_message", "claimed_by", "claimed_until", "claim_token" FROM "onerow_old_report_data_weeks"',
            'DROP TABLE "onerow_old_report_data_weeks"',
            'CREATE INDEX "idx_report_data_weeks_collection_execution" ON "report_data_weeks" ("collection_id", "execution_id") WHERE (execution_id IS NOT NULL)',
            "CREATE INDEX idx_report_data_weeks_collection_id ON report_data_weeks (collection_id)",
            'CREATE INDEX "idx_report_data_weeks_execution_id" ON "report_data_weeks" ("execution_id") WHERE (execution_id IS NOT NULL)',
            'CREATE UNIQUE INDEX "report_data_weeks_collection_id_week_start_date_key" ON "report_data_weeks" ("collection_id", "week_start_date")',
            "PRAGMA legacy_alter_table = OFF",
        ),
    )


def downgrade() -> None:
    _change(
        {
            "report_data_weeks": "CREATE TABLE report_data_weeks (\n\tid TEXT DEFAULT (lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-' || substr('89AB', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))) NOT NULL, \n\tcollection_id TEXT NOT NULL, \n\tweek_start_date DATE NOT NULL, \n\tweek_end_date DATE NOT NULL, \n\tstatus VARCHAR(50) DEFAULT 'pending' NOT NULL, \n\texecution_id TEXT, \n\tdata TEXT, \n\tcreated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\terror_message TEXT, \"claimed_by\" text, \"claimed_until\" timestamptz, \"claim_token\" bigint, \n\tCONSTRAINT report_data_weeks_pkey PRIMARY KEY (id), \n\tCONSTRAINT report_data_weeks_collection_id_fkey FOREIGN KEY(collection_id) REFERENCES report_data_collections (id) ON DELETE CASCADE\n, CONSTRAINT \"report_data_weeks_execution_id_fkey\" FOREIGN KEY (\"execution_id\") REFERENCES \"workflow_executions\" (\"id\") ON DELETE SET NULL)",
        },
        {
            "report_data_weeks": "CREATE TABLE report_data_weeks (\n\tid TEXT DEFAULT (lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-' || substr('89AB', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))) NOT NULL, \n\tcollection_id TEXT NOT NULL, \n\tweek_start_date DATE NOT NULL, \n\tweek_end_date DATE NOT NULL, \n\tstatus VARCHAR(50) DEFAULT 'pending' NOT NULL, \n\texecution_id TEXT, \n\tdata TEXT, \n\tcreated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\terror_message TEXT, \"claimed_by\" text, \"claimed_until\" timestamptz, \"claim_token\" bigint, \n\tCONSTRAINT report_data_weeks_pkey PRIMARY KEY (id), \n\tCONSTRAINT report_data_weeks_collection_id_fkey FOREIGN KEY(collection_id) REFERENCES report_data_collections (id) ON DELETE CASCADE\n)",
        },
        (
            "PRAGMA legacy_alter_table = ON",
            'ALTER TABLE "report_data_weeks" RENAME TO "onerow_old_report_data_weeks"',
            "CREATE TABLE report_data_weeks (\n\tid TEXT DEFAULT (lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-' || substr('89AB', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))) NOT NULL, \n\tcollection_id TEXT NOT NULL, \n\tweek_start_date DATE NOT NULL, \n\tweek_end_date DATE NOT NULL, \n\tstatus VARCHAR(50) DEFAULT 'pending' NOT NULL, \n\texecution_id TEXT, \n\tdata TEXT, \n\tcreated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\terror_message TEXT, \"claimed_by\" text, \"claimed_until\" timestamptz, \"claim_token\" bigint, \n\tCONSTRAINT report_data_weeks_pkey PRIMARY KEY (id), \n\tCONSTRAINT report_data_weeks_collection_id_fkey FOREIGN KEY(collection_id) REFERENCES report_data_collections (id) ON DELETE CASCADE\n)",
            'INSERT INTO "report_data_weeks" (rowid, "id", "collection_id", "week_start_date", "week_end_date", "status", "execution_id", "data", "created_at", "updated_at", "error_message", "claimed_by", "claimed_until", "claim_token") SELECT rowid, "id", "collection_id", "week_start_date", "week_end_date", "status", "execution_id", "data", "created_at", "updated_at", "error_message", "claimed_by", "claimed_until", "claim_token" FROM "onerow_old_report_data_weeks"',
            'DROP TABLE "onerow_old_report_data_weeks"',
            'CREATE INDEX "idx_report_data_weeks_collection_execution" ON "report_data_weeks" ("collection_id", "execution_id") WHERE (execution_id IS NOT NULL)',
            "CREATE INDEX idx_report_data_weeks_collection_id ON report_data_weeks (collection_id)",
            'CREATE INDEX "idx_report_data_weeks_execution_id" ON "report_data_weeks" ("execution_id") WHERE (execution_id IS NOT NULL)',
            'CREATE UNIQUE INDEX "report_data_weeks_collection_id_week_start_date_key" ON "report_data_weeks" ("collection_id", "week_start_date")',
            "PRAGMA legacy_alter_table = OFF",
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
