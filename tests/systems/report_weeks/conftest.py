"""Servers that several tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.systems.report_weeks.support import House, application, repaired


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """The application on each engine, one for all tests of a module: they make their own collections."""
    if request.param == "sqlite":
        file = tmp_path_factory.mktemp("weeks") / "weeks.sqlite3"
        file.touch()
        with application(repaired(f"sqlite:///{file}")) as started:
            yield started
        return
    server = request.getfixturevalue("pg_server")
    with server.database() as url, application(repaired(url)) as started:
        yield started
