"""What is particular of apply: dry run, backup, asking, waiting, being stopped and going on."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import sqlite3
import stat
import subprocess
import sys
import termios
import time
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from onerow import backup
from onerow.errors import Refused
from tests.cli.conftest import PAIRS, plant
from tests.cli.shell import Shell, environment
from tests.support.sandbox import Sandbox


def test_dry_run(shell: Shell, box: Sandbox) -> None:
    """--dry-run prints the plan and changes nothing, not even for the journal."""
    shell.rules()
    url = ("--url", box.url)
    before = box.state()
    plan = shell("plan", *url, "--json").json
    call = shell("apply", "--dry-run", *url, "--json")
    assert (call.code, call.json["run"], call.json["archived"]) == (0, None, 0)
    assert [s["id"] for s in call.json["steps"]] == [s["id"] for s in plan["steps"]]
    assert {s["status"] for s in call.json["steps"]} == {"pending"}
    assert "Nothing was changed." in shell("apply", "--dry-run", *url).out
    assert box.state() == before
    assert shell("status", *url, "--json").json["runs"] == []


def test_quiet(shell: Shell, box: Sandbox) -> None:
    """--quiet says nothing of a change that went well."""
    shell.rules()
    call = shell("apply", "--quiet", "--url", box.url)
    assert (call.code, call.out, call.err) == (0, "", "")


# -- backup -------------------------------------------------------------------------------------


def test_backup_of_a_file(shell: Shell, sqlite_box: Sandbox) -> None:
    """The copy has the rows from before, is for its owner alone, and is never overwritten."""
    shell.rules()
    url = ("--url", sqlite_box.url, "--json")
    before = sqlite_box.contents()
    assert shell("apply", "--backup", "copy.db", *url).code == 0
    copy = shell.folder / "copy.db"
    assert Sandbox(f"sqlite:///{copy}").contents() == before
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    shell("undo", *url)
    again = shell("apply", "--backup", "copy.db", *url)
    assert (again.code, again.json["status"]) == (1, "refused")
    assert "There is a file 'copy.db' already." in again.json["message"]
    assert sqlite_box.contents() == before


def test_backup_that_cannot_be_written(shell: Shell, box: Sandbox) -> None:
    """No backup, no change."""
    shell.rules()
    before = box.state()
    call = shell("apply", "--backup", "nowhere/copy", "--url", box.url, "--json")
    assert (call.code, call.json["status"]) == (1, "refused")
    assert "cannot be written" in call.err
    assert box.state() == before


_PG_DUMP = """#!/bin/sh
[ "$1" = --version ] && { echo "pg_dump (PostgreSQL) 99.1"; exit; }
printf '%s\\n' "$PGPASSWORD $PGHOST $PGDATABASE" "$@" > called
"""


def test_backup_by_pg_dump(shell: Shell, pg_box: Sandbox) -> None:
    """pg_dump is called for the tables touched, with the password where nobody sees it."""
    program = shell.folder / "pg_dump"
    program.write_text(_PG_DUMP)
    program.chmod(0o755)
    shell.rules()
    env = {"PATH": f"{shell.folder}{os.pathsep}{os.environ['PATH']}"}
    call = shell("apply", "--backup", "copy.dump", "--url", pg_box.url, "--json", env=env)
    assert call.code == 0, call.err
    first, *words = (shell.folder / "called").read_text().splitlines()
    url = psycopg.conninfo.conninfo_to_dict(pg_box.url)
    assert first == f"{url.get('password', '')} {url['host']} {url['dbname']}"
    assert {'--table="public"."selection"', '--table="public"."tag"'} <= set(words)
    assert not any(url["password"] in w for w in words if url.get("password"))


def test_backup_by_the_real_pg_dump(shell: Shell, pg_box: Sandbox) -> None:
    """With the program of the machine: a dump, or a refusal that says what is missing."""
    shell.rules()
    before = pg_box.state()
    call = shell("apply", "--backup", "copy.sql", "--url", pg_box.url, "--json")
    if call.code:
        assert "needs pg_dump of PostgreSQL" in call.json["message"]
        assert pg_box.state() == before
    else:
        assert "COPY public.selection" in (shell.folder / "copy.sql").read_text()


def test_backup_without_pg_dump(monkeypatch: pytest.MonkeyPatch) -> None:
    """An older program than the server's, or none, is refused with the version that it takes."""
    monkeypatch.setattr(backup, "_programs", lambda: iter(()))
    with pytest.raises(Refused, match="PostgreSQL 18 or newer; there is none in PATH"):
        backup._program(18)
    monkeypatch.setattr(backup, "_programs", lambda: iter(["/bin/pg_dump"]))
    monkeypatch.setattr(backup, "_major", lambda _program: 15)
    assert backup._program(15) == "/bin/pg_dump"
    with pytest.raises(Refused, match="PostgreSQL 18 or newer; found is 15"):
        backup._program(18)


# -- a terminal ---------------------------------------------------------------------------------


