"""From before to after while the planner serves: revisions, dedupe, kills, and the way back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from onerow import Limits, api
from systems.shared.errors import SystemRefusal
from systems.workout_planner import dedupe as module
from systems.workout_planner import states
from systems.workout_planner.dedupe import RULES, dedupe
from tests.crash.support import KILLED, Launcher
from tests.emit.support import lint, schema
from tests.support.live import until
from tests.support.sandbox import Sandbox
from tests.systems.planner.clients import kept, lost, putting
from tests.systems.planner.support import ROWS, TWICE, application, before
from tests.systems.support import FOLDER, made

PLANNER = FOLDER / "workout_planner"
IMPORTED = (
    "SELECT count(*) FROM (SELECT 1 FROM workouts WHERE NOT is_custom"
    " GROUP BY title, originally_planned_day HAVING count(*) > 1) AS g"
)
#: Workouts whose imports were not doubled, so that their numbers stay theirs.
ONCE = """
    SELECT w.id FROM workouts AS w WHERE NOT EXISTS (
        SELECT 1 FROM workouts AS o WHERE o.title = w.title AND o.id <> w.id
        AND o.originally_planned_day = w.originally_planned_day)
    ORDER BY w.id LIMIT 12"""


# -- revisions ----------------------------------------------------------------------------------


def alembic(url: str) -> Config:
    """As the command line makes it; of the engine's own revisions."""
    name = "sqlite" if url.startswith("sqlite") else "alembic"
    config = Config(PLANNER / "alembic.ini", ini_section=name)
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


def test_the_revisions_are_the_emitted_ones(db_url: str, tmp_path: Path) -> None:
    """What `onerow plan --alembic` writes is what stands in the repository, byte by byte."""
    made(db_url, states.before(2_000))
    engine = "sqlite" if db_url.startswith("sqlite") else "postgresql"
    committed = PLANNER / "migrations" / engine
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    for name in ("env.py", "versions/before.py"):
        (folder / name).write_bytes((committed / name).read_bytes())
    api.write_alembic(db_url, api.make_plan(db_url, api.load_rules(RULES)), folder)
    emitted = {p.name: p.read_text() for p in (folder / "versions").glob("*_onerow_*")}
    there = {p.name: p.read_text() for p in (committed / "versions").glob("*_onerow_*")}
    assert emitted == there
    lint(sorted((committed / "versions").glob("*.py")))


def test_up_and_down(db_url: str) -> None:
    """On an empty database: the tables, the change, the change back, and nothing."""
    box, config = Sandbox(db_url), alembic(db_url)
    command.upgrade(config, "before")
    first = schema(box)
    command.upgrade(config, "head")
    assert [p.message for p in api.verify(db_url, api.load_rules(RULES)) if not p.ok] == []
    command.downgrade(config, "before")
    assert schema(box) == first
    command.downgrade(config, "base")
    assert "workouts" not in str(schema(box))


def test_duplicates_stop_it_and_the_merge_lets_it_pass(db_url: str) -> None:
    """The message says how to go on; after the merge it passes, nothing was lost, undo restores."""
    box, config = before(db_url), alembic(db_url)
    first = box.contents()
    command.stamp(config, "before")
    with pytest.raises(
        CommandError, match=r"^\d+ .*Run `onerow apply` first.* and then this again"
    ):
        command.upgrade(config, "head")
    command.downgrade(config, "before")
    assert box.value(TWICE) > 0
    assert dedupe(db_url) > 0
    command.upgrade(config, "head")
    assert [p.message for p in api.verify(db_url, api.load_rules(RULES)) if not p.ok] == []
    assert (box.value(TWICE), box.value(IMPORTED)) == (0, 0)
    back = api.undo(db_url)
    assert (back.status, back.left_alone) == ("undone", ())
    assert {t: r for t, r in box.contents().items() if t in first} == first


# -- dedupe -------------------------------------------------------------------------------------

