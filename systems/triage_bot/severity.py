"""How severe something is, by the words of a configuration file. Pure, but for reading it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from systems.shared.errors import SystemFailure
from systems.triage_bot.records import Discipline


class Level(BaseModel):
    """How fast somebody must answer, and who."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1)]
    title: str
    respond: str
    call: tuple[Discipline, ...]
    words: tuple[Annotated[str, Field(min_length=1)], ...]

    def found(self, text: str) -> list[str]:
        """Its words that a text has."""
        return [w for w in self.words if re.search(rf"(?<!\w){re.escape(w)}(?!\w)", text, re.I)]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    level: Annotated[tuple[Level, ...], Field(min_length=1)]


def read_levels(path: Path) -> tuple[Level, ...]:
    """The levels of a file, the most severe first.

    Raises:
        SystemFailure: it cannot be read.
    """
    try:
        return _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).level
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise SystemFailure(f"{path.name}, {place}: {first['msg']}") from None
    except (OSError, ValueError) as error:
        raise SystemFailure(f"{path.name} cannot be read: {error}") from None


def assess(text: str, levels: Sequence[Level]) -> tuple[Level, list[str]]:
    """The level, and the words that told it; none where it is the last by default."""
    for level in levels:
        if words := level.found(text):
            return level, words
    return levels[-1], []
