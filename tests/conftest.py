"""What every test may ask for.

    sqlite_url    an empty SQLite file
    pg_url        a fresh database on the first PostgreSQL server found
    db_url        the test runs twice: sqlite, postgresql
    every_url     once on SQLite and once on each server found: sqlite, postgresql-system-15, …;
                  in `make test` only a third of the tests go to each, the others to one in turn
    every_pg_url  once on each server found
    pg_server     the `onerow.testing.Server` behind pg_url

Servers are started when the first test needs them, once in a session (and once in each worker of
pytest-xdist). Where there is no server, tests that need one fail.
"""

from __future__ import annotations

import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from zlib import crc32

import hypothesis
import pytest

from onerow.errors import OnerowError
from onerow.testing import Available, NoServer, Server, find_servers
from tests.support.browser import describe_browser

#: Without the phase that explains: it traces every line of every failing example, which takes a
#: megabyte and more each time where an example is a whole run on a database.
PHASES = tuple(p for p in hypothesis.Phase if p is not hypothesis.Phase.explain)
hypothesis.settings.register_profile(
    "onerow", deadline=None, print_blob=True, phases=PHASES, report_multiple_bugs=False
)
hypothesis.settings.load_profile("onerow")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in a background job of a shell; our processes would inherit it, and some are to be stopped.
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: Opens a server by its name, and says which of its databases to copy.
OpenServer = Callable[[str], tuple[Server, str]]

_NONE = "none"


@cache
def _available() -> dict[str, Available]:
    return {server.name: server for server in find_servers()}


def _names() -> list[str]:
    return list(_available()) or [_NONE]


def pytest_report_header() -> list[str]:
    """Say which servers and which browser the tests run on."""
    try:
        found = ", ".join(f"{s.version} ({name})" for name, s in _available().items())
    except OnerowError as error:
        found = str(error)
    return [f"PostgreSQL: {found or 'none found'}", describe_browser()]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give `every_url` its engines."""
    if "every_url" in metafunc.fixturenames:
        engines = ["sqlite", *(f"postgresql-{name}" for name in _servers_of(metafunc))]
        metafunc.parametrize("every_url", engines, indirect=True)
    if "every_pg_url" in metafunc.fixturenames:
        engines = [f"postgresql-{name}" for name in _servers_of(metafunc)]
        metafunc.parametrize("every_pg_url", engines, indirect=True)


def _servers_of(metafunc: pytest.Metafunc) -> list[str]:
    """Every server; in `make test` for a third of the tests, and in turn one for the others.

    The whole matrix is `make test-all`.
    """
    names = _names()
    name = f"{metafunc.module.__name__}.{metafunc.function.__name__}"
    turn = crc32(name.encode())
    if metafunc.config.option.markexpr != "not slow" or turn % 3 == 0:
        return names
    return [names[turn // 3 % len(names)]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need a PostgreSQL server."""
    for item in items:
        if _needs_postgresql(item):
            item.add_marker(pytest.mark.pg)


def _needs_postgresql(item: pytest.Item) -> bool:
    params = getattr(getattr(item, "callspec", None), "params", {})
    engines = (str(params.get(name, "")) for name in ("db_url", "every_url", "every_pg_url"))
    if any(engine.startswith("postgresql") for engine in engines):
        return True
    return not {"pg_url", "pg_server"}.isdisjoint(getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def open_server() -> Iterator[OpenServer]:
    """Opens servers, each once, and closes them at the end of the session."""
    with ExitStack() as stack:

        @cache
        def open_one(name: str) -> tuple[Server, str]:
            if name == _NONE:
                raise NoServer
            server = stack.enter_context(_available()[name].open())
            template = f"onerow_template_{secrets.token_hex(6)}"
            server.create_database(template)
            stack.callback(server.drop_database, template)
            return server, template

        yield open_one


@pytest.fixture(scope="session")
def pg_server(open_server: OpenServer) -> Server:
    """The first PostgreSQL server found."""
    server, _ = open_server(_names()[0])
    return server


@pytest.fixture
def pg_url(open_server: OpenServer) -> Iterator[str]:
    """The address of a fresh PostgreSQL database."""
    server, template = open_server(_names()[0])
    with server.database(template) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The address of an empty SQLite file."""
    file = tmp_path / "test.sqlite3"
    file.touch()
    return f"sqlite:///{file}"


@pytest.fixture(params=["sqlite", "postgresql"])
def db_url(request: pytest.FixtureRequest) -> str:
    """The address of a fresh database, on either engine."""
    fixture = "sqlite_url" if request.param == "sqlite" else "pg_url"
    url: str = request.getfixturevalue(fixture)
    return url


@pytest.fixture
def every_url(request: pytest.FixtureRequest, open_server: OpenServer) -> Iterator[str]:
    """The address of a fresh database, on SQLite and on each PostgreSQL server found."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_url")
        return
    server, template = open_server(request.param.removeprefix("postgresql-"))
    with server.database(template) as url:
        yield url


@pytest.fixture
def every_pg_url(request: pytest.FixtureRequest, open_server: OpenServer) -> Iterator[str]:
    """The address of a fresh database, on each PostgreSQL server found."""
    server, template = open_server(request.param.removeprefix("postgresql-"))
    with server.database(template) as url:
        yield url
