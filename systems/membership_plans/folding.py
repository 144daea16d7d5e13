"""SQLite: the folded name, and the key over it.

SQLite's indexes fold ASCII letters and no others (lang_corefunc.html#lower), so the key of the rule
file lets `ANNÉE` pass beside `année`. The application keeps the folded name in a column of its own
and puts a second key on it.
"""

from __future__ import annotations

import sqlalchemy as sa

from systems.membership_plans.tables import FOLDED, FOLDED_KEY, after
from systems.shared.errors import SystemRefusal

TABLE = "membership_plans"
_KEY = (
    f"CREATE UNIQUE INDEX IF NOT EXISTS {FOLDED_KEY} ON {TABLE}"
    f" (tenant_id, scope, scope_key, {FOLDED}) WHERE status = 'ACTIVE'"
)


def ensure(engine: sa.Engine) -> None:
    """Add what is missing: first the column, which stays; nothing on PostgreSQL.

    Args:
        engine: made ready by `tables.prepare`.

    Raises:
        SystemRefusal: active plans are there whose names differ in case only.
    """
    if engine.dialect.name != "sqlite":
        return
    for work in (_fill, _build):
        with _writing(engine) as connection, connection.begin():
            work(connection)


def _writing(engine: sa.Engine) -> sa.Connection:
    return engine.connect().execution_options(begin="IMMEDIATE")


def _fill(connection: sa.Connection) -> None:
    columns = {c["name"] for c in sa.inspect(connection).get_columns(TABLE)}
    if FOLDED not in columns:
        connection.exec_driver_sql(f"ALTER TABLE {TABLE} ADD COLUMN {FOLDED} text")
    # Also rows whose name somebody has changed past the application.
    connection.exec_driver_sql(
        f"UPDATE {TABLE} SET {FOLDED} = folded(name) WHERE {FOLDED} IS NOT folded(name)"
    )


def _build(connection: sa.Connection) -> None:
    c = after("sqlite").plans.c
    alike = (
        sa.select(sa.func.min(c.name), sa.func.max(c.name), c.tenant_id)
        .where(c.status == "ACTIVE")
        .group_by(c.tenant_id, c.scope, c.scope_key, c[FOLDED])
        .having(sa.func.count() > 1)
    )
    found = connection.execute(alike).all()
    if found:
        one, other, tenant = found[0]
        raise SystemRefusal(
            f"{len(found)} name(s) of active plans stand there twice and differ in case only,"
            f" such as {one!r} and {other!r} of tenant {tenant!r}. Merge them first:"
            " `python -m systems.membership_plans rules --folded > folded.toml`, then"
            " `onerow apply --rules folded.toml --url URL`."
        )
    connection.exec_driver_sql(_KEY)
