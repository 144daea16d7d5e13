"""The table of operations through Alembic."""

from __future__ import annotations

import io
import textwrap
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.orm import Session

from onerow.write import create_tables, operation
from tests.write.support import sync_url

ENV = """
from alembic import context
from sqlalchemy import create_engine

url = context.config.get_main_option("sqlalchemy.url")
if context.is_offline_mode():
    context.configure(url=url)
    with context.begin_transaction():
        context.run_migrations()
else:
    engine = create_engine(url)
    with engine.connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()
"""
REVISION = """
import onerow.write.alembic
from alembic import op

revision = "one"
down_revision = None

def upgrade():
    op.create_onerow_operations()

def downgrade():
    op.drop_onerow_operations()
"""


def config(folder: Path, url: str) -> Config:
    """A project with one revision."""
    (folder / "versions").mkdir()
    (folder / "env.py").write_text(textwrap.dedent(ENV))
    (folder / "versions" / "one.py").write_text(REVISION)
    config = Config(output_buffer=io.StringIO())
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    address = sync_url(url).render_as_string(hide_password=False)
    config.set_main_option("sqlalchemy.url", address.replace("%", "%%"))
    return config


def shape(engine: sa.Engine) -> object:
    inspector = sa.inspect(engine)
    columns = inspector.get_columns("onerow_operations")
    named = [(c["name"], str(c["type"]), c["nullable"], c["default"]) for c in columns]
    return named, inspector.get_pk_constraint("onerow_operations")["constrained_columns"]


def test_upgrade_and_downgrade(db_url: str, tmp_path: Path) -> None:
    """The revision makes the table that `create_tables` makes, and takes it away again."""
    engine = sa.create_engine(sync_url(db_url))
    (tmp_path / "a").mkdir()
    chosen = config(tmp_path / "a", db_url)
    command.upgrade(chosen, "head")
    made = shape(engine)
    with Session(engine) as session:
        assert not operation(session, "op").replay
        session.commit()
    create_tables(engine)  # leaves it alone
    with Session(engine) as session:
        assert operation(session, "op").replay
    command.downgrade(chosen, "base")
    assert not sa.inspect(engine).has_table("onerow_operations")
    create_tables(engine)
    assert shape(engine) == made
    engine.dispose()


def test_offline(db_url: str, tmp_path: Path) -> None:
    """Without a database the statement is written out."""
    (tmp_path / "a").mkdir()
    chosen = config(tmp_path / "a", db_url)
    command.upgrade(chosen, "head", sql=True)
    buffer = chosen.output_buffer
    assert isinstance(buffer, io.StringIO)
    assert "CREATE TABLE onerow_operations" in buffer.getvalue()
