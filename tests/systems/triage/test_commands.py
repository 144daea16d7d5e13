"""The command line without Slack: import, export, schedule, transition, replay."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from systems.triage_bot.team import slack_id
from tests.systems.support import FOLDER
from tests.systems.triage.support import broken, repaired

AWAY = "postgresql://nobody@127.0.0.1:1/nothing"
Bot = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def bot(tmp_path: Path) -> Bot:
    """The command line in a folder of its own."""

    def run(*words: str, url: str = "") -> subprocess.CompletedProcess[str]:
        return finished(started(tmp_path, *words, *(("--url", url) if url else ())))

    return run


def started(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "systems.triage_bot", *words],
        cwd=folder,
        env={"PYTHONPATH": str(FOLDER.parent), "PATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err, err
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def sprints(many: int, bad: int | None = None) -> list[dict[str, Any]]:
    said = [
        {
            "sprintIndex": n,
            "sprintName": f"S{n}",
            "startDate": f"2031-{n + 1:02d}-01",
            "endDate": f"2031-{n + 1:02d}-20",
        }
        for n in range(many)
    ]
    if bad is not None:
        said[bad]["endDate"] = "2030-01-01"
    return said


def written(folder: Path, name: str, said: Any) -> str:
    (folder / name).write_text(json.dumps(said))
    return name


def test_there_and_back(db_url: str, bot: Bot, tmp_path: Path) -> None:
    """What is exported is imported again without a change; a transition is made once."""
    box = repaired(db_url)
    first = bot("transition", "--from", "-1", url=db_url)
    again = bot("transition", "--from", "-1", url=db_url)
    assert [(p.returncode, p.stdout) for p in (first, again)] == [
        (0, "Moved to 0\n"),
        (0, "already at 0\n"),
    ]
    assert bot("export", "out", url=db_url).returncode == 0
    before = box.contents()
    done = bot("import", *(str(p) for p in (tmp_path / "out").glob("*.json")), url=db_url)
    assert "disciplines.json: 0 new, 25 as before" in done.stdout
    ours = ("audit_logs", "users", "sprints", "overrides", "current_state")
    same = [box.called(t) for t in ours]
    assert {t: box.contents()[t] for t in same} == {t: before[t] for t in same}


def test_a_bad_record(sqlite_url: str, bot: Bot, tmp_path: Path) -> None:
    """Is told by its position; the rest is kept, and the exit code says so."""
    box = repaired(sqlite_url)
    box.execute("DELETE FROM sprints")
    done = bot("import", written(tmp_path, "sprints.json", sprints(4, bad=2)), url=sqlite_url)
    assert done.returncode == 1
    assert done.stdout == "sprints.json: 3 new, 1 not imported\n"
    assert done.stderr == (
        "sprints.json, record 3: ends on 2030-01-01, before it begins on 2031-03-01\n"
    )
    assert box.count("sprints") == 3


@pytest.mark.parametrize(
    ("name", "said", "told"),
    [
        ("people.json", [], "the name must begin with disciplines, sprints or overrides"),
        ("sprints.json", {}, "sprints.json must hold a list of sprints"),
        ("disciplines.json", [], "an object with a list for each discipline"),
    ],
)
def test_files_that_are_none(
    sqlite_url: str, bot: Bot, tmp_path: Path, name: str, said: Any, told: str
) -> None:
    """Exit code 2, and nothing is imported."""
    repaired(sqlite_url)
    good = written(tmp_path, "sprints-good.json", sprints(2))
    done = bot("import", good, written(tmp_path, name, said), url=sqlite_url)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr


def test_records_of_all_kinds(db_url: str, bot: Bot, tmp_path: Path) -> None:
    """The original's names of fields, somebody in two disciplines, answers, bad ones among them."""
    box = repaired(db_url)
    people = {
        "po": [{"slackId": "UNEW1", "name": "New"}, {"slackId": "unew2", "name": "lower"}],
        "beEng": [{"slackId": "UNEW1", "name": "New"}, "nobody"],
        "cook": [{"slackId": "UNEW1", "name": "New"}],
    }
    ask = {"sprintIndex": 3, "role": "po", "requestedBy": slack_id(2), "newSlackId": "UNEW1"}
    overrides = [
        {**ask, "approved": True, "approvedBy": "UADMIN1"},
        {**ask, "newSlackId": slack_id(7), "approved": True, "approvedBy": "UADMIN1"},
        {**ask, "sprintIndex": 77},
    ]
    files = (
        written(tmp_path, "overrides.json", overrides),
        written(tmp_path, "disciplines.json", people),
    )
    done = bot("import", *files, url=db_url)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "disciplines.json: 2 new, 3 not imported",
        "overrides.json: 1 new, 2 not imported",
    ]
    places = [line.split(":")[0] for line in done.stderr.splitlines()]
    assert places == [
        "disciplines.json, po, record 2",
        "disciplines.json, beEng, record 2",
        "disciplines.json, cook, record 1",
        "overrides.json, record 2",
        "overrides.json, record 3",
    ]
    assert "<@UNEW1> stands in for po in sprint 3 already" in done.stderr
    assert box.rows("SELECT status FROM overrides") == [("approved",)]


