"""PostgreSQL servers of our own: a data directory, its processes, and their end.

The packages that carry the binaries have starters too; as root those create an operating-system
account and open up every directory above the data. Ours needs neither: it runs the binaries as the
user *nobody*, in a directory of their own, and copies them out of a private home where it has to.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from onerow._binaries import (
    Binaries,
    PrivateDirectory,
    ServerFailed,
    become,
    environment,
    runnable,
    server_identity,
)

START_SECONDS = 60.0
STOP_SECONDS = 30.0

#: A crash of the operating system may lose everything; a crash of the server loses nothing.
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}

#: Dynamic shared memory in the data directory: nothing is left in /dev/shm after a kill.
SETTINGS = {
    "max_connections": "100",
    "dynamic_shared_memory_type": "mmap",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


class Cluster:
    """A data directory of our own and, while it runs, the server on it.

    Args:
        binaries: the server's programs.
        settings: of postgresql.conf.

    Raises:
        ServerFailed: with the end of the server's log.
    """

    def __init__(self, binaries: Binaries, settings: Mapping[str, str]) -> None:
        self.binaries = binaries
        self.password = secrets.token_hex(16)
        self.port = 0
        self._identity = server_identity()
        self._bin_dir = runnable(binaries, self._identity)
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._directory = PrivateDirectory("onerow-pg-", self._identity, 0o700)
        atexit.register(self.remove)
        self.base = self._directory.path
        self.data = self.base / "data"
        self.log = self.base / "postgres.log"
        try:
            if self._identity:
                os.chown(self.base, *self._identity)
            self._initdb()
            self._configure(settings)
            self.start()
        except BaseException:
            self.remove()
            raise

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The process id of the postmaster, None when it does not run."""
        return self._process.pid if self._process and self.running else None

    def _initdb(self) -> None:
        password_file = self.base / "password"
        password_file.write_text(self.password)
        if self._identity:
            os.chown(password_file, *self._identity)
        for locale in _locales(self.binaries.major):
            said = self._run_initdb(password_file, locale)
            if said.returncode == 0 or "locale" not in said.stderr:
                break
        password_file.unlink()
        if said.returncode != 0:
            raise ServerFailed(f"initdb failed: {said.stderr.strip() or said.stdout.strip()}")

    def _run_initdb(
        self, password_file: Path, locale: tuple[str, ...]
    ) -> subprocess.CompletedProcess[str]:
        options = [
            "--username=postgres",
            f"--pwfile={password_file}",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "--encoding=UTF8",
            "--no-sync",
        ]
        return subprocess.run(
            [self._bin_dir / "initdb", "-D", self.data, *options, *locale],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=environment(),
            cwd=self.base,
            **become(self._identity),
        )

    def _configure(self, settings: Mapping[str, str]) -> None:
        # In the file, not on the command line, so that ALTER SYSTEM can change them.
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as file:
            for name, value in settings.items():
                quoted = str(value).replace("'", "''")
                file.write(f"{name} = '{quoted}'\n")

    def start(self) -> None:
        """Start the server and wait until it takes connections; the port stays the same."""
        for attempt in range(20):
            port = self.port or _free_port()
            before = self.log.stat().st_size if self.log.exists() else 0
            if self._launch(port):
                self.port = port
                return
            if "Address already in use" not in self._log_since(before):
                break
            time.sleep(0.1 * attempt if self.port else 0)
        raise ServerFailed(
            f"PostgreSQL {self.binaries.version} did not start. The end of its log:\n"
            + self.log_tail()
        )

    def _launch(self, port: int) -> bool:
        base, program = str(self.base), str(self._bin_dir / "postgres")
        command = [program, "-D", str(self.data), "-p", str(port), "-h", "127.0.0.1", "-k", base]
        with open(self.log, "ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(),
                cwd=self.base,
                start_new_session=True,  # Ctrl-C is for us: we stop the server in order
                **become(self._identity),
            )
        self._process = process
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if self._is_ready(process.pid):
                return True
            time.sleep(0.01)
        self._end(signal.SIGQUIT)
        return False

    def _is_ready(self, pid: int) -> bool:
        # The eighth line of the lock file, which pg_ctl waits for too.
        lines = self._lock_file()
        return len(lines) > 7 and lines[0] == str(pid) and lines[7] == "ready"

    def _lock_file(self) -> list[str]:
        try:
            text = (self.data / "postmaster.pid").read_text()
        except FileNotFoundError:
            return []
        return [line.strip() for line in text.splitlines()]

    def _log_since(self, offset: int) -> str:
        with open(self.log, "rb") as file:
            file.seek(offset)
            return file.read().decode(errors="replace")

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the server's log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def stop(self) -> None:
        """Shut down in order: connections are closed, everything is written."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL to the postmaster and to each of its children, as a crash would."""
        if self._process is None or not self.running:
            return
        pid = self._process.pid
        os.kill(pid, signal.SIGSTOP)  # so that no child is born meanwhile
        family = (pid, *_descendants(pid))
        for member in family:
            _kill(member)
        self._process.wait()
        deadline = time.monotonic() + STOP_SECONDS
        while _alive(family) and time.monotonic() < deadline:
            time.sleep(0.005)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None or not self.running:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def remove(self) -> None:
        """End the server and remove its files; for the process that made it only."""
        if os.getpid() != self._owner:
            return
        atexit.unregister(self.remove)
        self._end(signal.SIGQUIT)
        _release_shared_memory(self._lock_file())
        self._directory.remove()


def _locales(major: int) -> list[tuple[str, ...]]:
    """Options of initdb, the best first; C.UTF-8 of the C library is not on every machine."""
    if major >= 17:
        return [("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")]
    return [("--locale=C.UTF-8",), ("--locale=C",)]


def _free_port() -> int:
    """A free port below those that systems give to outgoing connections.

    So nobody is handed it by accident while our server restarts. Who else asks for it in the
    moment before we start is noticed by the start, which then asks for another one.
    """
    while True:
        port = 15000 + secrets.randbelow(17000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


class _Process(NamedTuple):
    parent: int
    zombie: bool


def _processes() -> dict[int, _Process]:
    if Path("/proc/self/stat").exists():
        return dict(_processes_of_proc())
    said = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True
    )
    rows = (line.split() for line in said.stdout.splitlines())
    return {int(pid): _Process(int(parent), state[0] == "Z") for pid, parent, state in rows}


def _processes_of_proc() -> Iterator[tuple[int, _Process]]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = Path("/proc", entry, "stat").read_text(errors="replace")
            except OSError:  # it has ended meanwhile
                continue
            state, parent = text.rpartition(")")[2].split()[:2]
            yield int(entry), _Process(int(parent), state == "Z")


def _descendants(pid: int) -> list[int]:
    table = _processes()
    found = [pid]
    for member in found:
        found += [child for child, process in table.items() if process.parent == member]
    return found[1:]


def _alive(pids: tuple[int, ...]) -> bool:
    table = _processes()
    return any(pid in table and not table[pid].zombie for pid in pids)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _release_shared_memory(lock_file: list[str]) -> None:
    """Give back the System V segment of a server that was killed; its id is in the lock file."""
    if len(lock_file) > 6 and lock_file[6]:
        import ctypes

        IPC_RMID = 0
        ctypes.CDLL(None).shmctl(int(lock_file[6].split()[1]), IPC_RMID, None)
