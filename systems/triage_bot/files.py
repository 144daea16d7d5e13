"""The JSON files: what they say as records, and the team as files again. Pure.

`disciplines.json` has a list of people for each discipline, in their order; `sprints.json` and
`overrides.json` are lists. Names of fields may be written `sprintIndex` or `sprint_index`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from systems.shared.errors import SystemFailure
from systems.triage_bot.records import AddSprint, AddUser, Record, RequestOverride
from systems.triage_bot.rotation import Team
from systems.triage_bot.schema import DISCIPLINES

#: In the order in which they must be written: an override is of a sprint.
KINDS = ("disciplines", "sprints", "overrides")
WRITES = {
    "disciplines": "add_user",
    "sprints": "add_sprint",
    "overrides": "import_override",
}
#: What the original files call these.
ALIASES = {
    "new_slack_id": "replacement_slack_id",
    "new_name": "replacement_name",
    "index": "sprint_index",
}
_DERIVED = {"id", "created_at", "updated_at", "approval_timestamp", "approved"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A record of a file: where it stands, and what it says or what is wrong with it."""

    place: str
    record: Record | None
    error: str = ""


def kind_of(path: Path) -> str:
    """By the file's name.

    Raises:
        SystemFailure: the name tells none.
    """
    for kind in KINDS:
        if path.name.lower().startswith(kind):
            return kind
    raise SystemFailure(
        f"{path.name}: the name must begin with {', '.join(KINDS[:-1])} or {KINDS[-1]}."
    )


def read(path: Path) -> list[Entry]:
    """The records of a file, the bad ones among them.

    Raises:
        SystemFailure: it is no JSON, or not of the form of its kind.
    """
    kind = kind_of(path)
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise SystemFailure(f"{path.name} is not JSON: {error}") from None
    if kind == "disciplines":
        return list(_people(path.name, said))
    if not isinstance(said, list):
        raise SystemFailure(f"{path.name} must hold a list of {kind}.")
    model = AddSprint if kind == "sprints" else RequestOverride
    return [_entry(f"record {n + 1}", model, _with_index(kind, n, r)) for n, r in enumerate(said)]


def _people(name: str, said: Any) -> Iterator[Entry]:
    if not isinstance(said, dict) or not all(isinstance(p, list) for p in said.values()):
        raise SystemFailure(f"{name} must hold an object with a list for each discipline.")
    for discipline, people in said.items():
        for place, one in enumerate(people):
            more = {"discipline": discipline, "position": place}
            given = {**more, **one} if isinstance(one, dict) else one
            yield _entry(f"{discipline}, record {place + 1}", AddUser, given)


def _with_index(kind: str, place: int, record: Any) -> Any:
    """The original's sprints are numbered by where they stand."""
    if kind != "sprints" or not isinstance(record, dict):
        return record
    named = {_snake(n) for n in record}
    return record if named & {"sprint_index", "index"} else {**record, "sprint_index": place}


def _entry(place: str, model: type[Record], given: Any) -> Entry:
    if not isinstance(given, dict):
        return Entry(place, None, "is no object")
    named = {ALIASES.get(n, n): v for n, v in ((_snake(n), v) for n, v in given.items())}
    if "approved" in named and "status" not in named:
        named["status"] = _status(named)
    values = {n: v for n, v in named.items() if n not in _DERIVED}
    try:
        return Entry(place, model.model_validate(values))
    except ValidationError as error:
        return Entry(place, None, "; ".join(map(_sentence, error.errors())))


def _status(named: Mapping[str, Any]) -> str:
    if named["approved"] is True:
        return "approved"
    return "declined" if named.get("approved_by") else "pending"


def _sentence(error: Any) -> str:
    place = ".".join(map(str, error["loc"]))
    said = str(error["msg"]).removeprefix("Value error, ")
    return f"{place}: {said}" if place else said


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


# -- export ----------------------------------------------------------------------------------------


def exported(team: Team) -> dict[str, Any]:
    """Each file's name and what stands in it, such that an import makes the same rows."""
    return {
        "disciplines.json": {d: _roster(team, d) for d in DISCIPLINES},
        "sprints.json": [
            {
                "sprintIndex": s.index,
                "sprintName": s.name,
                "startDate": s.start.isoformat(),
                "endDate": s.end.isoformat(),
            }
            for s in sorted(team.sprints, key=lambda s: s.index)
        ],
        "overrides.json": [
            {
                "sprintIndex": o.sprint_index,
                "role": o.role,
                "originalSlackId": o.original,
                "replacementSlackId": o.replacement,
                "replacementName": o.replacement_name,
                "requestedBy": o.requested_by,
                "reason": o.reason,
                "status": o.status,
                "approvedBy": o.answered_by,
            }
            for o in team.overrides
        ],
    }


def _roster(team: Team, discipline: str) -> list[dict[str, Any]]:
    people = [p for p in team.people if p.discipline == discipline]
    return [
        {"slackId": p.slack_id, "name": p.name, "position": p.position, "active": p.active}
        for p in sorted(people, key=lambda p: (p.position, p.slack_id))
    ]


def write(folder: Path, team: Team) -> Sequence[Path]:
    """The three files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, said in exported(team).items():
        text = json.dumps(said, indent=2, ensure_ascii=False) + "\n"
        (folder / name).write_text(text, encoding="utf-8")
        written.append(folder / name)
    return written
