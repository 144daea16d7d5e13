"""Add what the rules need, and hold new rows to them: public.users, public.overrides.

Revision 1 of 3 made by `onerow plan --alembic` of plan 4d454d3cd770. Each step
looks first whether it is done, so this may be run again, and does nothing where
`onerow apply` was. Rows are not moved here: where some would have to be, it stops
and says so. Rows that `onerow apply` merged come back by `onerow undo`.

Revision ID: 4d454d3cd770_01
Revises: before
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "4d454d3cd770_01"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # 1. Add the column position integer to public.users, a change of the catalog only.
    # Lock: ACCESS EXCLUSIVE for a moment.
    _add_column('"public"."users"', "position", "integer")
    # 2. Add the column active boolean to public.users, a change of the catalog only.
    # Lock: ACCESS EXCLUSIVE for a moment.
    _add_column('"public"."users"', "active", "boolean")
    # 3. Add the column status text to public.overrides, a change of the catalog only.
    # Lock: ACCESS EXCLUSIVE for a moment.
    _add_column('"public"."overrides"', "status", "text")
    # 4. Fill position of public.users with id, batch by batch.
    # Lock: ROW EXCLUSIVE for each batch.
    _refuse(
        'SELECT count(*) FROM "public"."users" WHERE "position" IS NULL',
        "{n} row(s) of public.users have nothing in position. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 5. Add the check users_position_not_null for new rows: "position" IS NOT NULL.
    # Lock: ACCESS EXCLUSIVE for a moment.
    _add_check(
        '"public"."users"',
        "users_position_not_null",
        'CHECK ("position" IS NOT NULL)',
        unless_not_null="position",
    )
    # 6. Fill position of the rows of public.users that were written meanwhile.
    # `onerow apply` does that.
    # 7. Fill active of public.users with True, batch by batch.
    # Lock: ROW EXCLUSIVE for each batch.
    _refuse(
        'SELECT count(*) FROM "public"."users" WHERE "active" IS NULL',
        "{n} row(s) of public.users have nothing in active. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 8. Add the check users_active_not_null for new rows: "active" IS NOT NULL.
    # Lock: ACCESS EXCLUSIVE for a moment.
    _add_check(
        '"public"."users"',
        "users_active_not_null",
        'CHECK ("active" IS NOT NULL)',
        unless_not_null="active",
    )
    # 9. Fill active of the rows of public.users that were written meanwhile.
    # `onerow apply` does that.
    # 10. Fill status of public.overrides with CASE WHEN approved THEN 'approved' WHEN
    # approved_by IS NOT NULL THEN 'declined' ELSE 'pending' END, batch by batch.
    # Lock: ROW EXCLUSIVE for each batch.
    _refuse(
        'SELECT count(*) FROM "public"."overrides" WHERE "status" IS NULL',
        "{n} row(s) of public.overrides have nothing in status. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 11. Add the check overrides_status_not_null for new rows: "status" IS NOT NULL.
    # Lock: ACCESS EXCLUSIVE for a moment.
    _add_check(
        '"public"."overrides"',
        "overrides_status_not_null",
        'CHECK ("status" IS NOT NULL)',
        unless_not_null="status",
    )
    # 15. Merge 7 groups of duplicates in public.overrides(sprint_index, role,
    # requested_by, replacement_slack_id): keep the row with the max CASE WHEN approved
    # THEN 2 WHEN approved_by IS NOT NULL THEN 1 ELSE 0 END, fill what is NULL in it
    # from the next best row that has it; re-point public.audit_logs(record_id); archive
    # and delete 7 surplus rows.
    # Lock: ROW EXCLUSIVE for each batch.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, k2, k3, k4, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "sprint_index" AS k1, "role" AS k2, "requested_by" AS k3, "replacement_slack_id" AS k4, count(*) AS n FROM "public"."overrides" WHERE "role" IS NOT NULL AND "requested_by" IS NOT NULL AND "replacement_slack_id" IS NOT NULL GROUP BY "sprint_index", "role", "requested_by", "replacement_slack_id" HAVING count(*) > 1) AS g ORDER BY n DESC, k1, k2, k3, k4 LIMIT 1) AS d',
        "{n} group(s) of duplicates in overrides_unique_request of public.overrides. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 16. Add the check overrides_unique_request_role_not_null for new rows: "role" IS
    # NOT NULL.
    # Lock: ACCESS EXCLUSIVE for a moment.
    _add_check(
        '"public"."overrides"',
        "overrides_unique_request_role_not_null",
        'CHECK ("role" IS NOT NULL)',
        unless_not_null="role",
    )
    # 19. Add the check overrides_unique_request_requested_by_not_null for new rows:
    # "requested_by" IS NOT NULL.
    # Lock: ACCESS EXCLUSIVE for a moment.
    _add_check(
        '"public"."overrides"',
        "overrides_unique_request_requested_by_not_null",
        'CHECK ("requested_by" IS NOT NULL)',
        unless_not_null="requested_by",
    )
    # 22. Add the check overrides_unique_request_replacement_slack_id_not_null for new
    # rows: "replacement_slack_id" IS NOT NULL.
    # Lock: ACCESS EXCLUSIVE for a moment.
    _add_check(
        '"public"."overrides"',
        "overrides_unique_request_replacement_slack_id_not_null",
        'CHECK ("replacement_slack_id" IS NOT NULL)',
        unless_not_null="replacement_slack_id",
    )
    # 38. Add the check overrides_status_check for new rows: status IN ('pending',
    # 'approved', 'declined').
    # Lock: ACCESS EXCLUSIVE for a moment.
    _add_check(
        '"public"."overrides"',
        "overrides_status_check",
        "CHECK (status IN ('pending', 'approved', 'declined'))",
    )


def downgrade() -> None:
    _drop_constraint('"public"."overrides"', "overrides_status_check")
    _drop_constraint(
        '"public"."overrides"',
        "overrides_unique_request_replacement_slack_id_not_null",
    )
    _drop_constraint(
        '"public"."overrides"',
        "overrides_unique_request_requested_by_not_null",
    )
    _drop_constraint('"public"."overrides"', "overrides_unique_request_role_not_null")
    _drop_constraint('"public"."overrides"', "overrides_status_not_null")
    _drop_constraint('"public"."users"', "users_active_not_null")
    _drop_constraint('"public"."users"', "users_position_not_null")
    _drop_column('"public"."overrides"', "status")
    _drop_column('"public"."users"', "active")
    _drop_column('"public"."users"', "position")


def _sql(statement: str) -> sa.TextClause:
    """SQL as it stands: a colon is no parameter."""
    return sa.text(statement.replace(":", "\\:"))


def _ask(question: str) -> Any:
    """The first value of an answer, None where there is none."""
    return op.get_bind().execute(_sql(question)).scalar()


def _offline() -> bool:
    """`alembic upgrade --sql`: there is no catalog to look at, and every statement is written."""
    return op.get_context().as_sql


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _refuse(question: str, told: str) -> None:
    """Stop while there are rows that `onerow apply` mends without losing any."""
    if not _offline():
        count = _ask(question)
        if count:
            raise CommandError(told.replace("{n}", f"{count:,}"))
        return
    before, after = (_literal(part) for part in told.split("{n}"))
    op.execute(
        _sql(
            f"DO $onerow$ DECLARE n bigint := ({question}); BEGIN IF n > 0 THEN"
            f" RAISE EXCEPTION USING MESSAGE = {before} || n || {after}; END IF; END $onerow$"
        )
    )


def _run(*statements: str) -> None:
    """Run statements whose locks stop everybody else; wait for these 2 s at most, each."""
    before = None if _offline() else _ask("SHOW lock_timeout")
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in statements:
        op.execute(_sql(statement))
    op.execute(f"SET LOCAL lock_timeout = '{before}'" if before else "RESET lock_timeout")


@contextmanager
def _trial(table: str, *statements: str) -> Iterator[None]:
    """An empty copy of a table, on which the server shows what it makes of a definition."""
    bind = op.get_bind()
    with bind.begin_nested() as nested:
        bind.execute(
            _sql(f"CREATE TEMPORARY TABLE onerow_trial (LIKE {table} INCLUDING GENERATED)")
        )
        for statement in statements:
            bind.execute(_sql(statement))
        yield
        nested.rollback()


def _constraint(table: str, name: str) -> str | None:
    """A constraint as the server prints it, all names with their schemas; None without one."""
    bind = op.get_bind()
    with bind.begin_nested() as nested:
        bind.execute(_sql("SET LOCAL search_path = pg_catalog"))
        found = _ask(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint"
            f" WHERE conrelid = to_regclass({_literal(table)}) AND conname = {_literal(name)}"
        )
        nested.rollback()
    return str(found) if found is not None else None


def _plain(definition: str) -> str:
    """A definition without what is written in several ways, and whether it is validated."""
    bare = definition.replace('"', "").replace(" ", "").upper()
    return bare.removesuffix("NOTVALID").removesuffix("NOTENFORCED")


def _add_check(table: str, name: str, body: str, *, unless_not_null: str = "") -> None:
    """Add a CHECK for new rows, unless it stands, or was needed for a column that is NOT NULL.

    From PostgreSQL 18 on NOT NULL itself may be NOT VALID, and takes its place.
    """
    native = False
    if not _offline() and unless_not_null:
        if _is_not_null(table, unless_not_null):
            return
        native = int(_ask("SELECT current_setting('server_version_num')")) >= 180000
    if native:
        body = f"NOT NULL {_quote(unless_not_null)}"
    statement = f"ALTER TABLE {table} ADD CONSTRAINT {_quote(name)} {body} NOT VALID"
    if native and _stands(table, name, body):
        return
    if not _offline() and not native:
        with _trial(table, f"ALTER TABLE pg_temp.onerow_trial ADD CONSTRAINT onerow_c {body}"):
            wanted = _constraint("pg_temp.onerow_trial", "onerow_c")
        if _stands(table, name, wanted or ""):
            return
    _run(statement)


def _stands(table: str, name: str, wanted: str) -> bool:
    found = _constraint(table, name)
    if found is not None and _plain(found) != _plain(wanted):
        raise CommandError(f"A constraint {name} of {table} is there, and is another one: {found}.")
    return found is not None


def _drop_constraint(table: str, name: str) -> None:
    """Drop a constraint unless it is gone."""
    if _offline() or _constraint(table, name) is not None:
        _run(f"ALTER TABLE {table} DROP CONSTRAINT {_quote(name)}")


def _is_not_null(table: str, column: str) -> bool:
    """In all rows; from PostgreSQL 18 on it may be in new ones alone."""
    return bool(
        _ask(
            "SELECT a.attnotnull AND NOT EXISTS (SELECT 1 FROM pg_constraint AS k"
            " WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND k.conkey = ARRAY[a.attnum]"
            " AND NOT k.convalidated) FROM pg_attribute AS a"
            f" WHERE a.attrelid = to_regclass({_literal(table)})"
            f" AND a.attname = {_literal(column)} AND NOT a.attisdropped"
        )
    )


def _column(table: str, column: str) -> str | None:
    """A column's type and expression as the server prints them; None where there is none."""
    found = _ask(
        "SELECT concat_ws(' ', format_type(a.atttypid, a.atttypmod), a.attgenerated,"
        " pg_get_expr(d.adbin, d.adrelid)) FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d"
        " ON d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.attgenerated <> ''"
        f" WHERE a.attrelid = to_regclass({_literal(table)}) AND a.attname = {_literal(column)}"
        " AND NOT a.attisdropped"
    )
    return str(found) if found is not None else None


def _add_column(table: str, column: str, definition: str) -> None:
    """Add a column unless it is there."""
    if not _offline():
        found = _column(table, column)
        trial = "ALTER TABLE pg_temp.onerow_trial"
        drop = f"{trial} DROP COLUMN IF EXISTS {_quote(column)}"
        with _trial(table, drop, f"{trial} ADD COLUMN {_quote(column)} {definition}"):
            wanted = _column("pg_temp.onerow_trial", column)
        if found is not None and found != wanted:
            raise CommandError(f"{table} has a column {column}, and it is another one: {found}.")
        if found is not None:
            return
    _run(f"ALTER TABLE {table} ADD COLUMN {_quote(column)} {definition}")


def _drop_column(table: str, column: str) -> None:
    if _offline() or _column(table, column) is not None:
        _run(f"ALTER TABLE {table} DROP COLUMN {_quote(column)}")