def on_terminal(shell: Shell, *words: str, types: str = "", env: dict[str, str]) -> tuple[int, str]:
    """Call it on a terminal, where somebody types; returns exit code and screen."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "onerow", *words],
        cwd=shell.folder,
        env=environment({"TERM": "xterm-256color", "COLUMNS": "100", **env}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        # Only its controlling terminal turns Ctrl-C into a signal.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    screen, typed = b"", 0.0
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 0.1)[0]:
            try:
                screen += os.read(ours, 65536)
            except OSError:  # Linux says EIO where others say end of file
                break
        # Ctrl-C between a prompt and its read is seen by the next one only: a person repeats it.
        again = typed and types in "\x03\x04" and time.monotonic() - typed > 2
        if types and b"[y/N]" in screen and (again or not typed):
            typed = time.monotonic()
            os.write(ours, types.encode())
    try:
        # Not closed before it has ended: it would be told that its terminal has gone (SIGHUP).
        return process.wait(timeout=60), screen.decode()
    finally:
        os.close(ours)


@pytest.mark.parametrize("answer", ["n\n", "\n", "\x03", "\x04"])
def test_asked_and_declined(shell: Shell, sqlite_box: Sandbox, answer: str) -> None:
    """On a terminal it shows the plan and asks once; anything but yes changes nothing."""
    shell.rules()
    before = sqlite_box.state()
    code, screen = on_terminal(shell, "apply", "--url", sqlite_box.url, types=answer, env={})
    assert code == (130 if answer in "\x03\x04" else 1)
    assert screen.count("Apply this plan?") == 1
    assert "Merge 5 groups" in screen
    assert ("Declined; nothing was changed." in screen) == (code == 1)
    assert sqlite_box.state() == before


def test_asked_and_agreed(shell: Shell, sqlite_box: Sandbox) -> None:
    """Yes runs it; there are colours and no traceback."""
    shell.rules()
    code, screen = on_terminal(shell, "apply", "--url", sqlite_box.url, types="y\n", env={})
    assert code == 0
    assert "\x1b[" in screen
    assert "Traceback" not in screen
    assert sqlite_box.count("selection") == 25
    assert "takes it back" in screen


@pytest.mark.parametrize("words", [("--no-color",), ()])
def test_not_asked(shell: Shell, sqlite_box: Sandbox, words: tuple[str, ...]) -> None:
    """--yes asks nothing; NO_COLOR and --no-color leave no colour."""
    shell.rules()
    env = {} if words else {"NO_COLOR": "1"}
    call = ("apply", "--yes", "--url", sqlite_box.url, *words)
    code, screen = on_terminal(shell, *call, env=env)
    assert code == 0
    assert "Apply this plan?" not in screen
    assert not [x for x in screen.split("\x1b[") if x[:1].isdigit() and "m" in x[:6]]


# -- stopped and gone on with -------------------------------------------------------------------


def _wait_for(process: subprocess.Popen[str], text: str, seconds: float = 60) -> str:
    """Read its standard error until the text is there."""
    assert process.stderr is not None
    said, deadline = "", time.monotonic() + seconds
    while text not in said:
        assert time.monotonic() < deadline, said
        if select.select([process.stderr], [], [], 0.1)[0]:
            # Past Python's buffer, which would wait for more.
            read = os.read(process.stderr.fileno(), 65536)
            assert read, said
            said += read.decode()
    return said


def test_waits_and_says_for_whom(shell: Shell, pg_box: Sandbox) -> None:
    """A concurrent build waits for an open transaction, and names it; Ctrl-C stops; apply goes on.

    The next apply ends in the same state as one that was never stopped.
    """
    shell.rules()
    url = ("--url", pg_box.url)
    with psycopg.connect(pg_box.url, application_name="report-job") as other:
        other.execute("UPDATE selection SET day = day WHERE workout_id = 25")
        process = shell.start("apply", *url, "--json")
        said = _wait_for(process, "(report-job, idle in transaction) holds it up")
        assert "Build the unique index" in said
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert process.returncode in (1, 130), err
        assert "Traceback" not in err
        assert "onerow apply" in err
        assert '"stopped"' in out
    assert shell("status", *url, "--json").json["runs"][0]["status"] == "stopped"
    assert "`onerow apply` goes on" in shell("status", *url).words
    call = shell("apply", *url, "--json")
    assert (call.code, call.json["status"], call.json["archived"]) == (0, "done", PAIRS)
    assert "Going on with run" in call.err
    assert shell("verify", *url).code == 0


def test_interrupted_in_a_batch(shell: Shell, pg_box: Sandbox) -> None:
    """Ctrl-C while a batch is at work: it comes to its end and stays, and nothing after it."""
    shell.rules()
    url = ("--url", pg_box.url)
    with psycopg.connect(pg_box.url, application_name="report-job") as other:
        other.execute("UPDATE tag SET selection_id = selection_id")
        process = shell.start("apply", *url, "--json")
        _wait_for(process, "(report-job, idle in transaction) holds it up")
        _wait_for_lock(pg_box)
        process.send_signal(signal.SIGINT)
        other.rollback()
        out, err = process.communicate(timeout=30)
    assert process.returncode == 1, err
    assert "Interrupted" in err
    merge = next(s for s in json.loads(out)["steps"] if s["rows"])
    assert (merge["status"], merge["rows"]) == ("stopped", PAIRS)
    assert pg_box.count("selection") == 25
    call = shell("apply", *url, "--json")
    assert (call.code, call.json["status"], call.json["archived"]) == (0, "done", PAIRS)


def _wait_for_lock(box: Sandbox) -> None:
    """Until onerow has begun another try: one that fails takes Ctrl-C at once."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'onerow'"
        " AND wait_event_type = 'Lock' AND now() - query_start < '1 second'"
    )
    deadline = time.monotonic() + 20
    while not box.value(waiting) and time.monotonic() < deadline:
        time.sleep(0.02)


