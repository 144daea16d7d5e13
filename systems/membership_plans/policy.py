"""Who may do what, and the answer to somebody who may not. Pure."""

from __future__ import annotations

from typing import Any

from systems.membership_plans.claims import Claims
from systems.shared.web.errors import Detail, Fault

NAME_TAKEN = "An ACTIVE plan with the same name already exists for this scope."
CANNOT_RESTORE = (
    "Cannot restore plan: an ACTIVE plan with the same name already exists for this scope."
)
ALREADY_ACTIVE = "The plan is already active."
HAS_MEMBERS = "The plan has members and cannot be deleted; archive it instead."
NO_SUCH_BRANCH = "There is no such branch."
FOREIGN_BRANCH = "The branch belongs to another tenant."
NOT_FOR_SALE = "The plan is not for sale here: it must be ACTIVE, of all branches or of this one."


def refused(status: int, message: str, field: str = "") -> Fault:
    """An answer about a field, or about the whole request."""
    return Fault(status, message, details=[Detail(field=field, message=message)] if field else ())


def may_change_plans(caller: Claims) -> None:
    if caller.role != "ADMIN":
        raise refused(403, "Only an ADMIN may change plans.")


def may_have_members_of(caller: Claims, branch: str | None) -> None:
    if caller.role != "ADMIN" and (branch is None or branch != caller.branch_id):
        raise refused(403, "STAFF may see and add members of their own branch only.")


def own(caller: Claims, row: Any, what: str) -> Any:
    """A row of the caller's tenant: 404 when there is none, 403 for another tenant's."""
    if row is None:
        raise refused(404, f"There is no such {what}.")
    if row.tenant_id != caller.tenant_id:
        raise refused(403, f"The {what} belongs to another tenant.")
    return row


def own_branch(caller: Claims, tenant: str | None, *, foreign: int = 403) -> None:
    """Refuse a branch by whose it is: 400 for nobody's, `foreign` for another tenant's."""
    if tenant is None:
        raise refused(400, NO_SUCH_BRANCH, "branchId")
    if tenant != caller.tenant_id:
        told = FOREIGN_BRANCH if foreign == 403 else NO_SUCH_BRANCH
        raise refused(foreign, told, "branchId")


def may_sell(plan: Any, caller: Claims, branch: str) -> None:
    """A plan for a member of a branch. Of another tenant's plan no more is told than of none."""
    sold = (
        plan is not None
        and plan.tenant_id == caller.tenant_id
        and plan.status == "ACTIVE"
        and plan.branch_id in (None, branch)
    )
    if not sold:
        raise refused(400, NOT_FOR_SALE, "membershipPlanId")


def may_be_restored(status: str) -> None:
    if status == "ACTIVE":
        raise refused(400, ALREADY_ACTIVE)
