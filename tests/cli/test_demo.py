"""`onerow demo`: the whole story on both engines, and nothing left behind."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from onerow import demo as package
from onerow.demo import demo
from onerow.demo.planner import Planner, Traffic
from onerow.demo.season import season
from onerow.testing import NoServer, ServerFailed

CALL = [sys.executable, "-m", "onerow", "demo"]


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """The folder in which a process makes its temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    folder.chmod(0o1777)
    for parent in tmp_path.parents:
        # The server runs as another user when the tests run as root.
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    tmp_path.chmod(0o711)
    return folder


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(folder), "PYTHONUTF8": "1"}


def processes_of(folder: Path) -> list[str]:
    """Command lines of processes that have to do with a folder."""
    lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    return [line for line in lines.splitlines() if str(folder) in line]


def run(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CALL, *words],
        env=environment(folder),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=100,
    )


@pytest.mark.pg
def test_the_story_is_told_on_both_engines_and_leaves_nothing(empty: Path) -> None:
    """It exits with 0, and its files and processes are gone."""
    done = run(folder=empty)

    assert (done.returncode, done.stderr) == (0, "")
    assert list(empty.iterdir()) == []
    assert processes_of(empty) == []
    for text in ("PostgreSQL 1", "SQLite 3", "23505", "SQLITE_CONSTRAINT_UNIQUE"):
        assert text in done.stdout
    assert "FAILED" not in done.stdout


@pytest.mark.pg
def test_json_tells_the_numbers(empty: Path) -> None:
    """Standard output is one document; the story goes to standard error."""
    done = run("--json", folder=empty)

    document = json.loads(done.stdout)
    assert document["schema"] == 1
    assert document["skipped"] == []
    assert [s["engine"] for s in document["stories"]] == ["postgresql", "sqlite"]
    for story in document["stories"]:
        assert story["ok"]
        assert story["undo_exact"]
        assert story["archived"] == story["duplicates_before"] > 0
        assert story["writes_during"] > 0
        assert story["failed_writes"] == 0
        assert 0 < story["seconds"] < 60
    assert "What is to be done?" in done.stderr


def test_a_log_gets_plain_lines(empty: Path) -> None:
    """No colours, no blanks at the ends of lines, and none longer than a page is wide."""
    done = run("--engine", "sqlite", folder=empty)

    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert all(line == line.rstrip() for line in lines)
    assert max(map(len, lines)) <= 100


def test_no_password_and_no_path_of_ours_is_told(empty: Path) -> None:
    """Not even the temporary folder is worth a line, unless it stays."""
    done = run("--engine", "sqlite", folder=empty)

    assert str(empty) not in done.stdout


def test_keep_leaves_the_file(empty: Path) -> None:
    """The database and its rule file stay, and the story says where."""
    done = run("--engine", "sqlite", "--keep", folder=empty)

    (folder,) = empty.iterdir()
    assert {"planner.sqlite3", "onerow.toml"} <= {p.name for p in folder.iterdir()}
    assert f"--url sqlite:///{folder / 'planner.sqlite3'}" in done.stdout


@pytest.mark.pg
def test_keep_leaves_the_server_until_enter_is_pressed(empty: Path) -> None:
    """The commands that it names work meanwhile; then all is gone, its address had no password."""
    with _started(empty, "--engine", "postgresql", "--keep") as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "onerow status --url" in line)
        words = shlex.split(line)[1:]
        status = subprocess.run(
            [sys.executable, "-m", "onerow", *words], capture_output=True, text=True
        )
        rest, _ = process.communicate("\n", timeout=30)

    assert (process.returncode, status.returncode) == (0, 0), rest
    assert "undone" in status.stdout
    assert "postgres@/planner" in line
    assert list(empty.iterdir()) == []


