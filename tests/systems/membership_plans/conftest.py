"""Servers that several tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.systems.membership_plans.support import House, repaired


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """The application, one on each engine for all tests of a module: they make names of their own."""
    if request.param == "sqlite":
        file = tmp_path_factory.mktemp("plans") / "plans.sqlite3"
        file.touch()
        with repaired(f"sqlite:///{file}") as started:
            yield started
        return
    with request.getfixturevalue("pg_server").database() as url, repaired(url) as started:
        yield started
