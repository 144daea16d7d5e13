"""The PostgreSQL server itself is killed in the midst of a change, and comes back."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from onerow import api
from onerow.errors import ConnectionLost, OnerowError
from onerow.testing import EmbeddedServer, postgres
from tests.crash.support import RULES, assert_applied, assert_undone, ends, fill, forget, onerow
from tests.support.live import at, until
from tests.support.sandbox import Sandbox
from tests.support.story import SMALL


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    """One of our own: it is killed."""
    with postgres() as started:
        yield started


@pytest.fixture
def box(server: EmbeddedServer) -> Iterator[Sandbox]:
    with server.database() as url:
        box = Sandbox(url)
        fill(box, groups=60)
        yield box


def dies_at(server: EmbeddedServer, kind: str, what: str) -> api.Listener:
    """Kill the server at the first such event."""
    return at(kind, what, lambda: server.kill() if server.running else None)


@pytest.mark.parametrize(
    ("kind", "what"),
    [("merge_duplicates", "progress"), ("create_index", "begin"), ("attach_constraint", "end")],
)
def test_server_killed(server: EmbeddedServer, box: Sandbox, kind: str, what: str) -> None:
    """The run ends with a clear word, and goes on when the server is back."""
    found = ends(box)
    rules = api.parse_rules(RULES)
    with pytest.raises(ConnectionLost):
        api.apply(box.url, rules, limits=SMALL, listen=dies_at(server, kind, what))
    with pytest.raises(OnerowError):
        api.apply(box.url, rules)
    server.restart()
    outcome = api.apply(box.url, rules)
    assert outcome.status == "done", outcome.message
    assert_applied(box, found)
    with pytest.raises(ConnectionLost):
        api.undo(box.url, limits=SMALL, listen=dies_at(server, kind, "begin"))
    server.restart()
    assert api.undo(box.url).exit_code == 0
    assert_undone(box, found)


def test_server_restarted_in_order(server: EmbeddedServer, box: Sandbox) -> None:
    """A restart for an update of the server is no different."""
    found = ends(box)
    rules = api.parse_rules(RULES)
    stop = at("merge_duplicates", "progress", lambda: server.stop() if server.running else None)
    with pytest.raises(ConnectionLost):
        api.apply(box.url, rules, limits=SMALL, listen=stop)
    server.restart()
    assert api.apply(box.url, rules).status == "done"
    assert_applied(box, found)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(5))
def test_server_killed_at_random(
    server: EmbeddedServer, box: Sandbox, tmp_path: Path, seed: int
) -> None:
    """Whenever it dies, the process ends with exit code 2, and the next one goes on."""
    found = ends(box)
    forget(box)
    dice = random.Random(seed)
    for verb, check in (("apply", assert_applied), ("undo", assert_undone)):
        for _ in range(4):
            with onerow(verb, box, tmp_path) as process:
                until(lambda: box.value(RUNNERS) or not process.running, "it has come")
                time.sleep(dice.uniform(0, 0.4))
                server.kill()
                code = process.wait()
                assert code in (0, 2), process.said
                assert "Traceback" not in process.said
            server.restart()
        with onerow(verb, box, tmp_path) as process:
            assert process.wait() == 0, process.said
        check(box, found)


RUNNERS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'onerow'"
