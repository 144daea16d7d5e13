"""The committed revisions: what `onerow plan --alembic` emits, up and down."""

from __future__ import annotations

import shutil
from argparse import Namespace
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from onerow import api
from systems.execution_data import schema as schemas
from systems.shared.address import open_engine
from systems.shared.web.schema import lacking
from tests.emit.support import current, schema
from tests.support.sandbox import Sandbox
from tests.systems.support import FOLDER, before, made, rules

HERE = FOLDER / "execution_data"


def config(box: Sandbox) -> Config:
    section = "sqlite" if box.sqlite else "alembic"
    address = Namespace(x=[f"url={box.url}"])
    return Config(HERE / "alembic.ini", ini_section=section, cmd_opts=address)


def revisions(folder: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in (folder / "versions").glob("*_onerow_*.py")}


def test_they_are_what_is_emitted(db_url: str, tmp_path: Path) -> None:
    """To the letter, from the rule file and the broken schema."""
    box = made(db_url, before("execution_data", 30))
    committed = HERE / "migrations" / box.dialect
    shutil.copytree(committed, tmp_path / "again")
    for name in revisions(committed):
        (tmp_path / "again" / "versions" / name).unlink()
    plan = api.make_plan(db_url, rules("execution_data", tmp_path, 30))
    api.write_alembic(db_url, plan, tmp_path / "again")
    assert revisions(tmp_path / "again") == revisions(committed) != {}


def test_up_down_and_up(db_url: str) -> None:
    """From nothing to the repaired schema, which the server takes, and back to the broken one."""
    box = Sandbox(db_url)
    given = config(box)
    command.upgrade(given, "before")
    broken = schema(box)
    for _ in range(2):
        command.upgrade(given, "head")
        assert lacks(db_url) == []
        command.downgrade(given, "before")
        assert schema(box) == broken
    assert current(box) == ["before"]


def test_rows_are_left_to_apply(db_url: str, tmp_path: Path) -> None:
    """It stops where a row has no facility, and goes on when `onerow apply` was run."""
    box = made(db_url, before("execution_data", 30))
    given = config(box)
    command.stamp(given, "before")
    with pytest.raises(CommandError, match="Run `onerow apply` first"):
        command.upgrade(given, "head")
    assert api.apply(db_url, rules("execution_data", tmp_path, 30)).status == "done"
    command.upgrade(given, "head")
    assert lacks(db_url) == []
    assert box.count("execution_data") == 30


def lacks(url: str) -> list[str]:
    engine = open_engine(url)
    try:
        return lacking(engine, schemas.after())
    finally:
        engine.dispose()
