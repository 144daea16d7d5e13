"""An Alembic environment in a folder, and Alembic run on it."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from tests.support.sandbox import Sandbox

_POSITION = re.compile(r"^([^ ]+)\.\d+ ")

#: As `alembic init` writes it, but for the logging.
ENV = """
from alembic import context
from sqlalchemy import engine_from_config, pool

config = context.config


def run_migrations_offline():
    context.configure(
        url=config.get_main_option("sqlalchemy.url"),
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
    )
    with context.begin_transaction():
        context.run_migrations()


def run_migrations_online():
    connectable = engine_from_config(
        config.get_section(config.config_ini_section, {}),
        prefix="sqlalchemy.",
        poolclass=pool.NullPool,
    )
    with connectable.connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
    connectable.dispose()


if context.is_offline_mode():
    run_migrations_offline()
else:
    run_migrations_online()
"""

FIRST = """
revision = "{id}"
down_revision = {down!r}


def upgrade():
    pass


def downgrade():
    pass
"""


class Environment:
    """A folder with env.py and one revision, `first`, as an application has them."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder / "migrations"
        (self.folder / "versions").mkdir(parents=True)
        (self.folder / "env.py").write_text(ENV)
        self.add("first", None)
        self.url = url.replace("postgresql://", "postgresql+psycopg://", 1)
        self.config = Config()
        self.config.set_main_option("script_location", str(self.folder))
        self.config.set_main_option("sqlalchemy.url", self.url.replace("%", "%%"))

    def add(self, revision: str, down: str | None) -> None:
        text = FIRST.format(id=revision, down=down)
        (self.folder / "versions" / f"{revision}.py").write_text(text)

    @property
    def files(self) -> list[Path]:
        """The revisions that onerow has written."""
        return sorted(p for p in (self.folder / "versions").glob("*_onerow_*.py"))

    @property
    def heads(self) -> list[str]:
        return list(ScriptDirectory.from_config(self.config).get_heads())

    def upgrade(self, revision: str = "head") -> None:
        command.upgrade(self.config, revision)

    def downgrade(self, revision: str = "first") -> None:
        command.downgrade(self.config, revision)

    def offline(self, revision: str = "head") -> str:
        """What `alembic upgrade --sql` writes."""
        self.config.output_buffer = io.StringIO()
        with redirect_stdout(io.StringIO()):
            command.upgrade(self.config, revision, sql=True)
        return str(self.config.output_buffer.getvalue())


def current(box: Sandbox) -> list[str]:
    """What Alembic says that the database has."""
    return [r[0] for r in box.rows("SELECT version_num FROM alembic_version")]


def schema(box: Sandbox) -> dict[str, list[str]]:
    """The definitions, without Alembic's table, and without the places of columns: one that was
    dropped keeps its number for good."""
    return {
        what: sorted(
            _POSITION.sub(r"\1 ", str(t)) for t in texts if "alembic_version" not in str(t)
        )
        for what, texts in box.schema().items()
    }


def lint(files: list[Path]) -> None:
    """The files are Python that ruff has nothing against."""
    for path in files:
        compile(path.read_text(), str(path), "exec")
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", *map(str, files)]
    done = subprocess.run(ruff, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
