"""Servers of our own: they start, die, come back, and leave nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from onerow import _embedded
from onerow._binaries import embedded_binaries, server_identity
from onerow.testing import Available, EmbeddedServer, ServerFailed, find_servers, postgres

pytestmark = pytest.mark.pg

STARTABLE = [server for server in find_servers() if server.bin_dir]


def _answer(url: str, query: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query).fetchone()
    return row[0] if row else None


def _do(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module", params=STARTABLE, ids=lambda server: server.name)
def available(request: pytest.FixtureRequest) -> Available:
    """Each server that can be started here."""
    found: Available = request.param
    return found


@pytest.fixture(scope="module")
def server(available: Available) -> Iterator[EmbeddedServer]:
    """One of it, running."""
    with postgres(bin_dir=available.bin_dir) as started:
        yield started


def test_it_is_the_version_that_it_says(server: EmbeddedServer) -> None:
    """The version read off the program is the server's."""
    assert str(_answer(server.url, "SHOW server_version")).startswith(server.version)


def test_it_is_reached_through_its_socket_too(server: EmbeddedServer) -> None:
    """The socket lies in a private directory and asks for no password."""
    query = "SELECT inet_server_addr() IS NULL"
    assert _answer(server.socket_url, query) is True
    assert _answer(server.url, query) is False


def test_tcp_asks_for_the_password(server: EmbeddedServer) -> None:
    """Other users of the machine cannot come in."""
    password = server.url.split(":")[2].split("@")[0]
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(server.url.replace(password, "guess"))


def test_text_is_utf8_in_code_point_order_with_real_case_folding(server: EmbeddedServer) -> None:
    """The locale is C.UTF-8 wherever the test runs."""
    assert _answer(server.url, "SHOW server_encoding") == "UTF8"
    assert _answer(server.url, "SELECT lower('ÄÉΩ')") == "äéω"
    assert _answer(server.url, "SELECT 'Z' < 'a' AND 'z' < 'ä'") is True
    if server.major >= 17:
        query = "SELECT datlocprovider FROM pg_database WHERE datname = current_database()"
        assert _answer(server.url, query) in ("b", b"b")


def test_a_hundred_sessions_are_possible(server: EmbeddedServer) -> None:
    """They are real backends."""
    assert _answer(server.url, "SHOW max_connections") == "100"


def test_databases_are_copied_from_a_template(server: EmbeddedServer) -> None:
    """A copy has what the template has and goes its own way, and goes in the end."""
    template = server.create_database('odd "name"/1')
    _do(template, "CREATE TABLE t AS SELECT 1 AS x")
    with server.database('odd "name"/1') as url:
        _do(url, "INSERT INTO t VALUES (2)")
        assert _answer(url, "SELECT count(*) FROM t") == 2
        left_open = psycopg.connect(url)
    with pytest.raises(psycopg.OperationalError):
        left_open.execute("SELECT 1")
    left_open.close()
    assert _answer(template, "SELECT count(*) FROM t") == 1
    server.drop_database('odd "name"/1')
    server.drop_database('odd "name"/1')


def test_what_was_committed_survives_a_kill(server: EmbeddedServer) -> None:
    """After a crash the address is the same and no committed row is missing."""
    with server.database() as url:
        _do(url, "CREATE TABLE t (x int)")
        for x in range(20):
            _do(url, f"INSERT INTO t VALUES ({x})")
        busy = psycopg.connect(url)
        busy.execute("INSERT INTO t VALUES (99)")
        server.kill()
        assert not server.running
        with pytest.raises(psycopg.OperationalError):
            busy.execute("SELECT 1")
        busy.close()
        server.restart()
        assert _answer(url, "SELECT count(*) FROM t") == 20


def test_a_kill_takes_every_process_along(server: EmbeddedServer) -> None:
    """Also those of sessions that are in the middle of a query."""
    with psycopg.connect(server.url) as connection:
        backend = connection.info.backend_pid
        assert server.pid is not None
        family = _embedded._descendants(server.pid)
        assert backend in family
        server.kill()
        assert not _embedded._alive((backend, *family))
    server.restart()


def test_it_stops_in_order_and_comes_back(server: EmbeddedServer) -> None:
    """A stopped server keeps its data; stopping twice is no error."""
    with server.database() as url:
        _do(url, "CREATE TABLE t (x int)")
        server.stop()
        server.stop()
        server.kill()
        assert (server.running, server.pid) == (False, None)
        assert "database system is shut down" in server.log_path.read_text()
        server.restart()
        assert _answer(url, "SELECT count(*) FROM t") == 0


def test_settings_can_be_given_and_changed(available: Available) -> None:
    """They are in the file, so ALTER SYSTEM has the last word."""
    with postgres(bin_dir=available.bin_dir, settings={"work_mem": "5MB"}, durable=True) as one:
        assert _answer(one.url, "SHOW work_mem") == "5MB"
        assert _answer(one.url, "SHOW fsync") == "on"
        _do(one.url, "ALTER SYSTEM SET work_mem = '6MB'")
        one.restart()
        assert _answer(one.url, "SHOW work_mem") == "6MB"


