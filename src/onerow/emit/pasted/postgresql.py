"""What a revision for PostgreSQL does: look at the catalog first, then run what is still to do.

`CREATE … IF NOT EXISTS` would look at names alone. These look at definitions, as the server prints
them, and at validity: a concurrent build that failed leaves an index that is not valid.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError


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


def _drop_built(name: str, create: str, table: str, body: str) -> None:
    """Drop an index that `_build` has built, unless it is gone or another one."""
    if _offline() or _index(name) == _index_made_of(create, table, body):
        _run_alone(f"DROP INDEX CONCURRENTLY {name}")


def _swap(
    new: str, built: str, create: str, table: str, body: str, statements: tuple[str, ...]
) -> None:
    """Give an index the name, and the place, of another one, unless it has it."""
    if not _offline() and _index(built) is None:
        if _index(new) != _index_made_of(create, table, body):
            raise CommandError(f"Neither {built} nor {new} is the index that was built.")
        return
    _run(*statements)


def _swap_back(
    new: str, again: str, create: str, table: str, body: str, statements: tuple[str, ...]
) -> None:
    """Put the old index back in its place, unless it is there; it is built first."""
    if not _offline() and _index(new) == _index_made_of(create, table, body):
        return
    _build(again, create, table, body)
    _run(*statements)


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


def _attach(table: str, name: str) -> None:
    """Make a constraint of the unique index of that name, unless it is one."""
    if _offline() or _constraint(table, name) is None:
        _run(f"ALTER TABLE {table} ADD CONSTRAINT {_quote(name)} UNIQUE USING INDEX {_quote(name)}")


def _again(table: str, name: str, statements: tuple[str, ...]) -> None:
    """Make a constraint again, unless it is there."""
    if _offline() or _constraint(table, name) is None:
        _run(*statements)


def _validate(table: str, name: str, *, unless_not_null: str = "") -> None:
    """Look whether old rows obey a constraint, unless that is known."""
    if not _offline():
        if unless_not_null and _is_not_null(table, unless_not_null):
            return
        if "NOT VALID" not in (_constraint(table, name) or ""):
            return
    _run_alone(f"ALTER TABLE {table} VALIDATE CONSTRAINT {_quote(name)}")


def _not_valid_again(table: str, name: str, statements: tuple[str, ...]) -> None:
    """Make a constraint one that old rows need not obey, unless it is."""
    if _offline() or "NOT VALID" not in (_constraint(table, name) or "NOT VALID"):
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
