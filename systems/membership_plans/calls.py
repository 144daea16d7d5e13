"""The calls under /api/v1."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response, Security
from fastapi.security import HTTPAuthorizationCredentials
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from starlette.requests import Request

from systems.membership_plans import models, names, policy
from systems.membership_plans.answers import FORM
from systems.membership_plans.claims import Claims
from systems.membership_plans.models import (
    Branch,
    CountedPlan,
    Member,
    NewMember,
    NewPlan,
    Plan,
    PlanChange,
    PlanPage,
)
from systems.membership_plans.requests import ExactRoute
from systems.membership_plans.service import Service
from systems.membership_plans.store import Wanted
from systems.shared.web.session import BEARER, IN_COOKIE, SignedIn

PREFIX = "/api/v1"
PLANS = "/membership-plans"

router = APIRouter(prefix=PREFIX, route_class=ExactRoute, tags=["membership plans"])

Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)]
Cookie = Annotated[str | None, Security(IN_COOKIE)]
PlanId = Annotated[str, Path(alias="planId")]
MemberId = Annotated[str, Path(alias="memberId")]


# On the event loop, all of them: a thread would cost more than they do.
async def signed_in(request: Request, bearer: Bearer, cookie: Cookie) -> Claims:
    check: SignedIn[Claims] = request.app.state.signed_in
    return await check(request, bearer, cookie)


async def an_admin(caller: Annotated[Claims, Depends(signed_in)]) -> Claims:
    policy.may_change_plans(caller)
    return caller


async def the_service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Asking = Annotated[Claims, Depends(signed_in)]
Admin = Annotated[Claims, Depends(an_admin)]
Plans = Annotated[Service, Depends(the_service)]


class ListQuery(BaseModel):
    """What the list may be asked for."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True)

    page: int = Field(default=1, ge=1)
    limit: int = Field(default=20, ge=1, le=100)
    scope: models.Scope | None = None
    branch_id: str | None = None
    status: models.Status | None = None
    q: Annotated[
        str | None,
        Field(max_length=names.LONGEST, description="Part of the name, in any case."),
        AfterValidator(lambda text: text and names.cleaned(text)),
    ] = None
    include_archived: bool = Field(default=False, description="Without `status`: both of them.")
    include_member_count: bool = False

    @property
    def wanted(self) -> Wanted:
        return Wanted(
            self.page,
            self.limit,
            self.scope,
            self.branch_id,
            self.status,
            self.q,
            self.include_archived,
        )


Responses = dict[int | str, dict[str, Any]]


def _then(status: int, told: str, *calls: str, on: str = "planId") -> Responses:
    """An answer, and the calls that go on with what was answered; fuzzers follow them, too."""
    known = {on: "$response.body#/id"}
    links = {c: {"operationId": c, "parameters": known} for c in calls}
    return {status: {"description": told, "links": links}}


_AFTER_CREATE = _then(
    201, "Made", "getPlan", "changePlan", "archivePlan", "restorePlan", "deletePlan"
)
_AFTER_ARCHIVE = _then(200, "Archived", "restorePlan", "deletePlan")
_AFTER_RESTORE = _then(200, "Restored", "archivePlan")
_AFTER_ENROL = _then(201, "Added", "getMember", on="memberId")


@router.get(PLANS, operation_id="listPlans", responses=FORM.documented())
def list_plans(caller: Asking, plans: Plans, query: Annotated[ListQuery, Query()]) -> PlanPage:
    """Plans of the tenant, by sortOrder and then by age."""
    rows, total = plans.listed(caller, query.wanted)
    counts = plans.active_members(rows) if query.include_member_count else None
    return models.plan_page(rows, counts, query.page, query.limit, total)


@router.get(PLANS + "/active", operation_id="activePlans", responses=FORM.documented())
def active_plans(
    caller: Asking, plans: Plans, branch_id: Annotated[str | None, Query(alias="branchId")] = None
) -> list[Plan]:
    """What can be sold: TENANT plans, and the branch's own when one is given."""
    return [models.plan(row) for row in plans.active(caller, branch_id)]


@router.get(PLANS + "/{planId}", operation_id="getPlan", responses=FORM.documented(404))
def get_plan(caller: Asking, plans: Plans, plan_id: PlanId) -> Plan:
    """A plan of the tenant."""
    return models.plan(plans.plan(caller, plan_id))


@router.post(
    PLANS,
    operation_id="createPlan",
    status_code=201,
    responses={**FORM.documented(409), **_AFTER_CREATE},
)
def create_plan(caller: Admin, plans: Plans, body: NewPlan) -> Plan:
    """Sell a plan. One ACTIVE plan per name, whatever its case, in a tenant or in a branch."""
    return models.plan(plans.create(caller, body))


@router.patch(PLANS + "/{planId}", operation_id="changePlan", responses=FORM.documented(404, 409))
def change_plan(caller: Admin, plans: Plans, plan_id: PlanId, body: PlanChange) -> Plan:
    """Change what may change; scope, branch and duration never do."""
    return models.plan(plans.change(caller, plan_id, body))


@router.post(
    PLANS + "/{planId}/archive",
    operation_id="archivePlan",
    responses={**FORM.documented(404), **_AFTER_ARCHIVE},
)
def archive_plan(caller: Admin, plans: Plans, plan_id: PlanId) -> CountedPlan:
    """Sell it no more. A plan that is archived already stays as it is."""
    row, members = plans.archive(caller, plan_id)
    return models.counted_plan(row, members)


@router.post(
    PLANS + "/{planId}/restore",
    operation_id="restorePlan",
    responses={**FORM.documented(404), **_AFTER_RESTORE},
)
def restore_plan(caller: Admin, plans: Plans, plan_id: PlanId) -> Plan:
    """Sell it again; 400 when it is active, or an active plan has its name by now."""
    return models.plan(plans.restore(caller, plan_id))


@router.delete(
    PLANS + "/{planId}",
    operation_id="deletePlan",
    status_code=204,
    responses=FORM.documented(404),
)
def delete_plan(caller: Admin, plans: Plans, plan_id: PlanId) -> Response:
    """Delete a plan that no member has ever had."""
    plans.delete(caller, plan_id)
    return Response(status_code=204)


@router.get("/branches", operation_id="listBranches", responses=FORM.documented())
def list_branches(caller: Asking, plans: Plans) -> list[Branch]:
    """The branches of the tenant, by name."""
    return [models.branch(row) for row in plans.branches(caller)]


@router.post(
    "/members",
    operation_id="addMember",
    status_code=201,
    responses={**FORM.documented(), **_AFTER_ENROL},
    tags=["members"],
)
def add_member(caller: Asking, plans: Plans, body: NewMember) -> Member:
    """Sell a plan to somebody; STAFF in their own branch only."""
    return models.member(plans.enrol(caller, body))


@router.get(
    "/members/{memberId}",
    operation_id="getMember",
    responses=FORM.documented(404),
    tags=["members"],
)
def get_member(caller: Asking, plans: Plans, member_id: MemberId) -> Member:
    """A member; for STAFF one of their own branch."""
    return models.member(plans.member(caller, member_id))
