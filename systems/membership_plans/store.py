"""Reading plans and members: statements over a Session, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from systems.membership_plans import names
from systems.membership_plans.tables import Tables, fold

Row = sa.Row[*tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which plans of a tenant the list shows."""

    page: int = 1
    limit: int = 20
    scope: str | None = None
    branch: str | None = None
    status: str | None = None
    q: str | None = None
    archived: bool = False

    @property
    def only(self) -> str | None:
        """The one status that is shown, if it is one."""
        return self.status or (None if self.archived else "ACTIVE")


def plan(session: Session, t: Tables, own: str) -> Row | None:
    return _by_id(session, t.plans, own)


def member(session: Session, t: Tables, own: str) -> Row | None:
    return _by_id(session, t.members, own)


def branch(session: Session, t: Tables, own: str) -> Row | None:
    return _by_id(session, t.branches, own)


def _by_id(session: Session, table: sa.Table, own: str) -> Row | None:
    # No id of ours has a NUL, and PostgreSQL takes none in a text.
    if "\0" in own:
        return None
    return session.execute(sa.select(table).where(table.c.id == own)).one_or_none()


def plan_to_sell(session: Session, t: Tables, own: str) -> Row | None:
    """A plan, kept as it is until this transaction ends (SQLite has one writer anyhow)."""
    found = sa.select(t.plans).where(t.plans.c.id == own).with_for_update(read=True)
    return session.execute(found).one_or_none()


def place(session: Session, t: Tables, tenant: str, branch: str | None) -> Row | None:
    """A tenant's currency and whose the branch is, in one look."""
    return session.execute(
        sa.select(t.tenants.c.default_currency, t.branches.c.tenant_id.label("branch_of"))
        .select_from(t.tenants.outerjoin(t.branches, t.branches.c.id == branch))
        .where(t.tenants.c.id == tenant)
    ).one_or_none()


def listed(session: Session, t: Tables, tenant: str, wanted: Wanted) -> tuple[Sequence[Row], int]:
    """A page of the plans that are wanted, and how many there are."""
    which = _which(t, tenant, wanted)
    total = session.execute(sa.select(sa.func.count()).select_from(t.plans).where(*which))
    skipped = min((wanted.page - 1) * wanted.limit, 2**62)
    found = _in_order(t, which).limit(wanted.limit).offset(skipped)
    return session.execute(found).all(), total.scalar_one()


def _which(t: Tables, tenant: str, wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    c = t.plans.c
    which = [c.tenant_id == tenant]
    if wanted.scope is not None:
        which.append(c.scope == wanted.scope)
    if wanted.branch is not None:
        which.append(c.branch_id == wanted.branch)
    if wanted.only is not None:
        which.append(c.status == wanted.only)
    if wanted.q:
        which.append(fold(c.name).contains(names.folded(wanted.q), autoescape=True))
    return which


def _in_order(t: Tables, which: Iterable[sa.ColumnElement[bool]]) -> sa.Select[Any]:
    c = t.plans.c
    order = (c.sort_order.asc().nulls_last(), c.created_at, c.id)
    return sa.select(t.plans).where(*which).order_by(*order)


def active(session: Session, t: Tables, tenant: str, branch: str | None) -> Sequence[Row]:
    """What can be sold: plans of all branches, and a branch's own when it is given."""
    c = t.plans.c
    here: list[sa.ColumnElement[bool]] = [c.branch_id.is_(None)]
    if branch is not None:
        here.append(c.branch_id == branch)
    which = (c.tenant_id == tenant, c.status == "ACTIVE", sa.or_(*here))
    return session.execute(_in_order(t, which)).all()


def active_members(
    session: Session, t: Tables, plans: Sequence[str], today: date
) -> dict[str, int]:
    """How many members each plan has that are ACTIVE and have not ended."""
    c = t.members.c
    counted = (
        sa.select(c.membership_plan_id, sa.func.count())
        .where(
            c.membership_plan_id.in_(plans), c.status == "ACTIVE", c.membership_end_date >= today
        )
        .group_by(c.membership_plan_id)
    )
    return {row[0]: row[1] for row in session.execute(counted)}


def branches(session: Session, t: Tables, tenant: str) -> Sequence[Row]:
    """The branches of a tenant, by name."""
    c = t.branches.c
    found = sa.select(t.branches).where(c.tenant_id == tenant).order_by(c.name, c.id)
    return session.execute(found).all()


def delete_plan(session: Session, t: Tables, own: str) -> None:
    """Delete a plan; the database refuses when a member has it."""
    session.execute(sa.delete(t.plans).where(t.plans.c.id == own))


def add_member(session: Session, t: Tables, values: Mapping[str, Any]) -> Row:
    return session.execute(sa.insert(t.members).values(values).returning(*t.members.c)).one()
