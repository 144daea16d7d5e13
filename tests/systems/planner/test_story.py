"""The planner's story, told to its end."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from onerow.demo.screen import Screen
from systems.shared.story import Stage, StoryFailed
from systems.workout_planner import story
from systems.workout_planner.store import Store


def stage(url: str, folder: Path, out: io.StringIO) -> Stage:
    return Stage("workout_planner", url, folder, Screen(out), "x" * 32)


def test_told_to_its_end(db_url: str, tmp_path: Path) -> None:
    """Two rows from one drop, its interleaving, the change under load, every interleaving, back."""
    out = io.StringIO()
    told = stage(db_url, tmp_path, out)
    story.tell(told)
    assert told.chapters == 6
    text = " ".join(out.getvalue().split())
    for said in (
        "one change is lost",
        "Schedule: A1",
        "none failed",
        "no schedule fails",
        "put back",
    ):
        assert said in text


def test_it_says_when_it_goes_otherwise(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a safe writer in the naive one's place there is nothing to tell, and it says so."""
    monkeypatch.setattr("systems.workout_planner.app.NaiveStore", Store)
    monkeypatch.setattr(story, "TRIES", 3)
    with pytest.raises(StoryFailed, match="one after the other"):
        story.tell(stage(sqlite_url, tmp_path, io.StringIO()))
