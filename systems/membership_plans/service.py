"""What the calls do, each in one transaction, whichever writer there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from onerow import Retry, conflict_of, transactional
from systems.membership_plans import policy, store, terms
from systems.membership_plans.claims import Claims
from systems.membership_plans.models import NewMember, NewPlan, PlanChange
from systems.membership_plans.policy import refused
from systems.membership_plans.store import Row, Wanted
from systems.membership_plans.writers import NameTaken, Writer
from systems.shared.web.errors import Fault

P = ParamSpec("P")
T = TypeVar("T")


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Service:
    """The application without HTTP.

    Attributes:
        now: the clock; days are those of UTC.
    """

    sessions: sessionmaker[Session]
    writer: Writer
    now: Callable[[], datetime] = _now
    retry: Retry = field(default_factory=lambda: Retry(attempts=8, budget=8.0))

    # -- reading --------------------------------------------------------------------------------

    def listed(self, caller: Claims, wanted: Wanted) -> tuple[Sequence[Row], int]:
        return self._read(self._listed, caller, wanted)

    def active(self, caller: Claims, branch: str | None) -> Sequence[Row]:
        return self._read(self._active, caller, branch)

    def plan(self, caller: Claims, own: str) -> Row:
        return self._read(self._plan, caller, own)

    def member(self, caller: Claims, own: str) -> Row:
        return self._read(self._member, caller, own)

    def branches(self, caller: Claims) -> Sequence[Row]:
        return self._read(store.branches, self._tables, caller.tenant_id)

    def active_members(self, plans: Sequence[Row]) -> dict[str, int]:
        ids = [p.id for p in plans]
        return self._read(store.active_members, self._tables, ids, self._today)

    # -- writing --------------------------------------------------------------------------------

    def create(self, caller: Claims, body: NewPlan) -> Row:
        with _name(refused(409, policy.NAME_TAKEN, "name")):
            return self._write(self._create, caller, body)

    def change(self, caller: Claims, own: str, body: PlanChange) -> Row:
        with _name(refused(409, policy.NAME_TAKEN, "name")):
            return self._write(self._change, caller, own, body)

    def archive(self, caller: Claims, own: str) -> tuple[Row, int]:
        return self._write(self._archive, caller, own)

    def restore(self, caller: Claims, own: str) -> Row:
        with _name(refused(400, policy.CANNOT_RESTORE)):
            return self._write(self._restore, caller, own)

    def delete(self, caller: Claims, own: str) -> None:
        with _in_use():
            self._write(self._delete, caller, own)

    def enrol(self, caller: Claims, body: NewMember) -> Row:
        return self._write(self._enrol, caller, body)

    # -- in a transaction -----------------------------------------------------------------------

    def _listed(
        self, session: Session, caller: Claims, wanted: Wanted
    ) -> tuple[Sequence[Row], int]:
        self._filter(session, caller, wanted.branch)
        return store.listed(session, self._tables, caller.tenant_id, wanted)

    def _active(self, session: Session, caller: Claims, branch: str | None) -> Sequence[Row]:
        self._filter(session, caller, branch)
        return store.active(session, self._tables, caller.tenant_id, branch)

    def _filter(self, session: Session, caller: Claims, branch: str | None) -> None:
        if branch is not None:
            found = store.branch(session, self._tables, branch)
            policy.own_branch(caller, found.tenant_id if found else None, foreign=400)

    def _plan(self, session: Session, caller: Claims, own: str) -> Row:
        found: Row = policy.own(caller, store.plan(session, self._tables, own), "plan")
        return found

    def _member(self, session: Session, caller: Claims, own: str) -> Row:
        found: Row = policy.own(caller, store.member(session, self._tables, own), "member")
        policy.may_have_members_of(caller, found.branch_id)
        return found

    def _create(self, session: Session, caller: Claims, body: NewPlan) -> Row:
        currency = self._place(session, caller, body.branch_id)
        at = self.now()
        values = body.model_dump() | {
            "id": str(uuid4()),
            "tenant_id": caller.tenant_id,
            "currency": body.currency or currency,
            "status": "ACTIVE",
            "created_at": at,
            "updated_at": at,
        }
        return self.writer.create(session, values)

    def _place(self, session: Session, caller: Claims, branch: str | None) -> str:
        """The tenant's currency; refuses a branch that is not the tenant's."""
        found = store.place(session, self._tables, caller.tenant_id, branch)
        if found is None:
            raise refused(403, "The token's tenant is not known here.")
        if branch is not None:
            policy.own_branch(caller, found.branch_of)
        currency: str = found.default_currency
        return currency

    def _change(self, session: Session, caller: Claims, own: str, body: PlanChange) -> Row:
        row = self._plan(session, caller, own)
        changes = {n: v for n, v in body.given().items() if row._mapping[n] != v}
        if not changes:
            return row
        return self.writer.change(session, row, {**changes, "updated_at": self.now()})

    def _archive(self, session: Session, caller: Claims, own: str) -> tuple[Row, int]:
        row = self.writer.archive(session, self._plan(session, caller, own), self.now())
        counts = store.active_members(session, self._tables, [own], self._today)
        return row, counts.get(own, 0)

    def _restore(self, session: Session, caller: Claims, own: str) -> Row:
        row = self._plan(session, caller, own)
        policy.may_be_restored(row.status)
        restored = self.writer.restore(session, row, self.now())
        if restored is None:
            raise refused(400, policy.ALREADY_ACTIVE)
        return restored

    def _delete(self, session: Session, caller: Claims, own: str) -> None:
        self._plan(session, caller, own)
        store.delete_plan(session, self._tables, own)

    def _enrol(self, session: Session, caller: Claims, body: NewMember) -> Row:
        branch = body.branch_id
        policy.may_have_members_of(caller, branch)
        self._place(session, caller, branch)
        plan = store.plan_to_sell(session, self._tables, body.membership_plan_id)
        policy.may_sell(plan, caller, branch)
        assert plan is not None
        start = body.membership_start_date or self._today
        price = body.membership_price_at_purchase
        return store.add_member(
            session,
            self._tables,
            {
                "id": str(uuid4()),
                "tenant_id": caller.tenant_id,
                "branch_id": branch,
                "membership_plan_id": plan.id,
                "status": "ACTIVE",
                "membership_start_date": start,
                "membership_end_date": terms.end_date(
                    start, plan.duration_type, plan.duration_value
                ),
                "membership_price_at_purchase": plan.price if price is None else price,
            },
        )

    # -- around it ------------------------------------------------------------------------------

    @property
    def _tables(self) -> Any:
        return self.writer.tables

    @property
    def _today(self) -> date:
        return self.now().date()

    def _read(
        self, work: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        run = transactional(self.sessions, retry=self.retry, read_only=True)
        return run(work)(*args, **kwargs)

    def _write(
        self, work: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return transactional(self.sessions, retry=self.retry)(work)(*args, **kwargs)


@contextmanager
def _name(taken: Fault) -> Iterator[None]:
    """What is answered when the name is taken, whoever found out."""
    try:
        yield
    except NameTaken:
        raise taken from None
    except sa.exc.DBAPIError as error:
        conflict = conflict_of(error)
        if conflict is None or conflict.kind != "unique":
            raise
        raise taken from error


@contextmanager
def _in_use() -> Iterator[None]:
    """The foreign key of the members knows best whether a plan has any."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        conflict = conflict_of(error)
        if conflict is None or conflict.kind != "foreign_key":
            raise
        raise refused(400, policy.HAS_MEMBERS) from error
