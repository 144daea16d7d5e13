"""Bodies and answers."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainSerializer, WithJsonSchema

from systems.shared.web.errors import Detail, ErrorForm, plain
from systems.shared.web.fields import Id, Model, Words

#: Of an amount. JSON's numbers are read as floats by most, which hold fifteen digits for certain.
MOST = Decimal("9999999999999.99")
QUARTERS = ("q1_amount", "q2_amount", "q3_amount", "q4_amount")

_SAID = {"type": "number", "minimum": 0, "maximum": float(MOST), "description": "two decimals"}
Amount = Annotated[
    Decimal,
    Field(ge=0, le=MOST, decimal_places=2),
    PlainSerializer(float, return_type=float, when_used="json"),
    WithJsonSchema(_SAID),
]
Sum = Annotated[
    Decimal,
    PlainSerializer(float, return_type=float, when_used="json"),
    WithJsonSchema({"type": "number", "description": "of the quarters"}),
]
Comment = Annotated[Words, Field(max_length=2000)]


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


Moment = Annotated[datetime, AfterValidator(_in_utc)]
ZERO = Decimal(0)


class Body(Model):
    """A whole row, as POST and PUT take it; a quarter that is left out is zero."""

    reporting_period_id: Id
    activity_id: Id
    facility_id: Id | None = None
    q1_amount: Amount = ZERO
    q2_amount: Amount = ZERO
    q3_amount: Amount = ZERO
    q4_amount: Amount = ZERO
    comment: Comment | None = None

    def changes(self) -> dict[str, Any]:
        """All columns but the facility, which has rules of its own."""
        return self.model_dump(exclude={"facility_id"})


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


#: No value of a field, and in no document: it only marks what is left out.
ABSENT: Any = Field(default=None, json_schema_extra=_without_default)


class Change(Model):
    """Some fields, as PATCH takes them; what is left out stays."""

    reporting_period_id: Id = ABSENT
    activity_id: Id = ABSENT
    facility_id: Id | None = None
    q1_amount: Amount = ABSENT
    q2_amount: Amount = ABSENT
    q3_amount: Amount = ABSENT
    q4_amount: Amount = ABSENT
    comment: Comment | None = None

    def changes(self) -> dict[str, Any]:
        """The columns that were sent, but the facility."""
        return self.model_dump(exclude_unset=True, exclude={"facility_id"})


class Report(Model):
    """What a facility has spent on an activity in a period."""

    id: int
    reporting_period_id: int
    activity_id: int
    facility_id: int | None = Field(description="null where the database does not say it yet")
    q1_amount: Sum
    q2_amount: Sum
    q3_amount: Sum
    q4_amount: Sum
    cumulative_balance: Sum
    comment: str | None
    created_at: Moment
    updated_at: Moment


class Pagination(Model):
    total: int
    limit: int
    offset: int
    has_next: bool


class Listed(Model):
    data: list[Report]
    pagination: Pagination


class Exists(Model):
    exists: bool
    id: int | None


class ReportKey(Model):
    """The columns of the key that a write ran into."""

    reporting_period_id: int
    activity_id: int
    facility_id: int | None = None


class ExecutionError(Model):
    """`error` is for programs, `message` for people."""

    error: str
    message: str
    details: tuple[Detail, ...] = ()
    key: ReportKey | None = Field(default=None, description="409: what exists already")
    stored: Report | None = Field(
        default=None, description="409: what is stored, if you may see it"
    )


FORM = ErrorForm(ExecutionError, plain)