FILLED = """
    SELECT count(*), count(current_plan_day), count(time_of_day), count(workout_location),
           count(user_notes) FROM workout_selections"""
#: Workouts, and how many of them have something in a field in any of their selections.
SAID = """
    SELECT count(*), sum(d), sum(t), sum(l), sum(n) FROM (
        SELECT max(CASE WHEN current_plan_day IS NULL THEN 0 ELSE 1 END) AS d,
               max(CASE WHEN time_of_day IS NULL THEN 0 ELSE 1 END) AS t,
               max(CASE WHEN workout_location IS NULL THEN 0 ELSE 1 END) AS l,
               max(CASE WHEN user_notes IS NULL THEN 0 ELSE 1 END) AS n
        FROM workout_selections AS s JOIN workouts AS w ON w.id = s.workout_id
        GROUP BY CASE WHEN w.is_custom THEN w.id ELSE 0 END, w.title, w.originally_planned_day) AS g"""


def test_every_field_is_kept(db_url: str) -> None:
    """What any of the rows said, the one that stays says; twice does nothing more."""
    box = before(db_url)
    said = box.rows(SAID)
    dry: list[str] = []
    assert dedupe(db_url, dry_run=True, tell=dry.append) == 0
    assert any("Merge" in line for line in dry)
    assert box.value(TWICE) > 0
    assert dedupe(db_url) > 0
    assert [tuple(map(int, row)) for row in box.rows(FILLED)] == [
        tuple(map(int, row)) for row in said
    ]
    again: list[str] = []
    first = box.contents()
    assert dedupe(db_url, tell=again.append) == 0
    assert again == ["Nothing to do: the keys stand."]
    assert box.contents() == first


def test_the_script_that_keeps_the_latest(db_url: str) -> None:
    """The counterpart: it removes as many rows, and with them what only these said."""
    box = before(db_url)
    said = [tuple(map(int, row)) for row in box.rows(SAID)]
    box.execute(
        "DELETE FROM workout_selections WHERE id NOT IN (SELECT id FROM (SELECT id, row_number()"
        " OVER (PARTITION BY workout_id ORDER BY updated_at DESC, id) AS n"
        " FROM workout_selections) AS r WHERE n = 1)"
    )
    kept_by_script = [tuple(map(int, row)) for row in box.rows(FILLED)]
    assert all(a < b for a, b in zip(kept_by_script[0][1:4], said[0][1:4], strict=True))


