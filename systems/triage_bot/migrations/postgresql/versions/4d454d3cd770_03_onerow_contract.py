"""Take away what is replaced, now that its successor stands: public.overrides, public.users, public.sprints, public.current_state.

Revision 3 of 3 made by `onerow plan --alembic` of plan 4d454d3cd770. Each step
looks first whether it is done, so this may be run again, and does nothing where
`onerow apply` was. Rows are not moved here: where some would have to be, it stops
and says so. Rows that `onerow apply` merged come back by `onerow undo`.

Revision ID: 4d454d3cd770_03
Revises: 4d454d3cd770_02
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "4d454d3cd770_03"
down_revision = "4d454d3cd770_02"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # 18. Mark role NOT NULL; the check overrides_unique_request_role_not_null proves
    # it, so nothing is scanned.
    # Lock: ACCESS EXCLUSIVE for a moment.
    _set_not_null(
        '"public"."overrides"',
        "role",
        "overrides_unique_request_role_not_null",
    )
    # 21. Mark requested_by NOT NULL; the check
    # overrides_unique_request_requested_by_not_null proves it, so nothing is scanned.
    # Lock: ACCESS EXCLUSIVE for a moment.
    _set_not_null(
        '"public"."overrides"',
        "requested_by",
        "overrides_unique_request_requested_by_not_null",
    )
    # 24. Mark replacement_slack_id NOT NULL; the check
    # overrides_unique_request_replacement_slack_id_not_null proves it, so nothing is
    # scanned.
    # Lock: ACCESS EXCLUSIVE for a moment.
    _set_not_null(
        '"public"."overrides"',
        "replacement_slack_id",
        "overrides_unique_request_replacement_slack_id_not_null",
    )
    # 33. Mark position NOT NULL; the check users_position_not_null proves it, so
    # nothing is scanned.
    # Lock: ACCESS EXCLUSIVE for a moment.
    _set_not_null('"public"."users"', "position", "users_position_not_null")
    # 35. Mark active NOT NULL; the check users_active_not_null proves it, so nothing is
    # scanned.
    # Lock: ACCESS EXCLUSIVE for a moment.
    _set_not_null('"public"."users"', "active", "users_active_not_null")
    # 37. Mark status NOT NULL; the check overrides_status_not_null proves it, so
    # nothing is scanned.
    # Lock: ACCESS EXCLUSIVE for a moment.
    _set_not_null('"public"."overrides"', "status", "overrides_status_not_null")
    # 43. Prove that public.sprints(sprint_index) is enforced and that no rows break it.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "sprint_index" AS k1, count(*) AS n FROM "public"."sprints" WHERE 1 = 1 GROUP BY "sprint_index" HAVING count(*) > 1) AS g ORDER BY n DESC, k1 LIMIT 1) AS d',
        "{n} group(s) of duplicates in sprints_sprint_index_key of public.sprints. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 44. Prove that public.current_state() is enforced and that no rows break it.
    _refuse(
        'SELECT max(groups) FROM (SELECT n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT count(*) AS n FROM "public"."current_state" WHERE 1 = 1 HAVING count(*) > 1) AS g ORDER BY n DESC LIMIT 1) AS d',
        "{n} group(s) of duplicates in current_state_one_row of public.current_state. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 45. Prove that public.overrides(sprint_index, role, requested_by,
    # replacement_slack_id) is enforced and that no rows break it.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, k2, k3, k4, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "sprint_index" AS k1, "role" AS k2, "requested_by" AS k3, "replacement_slack_id" AS k4, count(*) AS n FROM "public"."overrides" WHERE "role" IS NOT NULL AND "requested_by" IS NOT NULL AND "replacement_slack_id" IS NOT NULL GROUP BY "sprint_index", "role", "requested_by", "replacement_slack_id" HAVING count(*) > 1) AS g ORDER BY n DESC, k1, k2, k3, k4 LIMIT 1) AS d',
        "{n} group(s) of duplicates in overrides_unique_request of public.overrides. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 46. Prove that public.overrides(sprint_index, role) is enforced and that no rows
    # break it.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, k2, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "sprint_index" AS k1, "role" AS k2, count(*) AS n FROM "public"."overrides" WHERE (status = \'approved\') AND "role" IS NOT NULL GROUP BY "sprint_index", "role" HAVING count(*) > 1) AS g ORDER BY n DESC, k1, k2 LIMIT 1) AS d',
        "{n} group(s) of duplicates in overrides_one_approved of public.overrides. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 47. Prove that public.users(slack_id, discipline) is enforced and that no rows
    # break it.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, k2, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "slack_id" AS k1, "discipline" AS k2, count(*) AS n FROM "public"."users" WHERE 1 = 1 GROUP BY "slack_id", "discipline" HAVING count(*) > 1) AS g ORDER BY n DESC, k1, k2 LIMIT 1) AS d',
        "{n} group(s) of duplicates in users_slack_discipline_unique of public.users. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 49. Drop the index idx_sprints_sprint_index, which sprints_sprint_index_key
    # replaces.
    # Lock: SHARE UPDATE EXCLUSIVE for a moment.
    _drop_index(
        '"public"."idx_sprints_sprint_index"',
        "USING btree (sprint_index)",
        'DROP INDEX CONCURRENTLY "public"."idx_sprints_sprint_index"',
        alone=True,
    )
    # 50. Drop the constraint unique_current_state, which current_state_one_row
    # replaces.
    # Lock: ACCESS EXCLUSIVE for a moment.
    _drop_index(
        '"public"."unique_current_state"',
        "USING btree (is_current) UNIQUE",
        'ALTER TABLE "public"."current_state" DROP CONSTRAINT "unique_current_state"',
        alone=False,
    )
    # 51. Drop the constraint users_slack_id_key, which users_slack_discipline_unique
    # replaces.
    # Lock: ACCESS EXCLUSIVE for a moment.
    _drop_index(
        '"public"."users_slack_id_key"',
        "USING btree (slack_id) UNIQUE",
        'ALTER TABLE "public"."users" DROP CONSTRAINT "users_slack_id_key"',
        alone=False,
    )
    # 52. Drop the index idx_users_slack_id, which users_slack_discipline_unique
    # replaces.
    # Lock: SHARE UPDATE EXCLUSIVE for a moment.
    _drop_index(
        '"public"."idx_users_slack_id"',
        "USING btree (slack_id)",
        'DROP INDEX CONCURRENTLY "public"."idx_users_slack_id"',
        alone=True,
    )


def downgrade() -> None:
    _build(
        '"public"."idx_users_slack_id"',
        'CREATE INDEX CONCURRENTLY "idx_users_slack_id"',
        '"public"."users"',
        "USING btree (slack_id)",
    )
    _build(
        '"public"."users_slack_id_key"',
        'CREATE UNIQUE INDEX CONCURRENTLY "users_slack_id_key"',
        '"public"."users"',
        "USING btree (slack_id)",
    )
    _again(
        '"public"."users"',
        "users_slack_id_key",
        (
            'ALTER TABLE "public"."users" ADD CONSTRAINT "users_slack_id_key" UNIQUE USING INDEX "users_slack_id_key"',
        ),
    )
    _build(
        '"public"."unique_current_state"',
        'CREATE UNIQUE INDEX CONCURRENTLY "unique_current_state"',
        '"public"."current_state"',
        "USING btree (is_current)",
    )
    _again(
        '"public"."current_state"',
        "unique_current_state",
        (
            'ALTER TABLE "public"."current_state" ADD CONSTRAINT "unique_current_state" UNIQUE USING INDEX "unique_current_state"',
        ),
    )
    _build(
        '"public"."idx_sprints_sprint_index"',
        'CREATE INDEX CONCURRENTLY "idx_sprints_sprint_index"',
        '"public"."sprints"',
        "USING btree (sprint_index)",
    )
    _drop_not_null('"public"."overrides"', "status")
    _drop_not_null('"public"."users"', "active")
    _drop_not_null('"public"."users"', "position")
    _drop_not_null('"public"."overrides"', "replacement_slack_id")
    _drop_not_null('"public"."overrides"', "requested_by")
    _drop_not_null('"public"."overrides"', "role")


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


def _run_alone(statement: str) -> None:
    """Run a statement that takes no transaction, and waits for others without stopping them.

    A lock timeout would end it half done.
    """
    before = None if _offline() else _ask("SHOW lock_timeout")
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        try:
            op.execute(_sql(statement))
        finally:
            op.execute(f"SET lock_timeout = '{before}'" if before else "RESET lock_timeout")


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


def _index(name: str) -> str | None:
    """An index as the server prints it, from USING on; None where there is none.

    `name` has its schema; `pg_temp` is that of a trial.
    """
    found = _ask(
        "SELECT substr(d.text, strpos(d.text, format('.%I USING ', t.relname))"
        " + length(format('.%I ', t.relname)))"
        " || CASE WHEN i.indisunique THEN ' UNIQUE' ELSE '' END"
        " FROM pg_index AS i JOIN pg_class AS t ON t.oid = i.indrelid"
        " CROSS JOIN LATERAL pg_get_indexdef(i.indexrelid) AS d(text)"
        f" WHERE i.indexrelid = to_regclass({_literal(name)})"
    )
    return str(found) if found is not None else None


def _is_valid(name: str) -> bool:
    return bool(
        _ask(f"SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass({_literal(name)})")
    )


def _index_made_of(create: str, table: str, body: str) -> str | None:
    """The same of an index that is still to be built."""
    unique = "UNIQUE " if "UNIQUE INDEX" in create else ""
    made = f"CREATE {unique}INDEX onerow_trial_index ON pg_temp.onerow_trial {body}"
    with _trial(table, made):
        return _index("pg_temp.onerow_trial_index")


def _build(name: str, create: str, table: str, body: str, *, instead: str = "") -> None:
    """Build an index unless it stands; what a build that failed has left is dropped first.

    `instead`: the name that it is given afterwards, in the place of another one.
    """
    statement = f"{create} ON {table} {body}"
    if _offline():
        _run_alone(statement)
        return
    wanted = _index_made_of(create, table, body)
    if instead and _index(instead) == wanted and _is_valid(instead):
        return
    found = _index(name)
    if found is not None and found != wanted:
        raise CommandError(f"An index {name} is there, and it is another one: {found}.")
    if found is not None and _is_valid(name):
        return
    if found is not None:
        _run_alone(f"DROP INDEX CONCURRENTLY {name}")
    _run_alone(statement)


def _drop_index(name: str, definition: str, statement: str, *, alone: bool) -> None:
    """Drop an index, or the constraint that it belongs to, unless it is gone.

    `definition`: as it was where the plan was made; another one is not ours to drop.
    """
    if not _offline():
        found = _index(name)
        if found is None:
            return
        if found != definition:
            raise CommandError(f"The index {name} is another one by now: {found}.")
    (_run_alone if alone else _run)(statement)


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


def _again(table: str, name: str, statements: tuple[str, ...]) -> None:
    """Make a constraint again, unless it is there."""
    if _offline() or _constraint(table, name) is None:
        _run(*statements)


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