def test_5_twice_and_in_two_processes(db_url: str, bot: Bot, tmp_path: Path) -> None:
    """The same rows as once, and one audit row for each."""
    box = repaired(db_url)
    box.execute("DELETE FROM sprints")
    name = written(tmp_path, "sprints.json", sprints(12))
    both = [started(tmp_path, "import", name, "--url", db_url) for _ in range(2)]
    codes = [finished(process).returncode for process in both]
    assert codes == [0, 0]
    assert bot("import", name, url=db_url).stdout == "sprints.json: 0 new, 12 as before\n"
    assert [r[0] for r in box.rows("SELECT sprint_index FROM sprints ORDER BY 1")] == list(
        range(12)
    )
    assert box.value("SELECT count(*) FROM audit_logs WHERE table_name = 'sprints'") == 12


def test_schedule(sqlite_url: str, bot: Bot) -> None:
    """Each role and its person; a day without a sprint is told."""
    box = repaired(sqlite_url)
    day = box.value("SELECT date(start_date, '+1 day') FROM sprints WHERE sprint_index = 1")
    done = bot("schedule", "--date", day, url=sqlite_url)
    assert done.returncode == 0
    assert f"{day}: Sprint 1" in done.stdout
    assert len(done.stdout.splitlines()) == 6
    assert slack_id(7) in done.stdout
    none = bot("schedule", "--date", "2001-01-01", url=sqlite_url)
    assert (none.returncode, none.stderr) == (1, "Error: There is no sprint on 2001-01-01.\n")


def test_while_the_database_is_away(sqlite_url: str, bot: Bot) -> None:
    """The schedule is what was read last, a transition waits, and two replays apply it once."""
    box = repaired(sqlite_url)
    shown = bot("schedule", url=sqlite_url).stdout
    remembered = bot("schedule", url=AWAY)
    assert (remembered.returncode, remembered.stdout) == (0, shown)
    assert "The database is away" in remembered.stderr
    assert "waits in the spool" in bot("transition", "--from", "-1", url=AWAY).stdout
    waiting = bot("replay", url=AWAY)
    assert (waiting.returncode, waiting.stdout) == (1, "0 applied, 0 put aside, 1 waiting\n")
    told = [bot("replay", url=sqlite_url).stdout for _ in range(2)]
    assert told == ["1 applied, 0 put aside, 0 waiting\n", "0 applied, 0 put aside, 0 waiting\n"]
    assert box.rows("SELECT sprint_index FROM current_state") == [(0,)]
    assert box.value("SELECT count(*) FROM audit_logs") == 1


def test_what_conflicts_on_replay_is_put_aside(sqlite_url: str, bot: Bot, tmp_path: Path) -> None:
    """With its reason, and told until somebody has looked at it."""
    box = repaired(sqlite_url)
    ask = {"sprintIndex": 3, "role": "po", "requestedBy": slack_id(2), "status": "approved"}
    both = [{**ask, "newSlackId": slack_id(n)} for n in (7, 12)]
    done = bot("import", written(tmp_path, "overrides.json", both), url=AWAY)
    assert done.stdout == "overrides.json: 0 new, 2 waiting in the spool\n"
    replayed = bot("replay", url=sqlite_url)
    assert replayed.returncode == 1
    assert replayed.stdout.startswith("1 applied, 1 put aside, 0 waiting\n")
    assert "stands in for po in sprint 3 already" in replayed.stdout
    assert box.rows("SELECT status FROM overrides") == [("approved",)]


def test_nothing_is_known(bot: Bot) -> None:
    """Neither a database nor a snapshot of one."""
    done = bot("schedule", url=AWAY)
    assert (done.returncode, done.stderr) == (
        2,
        "Error: The database is away, and there is no snapshot of it.\n",
    )


def test_the_old_schema_is_refused(sqlite_url: str, bot: Bot) -> None:
    """It says what is missing, and how it is made."""
    broken(sqlite_url)
    done = bot("transition", "--from", "3", url=sqlite_url)
    assert done.returncode == 1
    assert "current_state_one_row" in done.stderr
    assert "onerow apply" in done.stderr
