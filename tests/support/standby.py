"""A streaming standby of an embedded server, made of a copy of its files."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy as sa

from onerow.testing import EmbeddedServer, postgres


@dataclass
class Standby:
    """A server that follows another one."""

    server: EmbeddedServer
    primary: EmbeddedServer

    def execute(self, sql: str) -> Any:
        with psycopg.connect(self.server.socket_url, autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchone() if cursor.description else None

    def caught_up(self) -> bool:
        """It has replayed all that the primary has written."""
        with psycopg.connect(self.primary.socket_url, autocommit=True) as connection:
            row = connection.execute(
                "SELECT replay_lsn >= pg_current_wal_lsn() FROM pg_stat_replication"
            ).fetchone()
        return bool(row and row[0])


def socket_url(server: EmbeddedServer, database: str, role: str) -> str:
    """The address of a database for a role that needs no password there."""
    url = sa.make_url(server.socket_url).set(username=role, database=database)
    return url.render_as_string(hide_password=False)


@contextmanager
def standby_pair() -> Iterator[tuple[EmbeddedServer, Standby]]:
    """A server, and one called `copy` that streams from it."""
    with postgres() as primary, postgres() as copy:
        primary.stop()
        copy.stop()
        shutil.rmtree(copy.data_dir)
        subprocess.run(["cp", "-a", primary.data_dir, copy.data_dir], check=True)
        source = sa.make_url(primary.url)
        follow = (
            f"host=127.0.0.1 port={source.port} user=postgres password={source.password}"
            " application_name=copy"
        )
        with open(copy.data_dir / "postgresql.conf", "a", encoding="utf-8") as file:
            file.write(f"primary_conninfo = '{follow}'\n")
        signal = copy.data_dir / "standby.signal"
        signal.touch()
        owner = copy.data_dir.stat()
        os.chown(signal, owner.st_uid, owner.st_gid)
        primary.restart()
        copy.restart()
        yield primary, Standby(copy, primary)
