"""The committed revisions: those that `onerow plan --alembic` emits, up and down."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

from onerow import api
from onerow.rulefile import parse_rules
from systems.membership_plans import states
from systems.shared.fixtures import build
from tests.emit.support import current
from tests.emit.support import schema as definitions
from tests.support.sandbox import Sandbox
from tests.systems.support import FOLDER

HERE = FOLDER / "membership_plans"
RULES = (HERE / "rules.toml").read_text(encoding="utf-8")


def alembic(url: str) -> Config:
    """As `alembic -c systems/membership_plans/alembic.ini -x url=…` has it."""
    section = "sqlite" if url.startswith("sqlite") else "alembic"
    config = Config(str(HERE / "alembic.ini"), ini_section=section)
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


def revisions(folder: Path) -> dict[str, str]:
    return {p.name: p.read_text(encoding="utf-8") for p in sorted(folder.glob("*_onerow_*.py"))}


def test_they_are_what_onerow_emits(db_url: str, tmp_path: Path) -> None:
    """For a database in the state before; `ONEROW_UPDATE_DOCS=1` writes them."""
    dialect = "sqlite" if db_url.startswith("sqlite") else "postgresql"
    committed = HERE / "migrations" / dialect
    folder = tmp_path / "migrations"
    shutil.copytree(committed, folder, ignore=shutil.ignore_patterns("*_onerow_*", "__pycache__"))
    command.upgrade(alembic(db_url), "before")
    rules = parse_rules(RULES, "rules.toml")
    api.write_alembic(db_url, api.make_plan(db_url, rules), folder)
    emitted = revisions(folder / "versions")
    if os.environ.get("ONEROW_UPDATE_DOCS"):
        for old in (committed / "versions").glob("*_onerow_*.py"):
            old.unlink()
        for name, text in emitted.items():
            (committed / "versions" / name).write_text(text, encoding="utf-8")
    assert len(emitted) == 3
    assert revisions(committed / "versions") == emitted


def test_up_and_down(db_url: str) -> None:
    """From nothing to before, to after and back; what comes out is what `onerow apply` makes."""
    box, config = Sandbox(db_url), alembic(db_url)
    command.upgrade(config, "before")
    first = definitions(box)
    command.upgrade(config, "head")
    rules = parse_rules(RULES, "rules.toml")
    assert [p.message for p in api.verify(db_url, rules) if not p.ok] == []
    after = definitions(box)
    command.downgrade(config, "before")
    assert definitions(box) == first
    assert api.apply(db_url, rules).status == "done"
    assert definitions(box) == after
    api.undo(db_url)
    command.downgrade(config, "base")
    assert current(box) == []


def test_where_there_are_rows_already(db_url: str) -> None:
    """`stamp before`; duplicates stop it, and `onerow apply` is what it names."""
    build(db_url, states.before(100))
    config = alembic(db_url)
    command.stamp(config, "before")
    with pytest.raises(Exception, match="Run `onerow apply` first"):
        command.upgrade(config, "head")
    rules = parse_rules(RULES, "rules.toml")
    assert api.apply(db_url, rules).status == "done"
    command.upgrade(config, "head")
    assert [p.message for p in api.verify(db_url, rules) if not p.ok] == []
