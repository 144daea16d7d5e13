"""Take away what is replaced, now that its successor stands: main.membership_plans.

Revision 3 of 3 made by `onerow plan --alembic` of plan 3310ec20f85e. Each step
looks first whether it is done, so this may be run again, and does nothing where
`onerow apply` was. Rows are not moved here: where some would have to be, it stops
and says so. Rows that `onerow apply` merged come back by `onerow undo`.

Revision ID: 3310ec20f85e_03
Revises: 3310ec20f85e_02
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "3310ec20f85e_03"
down_revision = "3310ec20f85e_02"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # 5. Prove that main.membership_plans(tenant_id, scope, scope_key, name) is enforced
    # and that no rows break it.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, k2, k3, k4, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "tenant_id" AS k1, "scope" AS k2, "scope_key" AS k3, lower("name") AS k4, count(*) AS n FROM "main"."membership_plans" WHERE (status = \'ACTIVE\') GROUP BY "tenant_id", "scope", "scope_key", lower("name") HAVING count(*) > 1) AS g ORDER BY n DESC, k1, k2, k3, k4 LIMIT 1) AS d',
        "{n} group(s) of duplicates in membership_plans_one_active_name of main.membership_plans. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 6. Make main.membership_plans again, without
    # membership_plans_tenant_id_branch_id_name_key, with the check
    # membership_plans_scope_check, with the check membership_plans_duration_check, with
    # the check membership_plans_price_check, with the check
    # membership_plans_currency_check: one transaction that copies every row.
    # Lock: the write lock for a copy of the table.
    _change(
        {
            "membership_plans": "CREATE TABLE membership_plans (\n\tid TEXT NOT NULL, \n\ttenant_id TEXT NOT NULL, \n\tscope TEXT NOT NULL, \n\tbranch_id TEXT, \n\tname TEXT NOT NULL, \n\tdescription TEXT, \n\tduration_type TEXT NOT NULL, \n\tduration_value INTEGER NOT NULL, \n\tprice BIGINT NOT NULL, \n\tcurrency TEXT NOT NULL, \n\tmax_freeze_days INTEGER, \n\tauto_renew BOOLEAN DEFAULT 0 NOT NULL, \n\tstatus TEXT DEFAULT 'ACTIVE' NOT NULL, \n\tsort_order INTEGER, \n\tcreated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \"scope_key\" text GENERATED ALWAYS AS (coalesce(branch_id, 'TENANT')) VIRTUAL NOT NULL, \n\tCONSTRAINT membership_plans_pkey PRIMARY KEY (id), \n\tCONSTRAINT membership_plans_tenant_id_branch_id_name_key UNIQUE (tenant_id, branch_id, name), \n\tCONSTRAINT membership_plans_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id), \n\tCONSTRAINT membership_plans_branch_id_fkey FOREIGN KEY(branch_id) REFERENCES branches (id)\n)",
        },
        {
            "membership_plans": "CREATE TABLE membership_plans (\n\tid TEXT NOT NULL, \n\ttenant_id TEXT NOT NULL, \n\tscope TEXT NOT NULL, \n\tbranch_id TEXT, \n\tname TEXT NOT NULL, \n\tdescription TEXT, \n\tduration_type TEXT NOT NULL, \n\tduration_value INTEGER NOT NULL, \n\tprice BIGINT NOT NULL, \n\tcurrency TEXT NOT NULL, \n\tmax_freeze_days INTEGER, \n\tauto_renew BOOLEAN DEFAULT 0 NOT NULL, \n\tstatus TEXT DEFAULT 'ACTIVE' NOT NULL, \n\tsort_order INTEGER, \n\tcreated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \"scope_key\" text GENERATED ALWAYS AS (coalesce(branch_id, 'TENANT')) VIRTUAL NOT NULL, \n\tCONSTRAINT membership_plans_pkey PRIMARY KEY (id), \n\tCONSTRAINT membership_plans_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id), \n\tCONSTRAINT membership_plans_branch_id_fkey FOREIGN KEY(branch_id) REFERENCES branches (id)\n, CONSTRAINT \"membership_plans_scope_check\" CHECK ((scope = 'TENANT' AND branch_id IS NULL) OR (scope = 'BRANCH' AND branch_id IS NOT NULL)), CONSTRAINT \"membership_plans_duration_check\" CHECK ((duration_type = 'DAYS' AND duration_value BETWEEN 1 AND 730) OR (duration_type = 'MONTHS' AND duration_value BETWEEN 1 AND 24)), CONSTRAINT \"membership_plans_price_check\" CHECK (price >= 0), CONSTRAINT \"membership_plans_currency_check\" CHECK (length(currency) = 3 AND trim(currency, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ') = ''))",
        },
        (
            "PRAGMA legacy_alter_table = ON",
            'ALTER TABLE "membership_plans" RENAME TO "onerow_old_membership_plans"',
            "CREATE TABLE membership_plans (\n\tid TEXT NOT NULL, \n\ttenant_id TEXT NOT NULL, \n\tscope TEXT NOT NULL, \n\tbranch_id TEXT, \n\tname TEXT NOT NULL, \n\tdescription TEXT, \n\tduration_type TEXT NOT NULL, \n\tduration_value INTEGER NOT NULL, \n\tprice BIGINT NOT NULL, \n\tcurrency TEXT NOT NULL, \n\tmax_freeze_days INTEGER, \n\tauto_renew BOOLEAN DEFAULT 0 NOT NULL, \n\tstatus TEXT DEFAULT 'ACTIVE' NOT NULL, \n\tsort_order INTEGER, \n\tcreated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \"scope_key\" text GENERATED ALWAYS AS (coalesce(branch_id, 'TENANT')) VIRTUAL NOT NULL, \n\tCONSTRAINT membership_plans_pkey PRIMARY KEY (id), \n\tCONSTRAINT membership_plans_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id), \n\tCONSTRAINT membership_plans_branch_id_fkey FOREIGN KEY(branch_id) REFERENCES branches (id)\n, CONSTRAINT \"membership_plans_scope_check\" CHECK ((scope = 'TENANT' AND branch_id IS NULL) OR (scope = 'BRANCH' AND branch_id IS NOT NULL)), CONSTRAINT \"membership_plans_duration_check\" CHECK ((duration_type = 'DAYS' AND duration_value BETWEEN 1 AND 730) OR (duration_type = 'MONTHS' AND duration_value BETWEEN 1 AND 24)), CONSTRAINT \"membership_plans_price_check\" CHECK (price >= 0), CONSTRAINT \"membership_plans_currency_check\" CHECK (length(currency) = 3 AND trim(currency, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ') = ''))",
            'INSERT INTO "membership_plans" (rowid, "id", "tenant_id", "scope", "branch_id", "name", "description", "duration_type", "duration_value", "price", "currency", "max_freeze_days", "auto_renew", "status", "sort_order", "created_at", "updated_at") SELECT rowid, "id", "tenant_id", "scope", "branch_id", "name", "description", "duration_type", "duration_value", "price", "currency", "max_freeze_days", "auto_renew", "status", "sort_order", "created_at", "updated_at" FROM "onerow_old_membership_plans"',
            'DROP TABLE "onerow_old_membership_plans"',
            'CREATE UNIQUE INDEX "membership_plans_one_active_name" ON "membership_plans" ("tenant_id", "scope", "scope_key", lower("name")) WHERE (status = \'ACTIVE\')',
            "PRAGMA legacy_alter_table = OFF",
        ),
    )


def downgrade() -> None:
    _change(
        {
            "membership_plans": "CREATE TABLE membership_plans (\n\tid TEXT NOT NULL, \n\ttenant_id TEXT NOT NULL, \n\tscope TEXT NOT NULL, \n\tbranch_id TEXT, \n\tname TEXT NOT NULL, \n\tdescription TEXT, \n\tduration_type TEXT NOT NULL, \n\tduration_value INTEGER NOT NULL, \n\tprice BIGINT NOT NULL, \n\tcurrency TEXT NOT NULL, \n\tmax_freeze_days INTEGER, \n\tauto_renew BOOLEAN DEFAULT 0 NOT NULL, \n\tstatus TEXT DEFAULT 'ACTIVE' NOT NULL, \n\tsort_order INTEGER, \n\tcreated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \"scope_key\" text GENERATED ALWAYS AS (coalesce(branch_id, 'TENANT')) VIRTUAL NOT NULL, \n\tCONSTRAINT membership_plans_pkey PRIMARY KEY (id), \n\tCONSTRAINT membership_plans_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id), \n\tCONSTRAINT membership_plans_branch_id_fkey FOREIGN KEY(branch_id) REFERENCES branches (id)\n, CONSTRAINT \"membership_plans_scope_check\" CHECK ((scope = 'TENANT' AND branch_id IS NULL) OR (scope = 'BRANCH' AND branch_id IS NOT NULL)), CONSTRAINT \"membership_plans_duration_check\" CHECK ((duration_type = 'DAYS' AND duration_value BETWEEN 1 AND 730) OR (duration_type = 'MONTHS' AND duration_value BETWEEN 1 AND 24)), CONSTRAINT \"membership_plans_price_check\" CHECK (price >= 0), CONSTRAINT \"membership_plans_currency_check\" CHECK (length(currency) = 3 AND trim(currency, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ') = ''))",
        },
        {
            "membership_plans": "CREATE TABLE membership_plans (\n\tid TEXT NOT NULL, \n\ttenant_id TEXT NOT NULL, \n\tscope TEXT NOT NULL, \n\tbranch_id TEXT, \n\tname TEXT NOT NULL, \n\tdescription TEXT, \n\tduration_type TEXT NOT NULL, \n\tduration_value INTEGER NOT NULL, \n\tprice BIGINT NOT NULL, \n\tcurrency TEXT NOT NULL, \n\tmax_freeze_days INTEGER, \n\tauto_renew BOOLEAN DEFAULT 0 NOT NULL, \n\tstatus TEXT DEFAULT 'ACTIVE' NOT NULL, \n\tsort_order INTEGER, \n\tcreated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \"scope_key\" text GENERATED ALWAYS AS (coalesce(branch_id, 'TENANT')) VIRTUAL NOT NULL, \n\tCONSTRAINT membership_plans_pkey PRIMARY KEY (id), \n\tCONSTRAINT membership_plans_tenant_id_branch_id_name_key UNIQUE (tenant_id, branch_id, name), \n\tCONSTRAINT membership_plans_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id), \n\tCONSTRAINT membership_plans_branch_id_fkey FOREIGN KEY(branch_id) REFERENCES branches (id)\n)",
        },
        (
            "PRAGMA legacy_alter_table = ON",
            'ALTER TABLE "membership_plans" RENAME TO "onerow_old_membership_plans"',
            "CREATE TABLE membership_plans (\n\tid TEXT NOT NULL, \n\ttenant_id TEXT NOT NULL, \n\tscope TEXT NOT NULL, \n\tbranch_id TEXT, \n\tname TEXT NOT NULL, \n\tdescription TEXT, \n\tduration_type TEXT NOT NULL, \n\tduration_value INTEGER NOT NULL, \n\tprice BIGINT NOT NULL, \n\tcurrency TEXT NOT NULL, \n\tmax_freeze_days INTEGER, \n\tauto_renew BOOLEAN DEFAULT 0 NOT NULL, \n\tstatus TEXT DEFAULT 'ACTIVE' NOT NULL, \n\tsort_order INTEGER, \n\tcreated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \"scope_key\" text GENERATED ALWAYS AS (coalesce(branch_id, 'TENANT')) VIRTUAL NOT NULL, \n\tCONSTRAINT membership_plans_pkey PRIMARY KEY (id), \n\tCONSTRAINT membership_plans_tenant_id_branch_id_name_key UNIQUE (tenant_id, branch_id, name), \n\tCONSTRAINT membership_plans_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id), \n\tCONSTRAINT membership_plans_branch_id_fkey FOREIGN KEY(branch_id) REFERENCES branches (id)\n)",
            'INSERT INTO "membership_plans" (rowid, "id", "tenant_id", "scope", "branch_id", "name", "description", "duration_type", "duration_value", "price", "currency", "max_freeze_days", "auto_renew", "status", "sort_order", "created_at", "updated_at") SELECT rowid, "id", "tenant_id", "scope", "branch_id", "name", "description", "duration_type", "duration_value", "price", "currency", "max_freeze_days", "auto_renew", "status", "sort_order", "created_at", "updated_at" FROM "onerow_old_membership_plans"',
            'DROP TABLE "onerow_old_membership_plans"',
            'CREATE UNIQUE INDEX "membership_plans_one_active_name" ON "membership_plans" ("tenant_id", "scope", "scope_key", lower("name")) WHERE (status = \'ACTIVE\')',
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
