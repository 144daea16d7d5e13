"""The planner's story, told to its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from systems.workout_planner import story
from systems.workout_planner.store import Store


class Heard:
    """What was told."""

    def __init__(self) -> None:
        self.chapters: list[str] = []
        self.said: list[str] = []
        self.tables: list[list[Any]] = []

    def chapter(self, title: str) -> None:
        self.chapters.append(title)

    def say(self, text: str) -> None:
        self.said.append(text)

    code = proven = say

    def table(self, _columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self.tables.append(list(rows))


def test_told_to_its_end(db_url: str) -> None:
    """Two rows from one drop, its interleaving, the change under load, every interleaving, back."""
    heard = Heard()
    story.tell(db_url, heard)
    assert len(heard.chapters) == 6
    (doubled,) = heard.tables
    assert len(doubled) == 2
    text = "\n".join(heard.said)
    for told in (
        "one change is lost",
        "Schedule: A1",
        "none failed",
        "no schedule fails",
        "put back",
    ):
        assert told in text


def test_it_says_when_it_goes_otherwise(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a safe writer in the naive one's place there is nothing to tell, and it says so."""
    monkeypatch.setattr("systems.workout_planner.app.NaiveStore", Store)
    monkeypatch.setattr(story, "TRIES", 3)
    with pytest.raises(story.NotSo, match="one after the other"):
        story.tell(sqlite_url, Heard())
