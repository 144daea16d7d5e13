"""What `env.py` of every system does: run revisions on the database that `-x url=…` names.

alembic -c systems/NAME/alembic.ini -x url=postgresql://… upgrade head
alembic -c systems/NAME/alembic.ini -n sqlite -x url=sqlite:///… upgrade head
"""

from __future__ import annotations

import os

import sqlalchemy as sa
from alembic import context
from alembic.util import CommandError
from sqlalchemy.engine import URL

from systems.shared.address import parse_address
from systems.shared.errors import SystemFailure


def run(dialect: str) -> None:
    """Run what Alembic was told to.

    Args:
        dialect: the engine that these revisions are for.

    Raises:
        CommandError: no address, or one of another engine.
    """
    if context.is_offline_mode():
        context.configure(dialect_name=dialect, literal_binds=True)
        with context.begin_transaction():
            context.run_migrations()
        return
    # Not the engine of the applications: revisions for SQLite begin by themselves.
    engine = sa.create_engine(_address(dialect), poolclass=sa.NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


def _address(dialect: str) -> URL:
    given = context.get_x_argument(as_dictionary=True).get("url")
    found = given or context.config.get_main_option("sqlalchemy.url")
    found = found or os.environ.get("DATABASE_URL")
    if not found:
        raise CommandError("No database: -x url=…, or the environment's DATABASE_URL.")
    try:
        url = parse_address(found)
    except SystemFailure as failure:
        raise CommandError(str(failure)) from failure
    if url.get_backend_name() != dialect:
        raise CommandError(
            f"These revisions are for {dialect}, the database is {url.get_backend_name()}."
            " `alembic -n sqlite` takes those for SQLite."
        )
    return url
