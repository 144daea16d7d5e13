"""What bodies hold, and what answers do. JSON names are camelCase; unknown ones are refused."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeGuard

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic.alias_generators import to_camel

from systems.membership_plans import money, names, terms

Scope = Literal["TENANT", "BRANCH"]
Status = Literal["ACTIVE", "ARCHIVED"]
LARGEST = 2**31 - 1


_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def _is_day(value: object) -> TypeGuard[str]:
    # A week of the year (2026-W01-1) would be ISO 8601 as well.
    return isinstance(value, str) and _DAY.fullmatch(value) is not None


def _day(value: object) -> date:
    try:
        found = date.fromisoformat(value) if _is_day(value) else None
    except ValueError:
        found = None
    if found is None or not terms.FIRST_DAY <= found <= terms.LAST_DAY:
        raise ValueError(f"must be a day such as 2026-03-31, from {terms.FIRST_DAY} on")
    return found


_AMOUNT = {"minimum": 0, "maximum": float(money.MOST), "multipleOf": 0.01, "examples": [49.9]}
_PRICE_IN = {
    "anyOf": [
        {"type": "number", **_AMOUNT},
        {"type": "string", "pattern": r"^[0-9]{1,8}(\.[0-9]{1,2})?$"},
    ]
}

_TEXT = {"pattern": r"^[^\u0000-\u0008\u000b-\u001f\u007f-\u009f]*$"}
_LINE = r"[^\u0000-\u001f\u007f-\u009f]*"
_NAME = {"pattern": rf"^{_LINE}[^\s\u0000-\u001f\u007f-\u009f]{_LINE}$"}

Id = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    AfterValidator(names.cleaned),
    Field(json_schema_extra=_TEXT),
]
Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=names.LONGEST),
    AfterValidator(names.cleaned_name),
    Field(json_schema_extra=_NAME),
]
Description = Annotated[
    str,
    StringConstraints(max_length=2000),
    AfterValidator(names.cleaned),
    Field(json_schema_extra=_TEXT),
]
PriceIn = Annotated[Decimal, BeforeValidator(money.amount), WithJsonSchema(_PRICE_IN)]
PriceOut = Annotated[
    Decimal,
    PlainSerializer(money.shown, return_type=float),
    WithJsonSchema({"type": "number", **_AMOUNT}),
]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$"), Field(examples=["EUR"])]
FreezeDays = Annotated[int, Field(ge=0, le=730)]
SortOrder = Annotated[int, Field(ge=-LARGEST, le=LARGEST)]
Day = Annotated[date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]


class Body(BaseModel):
    """Exactly the fields that are named, of exactly their types."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        alias_generator=to_camel,
    )

    def given(self) -> dict[str, Any]:
        """The fields that the body had."""
        return self.model_dump(exclude_unset=True)


def _when(field: str, value: str, **others: Any) -> dict[str, Any]:
    """The schema of bodies where one field decides about others."""
    return {"properties": {field: {"const": value}, **others}}


#: What the validators below say, for the OpenAPI document.
_PAIRS: list[Any] = [
    {
        "oneOf": [
            _when("scope", "TENANT", branchId={"type": "null"}),
            {**_when("scope", "BRANCH", branchId={"type": "string"}), "required": ["branchId"]},
        ]
    },
    {
        "oneOf": [
            _when("durationType", kind, durationValue={"maximum": most})
            for kind, most in terms.LONGEST.items()
        ]
    },
]


