"""Every interleaving of what people do at once: the original writers, and ours."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from systems.shared.address import open_async_engine
from systems.triage_bot import races, states
from tests.systems.support import made
from tests.systems.triage.support import opened, repaired

each = pytest.mark.parametrize("race", races.RACES)


def explored(url: str, race: str, do: races.Do, **limits: Any) -> Any:
    engine = open_async_engine(url, connections=6)
    try:
        return races.RACES[race](engine, do, **limits)
    finally:
        asyncio.run(engine.dispose())


async def _prepared(url: str) -> None:
    async with opened(url):
        pass


@each
def test_ours_hold(db_url: str, race: str) -> None:
    """With one switch away from somebody who could go on."""
    repaired(db_url)
    asyncio.run(_prepared(db_url))
    assert explored(db_url, race, races.safe, preemptions=1).verdict == "holds"


@pytest.mark.slow
@each
def test_ours_hold_always(db_url: str, race: str) -> None:
    """In every interleaving that there is."""
    repaired(db_url)
    asyncio.run(_prepared(db_url))
    result = explored(db_url, race, races.safe)
    assert (result.verdict, result.exhausted) == ("holds", True), result


@each
def test_the_original_loses(db_url: str, race: str) -> None:
    """The explorer finds the interleaving: a wrong state, a row too many, or a crash."""
    made(db_url, states.before(0))
    result = explored(db_url, race, races.naive, minimise=False)
    assert result.verdict in ("broken", "raised"), result
