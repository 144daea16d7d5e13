"""Build keys and look at old rows while writers write: public.report_data_weeks, public.report_data_collections.

Revision 2 of 2 made by `onerow plan --alembic` of plan 98847d65a4f6. Each step
looks first whether it is done, so this may be run again, and does nothing where
`onerow apply` was. Rows are not moved here: where some would have to be, it stops
and says so. Rows that `onerow apply` merged come back by `onerow undo`.

Revision ID: 98847d65a4f6_02
Revises: 98847d65a4f6_01
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "98847d65a4f6_02"
down_revision = "98847d65a4f6_01"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # 5. Build the index idx_report_data_weeks_execution_id on public.report_data_weeks
    # ("execution_id") for rows where execution_id IS NOT NULL, concurrently, so reads
    # and writes go on.
    # Lock: SHARE UPDATE EXCLUSIVE for the build.
    _build(
        '"public"."idx_report_data_weeks_execution_id"',
        'CREATE INDEX CONCURRENTLY "idx_report_data_weeks_execution_id"',
        '"public"."report_data_weeks"',
        '("execution_id") WHERE (execution_id IS NOT NULL)',
    )
    # 6. Build the index idx_report_data_weeks_collection_execution on
    # public.report_data_weeks ("collection_id", "execution_id") for rows where
    # execution_id IS NOT NULL, concurrently, so reads and writes go on.
    # Lock: SHARE UPDATE EXCLUSIVE for the build.
    _build(
        '"public"."idx_report_data_weeks_collection_execution"',
        'CREATE INDEX CONCURRENTLY "idx_report_data_weeks_collection_execution"',
        '"public"."report_data_weeks"',
        '("collection_id", "execution_id") WHERE (execution_id IS NOT NULL)',
    )
    # 7. 11 rows by execution_id of public.report_data_weeks refer to nothing in
    # public.workflow_executions: empty the reference, each archived.
    # Lock: ROW EXCLUSIVE for each batch.
    _refuse(
        'SELECT count(*) FROM "public"."report_data_weeks" WHERE "public"."report_data_weeks"."execution_id" IS NOT NULL AND NOT EXISTS (SELECT 1 FROM "public"."workflow_executions" AS q WHERE q."id" = "public"."report_data_weeks"."execution_id")',
        "{n} row(s) of public.report_data_weeks refer to nothing in public.workflow_executions. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 8. Merge 2 groups of duplicates in public.report_data_collections(name,
    # workflow_id, instance_id, start_date, end_date): keep the row with the max
    # weeks_completed, fill what is NULL in it from the next best row that has it;
    # re-point public.report_data_weeks(collection_id); where children in
    # public.report_data_weeks collide then: keep the best filled, fill what is NULL in
    # it from the others (none now); archive and delete 2 surplus rows.
    # Lock: ROW EXCLUSIVE for each batch.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, k2, k3, k4, k5, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "name" AS k1, "workflow_id" AS k2, "instance_id" AS k3, "start_date" AS k4, "end_date" AS k5, count(*) AS n FROM "public"."report_data_collections" WHERE 1 = 1 GROUP BY "name", "workflow_id", "instance_id", "start_date", "end_date" HAVING count(*) > 1) AS g ORDER BY n DESC, k1, k2, k3, k4, k5 LIMIT 1) AS d',
        "{n} group(s) of duplicates in report_data_collections_request_key of public.report_data_collections. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 9. Build the unique index report_data_collections_request_key on
    # public.report_data_collections(name, workflow_id, instance_id, start_date,
    # end_date), concurrently, so reads and writes go on.
    # Lock: SHARE UPDATE EXCLUSIVE for the build.
    _build(
        '"public"."report_data_collections_request_key"',
        'CREATE UNIQUE INDEX CONCURRENTLY "report_data_collections_request_key"',
        '"public"."report_data_collections"',
        '("name", "workflow_id", "instance_id", "start_date", "end_date")',
    )
    # 10. Make the constraint report_data_collections_request_key of the index; nothing
    # is scanned.
    # Lock: ACCESS EXCLUSIVE for a moment.
    _attach('"public"."report_data_collections"', "report_data_collections_request_key")
    # 11. Merge 80 groups of duplicates in public.report_data_weeks(collection_id,
    # week_start_date): keep the row with the max CASE WHEN status = 'completed' THEN
    # '9999-12-31' ELSE updated_at END, fill what is NULL in it from the next best row
    # that has it; archive and delete 80 surplus rows.
    # Lock: ROW EXCLUSIVE for each batch.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, k2, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "collection_id" AS k1, "week_start_date" AS k2, count(*) AS n FROM "public"."report_data_weeks" WHERE 1 = 1 GROUP BY "collection_id", "week_start_date" HAVING count(*) > 1) AS g ORDER BY n DESC, k1, k2 LIMIT 1) AS d',
        "{n} group(s) of duplicates in report_data_weeks_collection_id_week_start_date_key of public.report_data_weeks. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 12. Build the unique index report_data_weeks_collection_id_week_start_date_key on
    # public.report_data_weeks(collection_id, week_start_date), concurrently, so reads
    # and writes go on.
    # Lock: SHARE UPDATE EXCLUSIVE for the build.
    _build(
        '"public"."report_data_weeks_collection_id_week_start_date_key"',
        'CREATE UNIQUE INDEX CONCURRENTLY "report_data_weeks_collection_id_week_start_date_key"',
        '"public"."report_data_weeks"',
        '("collection_id", "week_start_date")',
    )
    # 13. Make the constraint report_data_weeks_collection_id_week_start_date_key of the
    # index; nothing is scanned.
    # Lock: ACCESS EXCLUSIVE for a moment.
    _attach(
        '"public"."report_data_weeks"',
        "report_data_weeks_collection_id_week_start_date_key",
    )
    # 14. Validate the foreign key report_data_weeks_execution_id_fkey: one scan, reads
    # and writes go on.
    # Lock: SHARE UPDATE EXCLUSIVE for a scan.
    _validate('"public"."report_data_weeks"', "report_data_weeks_execution_id_fkey")
    # 19. Prove that public.report_data_collections(name, workflow_id, instance_id,
    # start_date, end_date) is enforced and that no rows break it.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, k2, k3, k4, k5, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "name" AS k1, "workflow_id" AS k2, "instance_id" AS k3, "start_date" AS k4, "end_date" AS k5, count(*) AS n FROM "public"."report_data_collections" WHERE 1 = 1 GROUP BY "name", "workflow_id", "instance_id", "start_date", "end_date" HAVING count(*) > 1) AS g ORDER BY n DESC, k1, k2, k3, k4, k5 LIMIT 1) AS d',
        "{n} group(s) of duplicates in report_data_collections_request_key of public.report_data_collections. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 20. Prove that public.report_data_weeks(collection_id, week_start_date) is
    # enforced and that no rows break it.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, k2, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "collection_id" AS k1, "week_start_date" AS k2, count(*) AS n FROM "public"."report_data_weeks" WHERE 1 = 1 GROUP BY "collection_id", "week_start_date" HAVING count(*) > 1) AS g ORDER BY n DESC, k1, k2 LIMIT 1) AS d',
        "{n} group(s) of duplicates in report_data_weeks_collection_id_week_start_date_key of public.report_data_weeks. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )


def downgrade() -> None:
    _drop_constraint(
        '"public"."report_data_weeks"',
        "report_data_weeks_collection_id_week_start_date_key",
    )
    _drop_built(
        '"public"."report_data_weeks_collection_id_week_start_date_key"',
        'CREATE UNIQUE INDEX CONCURRENTLY "report_data_weeks_collection_id_week_start_date_key"',
        '"public"."report_data_weeks"',
        '("collection_id", "week_start_date")',
    )
    _drop_constraint(
        '"public"."report_data_collections"',
        "report_data_collections_request_key",
    )
    _drop_built(
        '"public"."report_data_collections_request_key"',
        'CREATE UNIQUE INDEX CONCURRENTLY "report_data_collections_request_key"',
        '"public"."report_data_collections"',
        '("name", "workflow_id", "instance_id", "start_date", "end_date")',
    )
    _drop_built(
        '"public"."idx_report_data_weeks_collection_execution"',
        'CREATE INDEX CONCURRENTLY "idx_report_data_weeks_collection_execution"',
        '"public"."report_data_weeks"',
        '("collection_id", "execution_id") WHERE (execution_id IS NOT NULL)',
    )
    _drop_built(
        '"public"."idx_report_data_weeks_execution_id"',
        'CREATE INDEX CONCURRENTLY "idx_report_data_weeks_execution_id"',
        '"public"."report_data_weeks"',
        '("execution_id") WHERE (execution_id IS NOT NULL)',
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
