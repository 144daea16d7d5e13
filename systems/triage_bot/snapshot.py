"""The team as it was read last, kept in a file for when the database is away."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from systems.triage_bot.rotation import Override, Person, Sprint, Team

FILE = "snapshot.json"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A team, and when it was read.

    Attributes:
        stale: the database is away; this is what is remembered.
    """

    team: Team
    at: datetime
    stale: bool = False


def to_json(snapshot: Snapshot) -> dict[str, Any]:
    """Plain values."""
    return {"at": snapshot.at.isoformat(), **asdict(snapshot.team)}


def from_json(kept: Mapping[str, Any]) -> Snapshot:
    """What `to_json` has told; it is a memory by now."""
    team = Team(
        tuple(Person(**p) for p in kept["people"]),
        tuple(
            Sprint(s["index"], s["name"], _day(s["start"]), _day(s["end"])) for s in kept["sprints"]
        ),
        tuple(Override(**o) for o in kept["overrides"]),
        kept["current"],
        kept["holders"],
    )
    return Snapshot(team, datetime.fromisoformat(kept["at"]), stale=True)


def _day(text: str) -> date:
    return date.fromisoformat(text)


def save(folder: Path, snapshot: Snapshot) -> None:
    """In place of the last one; a reader sees the one or the other."""
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f"{FILE}.{os.getpid()}"
    new.write_text(json.dumps(to_json(snapshot), default=str), encoding="utf-8")
    new.replace(folder / FILE)


def load(folder: Path) -> Snapshot | None:
    """The one that was saved last; None when there is none that can be read."""
    try:
        return from_json(json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