def test_backup_and_offline(db_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy with the time in its name, from which the rows come back; refused while others work."""
    monkeypatch.chdir(tmp_path)
    box = before(db_url)
    first, told = box.count("workout_selections"), []
    with application(box) as planner:
        assert planner.put(1, userNotes="x").status_code == 200
        with pytest.raises(SystemRefusal, match="Stop the application first"):
            dedupe(db_url, offline=True)
    assert box.value(TWICE) > 0
    assert dedupe(db_url, offline=True, backup=True, tell=told.append) > 0
    (line,) = [t for t in told if t.startswith("Backup: ")]
    copy = tmp_path / line.removeprefix("Backup: ")
    if box.sqlite:
        assert Sandbox(f"sqlite:///{copy}").count("workout_selections") == first
        return
    assert copy.read_bytes()[:5] == b"PGDMP"
    assert (copy.stat().st_mode & 0o777) == 0o600


def test_without_pg_dump(pg_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup that cannot be made is said, and nothing is changed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("onerow.backup._programs", lambda: iter(()))
    monkeypatch.setattr(module, "find_spec", lambda _name: None)
    box = before(pg_url)
    with pytest.raises(SystemRefusal, match="pg_dump"):
        dedupe(pg_url, backup=True)
    assert box.value(TWICE) > 0
    assert list(tmp_path.iterdir()) == []


def test_the_command(sqlite_url: str, tmp_path: Path) -> None:
    """`dedupe --url URL`; a database that is not there is exit code 2."""
    before(sqlite_url)

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "systems.workout_planner", "dedupe", *words],
            cwd=FOLDER.parent,
            env=os.environ,
            capture_output=True,
            text=True,
            check=False,
        )

    assert "Nothing was changed." in call("--url", sqlite_url, "--dry-run").stderr
    done = call("--url", sqlite_url)
    assert done.returncode == 0, done.stderr
    assert "merged away and kept" in done.stderr
    gone = call("--url", f"sqlite:///{tmp_path / 'no.db'}")
    assert (gone.returncode, "Traceback" in gone.stderr) == (2, False)


# -- killed -------------------------------------------------------------------------------------


def groups_are_whole(box: Sandbox, first: dict[tuple[object, ...], set[object]]) -> int:
    """Each workout has all of its selections or one; how many groups are still to be merged."""
    open_groups = 0
    now: dict[object, set[object]] = {}
    for workout, number in box.rows("SELECT workout_id, id FROM workout_selections"):
        now.setdefault(workout, set()).add(number)
    for numbers in now.values():
        if len(numbers) > 1:
            open_groups += 1
            assert any(numbers <= old for old in first.values())
    return open_groups


def test_killed_in_the_merge(db_url: str, tmp_path: Path) -> None:
    """No half-merged group; the next dedupe ends where an uninterrupted one does."""
    box = before(db_url)
    rows = "SELECT id, workout_id, is_selected, current_plan_day, time_of_day, workout_location, user_notes, version FROM workout_selections ORDER BY id"
    pristine = box.contents()
    assert api.apply(db_url, api.load_rules(RULES)).status == "done"
    uninterrupted = (box.rows(rows), box.rows("SELECT * FROM workouts ORDER BY id"), schema(box))
    assert api.undo(db_url).left_alone == ()
    assert {t: r for t, r in box.contents().items() if t in pristine} == pristine
    groups: dict[tuple[object, ...], set[object]] = {}
    for workout, number, title, day, custom in box.rows(
        "SELECT s.workout_id, s.id, w.title, w.originally_planned_day, w.is_custom"
        " FROM workout_selections AS s JOIN workouts AS w ON w.id = s.workout_id"
    ):
        key = (workout,) if custom else (title, day)
        groups.setdefault(key, set()).add(number)
    (tmp_path / "onerow.toml").write_bytes(RULES.read_bytes())
    delete = "DELETE FROM"
    with Launcher(tmp_path) as launcher:
        assert launcher.run("apply", box, fragment=delete, times=4) == KILLED
    before_resume = groups_are_whole(box, groups)
    assert before_resume > 0
    assert dedupe(db_url) > 0
    resumed = (box.rows(rows), box.rows("SELECT * FROM workouts ORDER BY id"), schema(box))
    assert resumed == uninterrupted


# -- while it serves ----------------------------------------------------------------------------


def test_writer_first_merge_key_last(db_url: str) -> None:
    """The safe writer on the old schema, the change under its feet, and back: no request fails."""
    box = before(db_url, ROWS)
    workouts = [row[0] for row in box.rows(ONCE)]
    box.execute(f"DELETE FROM workout_selections WHERE workout_id = {workouts[0]}")
    rules = api.load_rules(RULES)
    with application(box) as planner:
        assert planner.put(workouts[1], userNotes="x").json()["version"] is None
        with putting(planner.address, workouts) as during:
            done = api.apply(db_url, rules, limits=Limits(batch_rows=20, most_batch_rows=20))
            assert done.status == "done", done.message
        assert during.failed == []
        assert [p.message for p in api.verify(db_url, rules) if not p.ok] == []
        with putting(planner.address, workouts) as after:
            until(lambda: len(after.written) >= 200, "200 writes")
        assert after.failed == []
        assert lost(after, kept(box, workouts)) == []
        with putting(planner.address, workouts) as back:
            undone = api.undo(db_url)
        assert undone.status == "undone", undone.message
        assert back.failed == []
        assert planner.put(workouts[1], userNotes="x").json()["version"] is None
    assert len(kept(box, workouts[:1])) == 1