@pytest.mark.pg
@pytest.mark.parametrize(
    ("chapter", "number"),
    [
        ("1  ", signal.SIGINT),
        ("4  ", signal.SIGINT),
        ("4  ", signal.SIGTERM),
        ("7  ", signal.SIGHUP),
    ],
)
def test_an_interrupted_story_leaves_nothing(
    chapter: str, number: signal.Signals, empty: Path
) -> None:
    """Wherever a signal meets it, the server stops and the files go."""
    with _started(empty) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(chapter):
                break
        time.sleep(0.02)
        process.send_signal(number)
        rest = process.stdout.read()
        code = process.wait(timeout=30)

    assert code == 130, rest
    assert "Traceback" not in rest
    assert list(empty.iterdir()) == []
    assert processes_of(empty) == []


@contextmanager
def _started(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-u", *CALL[1:], *words],
        env=environment(folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _without_postgresql(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def postgres(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(package, "postgres", postgres)


def _tell(engine: package.EngineName = "all") -> tuple[int, str, dict[str, Any]]:
    out, summary = io.StringIO(), io.StringIO()
    code = demo(engine, out=out, summary=summary)
    return code, out.getvalue(), json.loads(summary.getvalue())


def test_without_postgresql_the_other_story_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how to get one, and that is no failure."""
    _without_postgresql(monkeypatch, NoServer("There is no PostgreSQL server to start."))

    code, out, document = _tell()

    assert code == 0
    assert "pip install 'onerow[pg]'" in " ".join(out.split())
    assert [s["engine"] for s in document["stories"]] == ["sqlite"]
    assert [s["engine"] for s in document["skipped"]] == ["postgresql"]


def test_without_the_postgresql_that_was_asked_for_it_cannot_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exit code 2, and how to get one."""
    _without_postgresql(monkeypatch, NoServer("There is no PostgreSQL server to start."))

    code, out, document = _tell("postgresql")

    assert code == 2
    assert "pip install 'onerow[pg]'" in " ".join(out.split())
    assert document["stories"] == []


def test_a_postgresql_that_does_not_start_is_not_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is installed, so its story was meant to be told."""
    _without_postgresql(monkeypatch, ServerFailed("initdb failed: no space left"))

    code, out, document = _tell()

    assert code == 2
    assert "no space left" in out
    assert document["stories"][0]["ok"]


def test_a_story_that_goes_wrong_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that was acknowledged and is not there ends the story with 1."""
    monkeypatch.setattr(Traffic, "lost", lambda _: 3)

    code, out, document = _tell("sqlite")

    assert code == 1
    assert "FAILED" in out
    assert not document["stories"][0]["ok"]


def test_the_season_is_always_the_same() -> None:
    """One seed, one season; the writers' workouts have no doubles."""
    one, two = season(), season()

    assert (one.workouts, one.selections) == (two.workouts, two.selections)
    planned = [s["workout_id"] for s in one.selections]
    assert max(planned.count(w) for w in one.in_hand) == 1
    assert len(planned) > len(set(planned))


@pytest.fixture
def planner(db_url: str) -> Iterator[Planner]:
    """The application with a season's rows."""
    import sqlalchemy as sa

    url = sa.make_url(db_url)
    if url.get_backend_name() == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    made = Planner(url)
    made.create(season())
    yield made
    made.close()


def test_naive_writers_race_and_safe_ones_do_not(planner: Planner) -> None:
    """Two naive writers make two rows; eight safe ones make one, with what each has written."""
    *_, one, other = season().in_hand
    racing = ("time_of_day", "evening"), ("user_notes", "late")

    assert planner.race(one, *racing) == []
    with Traffic(planner, [other]) as traffic:
        traffic.await_puts(40)

    assert len(planner.selections(one)) == 2
    assert len(planner.selections(other)) == 1
    assert (traffic.failures, traffic.lost()) == ([], 0)


def test_a_lost_value_is_seen(planner: Planner) -> None:
    """The proof that nothing was lost can fail."""
    workout = season().in_hand[0]
    with Traffic(planner, [workout]) as traffic:
        traffic.await_puts(8)
    planner.put(workout, "user_notes", "another hand")

    assert traffic.lost() == 1
