"""A pooler in transaction mode between onerow and the server."""

from __future__ import annotations

import pytest

from onerow import api
from onerow.database import Database
from onerow.pooler import behind_pooler
from onerow.rules import Key
from tests.support.pooler import transaction_pooler
from tests.support.sandbox import Sandbox
from tests.support.story import blockers, planned

ROWS = """
CREATE TABLE parent (id integer PRIMARY KEY, k integer NOT NULL);
INSERT INTO parent VALUES (1, 1), (2, 1);
"""
KEY = Key("parent", "k", name="parent_k")
POOLS = [(1, False), (2, False), (2, True), (5, True)]


def test_a_direct_connection(every_url: str) -> None:
    """It is none, whoever else is connected."""
    assert not behind_pooler(Database(every_url))


@pytest.mark.parametrize(("sessions", "by_turns"), POOLS)
def test_it_is_found_by_what_it_does(pg_url: str, sessions: int, by_turns: bool) -> None:
    """However many server sessions it has, and in whichever order it hands them out."""
    with transaction_pooler(pg_url, sessions, by_turns=by_turns) as url:
        assert behind_pooler(Database(url))


def test_plan_and_apply_are_refused(pg_url: str) -> None:
    """The plan has a blocker; a plan that was made past the pooler is not run through it."""
    box = Sandbox(pg_url)
    box.execute(ROWS)
    plan, before = planned(box, KEY), box.state()
    with transaction_pooler(pg_url) as url:
        assert blockers(Sandbox(url), KEY) == ["pooler"]
        for outcome in (api.apply(url, [KEY], plan=plan), api.undo(url)):
            assert (outcome.status, outcome.exit_code) == ("refused", 1)
            assert "pooler in transaction mode" in outcome.message
            assert "Connect directly" in outcome.message
    assert box.state() == before
    assert not box.value("SELECT to_regclass('onerow.run')")
    assert api.apply(pg_url, [KEY], plan=plan).status == "done"


def test_what_only_looks_goes_through(pg_url: str) -> None:
    """A check changes nothing and holds nothing beyond a transaction."""
    box = Sandbox(pg_url)
    box.execute(ROWS)
    with transaction_pooler(pg_url) as url:
        assert [r.ok for r in api.check(url, [KEY]).rules] == [False]
