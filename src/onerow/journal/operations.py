"""How far the steps of a run are, and what their batches have done."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from onerow.database import run
from onerow.dialects import Operation
from onerow.journal.records import OperationRecord
from onerow.journal.tables import Tables
from onerow.plan import Step
from onerow.sql import Name

#: One way to the server for a batch: what it has done, and how far its step is.
_BATCH = sa.text(
    "WITH told AS (UPDATE onerow.step SET status = 'running', message = '', rows = rows + :rows,"
    " seconds = seconds + :seconds WHERE run_id = :run AND step_id = :step)"
    " INSERT INTO onerow.operation SELECT * FROM"
    " json_populate_recordset(CAST(NULL AS onerow.operation), CAST(:operations AS json))"
)


class Operations:
    """The part of the journal that every batch writes. Runs in the caller's transaction."""

    def __init__(self, connection: Connection, dialect: str) -> None:
        self.connection = connection
        self.dialect = dialect
        self.tables = Tables(dialect)
        self._numbers: dict[str, tuple[int, int]] = {}  #: run -> the next free ones

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
