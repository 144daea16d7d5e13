"""Add what the rules need, and hold new rows to them: public.report_data_weeks.

Revision 1 of 2 made by `onerow plan --alembic` of plan 98847d65a4f6. Each step
looks first whether it is done, so this may be run again, and does nothing where
`onerow apply` was. Rows are not moved here: where some would have to be, it stops
and says so. Rows that `onerow apply` merged come back by `onerow undo`.

Revision ID: 98847d65a4f6_01
Revises: before
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "98847d65a4f6_01"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # 1. Add the column claimed_by text to public.report_data_weeks, a change of the
    # catalog only.
    # Lock: ACCESS EXCLUSIVE for a moment.
    _add_column('"public"."report_data_weeks"', "claimed_by", "text")
    # 2. Add the column claimed_until timestamptz to public.report_data_weeks, a change
    # of the catalog only.
    # Lock: ACCESS EXCLUSIVE for a moment.
    _add_column('"public"."report_data_weeks"', "claimed_until", "timestamptz")
    # 3. Add the column claim_token bigint to public.report_data_weeks, a change of the
    # catalog only.
    # Lock: ACCESS EXCLUSIVE for a moment.
    _add_column('"public"."report_data_weeks"', "claim_token", "bigint")
    # 4. Add the foreign key report_data_weeks_execution_id_fkey of
    # public.report_data_weeks (execution_id) to public.workflow_executions for new
    # rows; the old ones are not looked at yet.
    # Lock: SHARE ROW EXCLUSIVE for a moment.
    _add_foreign_key(
        '"public"."report_data_weeks"',
        "report_data_weeks_execution_id_fkey",
        'FOREIGN KEY ("execution_id") REFERENCES "public"."workflow_executions" ("id") ON DELETE SET NULL',
    )


def downgrade() -> None:
    _drop_constraint(
        '"public"."report_data_weeks"',
        "report_data_weeks_execution_id_fkey",
    )
    _drop_column('"public"."report_data_weeks"', "claim_token")
    _drop_column('"public"."report_data_weeks"', "claimed_until")
    _drop_column('"public"."report_data_weeks"', "claimed_by")


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


def _add_foreign_key(table: str, name: str, body: str) -> None:
    """Add a foreign key for new rows, unless it stands."""
    if _offline() or not _stands(table, name, body):
        _run(f"ALTER TABLE {table} ADD CONSTRAINT {_quote(name)} {body} NOT VALID")


def _stands(table: str, name: str, wanted: str) -> bool:
    found = _constraint(table, name)
    if found is not None and _plain(found) != _plain(wanted):
        raise CommandError(f"A constraint {name} of {table} is there, and is another one: {found}.")
    return found is not None


def _drop_constraint(table: str, name: str) -> None:
    """Drop a constraint unless it is gone."""
    if _offline() or _constraint(table, name) is not None:
        _run(f"ALTER TABLE {table} DROP CONSTRAINT {_quote(name)}")


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
