"""SIGKILL after the n-th statement that writes, and around its commit: n = 1, 2, 3, … to the end.

After each death the next run goes on and ends as an uninterrupted one does: schema, rows, archive,
journal. The way back, too. `launcher.py` is the process that dies.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onerow import api
from onerow.rulefile import Rules
from tests.crash.scenarios import SCENARIOS, Scenario
from tests.crash.support import KILLED, Launcher, archived, forget
from tests.support.rules import without_positions
from tests.support.sandbox import Sandbox

NAMES = sorted(SCENARIOS)


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    with Launcher(tmp_path) as started:
        yield started


class Course:
    """A scenario's way there and back, and what it leads to when nobody disturbs it."""

    def __init__(self, scenario: Scenario, url: str, folder: Path, launcher: Launcher) -> None:
        self.box, self.launcher = Sandbox(url), launcher
        self.rules: Rules = scenario.prepare(self.box, folder)
        self.before = self.box.state()
        self.kinds = {s.kind for s in api.make_plan(url, self.rules).steps}
        self.length: dict[str, int] = {}
        self.died: list[str] = []  #: where
        self.whole("apply")
        self.after, self.archived = self.state(), archived(self.box)
        self.whole("undo")
        self.assert_undone()

    def state(self) -> Any:
        return without_positions(self.box.state())

    def whole(self, verb: str) -> None:
        """To the end."""
        assert self.launcher.run(verb, self.box) == 0, self.launcher.said.read_text()
        self.length[verb] = len(self.launcher.moments)

    def killed(self, verb: str, moment: int) -> bool:
        """Killed at a moment; False when it was done before that."""
        code = self.launcher.run(verb, self.box, moment)
        assert code in (0, KILLED), self.launcher.said.read_text()
        if code == KILLED:
            self.died.append(self.launcher.moments[-1])
        return code == KILLED

    def assert_applied(self) -> None:
        where = self.died
        assert self.state() == self.after, where
        assert archived(self.box) == self.archived, where
        (run,) = api.status(self.box.url)
        assert (run.status, {s.status for s in run.steps}) == ("done", {"done"}), where
        proofs = api.verify(self.box.url, self.rules)
        assert all(p.ok for p in proofs), (proofs, where)

    def assert_undone(self) -> None:
        where = self.died
        assert self.box.state() == self.before, where
        (run,) = api.status(self.box.url)
        assert (run.status, {s.status for s in run.steps}) == ("undone", {"undone"}), where
        forget(self.box)

    def killed_once(self, moment: int) -> None:
        """There and back, each killed at its moment of this number, if it has so many."""
        for verb, check in (("apply", self.assert_applied), ("undo", self.assert_undone)):
            # A run that was killed on the way there has other batches, and maybe one fewer back.
            if self.killed(verb, moment):
                assert self.launcher.run(verb, self.box) == 0, self.launcher.said.read_text()
            check()

    def killed_all_the_way(self, dice: random.Random) -> int:
        """There and back, killed again and again some moments further on. Returns how often."""
        kills = 0
        for verb, check in (("apply", self.assert_applied), ("undo", self.assert_undone)):
            # Further and further on: what is done is looked at each time, and a batch is all or none.
            furthest = 20
            while self.killed(verb, dice.randint(1, furthest)):
                kills, furthest = kills + 1, furthest * 3 // 2
            check()
        return kills


#: What `make test` has time for.
QUICK = {
    ("key", "postgresql"),
    ("column", "postgresql"),
    ("references", "sqlite"),
    ("gaps", "sqlite"),
    ("guard", "sqlite"),
    ("partitions", "postgresql"),
    ("moved", "postgresql"),
    ("family", "sqlite"),
}
EACH = [
    pytest.param(name, engine, marks=[] if (name, engine) in QUICK else pytest.mark.slow)
    for name in NAMES
    for engine in SCENARIOS[name].engines
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("name", "db_url"), EACH, indirect=["db_url"])
def test_again_and_again(name: str, db_url: str, tmp_path: Path, launcher: Launcher) -> None:
    """Killed at moment after moment until it is through, there and back."""
    course = Course(SCENARIOS[name], db_url, tmp_path, launcher)
    assert course.killed_all_the_way(random.Random(name)) > 0


def _stride(course: Course, every: int) -> range:
    return range(1 + course.length["apply"] % every, max(course.length.values()) + 1, every)


@pytest.mark.parametrize(("name", "every"), [("column", 17), ("key", 47)])
def test_sampled(
    name: str, every: int, sqlite_url: str, tmp_path: Path, launcher: Launcher
) -> None:
    """At some of all moments."""
    course = Course(SCENARIOS[name], sqlite_url, tmp_path, launcher)
    for moment in _stride(course, every):
        course.killed_once(moment)


def _at_every_moment(name: str, url: str, folder: Path, launcher: Launcher) -> None:
    course = Course(SCENARIOS[name], url, folder, launcher)
    for moment in _stride(course, 1):
        course.killed_once(moment)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", [n for n in NAMES if "sqlite" in SCENARIOS[n].engines])
def test_every_moment(name: str, every_url: str, tmp_path: Path, launcher: Launcher) -> None:
    """At each moment that there is, on every server found."""
    _at_every_moment(name, every_url, tmp_path, launcher)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", [n for n in NAMES if "sqlite" not in SCENARIOS[n].engines])
def test_every_moment_of_what_sqlite_has_not(
    name: str, every_pg_url: str, tmp_path: Path, launcher: Launcher
) -> None:
    """The same for partitions and for foreign keys that lean on one index."""
    _at_every_moment(name, every_pg_url, tmp_path, launcher)


def test_the_steps_that_are_killed(pg_url: str, tmp_path: Path) -> None:
    """The scenarios have the steps that they say."""
    native = Sandbox(pg_url).value("SHOW server_version_num") >= "180000"
    for number, scenario in enumerate(SCENARIOS.values()):
        # NOT NULL needs no check there.
        spared = {"add_check"} if native and "set_not_null" in scenario.kinds else set()
        folder = tmp_path / str(number)
        folder.mkdir()
        box = Sandbox(pg_url)
        box.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        plan = api.make_plan(pg_url, scenario.prepare(box, folder))
        assert {s.kind for s in plan.steps} == scenario.kinds - spared
