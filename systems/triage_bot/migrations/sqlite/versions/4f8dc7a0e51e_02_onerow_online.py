"""Build keys and look at old rows while writers write: main.users, main.overrides, main.current_state.

Revision 2 of 3 made by `onerow plan --alembic` of plan 4f8dc7a0e51e. Each step
looks first whether it is done, so this may be run again, and does nothing where
`onerow apply` was. Rows are not moved here: where some would have to be, it stops
and says so. Rows that `onerow apply` merged come back by `onerow undo`.

Revision ID: 4f8dc7a0e51e_02
Revises: 4f8dc7a0e51e_01
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "4f8dc7a0e51e_02"
down_revision = "4f8dc7a0e51e_01"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # 4. Fill position of main.users with id, batch by batch.
    # Lock: the write lock for each batch.
    _refuse(
        'SELECT count(*) FROM "main"."users" WHERE "position" IS NULL',
        "{n} row(s) of main.users have nothing in position. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 5. Fill active of main.users with True, batch by batch.
    # Lock: the write lock for each batch.
    _refuse(
        'SELECT count(*) FROM "main"."users" WHERE "active" IS NULL',
        "{n} row(s) of main.users have nothing in active. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 6. Fill status of main.overrides with CASE WHEN approved THEN 'approved' WHEN
    # approved_by IS NOT NULL THEN 'declined' ELSE 'pending' END, batch by batch.
    # Lock: the write lock for each batch.
    _refuse(
        'SELECT count(*) FROM "main"."overrides" WHERE "status" IS NULL',
        "{n} row(s) of main.overrides have nothing in status. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 7. Merge 1 group of duplicates in main.current_state(): keep the row with the max
    # CASE WHEN is_current THEN 1 ELSE 0 END; re-point main.audit_logs(record_id);
    # archive and delete 2 surplus rows.
    # Lock: the write lock for each batch.
    _refuse(
        'SELECT max(groups) FROM (SELECT n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT count(*) AS n FROM "main"."current_state" WHERE 1 = 1 HAVING count(*) > 1) AS g ORDER BY n DESC LIMIT 1) AS d',
        "{n} group(s) of duplicates in current_state_one_row of main.current_state. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 8. Build the unique index current_state_one_row on main.current_state(), in one
    # transaction.
    # Lock: the write lock for the build.
    _change(
        {"current_state_one_row": None},
        {
            "current_state_one_row": 'CREATE UNIQUE INDEX "current_state_one_row" ON "current_state" ((1))',
        },
        ('CREATE UNIQUE INDEX "current_state_one_row" ON "current_state" ((1))',),
    )
    # 9. Merge 7 groups of duplicates in main.overrides(sprint_index, role,
    # requested_by, replacement_slack_id): keep the row with the max CASE WHEN approved
    # THEN 2 WHEN approved_by IS NOT NULL THEN 1 ELSE 0 END, fill what is NULL in it
    # from the next best row that has it; re-point main.audit_logs(record_id); archive
    # and delete 7 surplus rows.
    # Lock: the write lock for each batch.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, k2, k3, k4, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "sprint_index" AS k1, "role" AS k2, "requested_by" AS k3, "replacement_slack_id" AS k4, count(*) AS n FROM "main"."overrides" WHERE "role" IS NOT NULL AND "requested_by" IS NOT NULL AND "replacement_slack_id" IS NOT NULL GROUP BY "sprint_index", "role", "requested_by", "replacement_slack_id" HAVING count(*) > 1) AS g ORDER BY n DESC, k1, k2, k3, k4 LIMIT 1) AS d',
        "{n} group(s) of duplicates in overrides_unique_request of main.overrides. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 10. Build the unique index overrides_unique_request on
    # main.overrides(sprint_index, role, requested_by, replacement_slack_id), in one
    # transaction.
    # Lock: the write lock for the build.
    _change(
        {"overrides_unique_request": None},
        {
            "overrides_unique_request": 'CREATE UNIQUE INDEX "overrides_unique_request" ON "overrides" ("sprint_index", "role", "requested_by", "replacement_slack_id")',
        },
        (
            'CREATE UNIQUE INDEX "overrides_unique_request" ON "overrides" ("sprint_index", "role", "requested_by", "replacement_slack_id")',
        ),
    )
    # 11. No duplicates in main.overrides(sprint_index, role) now; any that arrive
    # before its key stands are merged (keep the row with the latest
    # approval_timestamp).
    # Lock: the write lock for each batch.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, k2, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "sprint_index" AS k1, "role" AS k2, count(*) AS n FROM "main"."overrides" WHERE (status = \'approved\') AND "role" IS NOT NULL GROUP BY "sprint_index", "role" HAVING count(*) > 1) AS g ORDER BY n DESC, k1, k2 LIMIT 1) AS d',
        "{n} group(s) of duplicates in overrides_one_approved of main.overrides. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 12. Build the unique index overrides_one_approved on main.overrides(sprint_index,
    # role), in one transaction.
    # Lock: the write lock for the build.
    _change(
        {"overrides_one_approved": None},
        {
            "overrides_one_approved": 'CREATE UNIQUE INDEX "overrides_one_approved" ON "overrides" ("sprint_index", "role") WHERE (status = \'approved\')',
        },
        (
            'CREATE UNIQUE INDEX "overrides_one_approved" ON "overrides" ("sprint_index", "role") WHERE (status = \'approved\')',
        ),
    )
    # 13. No duplicates in main.users(slack_id, discipline) now; any that arrive before
    # its key stands are merged (keep the row with the lowest primary key).
    # Lock: the write lock for each batch.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, k2, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "slack_id" AS k1, "discipline" AS k2, count(*) AS n FROM "main"."users" WHERE 1 = 1 GROUP BY "slack_id", "discipline" HAVING count(*) > 1) AS g ORDER BY n DESC, k1, k2 LIMIT 1) AS d',
        "{n} group(s) of duplicates in users_slack_discipline_unique of main.users. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 14. Build the unique index users_slack_discipline_unique on main.users(slack_id,
    # discipline), in one transaction.
    # Lock: the write lock for the build.
    _change(
        {"users_slack_discipline_unique": None},
        {
            "users_slack_discipline_unique": 'CREATE UNIQUE INDEX "users_slack_discipline_unique" ON "users" ("slack_id", "discipline")',
        },
        (
            'CREATE UNIQUE INDEX "users_slack_discipline_unique" ON "users" ("slack_id", "discipline")',
        ),
    )


def downgrade() -> None:
    _change(
        {
            "users_slack_discipline_unique": 'CREATE UNIQUE INDEX "users_slack_discipline_unique" ON "users" ("slack_id", "discipline")',
        },
        {"users_slack_discipline_unique": None},
        ('DROP INDEX "main"."users_slack_discipline_unique"',),
    )
    _change(
        {
            "overrides_one_approved": 'CREATE UNIQUE INDEX "overrides_one_approved" ON "overrides" ("sprint_index", "role") WHERE (status = \'approved\')',
        },
        {"overrides_one_approved": None},
        ('DROP INDEX "main"."overrides_one_approved"',),
    )
    _change(
        {
            "overrides_unique_request": 'CREATE UNIQUE INDEX "overrides_unique_request" ON "overrides" ("sprint_index", "role", "requested_by", "replacement_slack_id")',
        },
        {"overrides_unique_request": None},
        ('DROP INDEX "main"."overrides_unique_request"',),
    )
    _change(
        {
            "current_state_one_row": 'CREATE UNIQUE INDEX "current_state_one_row" ON "current_state" ((1))',
        },
        {"current_state_one_row": None},
        ('DROP INDEX "main"."current_state_one_row"',),
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
