"""The record of what was done, in the database that it was done to.

On PostgreSQL it is the schema `onerow`, on SQLite tables named `onerow_…`. An entry commits in the
same transaction as what it records, wherever the engine allows; where it does not, the intent is
written first and the catalog tells afterwards.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from onerow.database import run
from onerow.errors import OnerowError
from onerow.journal.operations import Operations
from onerow.journal.records import OPEN, TRANSITIONS, OperationRecord, RunRecord, StepRecord
from onerow.journal.tables import MIGRATIONS, Tables
from onerow.plan import Plan
from onerow.sql import Name, literal


def runner_name() -> str:
    """Who runs: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


def new_run_id() -> str:
    return f"{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(4)}"


class Journal(Operations):
    """Reads and writes the record. Every method runs in the caller's transaction."""

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