def test_undo_waits_and_is_interrupted(shell: Shell, pg_box: Sandbox) -> None:
    """An undo says for whom it waits; Ctrl-C stops it, and it is gone on with by its own verb."""
    shell.rules()
    before = pg_box.state()
    url = ("--url", pg_box.url)
    run = shell("apply", *url, "--json").json["run"]
    with psycopg.connect(pg_box.url, application_name="report-job") as other:
        other.execute("LOCK TABLE selection IN SHARE MODE")
        process = shell.start("undo", *url)
        _wait_for(process, "(report-job, idle in transaction) holds it up")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode in (1, 130), err
    assert "Traceback" not in err
    assert f"`onerow undo {run}`" in err
    assert "`onerow undo" in shell("apply", *url).err
    assert shell("undo", *url, "--json").json["status"] == "undone"
    assert pg_box.state() == before


def test_another_runner(shell: Shell, pg_box: Sandbox) -> None:
    """While one runs, another is refused: exit code 1."""
    shell.rules()
    url = ("--url", pg_box.url)
    with psycopg.connect(pg_box.url, application_name="report-job") as other:
        other.execute("UPDATE tag SET selection_id = selection_id")
        process = shell.start("apply", *url)
        # A batch that waits for the rows of another transaction says for whose, too.
        said = _wait_for(process, "(report-job, idle in transaction) holds it up")
        assert "Build the unique index" not in said
        second = shell("apply", *url, "--json")
        assert (second.code, second.json["status"]) == (1, "refused")
        assert "Another onerow is at work" in second.err
        process.kill()
        process.communicate()
    # The server ends the killed process's session when it notices.
    deadline = time.monotonic() + 20
    while (last := shell("apply", *url, "--json")).code and time.monotonic() < deadline:
        time.sleep(0.2)
    assert last.json["status"] == "done"


def test_budget(shell: Shell, box: Sandbox) -> None:
    """A run whose time is up stops in between, says so, and is gone on with."""
    shell.rules()
    url = ("--url", box.url, "--json")
    call = shell("apply", "--budget", "0.0001", *url)
    assert (call.code, call.json["status"]) == (1, "stopped")
    assert "is used up" in call.err
    assert shell("apply", *url).json["status"] == "done"
    assert shell("undo", *url).code == 0


def test_interrupted_check(shell: Shell, pg_box: Sandbox) -> None:
    """Ctrl-C in a verb that only reads: nothing was changed, exit code 130."""
    shell.rules()
    with psycopg.connect(pg_box.url) as other:
        other.execute("LOCK TABLE selection IN ACCESS EXCLUSIVE MODE")
        process = shell.start("check", "--url", pg_box.url)
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.strip().splitlines() == ["Error: Interrupted.", "Nothing was changed."]


# -- readers that go away -----------------------------------------------------------------------


def test_nobody_reads(shell: Shell, sqlite_url: str) -> None:
    """`onerow check | head`: no complaint, and the exit code of the check."""
    plant(Sandbox(sqlite_url))
    shell.rules()
    process = shell.start("check", "-v", "--url", sqlite_url)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    err = process.stderr.read()
    assert (process.wait(timeout=30), err) == (1, "")
    process.stderr.close()


def test_nobody_reads_the_progress(shell: Shell, sqlite_url: str) -> None:
    """`onerow apply 2>&1 | head` does not end a change in the middle."""
    box = plant(Sandbox(sqlite_url))
    shell.rules()
    process = shell.start("apply", "--url", box.url, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=30) == 0
    assert box.count("selection") == 25


def test_copy_is_whole(tmp_path: Path, sqlite_box: Sandbox) -> None:
    """A SQLite backup is a database of its own, and leaves no file behind when it fails."""
    shell = Shell(tmp_path)
    shell.rules()
    shell("apply", "--backup", "b.db", "--url", sqlite_box.url)
    with closing(sqlite3.connect(tmp_path / "b.db")) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
