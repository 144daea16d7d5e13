"""Build keys and look at old rows while writers write: public.members, public.membership_plans.

Revision 2 of 3 made by `onerow plan --alembic` of plan 1dd08dbb8fa3. Each step
looks first whether it is done, so this may be run again, and does nothing where
`onerow apply` was. Rows are not moved here: where some would have to be, it stops
and says so. Rows that `onerow apply` merged come back by `onerow undo`.

Revision ID: 1dd08dbb8fa3_02
Revises: 1dd08dbb8fa3_01
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "1dd08dbb8fa3_02"
down_revision = "1dd08dbb8fa3_01"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # 2. Build the index ix_members_membership_plan_id on public.members
    # ("membership_plan_id"), concurrently, so reads and writes go on.
    # Lock: SHARE UPDATE EXCLUSIVE for the build.
    _build(
        '"public"."ix_members_membership_plan_id"',
        'CREATE INDEX CONCURRENTLY "ix_members_membership_plan_id"',
        '"public"."members"',
        '("membership_plan_id")',
    )
    # 3. No duplicates in public.membership_plans(tenant_id, scope, scope_key, name)
    # now; any that arrive before its key stands are merged (keep the row with the
    # latest updated_at).
    # Lock: ROW EXCLUSIVE for each batch.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, k2, k3, k4, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "tenant_id" AS k1, "scope" AS k2, "scope_key" AS k3, lower("name") AS k4, count(*) AS n FROM "public"."membership_plans" WHERE (status = \'ACTIVE\') GROUP BY "tenant_id", "scope", "scope_key", lower("name") HAVING count(*) > 1) AS g ORDER BY n DESC, k1, k2, k3, k4 LIMIT 1) AS d',
        "{n} group(s) of duplicates in membership_plans_one_active_name of public.membership_plans. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 4. Build the unique index membership_plans_one_active_name on
    # public.membership_plans(tenant_id, scope, scope_key, name), concurrently, so reads
    # and writes go on.
    # Lock: SHARE UPDATE EXCLUSIVE for the build.
    _build(
        '"public"."membership_plans_one_active_name"',
        'CREATE UNIQUE INDEX CONCURRENTLY "membership_plans_one_active_name"',
        '"public"."membership_plans"',
        '("tenant_id", "scope", "scope_key", (lower("name"))) WHERE (status = \'ACTIVE\')',
    )
    # 6. Validate the check membership_plans_scope_check: one scan, reads and writes go
    # on.
    # Lock: SHARE UPDATE EXCLUSIVE for a scan.
    _validate('"public"."membership_plans"', "membership_plans_scope_check")
    # 8. Validate the check membership_plans_duration_check: one scan, reads and writes
    # go on.
    # Lock: SHARE UPDATE EXCLUSIVE for a scan.
    _validate('"public"."membership_plans"', "membership_plans_duration_check")
    # 10. Validate the check membership_plans_price_check: one scan, reads and writes go
    # on.
    # Lock: SHARE UPDATE EXCLUSIVE for a scan.
    _validate('"public"."membership_plans"', "membership_plans_price_check")
    # 12. Validate the check membership_plans_currency_check: one scan, reads and writes
    # go on.
    # Lock: SHARE UPDATE EXCLUSIVE for a scan.
    _validate('"public"."membership_plans"', "membership_plans_currency_check")


def downgrade() -> None:
    _drop_built(
        '"public"."membership_plans_one_active_name"',
        'CREATE UNIQUE INDEX CONCURRENTLY "membership_plans_one_active_name"',
        '"public"."membership_plans"',
        '("tenant_id", "scope", "scope_key", (lower("name"))) WHERE (status = \'ACTIVE\')',
    )
    _drop_built(
        '"public"."ix_members_membership_plan_id"',
        'CREATE INDEX CONCURRENTLY "ix_members_membership_plan_id"',
        '"public"."members"',
        '("membership_plan_id")',
    )


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


def _drop_built(name: str, create: str, table: str, body: str) -> None:
    """Drop an index that `_build` has built, unless it is gone or another one."""
    if _offline() or _index(name) == _index_made_of(create, table, body):
        _run_alone(f"DROP INDEX CONCURRENTLY {name}")


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


def _validate(table: str, name: str, *, unless_not_null: str = "") -> None:
    """Look whether old rows obey a constraint, unless that is known."""
    if not _offline():
        if unless_not_null and _is_not_null(table, unless_not_null):
            return
        if "NOT VALID" not in (_constraint(table, name) or ""):
            return
    _run_alone(f"ALTER TABLE {table} VALIDATE CONSTRAINT {_quote(name)}")


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