def test_a_server_that_cannot_start_shows_its_log(available: Available) -> None:
    """The reason is in the message, and nothing is left."""
    with (
        pytest.raises(ServerFailed, match="no_such_setting"),
        postgres(bin_dir=available.bin_dir, settings={"no_such_setting": 1}),
    ):
        pass


def test_a_taken_port_is_given_up_for_another(
    available: Available, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is quicker gets the port; we take the next."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = iter([taken.getsockname()[1], _embedded._free_port()])
        monkeypatch.setattr(_embedded, "_free_port", lambda: next(ports))
        with postgres(bin_dir=available.bin_dir) as one:
            assert _answer(one.url, "SELECT 1") == 1


def test_two_run_side_by_side() -> None:
    """They share nothing, and each goes with its own block."""
    with postgres() as one:
        with postgres() as two:
            assert one.url != two.url
            assert one.data_dir != two.data_dir
            assert _answer(two.url, "SELECT 1") == 1
        assert _answer(one.url, "SELECT 1") == 1
        assert not two.data_dir.parent.exists()
    assert not one.data_dir.parent.exists()


def test_the_version_can_be_chosen(available: Available) -> None:
    """By major number, or to the dot."""
    major = int(available.version.split(".")[0])
    with postgres(major) as one:
        assert one.major == major


def test_nothing_is_left_of_a_killed_server(available: Available) -> None:
    """No process, no file, no shared memory."""
    with postgres(bin_dir=available.bin_dir) as one:
        segment = _embedded_segment(one)
        one.kill()
    assert not one.data_dir.parent.exists()
    assert segment not in _segments()


def _embedded_segment(server: EmbeddedServer) -> str:
    return (server.data_dir / "postmaster.pid").read_text().splitlines()[6].split()[1]


def _segments() -> set[str]:
    table = Path("/proc/sysvipc/shm")
    return {line.split()[1] for line in table.read_text().splitlines()} if table.exists() else set()


def test_it_starts_from_a_private_home(tmp_path: Path) -> None:
    """The server's user cannot enter there; then a copy of the programs is run."""
    found = next(embedded_binaries())
    tree = found.bin_dir.parent
    home = tmp_path / "home"
    package = home / "site-packages" / tree.parent.name
    shutil.copytree(tree, package / tree.name, symlinks=True)
    libraries = f"{tree.parent.name}.libs"
    shutil.copytree(tree.parent.parent / libraries, package.parent / libraries, symlinks=True)
    home.chmod(0o700)
    with postgres(bin_dir=package / tree.name / "bin") as one:
        assert _answer(one.url, "SELECT 1") == 1
    assert home.stat().st_mode & 0o777 == 0o700


def test_it_runs_as_us_and_for_root_as_nobody(server: EmbeddedServer) -> None:
    """PostgreSQL refuses to be root."""
    identity = server_identity()
    expected = identity.uid if identity else os.geteuid()
    assert expected != 0
    assert server.data_dir.stat().st_uid == expected


SCRIPT = """
import os, sys, time
from onerow.testing import postgres
manager = postgres()
server = manager.__enter__()
print(server.data_dir.parent, server.url.rpartition(":")[2].split("/")[0], flush=True)
{ending}
"""

ENDINGS = {
    "exit": ("sys.exit(3)", None),
    "exception": ("raise RuntimeError", None),
    "_exit": ("os._exit(3)", None),
    "SIGINT": ("time.sleep(60)", signal.SIGINT),
    "SIGTERM": ("time.sleep(60)", signal.SIGTERM),
    "SIGKILL": ("time.sleep(60)", signal.SIGKILL),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_is_left_however_the_process_ends(ending: str) -> None:
    """The block need not be left in order."""
    code, sent = ENDINGS[ending]
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(ending=code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    folder, port = process.stdout.readline().split()
    if sent:
        assert _is_listening(int(port))
        process.send_signal(sent)
    process.communicate()
    _wait_until_gone(Path(folder))
    assert not _is_listening(int(port))


def _wait_until_gone(path: Path) -> None:
    deadline = time.monotonic() + 30
    while path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not path.exists()


def test_a_fork_does_not_take_the_server_along() -> None:
    """A child that ends in order leaves its parent's server alone."""
    code = SCRIPT.format(
        ending="pid = os.fork()\nif pid == 0: sys.exit()\nos.waitpid(pid, 0)\n"
        "import psycopg\nprint(psycopg.connect(server.url).execute('SELECT 42').fetchone()[0])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert said.stdout.split()[2:] == ["42"]
    assert not Path(said.stdout.split()[0]).exists()
