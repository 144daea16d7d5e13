"""From before to after: revisions, people in several disciplines, and the story to its end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

from onerow import api
from systems.shared.address import open_engine
from systems.triage_bot import states, tables
from systems.triage_bot.desk import SafeDesk
from systems.triage_bot.records import AddUser, Transition
from systems.triage_bot.schema import DISCIPLINES
from systems.triage_bot.team import slack_id
from tests.emit.support import schema
from tests.support.sandbox import Sandbox
from tests.systems.support import FOLDER, made, rules
from tests.systems.triage.support import broken, opened
from tests.systems.triage.test_writes import settings

HERE = FOLDER / "triage_bot"


def config(box: Sandbox) -> Config:
    section = "sqlite" if box.sqlite else "alembic"
    return Config(
        HERE / "alembic.ini", ini_section=section, cmd_opts=Namespace(x=[f"url={box.url}"])
    )


def revisions(folder: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in (folder / "versions").glob("*_onerow_*.py")}


def test_the_revisions_are_the_emitted_ones(db_url: str, tmp_path: Path) -> None:
    """To the letter, from the rule file and the broken schema."""
    box = broken(db_url, 30)
    committed = HERE / "migrations" / box.dialect
    again = tmp_path / "again"
    (again / "versions").mkdir(parents=True)
    for name in ("env.py", "versions/before.py"):
        shutil.copy(committed / name, again / name)
    api.write_alembic(db_url, api.make_plan(db_url, rules("triage_bot", tmp_path)), again)
    assert revisions(again) == revisions(committed) != {}


def test_up_down_and_up(db_url: str, tmp_path: Path) -> None:
    """From nothing to a schema that the bot takes, and back to the broken one."""
    box = Sandbox(db_url)
    given = config(box)
    command.upgrade(given, "before")
    first = schema(box)
    for _ in range(2):
        command.upgrade(given, "head")
        assert [
            p.message for p in api.verify(db_url, rules("triage_bot", tmp_path)) if not p.ok
        ] == []
        command.downgrade(given, "before")
        assert schema(box) == first


async def test_people_of_damaged_data(db_url: str, tmp_path: Path) -> None:
    """After the change the bot takes the database: who was refused gets a second discipline."""
    box = made(db_url, states.before(700))
    assert api.apply(db_url, rules("triage_bot", tmp_path)).status == "done"
    (refused,) = box.rows(
        "SELECT count(DISTINCT new_values) FROM audit_logs WHERE reason LIKE '%users_slack_id_key%'"
    )[0]
    assert refused > 1
    async with opened(db_url) as engine:
        check(db_url)
        desk = SafeDesk(engine, settings(tmp_path))
        before = (await desk.read()).team
        mine = before.disciplines_of(slack_id(0))
        other = next(d for d in DISCIPLINES if d not in mine)
        person = AddUser(slack_id=slack_id(0), name="Ana", discipline=other)  # type: ignore[arg-type]
        for _ in range(2):
            await desk.submit("add_user", person, "boss")
        team = (await desk.read()).team
        assert sorted(team.disciplines_of(slack_id(0))) == sorted([*mine, other])
        here = team.current
        assert here is not None
        done = await desk.submit("transition", Transition(from_index=here), "job")
        assert done.result is not None
        assert done.result["at"] == here + 1
        assert all((await desk.read()).team.holders.values())


def check(url: str) -> None:
    engine = open_engine(url)
    try:
        tables.check_schema(engine, naive=False)
    finally:
        engine.dispose()


@pytest.mark.parametrize(
    "engine", ["sqlite", pytest.param("postgresql", marks=[pytest.mark.slow, pytest.mark.pg])]
)
def test_the_story(engine: str, tmp_path: Path) -> None:
    """Failure, findings, plan, apply under load, proof, undo; and nothing is left behind."""
    tmp_path.chmod(0o1777)
    done = subprocess.run(
        [sys.executable, "-m", "systems", "demo", "--engine", engine, "triage_bot"],
        cwd=FOLDER.parent,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    for text in ("1 × moved", "31 × already", "32 equal answers", "Two replays apply 5 and 0"):
        assert text in done.stdout
    assert list(tmp_path.iterdir()) == []
