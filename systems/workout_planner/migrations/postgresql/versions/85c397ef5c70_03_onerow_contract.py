"""Take away what is replaced, now that its successor stands: public.workout_selections, public.workouts.

Revision 3 of 3 made by `onerow plan --alembic` of plan 85c397ef5c70. Each step
looks first whether it is done, so this may be run again, and does nothing where
`onerow apply` was. Rows are not moved here: where some would have to be, it stops
and says so. Rows that `onerow apply` merged come back by `onerow undo`.

Revision ID: 85c397ef5c70_03
Revises: 85c397ef5c70_02
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "85c397ef5c70_03"
down_revision = "85c397ef5c70_02"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # 11. Mark version NOT NULL; the check workout_selections_version_not_null proves
    # it, so nothing is scanned.
    # Lock: ACCESS EXCLUSIVE for a moment.
    _set_not_null(
        '"public"."workout_selections"',
        "version",
        "workout_selections_version_not_null",
    )
    # 13. Prove that public.workouts(title, originally_planned_day) is enforced and that
    # no rows break it.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, k2, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "title" AS k1, "originally_planned_day" AS k2, count(*) AS n FROM "public"."workouts" WHERE (NOT is_custom) GROUP BY "title", "originally_planned_day" HAVING count(*) > 1) AS g ORDER BY n DESC, k1, k2 LIMIT 1) AS d',
        "{n} group(s) of duplicates in uq_workouts_title_originally_planned_day of public.workouts. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 14. Prove that public.workout_selections(workout_id) is enforced and that no rows
    # break it.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "workout_id" AS k1, count(*) AS n FROM "public"."workout_selections" WHERE 1 = 1 GROUP BY "workout_id" HAVING count(*) > 1) AS g ORDER BY n DESC, k1 LIMIT 1) AS d',
        "{n} group(s) of duplicates in uq_workout_selections_workout_id of public.workout_selections. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )


def downgrade() -> None:
    _drop_not_null('"public"."workout_selections"', "version")


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


def _set_not_null(table: str, column: str, check: str) -> None:
    """Mark a column NOT NULL by a validated check, which is dropped then, in its own statement."""
    if _offline() or not _is_not_null(table, column):
        _run(f"ALTER TABLE {table} ALTER COLUMN {_quote(column)} SET NOT NULL")
    if _offline() or (_constraint(table, check) or "").startswith("CHECK"):
        _drop_constraint(table, check)


def _drop_not_null(table: str, column: str) -> None:
    if _offline() or _is_not_null(table, column):
        _run(f"ALTER TABLE {table} ALTER COLUMN {_quote(column)} DROP NOT NULL")
