"""A copy of what a plan touches, besides the archive: of the file on SQLite, of the tables on
PostgreSQL, where it is `pg_dump` that makes it.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from onerow.database import Database, errors
from onerow.errors import Refused
from onerow.schema import Snapshot
from onerow.sql import Name

#: What psycopg takes and libpq knows, and where a program of PostgreSQL looks for it. Passwords
#: go through the environment: an argument could be read by every user of the machine.
_ENVIRONMENT = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "user": "PGUSER",
    "dbname": "PGDATABASE",
    "password": "PGPASSWORD",
    "passfile": "PGPASSFILE",
    "service": "PGSERVICE",
    "options": "PGOPTIONS",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "channel_binding": "PGCHANNELBINDING",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}


def save(database: Database, snapshot: Snapshot, tables: Sequence[Name], path: Path) -> None:
    """Copy the SQLite file, or dump the tables, to a new file that only we may read.

    Raises:
        Refused: the file is there already or cannot be written, or nothing can make the dump.
    """
    with _new_file(path):
        if database.dialect == "sqlite":
            _copy(database, path)
        else:
            _dump(database, snapshot, tables, path)


@contextmanager
def _new_file(path: Path) -> Iterator[None]:
    """Make an empty file; take it away again when what follows fails."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        raise Refused(
            f"There is a file {str(path)!r} already.", hint="A backup never overwrites one."
        ) from None
    except OSError as error:
        raise Refused(f"The backup {str(path)!r} cannot be written: {error.strerror}.") from error
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _copy(database: Database, path: Path) -> None:
    """By the online backup API: readers and writers go on (sqlite.org/backup.html)."""
    with errors(database), database.connect() as connection:
        source: Any = connection.connection.driver_connection
        with closing(sqlite3.connect(path)) as target:
            source.backup(target)


def _dump(database: Database, snapshot: Snapshot, tables: Sequence[Name], path: Path) -> None:
    program = _program(snapshot.version[0])
    names = [f"--table={n.sql}" for n in _with_partitions(tables, snapshot)]
    # pg_restore reads the custom format; a name that ends in .sql is for psql.
    form = "plain" if path.suffix == ".sql" else "custom"
    done = subprocess.run(
        [program, f"--format={form}", f"--file={path}", "--no-password", *names],
        env=_environment(database),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"it ended with {done.returncode}"
        raise Refused(f"The backup failed, and nothing was changed: {said}")


def _with_partitions(tables: Sequence[Name], snapshot: Snapshot) -> Iterator[Name]:
    """The rows of a partitioned table are in its partitions; pg_dump takes what it is told."""
    for name in tables:
        yield name
        table = snapshot.get(name)
        yield from _with_partitions(table.partitions if table else (), snapshot)


def _program(server: int) -> str:
    """A `pg_dump` that is not older than the server: an older one refuses by itself."""
    found = {program: _major(program) for program in _programs()}
    for program, major in found.items():
        if major >= server:
            return program
    has = f"found is {max(found.values())}" if found else "there is none in PATH"
    raise Refused(
        f"--backup needs pg_dump of PostgreSQL {server} or newer; {has}.",
        hint=f"Install the client programs of PostgreSQL {server}, or leave --backup out: every "
        "row that is touched is in the archive.",
    )


def _programs() -> Iterator[str]:
    first = shutil.which("pg_dump")
    if first:
        yield first
    # Debian's pg_dump in PATH is of one version; the others are here.
    for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_dump"), reverse=True):
        yield str(path)


def _major(program: str) -> int:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"(\d+)(?:\.\d+|\w+)?", done.stdout)
    return int(found[1]) if found else 0


def _environment(database: Database) -> Mapping[str, str]:
    _, options = database.engine.dialect.create_connect_args(database.url)
    given = {
        _ENVIRONMENT[name]: str(value) for name, value in options.items() if name in _ENVIRONMENT
    }
    return {**os.environ, **given}


__all__ = ["save"]