class NewPlan(Body):
    """A plan to be sold in all branches (TENANT) or in one (BRANCH)."""

    model_config = ConfigDict(json_schema_extra={"allOf": _PAIRS})

    scope: Scope
    branch_id: Id | None = Field(default=None, validate_default=True)
    name: Name
    description: Description | None = None
    duration_type: terms.DurationType
    duration_value: int = Field(ge=1, le=max(terms.LONGEST.values()))
    price: PriceIn
    currency: Currency | None = Field(default=None, description="The tenant's, if absent.")
    max_freeze_days: FreezeDays | None = None
    auto_renew: bool = False
    sort_order: SortOrder | None = None

    @field_validator("branch_id")
    @classmethod
    def _agrees(cls, value: str | None, info: ValidationInfo) -> str | None:
        scope = info.data.get("scope")
        if scope == "TENANT" and value is not None:
            raise ValueError("must be absent for a plan of scope TENANT")
        if scope == "BRANCH" and value is None:
            raise ValueError("is required for a plan of scope BRANCH")
        return value

    @field_validator("duration_value")
    @classmethod
    def _fits(cls, value: int, info: ValidationInfo) -> int:
        kind: terms.DurationType | None = info.data.get("duration_type")
        if kind is not None and not terms.fits(kind, value):
            raise ValueError(f"must be from 1 to {terms.LONGEST[kind]} {kind}")
        return value


def _absent() -> Any:
    """No default that a schema would show: what is absent stays as it is."""
    return None


class PlanChange(Body):
    """What changes. Scope, branch and duration of a plan never do."""

    name: Name = Field(default_factory=_absent)
    description: Description | None = Field(default_factory=_absent)
    price: PriceIn = Field(default_factory=_absent)
    currency: Currency = Field(default_factory=_absent)
    max_freeze_days: FreezeDays | None = Field(default_factory=_absent)
    auto_renew: bool = Field(default_factory=_absent)
    sort_order: SortOrder | None = Field(default_factory=_absent)


class NewMember(Body):
    """Somebody who buys a plan in a branch."""

    membership_plan_id: Id
    branch_id: Id
    membership_start_date: Day | None = Field(default=None, description="Today, if absent.")
    membership_price_at_purchase: PriceIn | None = Field(
        default=None, description="The plan's price, if absent."
    )


# -- answers ------------------------------------------------------------------------------------


def _utc(value: datetime) -> datetime:
    """SQLite's moments have no offset; they are in UTC."""
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Moment = Annotated[datetime, AfterValidator(_utc)]


class Answer(BaseModel):
    model_config = ConfigDict(
        from_attributes=True,
        alias_generator=to_camel,
        populate_by_name=True,
    )


class Plan(Answer):
    """A plan."""

    id: str
    tenant_id: str
    scope: Scope
    branch_id: str | None
    name: str
    description: str | None
    duration_type: terms.DurationType
    duration_value: int
    price: PriceOut
    currency: str
    max_freeze_days: int | None
    auto_renew: bool
    status: Status
    sort_order: int | None
    created_at: Moment
    updated_at: Moment


class CountedPlan(Plan):
    """A plan and how many of its members are ACTIVE and have not ended."""

    active_member_count: int


class Pagination(Answer):
    page: int
    limit: int
    total: int
    total_pages: int


class PlanPage(Answer):
    """A page of the list; `activeMemberCount` only with `includeMemberCount`."""

    data: list[CountedPlan | Plan]
    pagination: Pagination


class Member(Answer):
    """A member, and when the membership ends."""

    id: str
    tenant_id: str
    branch_id: str | None
    membership_plan_id: str | None
    status: str
    membership_start_date: date | None
    membership_end_date: date | None
    membership_price_at_purchase: PriceOut | None


class Branch(Answer):
    """A branch of a tenant."""

    id: str
    name: str
    is_active: bool


def branch(row: Any) -> Branch:
    return Branch.model_validate(row)


def plan(row: Any) -> Plan:
    """A row of the plans, as an answer."""
    return Plan.model_validate(row)


def counted_plan(row: Any, members: int) -> CountedPlan:
    return CountedPlan.model_validate({**row._mapping, "active_member_count": members})


def member(row: Any) -> Member:
    return Member.model_validate(row)


def plan_page(
    rows: Sequence[Any], counts: Mapping[str, int] | None, page: int, limit: int, total: int
) -> PlanPage:
    """A page of the list, with the members of each plan where they were counted."""
    data = [plan(r) if counts is None else counted_plan(r, counts.get(r.id, 0)) for r in rows]
    pages = -(-total // limit)
    return PlanPage(
        data=data, pagination=Pagination(page=page, limit=limit, total=total, total_pages=pages)
    )
