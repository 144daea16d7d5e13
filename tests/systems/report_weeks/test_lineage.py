"""`verify` and `clear-tracking`, and the commands by themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from systems.report_weeks import tracking
from systems.report_weeks.__main__ import cli
from systems.report_weeks.verify import verify
from systems.shared import commands
from systems.shared.errors import SystemRefusal
from tests.support.sandbox import Sandbox
from tests.systems.report_weeks.support import (
    broken,
    collect,
    created,
    engine_of,
    repaired,
    request,
    workflows,
)

WEEKS = "SELECT id, execution_id, updated_at FROM report_data_weeks ORDER BY id"


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


Call = Callable[..., Done]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """The command line, in this process."""

    def run(*words: str) -> Done:
        with pytest.raises(SystemExit) as ended:
            commands.run(cli, "report_weeks", words)
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, *capsys.readouterr())

    return run


def linked(url: str) -> Sandbox:
    """A collection of four weeks, all completed."""
    box = repaired(url)
    collection = created(box, 4)
    with workflows() as service:
        collect(box, service, collection)
    return box


def test_empty_tables(db_url: str) -> None:
    """Nothing is divided by zero, and nothing is wrong."""
    repaired(db_url)
    report = verify(db_url)
    assert report.ok, report.checks
    population = report.to_dict()["population"]
    assert (population["total"], population["rate"], population["per_day"]) == (0, 0, [])


def test_the_column_is_not_there(db_url: str) -> None:
    """It is told by one check, which is an error; without the table it is refused."""
    box = broken(db_url)
    box.execute("ALTER TABLE report_data_weeks DROP COLUMN execution_id")
    assert [(c.name, c.ok) for c in verify(db_url).checks] == [("column_exists", False)]
    box.execute("DROP TABLE report_data_weeks")
    with pytest.raises(SystemRefusal, match="no table"):
        verify(db_url)


def test_cleared_and_brought_back(db_url: str) -> None:
    """The links are NULL and updated_at moves; undo restores both, to the microsecond."""
    box = linked(db_url)
    first = box.rows(WEEKS)
    with engine_of(box) as engine:
        assert tracking.clear(engine, date(2999, 1, 1)).rows == 0
        done = tracking.clear(engine, date(2020, 1, 1))
        cleared = box.rows(WEEKS)
        assert (done.rows, [r[1] for r in cleared]) == (4, [None] * 4)
        assert all(a[2] < b[2] for a, b in zip(first, cleared, strict=True))
        assert not verify(db_url).ok
        back = tracking.undo(engine, done.run)
        assert (back.rows, back.left_alone) == (4, ())
        assert box.rows(WEEKS) == first
        with pytest.raises(SystemRefusal, match="no run"):
            tracking.undo(engine, done.run)


def test_what_was_written_since_is_left_alone(db_url: str) -> None:
    """A week that another has written, and one whose execution is gone, are named."""
    box = linked(db_url)
    with engine_of(box) as engine:
        first = box.rows(WEEKS)
        done = tracking.clear(engine, date(2020, 1, 1))
        box.execute(
            f"UPDATE report_data_weeks SET updated_at = '2031-01-01 00:00:00.000000' WHERE id = '{first[0][0]}'"
        )
        box.execute(f"DELETE FROM workflow_executions WHERE id = '{first[1][1]}'")
        back = tracking.undo(engine, done.run)
    assert back.rows == 2
    assert back.left_alone == tuple(sorted(str(r[0]) for r in first[:2]))
    assert [r[1] for r in box.rows(WEEKS)] == [None, None, first[2][1], first[3][1]]


def test_the_commands(sqlite_url: str, tmp_path: Path, call: Call) -> None:
    """create twice, status, pause, resume, verify in three forms, clear-tracking and back."""
    box = repaired(sqlite_url)
    at = ("--url", sqlite_url)
    said = request(4, name="Reach")
    words = ("--name", "Reach", "--workflow", str(said["workflowId"]), "--instance", "i-1")
    days = ("--start", "2024-01-01", "--end", "2024-01-28")
    made = call("create", *at, *words, *days)
    again = call("create", *at, *words, *days)
    assert made.stdout == again.stdout
    assert "it exists already" in again.stderr
    assert call("pause", "Reach", *at).stdout == "paused\n"
    assert call("resume", made.stdout.strip(), *at).stdout == "pending\n"
    with workflows() as service:
        run = call("run", "Reach", *at, "--service-url", service)
        assert (run.returncode, run.stdout) == (0, "")
        assert "Reach: 4/4 completed" in run.stderr
    assert "4 completed" in call("status", *at).stdout
    assert call("pause", "Reach", *at).returncode == 1
    page = tmp_path / "report.html"
    report = call("verify", *at, "--json", "--html", str(page))
    told = json.loads(report.stdout)
    assert (report.returncode, told["ok"], told["population"]["rate"]) == (0, True, 1.0)
    assert 'class="linked"' in page.read_text()
    assert call("verify", *at).stdout.endswith("ok: no error\n")
    cleared = call("clear-tracking", "--since", "2020-01-01", *at)
    assert cleared.stdout.startswith("4 weeks cleared; run ")
    assert call("verify", *at).returncode == 1
    back = call("clear-tracking", "--undo", cleared.stdout.split()[-1], *at)
    assert back.stdout == "4 weeks restored, 0 left alone\n"
    assert box.value("SELECT count(execution_id) FROM report_data_weeks") == 4


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("run", "Nobody", "--service-url", "http://127.0.0.1:9"), 1, "no collection 'Nobody'"),
        (("run", "--service-url", "ftp://x"), 2, "http://"),
        (("run",), 2, "--service-url"),
        (("clear-tracking",), 2, "Either --since"),
        (("clear-tracking", "--undo", "x"), 1, "ever cleared"),
        (("clear-tracking", "--since", "yesterday"), 2, "yesterday"),
        (("run", "--naive", "--service-url", "http://127.0.0.1:9"), 1, "changed already"),
    ],
)
def test_what_is_refused(
    sqlite_url: str, call: Call, words: tuple[str, ...], code: int, said: str
) -> None:
    """A sentence each, and the exit code."""
    repaired(sqlite_url)
    done = call(*words, "--url", sqlite_url)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr


def test_the_runner_refuses_the_schema_before(sqlite_url: str, call: Call) -> None:
    """It has no place for a claim; the way out is told."""
    broken(sqlite_url)
    done = call("run", "--url", sqlite_url, "--service-url", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "claim_token" in done.stderr
    assert "onerow apply" in done.stderr
