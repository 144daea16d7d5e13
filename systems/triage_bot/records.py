"""The writes as they are asked for: checked as they come in, plain values for the spool. Pure."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from systems.triage_bot.rotation import NONE_YET, TITLES
from systems.triage_bot.schema import DISCIPLINES

Discipline = Literal["account", "producer", "po", "uiEng", "beEng"]
assert set(DISCIPLINES) == set(TITLES)


def _plain(text: str) -> str:
    if any(ord(c) < 32 and c not in "\n\t" for c in text):
        raise ValueError("has control characters")
    return text


Text = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_plain)]
#: Slack's ids are in capitals; in lower case they would be another person to the key.
SlackId = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[A-Z0-9]{2,30}$")]
Name = Annotated[Text, Field(min_length=1, max_length=200)]
Index = Annotated[int, Field(ge=0, le=100_000, strict=True)]


class Record(BaseModel):
    """One write; `key` is what its order is kept by."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @property
    def key(self) -> str:
        raise NotImplementedError

    def payload(self, by: str) -> dict[str, Any]:
        """As the spool keeps it."""
        return {**self.model_dump(mode="json"), "by": by}


class AddUser(Record):
    """A person in a discipline."""

    slack_id: SlackId
    name: Name
    discipline: Discipline
    position: Annotated[int, Field(ge=0, le=100_000, strict=True)] | None = None
    active: Annotated[bool, Field(strict=True)] = True

    @property
    def key(self) -> str:
        return f"user:{self.slack_id}"


class AddSprint(Record):
    """A sprint; without an index it is the one after the last."""

    sprint_index: Index
    sprint_name: Name
    start_date: date
    end_date: date

    @model_validator(mode="after")
    def _in_order(self) -> AddSprint:
        if self.end_date < self.start_date:
            raise ValueError(f"ends on {self.end_date}, before it begins on {self.start_date}")
        return self

    @property
    def key(self) -> str:
        return f"sprint:{self.sprint_index}"


class RequestOverride(Record):
    """Somebody asks that another one takes their turn."""

    sprint_index: Index
    role: Discipline
    requested_by: SlackId
    replacement_slack_id: SlackId
    replacement_name: Name | None = None
    original_slack_id: SlackId | None = None
    reason: Annotated[Text, Field(max_length=2000)] | None = None
    #: Of imports: an answer that was given elsewhere.
    status: Literal["pending", "approved", "declined"] = "pending"
    approved_by: SlackId | None = None

    @property
    def key(self) -> str:
        return f"override:{self.sprint_index}:{self.role}"


class AnswerOverride(Record):
    """An administrator approves or declines a request."""

    id: Annotated[int, Field(ge=1, strict=True)]
    decision: Literal["approved", "declined"]
    sprint_index: Index
    role: Discipline

    @property
    def key(self) -> str:
        return f"override:{self.sprint_index}:{self.role}"


class Transition(Record):
    """From sprint `from_index` to the next one."""

    from_index: Annotated[int, Field(ge=NONE_YET, le=100_000, strict=True)]
    quiet: bool = False  #: nobody is told, as when several sprints are caught up with

    @property
    def key(self) -> str:
        return "state"


class Announce(Record):
    """The evening before: who will be on call."""

    sprint_index: Index

    @property
    def key(self) -> str:
        return f"announce:{self.sprint_index}"
