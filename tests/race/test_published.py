"""The race of the page on published packages is there, in the version that is installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from onerow.race import Result, explore
from onerow.race.file import races_in
from tests.docs.test_examples import ROOT, blocks

PAGE = ROOT / "docs/races/published.md"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """What the page's file finds on SQLite."""
    folder: Path = tmp_path_factory.mktemp("published")
    file = folder / "jobs_race.py"
    file.write_text(next(b.text for b in blocks(PAGE) if b.name == file.name), encoding="utf-8")
    engine = create_engine(f"sqlite:///{folder / 'jobs.db'}")
    results = {
        name: explore(engine, race.workers, setup=race.setup, invariant=race.invariant)
        for name, race in races_in(file).items()
    }
    del sys.modules["jobs_race"]
    engine.dispose()
    return results


def test_two_start(found: dict[str, Result]) -> None:
    """Two that store the same job are safe, in as many schedules as the page says."""
    assert found["two_start"].verdict == "holds"
    assert f"two_start: {found['two_start']}" in PAGE.read_text(encoding="utf-8")


def test_start_and_remove(found: dict[str, Result]) -> None:
    """One that stores a job while another removes it meets an error and stores nothing."""
    failure = found["start_and_remove"].failure
    assert failure is not None
    assert "JobLookupError" in failure.reason
    assert [(s.name, s.rows) for s in failure.state] == [("apscheduler_jobs", ())]
    assert f"Schedule: {failure.script}\n" in PAGE.read_text(encoding="utf-8")
