"""Work for exactly one worker: a lease on rows, with a token that fences off late ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from onerow.sql import comma
from onerow.write.binding import Bound
from onerow.write.errors import LostClaim, NotFound, WriteError
from onerow.write.flow import Ask, Flow
from onerow.write.run import bound_for, dialect_of, drive, flush, is_session
from onerow.write.statements import Statements
from onerow.write.verbs import as_singleton

COLUMNS = ("claimed_by", "claimed_until", "claim_token")


@dataclass(frozen=True, slots=True)
class Lease:
    """The three columns of a claim, and the clock they are kept by."""

    statements: Statements
    owner: sa.Column[Any]
    until: sa.Column[Any]
    token: sa.Column[Any]

    @classmethod
    def of(cls, session: Any, source: Any, columns: Sequence[Any]) -> Lease:
        bound = bound_for(session, as_singleton(source))
        if not bound.primary:
            raise WriteError(f"{bound.table.name} has no primary key to claim rows by.")
        orm = is_session(session) and bound.entity is not None
        owner, until, token = (bound.column(c) for c in columns)
        return cls(Statements(bound, dialect_of(session, bound.table), orm), owner, until, token)

    @property
    def bound(self) -> Bound:
        return self.statements.bound

    def now(self, ahead: timedelta = timedelta()) -> Any:
        """The server's clock where there is a server: workers' clocks differ."""
        aware = bool(getattr(self.until.type, "timezone", False))
        if self.statements.dialect != "postgresql":
            now = datetime.now(UTC) + ahead
            return now if aware else now.replace(tzinfo=None)
        clock: Any = sa.func.clock_timestamp(type_=sa.DateTime(timezone=True))
        return (clock if aware else sa.func.timezone("UTC", clock)) + ahead

    def taken(self, lease: timedelta) -> dict[Any, Any]:
        return {self.until: self.now(lease)}

    def free(self) -> Any:
        return sa.or_(self.until.is_(None), self.until <= self.now())

    def same(self, row: Any, token: int) -> tuple[Any, ...]:
        """This row, still under this token."""
        values = self._identity(row)
        return (*(c == values[c.name] for c in self.bound.primary), self.token == token)

    def _identity(self, row: Any) -> dict[str, Any]:
        if isinstance(row, Mapping):
            return self.bound.values(row)
        if isinstance(row, sa.Row):
            return {c.name: row._mapping[c.name] for c in self.bound.primary}
        mapper = self.bound.mapper
        if mapper is not None and isinstance(row, mapper.class_):
            return {
                c.name: getattr(row, mapper.get_property_by_column(c).key)
                for c in self.bound.primary
            }
        if len(self.bound.primary) == 1:
            return {self.bound.primary[0].name: row}
        names = comma(c.name for c in self.bound.primary)
        raise WriteError(f"A row of {self.bound.table.name} is named by {names}.")

    def update(self, where: Any, values: Mapping[Any, Any]) -> Any:
        table = self.bound.table
        update = sa.update(table).where(*where).values(dict(values))
        return self.statements._loaded(update.returning(*table.columns))


def claim(
    session: Session | Connection,
    source: Any,
    *,
    owner: str,
    lease: timedelta = timedelta(minutes=5),
    limit: int = 1,
    where: Any = None,
    order_by: Any = None,
    set: Mapping[Any, Any] | None = None,
    columns: Sequence[Any] = COLUMNS,
) -> list[Any]:
    """Take rows that nobody has, for as long as the lease.

    Rows that another transaction is just taking are skipped, not waited for (PostgreSQL's SKIP
    LOCKED; SQLite has one writer). Each claim raises the row's token: give it to `renew` and
    `release`, and a worker that was too slow is refused.

    Args:
        session: Session or Connection; commit soon, the claim counts from then.
        source: model, Table or Key.
        owner: who claims, such as ``host:pid``.
        lease: until when, by the server's clock.
        limit: how many rows at most.
        where: which rows: SQL text or a SQLAlchemy clause.
        order_by: which first: a column, clause, or list of them; the primary key if absent.
        set: further columns to set, such as ``{"status": "running"}``.
        columns: names of the owner, until and token columns.

    Returns:
        list: the rows, instances for a model in a Session; empty when there is nothing to do.
    """
    flush(session)
    held = Lease.of(session, source, columns)
    flow = _claim(held, owner, lease, limit, where, order_by, set or {})
    return drive(session, flow, held.bound.table)


def _claim(
    held: Lease,
    owner: str,
    lease: timedelta,
    limit: int,
    where: Any,
    order_by: Any,
    more: Mapping[Any, Any],
) -> Flow[list[Any]]:
    bound = held.bound
    primary = bound.primary
    order = order_by if isinstance(order_by, (list, tuple)) else [order_by]
    wanted = sa.text(where) if isinstance(where, str) else where
    pick: Any = sa.select(*primary).where(held.free())
    if wanted is not None:
        pick = pick.where(wanted)
    pick = pick.order_by(*(o for o in order if o is not None), *primary).limit(limit)
    values = {
        **{bound.column(n): v for n, v in more.items()},
        **held.taken(lease),
        held.owner: owner,
        held.token: sa.func.coalesce(held.token, 0) + 1,
    }
    if held.statements.dialect == "postgresql":
        # A CTE is evaluated once; a sub-select with LIMIT in IN may be evaluated per row.
        picked = pick.with_for_update(skip_locked=True).cte("picked")
        here = [c == picked.c[c.name] for c in primary]
    else:
        here = [primary[0].in_(pick) if len(primary) == 1 else sa.tuple_(*primary).in_(pick)]
    answer = yield Ask(held.update(here, values))
    return [held.statements.pick(row) for row in answer.rows]


def renew(
    session: Session | Connection,
    source: Any,
    row: Any,
    *,
    token: int,
    lease: timedelta = timedelta(minutes=5),
    columns: Sequence[Any] = COLUMNS,
) -> Any:
    """Keep a claim for longer.

    Args:
        session: Session or Connection.
        source: model, Table or Key.
        row: the claimed row, its primary key, or a mapping of it.
        token: of the claim.
        lease: from now on.
        columns: as for `claim`.

    Returns:
        the row.

    Raises:
        LostClaim: another worker has it, or it was given back.
        NotFound: the row is gone.
    """
    flush(session)
    held = Lease.of(session, source, columns)
    values = held.taken(lease)
    return drive(session, _keep(held, row, token, values), held.bound.table)


def release(
    session: Session | Connection,
    source: Any,
    row: Any,
    *,
    token: int,
    set: Mapping[Any, Any] | None = None,
    columns: Sequence[Any] = COLUMNS,
) -> Any:
    """End a claim, with what the work came to: ``set={"status": "completed"}``.

    A late worker's completion is refused, whatever it wanted to write.

    Args:
        session: Session or Connection.
        source, row, token, columns: as for `renew`.
        set: columns to set with it.

    Returns:
        the row.

    Raises:
        LostClaim: another worker has it, or it was given back.
        NotFound: the row is gone.
    """
    flush(session)
    held = Lease.of(session, source, columns)
    more = {held.bound.column(n): v for n, v in (set or {}).items()}
    values = {**more, held.until: None, held.owner: None}
    return drive(session, _keep(held, row, token, values), held.bound.table)


def _keep(held: Lease, row: Any, token: int, values: Mapping[Any, Any]) -> Flow[Any]:
    same = [*held.same(row, token), held.owner.is_not(None)]
    answer = yield Ask(held.update(same, values))
    if answer.rows:
        return held.statements.pick(answer.row)
    found = yield Ask(held.statements._select(sa.and_(*held.same(row, token)[:-1]), {}))
    if not found.rows:
        raise NotFound(f"The claimed row of {held.bound.table.name} is gone.")
    raise LostClaim(
        f"The claim on this row of {held.bound.table.name} is another worker's or was given back.",
        row=held.statements.pick(found.row),
        expected={held.token.name: token},
    )
