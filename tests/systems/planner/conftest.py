"""Servers that several tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.systems.planner.support import Planner, after, application


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def planner(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Planner]:
    """The application on each engine, one for all tests of a module: each takes workouts of its own."""
    if request.param == "sqlite":
        file = tmp_path_factory.mktemp("planner") / "planner.sqlite3"
        file.touch()
        with application(after(f"sqlite:///{file}")) as started:
            yield started
        return
    server = request.getfixturevalue("pg_server")
    with server.database() as url, application(after(url)) as started:
        yield started
