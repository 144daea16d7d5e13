"""Operations done once: a row in the same transaction as the effect says that it was done.

It answers what nobody else can: whether a write whose COMMIT was cut off is there. The
Idempotency-Key middleware and the spool lean on it.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.schema import CreateTable

from onerow.sql import literal
from onerow.write.errors import Contended, InFlight, OperationReused
from onerow.write.flow import Ask, Flow
from onerow.write.retry import mark_operation
from onerow.write.run import dialect_of, drive, flush
from onerow.write.transient import transient_of

metadata = sa.MetaData()
operations = sa.Table(
    "onerow_operations",
    metadata,
    sa.Column("op_id", sa.Text, primary_key=True),
    sa.Column("fingerprint", sa.Text),
    sa.Column("result", sa.Text),
    sa.Column(
        "created_at",
        sa.DateTime(timezone=True),
        nullable=False,
        server_default=sa.func.current_timestamp(),
    ),
)
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Fresh:
    """The operation has not been done: do it now, in this transaction.

    Attributes:
        op_id: its id.
    """

    op_id: str
    _session: Any = field(repr=False)
    replay: bool = field(default=False, init=False)

    def store(self, result: Any) -> None:
        """Keep the result (anything that JSON can hold) for replays; before the COMMIT."""
        drive(self._session, store_flow(self.op_id, result))


@dataclass(frozen=True, slots=True)
class Replay:
    """The operation was done before.

    Attributes:
        op_id: its id.
        result: what was stored then, or None.
    """

    op_id: str
    result: Any = None
    replay: bool = field(default=True, init=False)


def operation(
    session: Session | Connection, op_id: str, fingerprint: str | None = None, *, wait: bool = True
) -> Fresh | Replay:
    """Claim an operation in this transaction, or learn that it was done.

    Args:
        session: Session or Connection; the row is committed, or not, with the effect.
        op_id: the id that the caller chose, once per intent.
        fingerprint: of the content; another one under the same id is refused.
        wait: when the same operation is running elsewhere, wait for its end; else `InFlight`
            (PostgreSQL; SQLite has one writer, which is always waited for).

    Returns:
        Fresh | Replay: `.replay` tells them apart.

    Raises:
        OperationReused: the id was used with another fingerprint.
        InFlight: it is running elsewhere, and `wait` is false.
    """
    flush(session)
    found = drive(session, claim_flow(op_id, fingerprint, wait, dialect_of(session)))
    mark_operation(session)
    return Fresh(op_id, session) if found is None else found


def claim_flow(
    op_id: str, fingerprint: str | None, wait: bool, dialect: str
) -> Flow[Replay | None]:
    """None when the operation is ours to do."""
    if not wait and dialect == "postgresql":
        yield from _refuse_in_flight(op_id)
    t = operations.c
    for _ in range(ROUNDS):
        claimed = yield Ask(_insert(dialect), {"op_id": op_id, "fingerprint": fingerprint})
        if claimed.rows:
            return None
        select = sa.select(t.fingerprint, t.result).where(t.op_id == sa.bindparam("op"))
        found = yield Ask(select, {"op": op_id})
        if found.rows:
            known, result = found.row
            if fingerprint is not None and known is not None and known != fingerprint:
                raise OperationReused(f"Operation {op_id!r} was used before, with other content.")
            return Replay(op_id, None if result is None else json.loads(result))
    raise Contended(f"Operation {op_id!r} keeps being made and undone.")


def _refuse_in_flight(op_id: str) -> Flow[None]:
    name: sa.ColumnElement[str] = sa.literal_column(literal("onerow.operation:"))
    key = sa.func.hashtextextended(name + sa.bindparam("op", type_=sa.Text), 0)
    answer = yield Ask(sa.select(sa.func.pg_try_advisory_xact_lock(key)), {"op": op_id})
    if not answer.row[0]:
        raise InFlight(f"Operation {op_id!r} is running.")


def _insert(dialect: str) -> Any:
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as postgresql_insert

        insert: Any = postgresql_insert(operations)
    else:
        from sqlalchemy.dialects.sqlite import insert as sqlite_insert

        insert = sqlite_insert(operations)
    t = operations.c
    return insert.on_conflict_do_nothing(index_elements=[t.op_id]).returning(t.op_id)


def store_flow(op_id: str, result: Any) -> Flow[None]:
    update = sa.update(operations).where(operations.c.op_id == sa.bindparam("op"))
    text = json.dumps(result, separators=(",", ":"))
    yield Ask(update.values(result=sa.bindparam("kept")), {"op": op_id, "kept": text})


PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 0.0)  #: seconds after each try to make the table


def create_tables(bind: Engine | Connection) -> None:
    """Make the table of operations if it is not there; several processes may do it at once.

    Args:
        bind: an Engine or a Connection; for an Alembic revision see `onerow.write.alembic`.
    """
    if isinstance(bind, Connection):
        create_in(bind)
        return
    for pause in PAUSES:
        try:
            with bind.begin() as connection:
                create_in(connection)
            return
        except DBAPIError as exc:
            if not may_try_again(exc, pause):
                raise
        time.sleep(pause)


def create_in(connection: Connection) -> None:
    """Make the table in a transaction of the caller's."""
    if connection.dialect.name == "postgresql":
        if sa.inspect(connection).has_table(operations.name):
            return  # IF NOT EXISTS would ask for the right to create all the same
        # Two at once can break on the catalog's own unique index.
        lock = sa.func.pg_advisory_xact_lock(sa.func.hashtext(operations.name))
        connection.execute(sa.select(lock))
    connection.execute(CreateTable(operations, if_not_exists=True))


def may_try_again(exc: DBAPIError, pause: float) -> bool:
    """On SQLite a transaction that has read cannot write once a faster one has (SQLITE_BUSY)."""
    return pause > 0 and transient_of(exc) is not None


def purge_operations(session: Session | Connection, older_than: timedelta) -> int:
    """Forget operations that nobody will repeat any more.

    Args:
        session: Session or Connection.
        older_than: age of what is forgotten; longer than any client or spool keeps retrying.

    Returns:
        int: how many were forgotten.
    """
    if dialect_of(session) == "postgresql":
        past: Any = sa.func.now() - older_than
    else:
        past = sa.func.datetime("now", f"-{int(older_than.total_seconds())} seconds")
    delete = sa.delete(operations).where(operations.c.created_at < past)
    return drive(session, _count(delete))


def _count(statement: Any) -> Flow[int]:
    answer = yield Ask(statement)
    return answer.count
