"""What the journal holds, as values; and how a run may go from one status to another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from onerow.plan import Plan
from onerow.sql import Name

#: Status -> the statuses it may turn into, and when.
TRANSITIONS: Mapping[str, Mapping[str, str]] = {
    "pending": {"running": "a runner takes it up"},
    "running": {
        "running": "another runner goes on where one was killed",
        "done": "every step is done",
        "stopped": "it was interrupted or met something that a person must see",
        "failed": "a statement failed in a way that trying again does not mend",
        "undone": "every step is taken back",
    },
    "stopped": {"running": "apply or undo goes on"},
    "failed": {"running": "apply or undo tries again"},
    "done": {"running": "undo begins"},
    "undone": {"running": "undo --force goes over what was left alone"},
}
OPEN = ("pending", "running", "stopped", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    id: str
    kind: str
    status: str
    rows: int
    seconds: float
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    id: str
    plan_id: str
    plan: Plan
    direction: str
    status: str
    message: str
    runner: str
    started_at: datetime
    finished_at: datetime | None
    steps: tuple[StepRecord, ...] = ()
    archived: int = 0

    @property
    def open(self) -> bool:
        return self.status in OPEN

    def step(self, step_id: str) -> StepRecord:
        return next(s for s in self.steps if s.id == step_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRecord:
    op: int
    step_id: str
    batch: int
    table: Name
    action: str
    detail: str
    rows: int
    undone: bool
