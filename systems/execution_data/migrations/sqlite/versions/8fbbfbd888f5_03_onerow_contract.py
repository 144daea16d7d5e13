"""Take away what is replaced, now that its successor stands: main.execution_data.

Revision 3 of 3 made by `onerow plan --alembic` of plan 8fbbfbd888f5. Each step
looks first whether it is done, so this may be run again, and does nothing where
`onerow apply` was. Rows are not moved here: where some would have to be, it stops
and says so. Rows that `onerow apply` merged come back by `onerow undo`.

Revision ID: 8fbbfbd888f5_03
Revises: 8fbbfbd888f5_02
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "8fbbfbd888f5_03"
down_revision = "8fbbfbd888f5_02"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # 5. Fill facility_id of the rows of main.execution_data that were written
    # meanwhile.
    # `onerow apply` does that.
    # 6. Prove that main.execution_data(reporting_period_id, activity_id, facility_id)
    # is enforced and that no rows break it.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, k2, k3, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "reporting_period_id" AS k1, "activity_id" AS k2, "facility_id" AS k3, count(*) AS n FROM "main"."execution_data" WHERE 1 = 1 GROUP BY "reporting_period_id", "activity_id", "facility_id" HAVING count(*) > 1) AS g ORDER BY n DESC, k1, k2, k3 LIMIT 1) AS d',
        "{n} group(s) of duplicates in execution_data_reporting_period_id_activity_id_facility_id_key of main.execution_data. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 7. Make main.execution_data again, with NULL forbidden in facility_id, without
    # execution_data_reporting_period_id_activity_id_key: one transaction that copies
    # every row.
    # Lock: the write lock for a copy of the table.
    _change(
        {
            "execution_data": "CREATE TABLE execution_data (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\treporting_period_id INTEGER NOT NULL, \n\tactivity_id INTEGER NOT NULL, \n\tq1_amount BIGINT DEFAULT '0' NOT NULL, \n\tq2_amount BIGINT DEFAULT '0' NOT NULL, \n\tq3_amount BIGINT DEFAULT '0' NOT NULL, \n\tq4_amount BIGINT DEFAULT '0' NOT NULL, \n\tcumulative_balance BIGINT DEFAULT '0' NOT NULL, \n\tcomment TEXT, \n\tcreated_by TEXT, \n\tcreated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \"facility_id\" integer CONSTRAINT \"execution_data_facility_id_fkey\" REFERENCES \"facilities\" (\"id\") ON DELETE CASCADE, \n\tCONSTRAINT execution_data_reporting_period_id_activity_id_key UNIQUE (reporting_period_id, activity_id), \n\tCONSTRAINT execution_data_reporting_period_id_fkey FOREIGN KEY(reporting_period_id) REFERENCES reporting_periods (id), \n\tCONSTRAINT execution_data_activity_id_fkey FOREIGN KEY(activity_id) REFERENCES activities (id)\n)",
        },
        {
            "execution_data": "CREATE TABLE execution_data (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\treporting_period_id INTEGER NOT NULL, \n\tactivity_id INTEGER NOT NULL, \n\tq1_amount BIGINT DEFAULT '0' NOT NULL, \n\tq2_amount BIGINT DEFAULT '0' NOT NULL, \n\tq3_amount BIGINT DEFAULT '0' NOT NULL, \n\tq4_amount BIGINT DEFAULT '0' NOT NULL, \n\tcumulative_balance BIGINT DEFAULT '0' NOT NULL, \n\tcomment TEXT, \n\tcreated_by TEXT, \n\tcreated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \"facility_id\" integer CONSTRAINT \"execution_data_facility_id_fkey\" REFERENCES \"facilities\" (\"id\") ON DELETE CASCADE NOT NULL, \n\tCONSTRAINT execution_data_reporting_period_id_fkey FOREIGN KEY(reporting_period_id) REFERENCES reporting_periods (id), \n\tCONSTRAINT execution_data_activity_id_fkey FOREIGN KEY(activity_id) REFERENCES activities (id)\n)",
        },
        (
            "PRAGMA legacy_alter_table = ON",
            'ALTER TABLE "execution_data" RENAME TO "onerow_old_execution_data"',
            "CREATE TABLE execution_data (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\treporting_period_id INTEGER NOT NULL, \n\tactivity_id INTEGER NOT NULL, \n\tq1_amount BIGINT DEFAULT '0' NOT NULL, \n\tq2_amount BIGINT DEFAULT '0' NOT NULL, \n\tq3_amount BIGINT DEFAULT '0' NOT NULL, \n\tq4_amount BIGINT DEFAULT '0' NOT NULL, \n\tcumulative_balance BIGINT DEFAULT '0' NOT NULL, \n\tcomment TEXT, \n\tcreated_by TEXT, \n\tcreated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \"facility_id\" integer CONSTRAINT \"execution_data_facility_id_fkey\" REFERENCES \"facilities\" (\"id\") ON DELETE CASCADE NOT NULL, \n\tCONSTRAINT execution_data_reporting_period_id_fkey FOREIGN KEY(reporting_period_id) REFERENCES reporting_periods (id), \n\tCONSTRAINT execution_data_activity_id_fkey FOREIGN KEY(activity_id) REFERENCES activities (id)\n)",
            'INSERT INTO "execution_data" ("id", "reporting_period_id", "activity_id", "q1_amount", "q2_amount", "q3_amount", "q4_amount", "cumulative_balance", "comment", "created_by", "created_at", "updated_at", "facility_id") SELECT "id", "reporting_period_id", "activity_id", "q1_amount", "q2_amount", "q3_amount", "q4_amount", "cumulative_balance", "comment", "created_by", "created_at", "updated_at", "facility_id" FROM "onerow_old_execution_data"',
            "DELETE FROM sqlite_sequence WHERE name = 'execution_data'",
            "UPDATE sqlite_sequence SET name = 'execution_data' WHERE name = 'onerow_old_execution_data'",
            'DROP TABLE "onerow_old_execution_data"',
            'CREATE UNIQUE INDEX "execution_data_reporting_period_id_activity_id_facility_id_key" ON "execution_data" ("reporting_period_id", "activity_id", "facility_id")',
            "PRAGMA legacy_alter_table = OFF",
        ),
    )


def downgrade() -> None:
    _change(
        {
            "execution_data": "CREATE TABLE execution_data (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\treporting_period_id INTEGER NOT NULL, \n\tactivity_id INTEGER NOT NULL, \n\tq1_amount BIGINT DEFAULT '0' NOT NULL, \n\tq2_amount BIGINT DEFAULT '0' NOT NULL, \n\tq3_amount BIGINT DEFAULT '0' NOT NULL, \n\tq4_amount BIGINT DEFAULT '0' NOT NULL, \n\tcumulative_balance BIGINT DEFAULT '0' NOT NULL, \n\tcomment TEXT, \n\tcreated_by TEXT, \n\tcreated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \"facility_id\" integer CONSTRAINT \"execution_data_facility_id_fkey\" REFERENCES \"facilities\" (\"id\") ON DELETE CASCADE NOT NULL, \n\tCONSTRAINT execution_data_reporting_period_id_fkey FOREIGN KEY(reporting_period_id) REFERENCES reporting_periods (id), \n\tCONSTRAINT execution_data_activity_id_fkey FOREIGN KEY(activity_id) REFERENCES activities (id)\n)",
        },
        {
            "execution_data": "CREATE TABLE execution_data (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\treporting_period_id INTEGER NOT NULL, \n\tactivity_id INTEGER NOT NULL, \n\tq1_amount BIGINT DEFAULT '0' NOT NULL, \n\tq2_amount BIGINT DEFAULT '0' NOT NULL, \n\tq3_amount BIGINT DEFAULT '0' NOT NULL, \n\tq4_amount BIGINT DEFAULT '0' NOT NULL, \n\tcumulative_balance BIGINT DEFAULT '0' NOT NULL, \n\tcomment TEXT, \n\tcreated_by TEXT, \n\tcreated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \"facility_id\" integer CONSTRAINT \"execution_data_facility_id_fkey\" REFERENCES \"facilities\" (\"id\") ON DELETE CASCADE, \n\tCONSTRAINT execution_data_reporting_period_id_activity_id_key UNIQUE (reporting_period_id, activity_id), \n\tCONSTRAINT execution_data_reporting_period_id_fkey FOREIGN KEY(reporting_period_id) REFERENCES reporting_periods (id), \n\tCONSTRAINT execution_data_activity_id_fkey FOREIGN KEY(activity_id) REFERENCES activities (id)\n)",
        },
        (
            "PRAGMA legacy_alter_table = ON",
            'ALTER TABLE "execution_data" RENAME TO "onerow_old_execution_data"',
            "CREATE TABLE execution_data (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\treporting_period_id INTEGER NOT NULL, \n\tactivity_id INTEGER NOT NULL, \n\tq1_amount BIGINT DEFAULT '0' NOT NULL, \n\tq2_amount BIGINT DEFAULT '0' NOT NULL, \n\tq3_amount BIGINT DEFAULT '0' NOT NULL, \n\tq4_amount BIGINT DEFAULT '0' NOT NULL, \n\tcumulative_balance BIGINT DEFAULT '0' NOT NULL, \n\tcomment TEXT, \n\tcreated_by TEXT, \n\tcreated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \"facility_id\" integer CONSTRAINT \"execution_data_facility_id_fkey\" REFERENCES \"facilities\" (\"id\") ON DELETE CASCADE, \n\tCONSTRAINT execution_data_reporting_period_id_activity_id_key UNIQUE (reporting_period_id, activity_id), \n\tCONSTRAINT execution_data_reporting_period_id_fkey FOREIGN KEY(reporting_period_id) REFERENCES reporting_periods (id), \n\tCONSTRAINT execution_data_activity_id_fkey FOREIGN KEY(activity_id) REFERENCES activities (id)\n)",
            'INSERT INTO "execution_data" ("id", "reporting_period_id", "activity_id", "q1_amount", "q2_amount", "q3_amount", "q4_amount", "cumulative_balance", "comment", "created_by", "created_at", "updated_at", "facility_id") SELECT "id", "reporting_period_id", "activity_id", "q1_amount", "q2_amount", "q3_amount", "q4_amount", "cumulative_balance", "comment", "created_by", "created_at", "updated_at", "facility_id" FROM "onerow_old_execution_data"',
            "DELETE FROM sqlite_sequence WHERE name = 'execution_data'",
            "UPDATE sqlite_sequence SET name = 'execution_data' WHERE name = 'onerow_old_execution_data'",
            'DROP TABLE "onerow_old_execution_data"',
            'CREATE UNIQUE INDEX "execution_data_reporting_period_id_activity_id_facility_id_key" ON "execution_data" ("reporting_period_id", "activity_id", "facility_id")',
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
