"""The pytest plugin: `@pytest.mark.race`, the fixture `race`, and a failure told in SQL.

    @pytest.mark.race(preemptions=2)
    def test_signup(race, race_engine):
        race(race_engine, [sign_up, sign_up], setup=setup, invariant=one_row(Key(User, "email")))

Nothing of it is imported before a test asks for it, but this module.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from onerow.race.verdict import Result

OPTIONS = ("preemptions", "max_schedules", "max_seconds", "seed", "prune", "allow")


class RaceFailed(AssertionError):
    """A race was found, or nothing can be said; its text is the whole report."""

    def __init__(self, result: Result) -> None:
        super().__init__(str(result))
        self.result = result


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("onerow races")
    group.addoption("--race-url", metavar="URL", help="database for `race_engine`")
    group.addoption("--race-replay", metavar="SCRIPT", help="run this schedule alone: 'A1 B1 A2'")
    group.addoption("--race-preemptions", type=int, metavar="N", help="bound for every race")
    group.addoption("--race-schedules", type=int, metavar="N", help="most schedules of a race")
    group.addoption("--race-seconds", type=float, metavar="N", help="most seconds of a race")
    group.addoption("--race-seed", type=int, metavar="N", help="another order of schedules")
    group.addoption("--race-html", metavar="DIR", help="write failures there as HTML pages")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "race(**options): options for the fixture `race`, as of onerow.race.explore"
    )


@pytest.fixture(scope="session")
def race_server() -> Iterator[Any]:
    """A PostgreSQL server of the session's own, as `onerow.testing.postgres` starts it."""
    from onerow.testing import postgres

    with postgres() as server:
        yield server


@pytest.fixture
def race_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of --race-url, else of a fresh database on `race_server`."""
    if given := request.config.getoption("--race-url"):
        yield given
        return
    with request.getfixturevalue("race_server").database() as url:
        yield url.replace("postgresql://", "postgresql+psycopg://", 1)


@pytest.fixture
def race_engine(race_url: str) -> Iterator[Engine]:
    """An engine on `race_url`."""
    from sqlalchemy import create_engine

    engine = create_engine(race_url)
    yield engine
    engine.dispose()


class Racer:
    """The fixture `race`: call it as `onerow.race.explore`; it fails the test unless it holds."""

    def __init__(self, node: pytest.Item) -> None:
        self._node = node
        self.results: list[Result] = []

    def __call__(self, engine: Any, workers: Sequence[Any], **given: Any) -> Result:
        __tracebackhide__ = True
        from onerow.race import explore, replay

        options = {**self._options(), **given}
        script = self._node.config.getoption("--race-replay")
        if script:
            kept = {k: v for k, v in options.items() if k not in OPTIONS or k == "allow"}
            result = replay(engine, workers, script, **kept)
        else:
            result = explore(engine, workers, **options)
        self.results.append(result)
        if not result.ok:
            self._write_page(result)
            raise RaceFailed(result)
        return result

    def _options(self) -> dict[str, Any]:
        """The marker's, then the command line's."""
        found: dict[str, Any] = {}
        for marker in reversed(list(self._node.iter_markers("race"))):
            found |= marker.kwargs
        names = {
            "preemptions": "--race-preemptions",
            "max_schedules": "--race-schedules",
            "max_seconds": "--race-seconds",
            "seed": "--race-seed",
        }
        for name, option in names.items():
            if (value := self._node.config.getoption(option)) is not None:
                found[name] = value
        return found

    def _write_page(self, result: Result) -> None:
        folder = self._node.config.getoption("--race-html")
        if folder and result.failure is not None:
            name = "".join(c if c.isalnum() else "-" for c in self._node.name).strip("-")
            Path(folder).mkdir(parents=True, exist_ok=True)
            (Path(folder) / f"{name}.html").write_text(result.failure.html, encoding="utf-8")


@pytest.fixture
def race(request: pytest.FixtureRequest) -> Racer:
    """Explores a race and fails the test, with the schedule, unless every schedule holds."""
    return Racer(request.node)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, RaceFailed):
        report.longrepr = str(error)
        failure = error.result.failure
        if failure is not None:
            again = f"pytest {item.nodeid!r} --race-replay {failure.script!r}"
            report.sections.append(("run this schedule again", again))
            report.sections.append(("regression test", failure.test))
    return report
