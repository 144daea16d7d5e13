"""Build keys and look at old rows while writers write: public.overrides, public.current_state, public.users.

Revision 2 of 3 made by `onerow plan --alembic` of plan 4d454d3cd770. Each step
looks first whether it is done, so this may be run again, and does nothing where
`onerow apply` was. Rows are not moved here: where some would have to be, it stops
and says so. Rows that `onerow apply` merged come back by `onerow undo`.

Revision ID: 4d454d3cd770_02
Revises: 4d454d3cd770_01
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "4d454d3cd770_02"
down_revision = "4d454d3cd770_01"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # 12. Fill status of the rows of public.overrides that were written meanwhile.
    # `onerow apply` does that.
    # 13. Merge 1 group of duplicates in public.current_state(): keep the row with the
    # max CASE WHEN is_current THEN 1 ELSE 0 END; re-point public.audit_logs(record_id);
    # archive and delete 2 surplus rows.
    # Lock: ROW EXCLUSIVE for each batch.
    _refuse(
        'SELECT max(groups) FROM (SELECT n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT count(*) AS n FROM "public"."current_state" WHERE 1 = 1 HAVING count(*) > 1) AS g ORDER BY n DESC LIMIT 1) AS d',
        "{n} group(s) of duplicates in current_state_one_row of public.current_state. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 14. Build the unique index current_state_one_row on public.current_state(),
    # concurrently, so reads and writes go on.
    # Lock: SHARE UPDATE EXCLUSIVE for the build.
    _build(
        '"public"."current_state_one_row"',
        'CREATE UNIQUE INDEX CONCURRENTLY "current_state_one_row"',
        '"public"."current_state"',
        "((true))",
    )
    # 17. Validate the check overrides_unique_request_role_not_null: one scan, reads and
    # writes go on.
    # Lock: SHARE UPDATE EXCLUSIVE for a scan.
    _validate(
        '"public"."overrides"',
        "overrides_unique_request_role_not_null",
        unless_not_null="role",
    )
    # 20. Validate the check overrides_unique_request_requested_by_not_null: one scan,
    # reads and writes go on.
    # Lock: SHARE UPDATE EXCLUSIVE for a scan.
    _validate(
        '"public"."overrides"',
        "overrides_unique_request_requested_by_not_null",
        unless_not_null="requested_by",
    )
    # 23. Validate the check overrides_unique_request_replacement_slack_id_not_null: one
    # scan, reads and writes go on.
    # Lock: SHARE UPDATE EXCLUSIVE for a scan.
    _validate(
        '"public"."overrides"',
        "overrides_unique_request_replacement_slack_id_not_null",
        unless_not_null="replacement_slack_id",
    )
    # 25. Build the unique index overrides_unique_request on
    # public.overrides(sprint_index, role, requested_by, replacement_slack_id),
    # concurrently, so reads and writes go on.
    # Lock: SHARE UPDATE EXCLUSIVE for the build.
    _build(
        '"public"."overrides_unique_request"',
        'CREATE UNIQUE INDEX CONCURRENTLY "overrides_unique_request"',
        '"public"."overrides"',
        '("sprint_index", "role", "requested_by", "replacement_slack_id")',
    )
    # 26. Make the constraint overrides_unique_request of the index; nothing is scanned.
    # Lock: ACCESS EXCLUSIVE for a moment.
    _attach('"public"."overrides"', "overrides_unique_request")
    # 27. No duplicates in public.overrides(sprint_index, role) now; any that arrive
    # before its key stands are merged (keep the row with the latest
    # approval_timestamp).
    # Lock: ROW EXCLUSIVE for each batch.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, k2, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "sprint_index" AS k1, "role" AS k2, count(*) AS n FROM "public"."overrides" WHERE (status = \'approved\') AND "role" IS NOT NULL GROUP BY "sprint_index", "role" HAVING count(*) > 1) AS g ORDER BY n DESC, k1, k2 LIMIT 1) AS d',
        "{n} group(s) of duplicates in overrides_one_approved of public.overrides. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 28. Build the unique index overrides_one_approved on
    # public.overrides(sprint_index, role), concurrently, so reads and writes go on.
    # Lock: SHARE UPDATE EXCLUSIVE for the build.
    _build(
        '"public"."overrides_one_approved"',
        'CREATE UNIQUE INDEX CONCURRENTLY "overrides_one_approved"',
        '"public"."overrides"',
        '("sprint_index", "role") WHERE (status = \'approved\')',
    )
    # 29. No duplicates in public.users(slack_id, discipline) now; any that arrive
    # before its key stands are merged (keep the row with the lowest primary key).
    # Lock: ROW EXCLUSIVE for each batch.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, k2, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "slack_id" AS k1, "discipline" AS k2, count(*) AS n FROM "public"."users" WHERE 1 = 1 GROUP BY "slack_id", "discipline" HAVING count(*) > 1) AS g ORDER BY n DESC, k1, k2 LIMIT 1) AS d',
        "{n} group(s) of duplicates in users_slack_discipline_unique of public.users. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 30. Build the unique index users_slack_discipline_unique on public.users(slack_id,
    # discipline), concurrently, so reads and writes go on.
    # Lock: SHARE UPDATE EXCLUSIVE for the build.
    _build(
        '"public"."users_slack_discipline_unique"',
        'CREATE UNIQUE INDEX CONCURRENTLY "users_slack_discipline_unique"',
        '"public"."users"',
        '("slack_id", "discipline")',
    )
    # 31. Make the constraint users_slack_discipline_unique of the index; nothing is
    # scanned.
    # Lock: ACCESS EXCLUSIVE for a moment.
    _attach('"public"."users"', "users_slack_discipline_unique")
    # 32. Validate the check users_position_not_null: one scan, reads and writes go on.
    # Lock: SHARE UPDATE EXCLUSIVE for a scan.
    _validate('"public"."users"', "users_position_not_null", unless_not_null="position")
    # 34. Validate the check users_active_not_null: one scan, reads and writes go on.
    # Lock: SHARE UPDATE EXCLUSIVE for a scan.
    _validate('"public"."users"', "users_active_not_null", unless_not_null="active")
    # 36. Validate the check overrides_status_not_null: one scan, reads and writes go
    # on.
    # Lock: SHARE UPDATE EXCLUSIVE for a scan.
    _validate(
        '"public"."overrides"',
        "overrides_status_not_null",
        unless_not_null="status",
    )
    # 39. Validate the check overrides_status_check: one scan, reads and writes go on.
    # Lock: SHARE UPDATE EXCLUSIVE for a scan.
    _validate('"public"."overrides"', "overrides_status_check")


def downgrade() -> None:
    _drop_constraint('"public"."users"', "users_slack_discipline_unique")
    _drop_built(
        '"public"."users_slack_discipline_unique"',
        'CREATE UNIQUE INDEX CONCURRENTLY "users_slack_discipline_unique"',
        '"public"."users"',
        '("slack_id", "discipline")',
    )
    _drop_built(
        '"public"."overrides_one_approved"',
        'CREATE UNIQUE INDEX CONCURRENTLY "overrides_one_approved"',
        '"public"."overrides"',
        '("sprint_index", "role") WHERE (status = \'approved\')',
    )
    _drop_constraint('"public"."overrides"', "overrides_unique_request")
    _drop_built(
        '"public"."overrides_unique_request"',
        'CREATE UNIQUE INDEX CONCURRENTLY "overrides_unique_request"',
        '"public"."overrides"',
        '("sprint_index", "role", "requested_by", "replacement_slack_id")',
    )
    _drop_built(
        '"public"."current_state_one_row"',
        'CREATE UNIQUE INDEX CONCURRENTLY "current_state_one_row"',
        '"public"."current_state"',
        "((true))",
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


def _drop_constraint(table: str, name: str) -> None:
    """Drop a constraint unless it is gone."""
    if _offline() or _constraint(table, name) is not None:
        _run(f"ALTER TABLE {table} DROP CONSTRAINT {_quote(name)}")


def _attach(table: str, name: str) -> None:
    """Make a constraint of the unique index of that name, unless it is one."""
    if _offline() or _constraint(table, name) is None:
        _run(f"ALTER TABLE {table} ADD CONSTRAINT {_quote(name)} UNIQUE USING INDEX {_quote(name)}")


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
