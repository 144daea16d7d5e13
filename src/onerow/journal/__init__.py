"""The record of what was done, in the database that it was done to.

On PostgreSQL it is the schema `onerow`, on SQLite tables named `onerow_…`. An entry commits in the
same transaction as what it records, wherever the engine allows; where it does not, the intent is
written first and the catalog tells afterwards.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from onerow.database import run
from onerow.dialects import Operation
from onerow.errors import OnerowError
from onerow.journal.records import OPEN, TRANSITIONS, OperationRecord, RunRecord, StepRecord
from onerow.journal.tables import MIGRATIONS, Tables
from onerow.plan import Plan, Step
from onerow.sql import Name, literal

#: One way to the server for a batch: what it has done, and how far its step is.
_BATCH = sa.text(
    "WITH told AS (UPDATE onerow.step SET status = 'running', message = '', rows = rows + :rows,"
    " seconds = seconds + :seconds WHERE run_id = :run AND step_id = :step)"
    " INSERT INTO onerow.operation SELECT * FROM"
    " json_populate_recordset(CAST(NULL AS onerow.operation), CAST(:operations AS json))"
)


def runner_name() -> str:
    """Who runs: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


def new_run_id() -> str:
    return f"{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(4)}"


class Journal:
    """Reads and writes the record. Every method runs in the caller's transaction."""

    def __init__(self, connection: Connection, dialect: str) -> None:
        self.connection = connection
        self.dialect = dialect
        self.tables = Tables(dialect)
        self._numbers: dict[str, tuple[int, int]] = {}  #: run -> the next free ones

    # -- being there -------------------------------------------------------------------------

    def exists(self) -> bool:
        inspector = sa.inspect(self.connection)
        table = self.tables.migration
        return bool(inspector.has_table(table.name, schema=table.schema))

    def version(self) -> int:
        return self.connection.scalar(sa.select(sa.func.max(self.tables.migration.c.version))) or 0

    def create(self) -> None:
        """Makes the journal, or brings it up to this version."""
        if self.dialect == "postgresql":
            # IF NOT EXISTS still asks for CREATE on the database, so look first.
            found = self.connection.scalar(
                sa.text("SELECT 1 FROM pg_namespace WHERE nspname = 'onerow'")
            )
            if not found:
                run(self.connection, "CREATE SCHEMA onerow")
        self.tables.migration.create(self.connection, checkfirst=True)
        done = self.version()
        if done > len(MIGRATIONS):
            raise OnerowError("The journal was written by a newer onerow.", hint="Update onerow.")
        for version, migrate in enumerate(MIGRATIONS[done:], done + 1):
            migrate(self.connection, self.tables)
            self.connection.execute(self.tables.migration.insert().values(version=version))

    # -- runs --------------------------------------------------------------------------------

    def begin(self, plan: Plan) -> str:
        run_id = new_run_id()
        self.connection.execute(
            self.tables.run.insert().values(
                id=run_id,
                plan_id=plan.id,
                fingerprint=plan.fingerprint,
                plan=plan.to_json(),
                direction="apply",
                status="running",
                message="",
                runner=runner_name(),
                started_at=datetime.now(UTC),
            )
        )
        rows = [
            {
                "run_id": run_id,
                "step_id": step.id,
                "position": position,
                "kind": step.kind,
                "status": "pending",
                "rows": 0,
                "seconds": 0.0,
                "message": "",
            }
            for position, step in enumerate(plan.steps)
        ]
        self.connection.execute(self.tables.step.insert(), rows)
        return run_id

    def runs(self) -> tuple[RunRecord, ...]:
        """All runs, the newest first."""
        order = sa.desc(self.tables.run.c.started_at)
        rows = self.connection.execute(sa.select(self.tables.run).order_by(order)).mappings()
        return tuple(self._record(r) for r in rows.all())

    def run(self, run_id: str) -> RunRecord | None:
        found = self.connection.execute(
            sa.select(self.tables.run).where(self.tables.run.c.id == run_id)
        ).mappings()
        row = found.one_or_none()
        return self._record(row) if row else None

    def _record(self, row: Mapping[Any, Any]) -> RunRecord:
        step, operation = self.tables.step, self.tables.operation
        steps = self.connection.execute(
            sa.select(step).where(step.c.run_id == row["id"]).order_by(step.c.position)
        ).mappings()
        archived = self.connection.scalar(
            sa.select(sa.func.coalesce(sa.func.sum(operation.c.rows), 0)).where(
                operation.c.run_id == row["id"], operation.c.action == "deleted"
            )
        )
        return RunRecord(
            id=row["id"],
            plan_id=row["plan_id"],
            plan=Plan.from_json(row["plan"]),
            direction=row["direction"],
            status=row["status"],
            message=row["message"],
            runner=row["runner"],
            started_at=row["started_at"],
            finished_at=row["finished_at"],
            steps=tuple(
                StepRecord(
                    id=s["step_id"],
                    kind=s["kind"],
                    status=s["status"],
                    rows=s["rows"],
                    seconds=s["seconds"],
                    message=s["message"],
                )
                for s in steps
            ),
            archived=int(archived or 0),
        )

    def set_run(
        self, run_id: str, status: str, *, direction: str | None = None, message: str = ""
    ) -> None:
        """Moves a run to a status. Raises OnerowError for a move that `TRANSITIONS` lacks."""
        table = self.tables.run
        now = self.connection.scalar(sa.select(table.c.status).where(table.c.id == run_id))
        if status not in TRANSITIONS[str(now)]:
            raise OnerowError(f"Run {run_id} is {now} and cannot become {status}.")
        values: dict[str, Any] = {"status": status, "message": message}
        values["finished_at"] = None if status == "running" else datetime.now(UTC)
        if status == "running":
            values["runner"] = runner_name()
        if direction:
            values["direction"] = direction
        self.connection.execute(table.update().where(table.c.id == run_id).values(**values))

    # -- steps -------------------------------------------------------------------------------

    def set_step(
        self,
        run_id: str,
        step: Step,
        status: str,
        *,
        add_rows: int = 0,
        add_seconds: float = 0.0,
        message: str = "",
    ) -> None:
        table = self.tables.step
        self.connection.execute(
            table.update()
            .where(table.c.run_id == run_id, table.c.step_id == step.id)
            .values(
                status=status,
                rows=table.c.rows + add_rows,
                seconds=table.c.seconds + add_seconds,
                message=message,
            )
        )

    # -- archive -----------------------------------------------------------------------------

    def archives(self, run_id: str) -> dict[Name, Name]:
        """Table -> the table that holds its archived rows."""
        table = self.tables.archive
        rows = self.connection.execute(sa.select(table).where(table.c.run_id == run_id))
        schema = "onerow" if self.dialect == "postgresql" else "main"
        return {Name(r.schema_name, r.table_name): Name(schema, r.archive_name) for r in rows}

    def add_archive(self, run_id: str, table: Name) -> Name:
        """Takes down a new archive table; making it is the caller's, in the same transaction."""
        prefix = "archive" if self.dialect == "postgresql" else "onerow_archive"
        stem = f"{prefix}_{run_id.replace('-', '_')}_"
        # Those that stayed empty were dropped when the run was done.
        taken = [int(a.name.removeprefix(stem)) for a in self.archives(run_id).values()]
        name = f"{stem}{max(taken, default=0) + 1}"
        self.connection.execute(
            self.tables.archive.insert().values(
                run_id=run_id, schema_name=table.schema, table_name=table.name, archive_name=name
            )
        )
        return Name("onerow" if self.dialect == "postgresql" else "main", name)

    def pruned(self, run_id: str) -> datetime | None:
        """When the archive of a run was dropped; None where it was not."""
        if self.version() < 2:
            return None
        at = sa.select(self.tables.pruned.c.pruned_at).where(self.tables.pruned.c.run_id == run_id)
        found: datetime | None = self.connection.scalar(at)
        return found

    def prune(self, run_id: str) -> int:
        """Drops the archive tables of a run. Returns their number."""
        archives = self.archives(run_id)
        for archive in archives.values():
            run(self.connection, f"DROP TABLE {archive.sql}")
        table = self.tables.archive
        self.connection.execute(table.delete().where(table.c.run_id == run_id))
        self.connection.execute(
            self.tables.pruned.insert().values(run_id=run_id, pruned_at=datetime.now(UTC))
        )
        return len(archives)

    def drop_empty_archives(self, run_id: str) -> None:
        """Drops the archive tables of a run that nothing was put into."""
        table = self.tables.archive
        used = {o.table for o in self.operations(run_id)}
        for name, archive in self.archives(run_id).items():
            if name not in used:
                run(self.connection, f"DROP TABLE {archive.sql}")
                self.connection.execute(
                    table.delete().where(
                        table.c.run_id == run_id,
                        table.c.schema_name == name.schema,
                        table.c.table_name == name.name,
                    )
                )

    def next_numbers(self, run_id: str) -> tuple[int, int]:
        """The next free numbers of an operation and of a batch.

        Nobody else gives any while we hold the runner's lock, so they are looked up once. Those of
        a batch that was rolled back stay free.
        """
        if run_id not in self._numbers:
            c = self.tables.operation.c
            row = self.connection.execute(
                sa.select(sa.func.max(c.op), sa.func.max(c.batch)).where(c.run_id == run_id)
            ).one()
            self._numbers[run_id] = int(row[0] or 0) + 1, int(row[1] or 0) + 1
        return self._numbers[run_id]

    def add_operations(
        self,
        run_id: str,
        step: Step,
        batch: int,
        done: Iterable[tuple[int, Operation, int]],
    ) -> None:
        """Takes down (number, operation, archived rows) of a batch; those of no row stay out."""
        rows = self._rows_of(run_id, step, batch, tuple(done))
        if rows:
            self.connection.execute(self.tables.operation.insert(), rows)

    def _rows_of(
        self, run_id: str, step: Step, batch: int, done: Sequence[tuple[int, Operation, int]]
    ) -> list[dict[str, Any]]:
        self._numbers[run_id] = max((op for op, _, _ in done), default=0) + 1, batch + 1
        return [
            {
                "run_id": run_id,
                "op": op,
                "step_id": step.id,
                "batch": batch,
                "schema_name": operation.table.schema,
                "table_name": operation.table.name,
                "action": operation.action,
                "detail": operation.detail,
                "rows": count,
                "undone": False,
            }
            for op, operation, count in done
            if count
        ]

    def add_batch(
        self,
        run_id: str,
        step: Step,
        batch: int,
        done: Iterable[tuple[int, Operation, int]],
        *,
        rows: int,
        seconds: float,
    ) -> None:
        """Takes down the operations of a batch, and how far its step is with it."""
        if self.dialect == "sqlite":
            self.add_operations(run_id, step, batch, done)
            self.set_step(run_id, step, "running", add_rows=rows, add_seconds=seconds)
            return
        values = {"run": run_id, "step": step.id, "rows": rows, "seconds": seconds}
        operations = json.dumps(self._rows_of(run_id, step, batch, tuple(done)))
        self.connection.execute(_BATCH, values | {"operations": operations})

    def operations(self, run_id: str, step_id: str | None = None) -> tuple[OperationRecord, ...]:
        """Archived operations, the newest first: the order in which they are taken back."""
        table = self.tables.operation
        query = sa.select(table).where(table.c.run_id == run_id).order_by(sa.desc(table.c.op))
        if step_id:
            query = query.where(table.c.step_id == step_id)
        return tuple(
            OperationRecord(
                op=r.op,
                step_id=r.step_id,
                batch=r.batch,
                table=Name(r.schema_name, r.table_name),
                action=r.action,
                detail=r.detail,
                rows=r.rows,
                undone=bool(r.undone),
            )
            for r in self.connection.execute(query)
        )

    def forget(self, run_id: str, step_id: str, archive: str) -> None:
        """Takes what a step has archived out again: rows that it has not touched yet."""
        table = self.tables.operation
        for operation in self.operations(run_id, step_id):
            run(self.connection, f"DELETE FROM {archive} WHERE onerow_op = {operation.op}")
        self.connection.execute(
            table.delete().where(table.c.run_id == run_id, table.c.step_id == step_id)
        )

    def set_undone(self, run_id: str, op: int) -> None:
        table = self.tables.operation
        self.connection.execute(
            table.update().where(table.c.run_id == run_id, table.c.op == op).values(undone=True)
        )

    def leave_alone(self, run_id: str, op: int, rows: Mapping[str, str]) -> None:
        """Takes down rows (key as JSON -> reason) that an undo did not touch."""
        table = self.tables.left_alone
        self.connection.execute(table.delete().where(table.c.run_id == run_id, table.c.op == op))
        values = [
            {"run_id": run_id, "op": op, "key": key, "reason": reason}
            for key, reason in rows.items()
        ]
        if values:
            self.connection.execute(table.insert(), values)

    def left_alone(self, run_id: str) -> list[dict[str, Any]]:
        """`{table, key, reason}` of every row that the undo of a run left alone."""
        left, op = self.tables.left_alone, self.tables.operation
        query = (
            sa.select(op.c.schema_name, op.c.table_name, left.c.key, left.c.reason)
            .join(op, sa.and_(op.c.run_id == left.c.run_id, op.c.op == left.c.op))
            .where(left.c.run_id == run_id)
            .order_by(left.c.op, left.c.key)
        )
        return [
            {
                "table": f"{r.schema_name}.{r.table_name}",
                "key": json.loads(r.key),
                "reason": r.reason,
            }
            for r in self.connection.execute(query)
        ]

    def left_keys(self, run_id: str, op: int) -> frozenset[str]:
        """Keys, as JSON, of the rows of an operation that an undo left alone."""
        table = self.tables.left_alone
        query = sa.select(table.c.key).where(table.c.run_id == run_id, table.c.op == op)
        return frozenset(r.key for r in self.connection.execute(query))

    def operations_left_alone(self, run_id: str) -> frozenset[int]:
        """Numbers of the operations of which an undo left rows alone."""
        table = self.tables.left_alone
        rows = self.connection.execute(sa.select(table.c.op).where(table.c.run_id == run_id))
        return frozenset(r.op for r in rows)

    def archived_count(self, archive: Name, op: int | None = None) -> int:
        where = f" WHERE onerow_op = {op}" if op is not None else ""
        return int(run(self.connection, f"SELECT count(*) FROM {archive.sql}{where}").scalar_one())


def advisory_lock_sql() -> str:
    """One runner a database: a session-level lock on a number made of our name."""
    return f"SELECT pg_try_advisory_lock(hashtext({literal('onerow')}), 0)"


__all__ = [
    "MIGRATIONS",
    "OPEN",
    "TRANSITIONS",
    "Journal",
    "OperationRecord",
    "RunRecord",
    "StepRecord",
    "Tables",
    "advisory_lock_sql",
]
