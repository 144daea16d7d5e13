"""What a run gives way to between its batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from onerow import api
from onerow.errors import InputError, NoPrivilege
from onerow.rules import Column, Key
from onerow.session import Limits
from onerow.testing import EmbeddedServer
from tests.support.live import InBackground, until
from tests.support.sandbox import Sandbox
from tests.support.standby import Standby, socket_url, standby_pair
from tests.support.story import planned, undone

ROWS = """
CREATE TABLE parent (id integer PRIMARY KEY, k integer NOT NULL, v text);
CREATE TABLE switch (paused boolean);
INSERT INTO switch VALUES (true);
WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 300)
INSERT INTO parent SELECT i, i % 100, 'v' FROM g;
"""
KEY = Key("parent", "k", name="parent_k")
PAUSED = "SELECT paused FROM switch"


def limits(**facts: Any) -> Limits:
    return Limits(batch_rows=4, least_batch_rows=1, most_batch_rows=8, **facts)


class Told:
    """What a run has told, by the kind of event."""

    def __init__(self, delay: float = 0.0) -> None:
        self.events: list[api.Event] = []
        self.delay = delay  #: seconds more that a batch takes

    def __call__(self, event: api.Event) -> None:
        self.events.append(event)
        if event.what == "progress":
            time.sleep(self.delay)

    def waits(self, part: str) -> list[str]:
        return [e.message for e in self.events if e.what == "wait" and part in e.message]


def paused(box: Sandbox, work: Callable[[Told], api.Outcome]) -> api.Outcome:
    """The work, which begins while the switch is on and is let go when it has told so."""
    told = Told()
    box.execute("UPDATE switch SET paused = true")
    run = InBackground(lambda: work(told))
    until(lambda: told.waits("paused while"), "it pauses")
    before = box.count("parent")
    time.sleep(0.7)
    assert run.running
    assert box.count("parent") == before
    box.execute("UPDATE switch SET paused = false")
    outcome: api.Outcome = run.result()
    return outcome


def test_a_condition_that_never_holds(every_url: str) -> None:
    """It delays nothing; NULL is not true."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    told = Told()
    outcome = api.apply(
        box.url, [KEY], limits=limits(pause_when="NULL"), listen=told, plan=planned(box, KEY)
    )
    assert outcome.status == "done"
    assert told.waits("paused") == []


def test_a_merge_pauses_and_goes_on(every_url: str) -> None:
    """While the condition is true no batch begins, and the log says why; so does the undo."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    before = box.contents()["parent" if box.sqlite else "public.parent"]
    here = limits(pause_when=PAUSED)
    outcome = paused(box, lambda told: api.apply(box.url, [KEY], limits=here, listen=told))
    assert (outcome.status, outcome.archived) == ("done", 200)
    outcome = paused(box, lambda told: api.undo(box.url, limits=here, listen=told))
    assert outcome.status == "undone"
    assert box.contents()["parent" if box.sqlite else "public.parent"] == before


def test_a_backfill_pauses_and_goes_on(every_url: str) -> None:
    """Walks give way, too."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    rule = Column(table="parent", name="n", type="integer", backfill={"value": 7})
    here = limits(pause_when=PAUSED)
    outcome = paused(box, lambda told: api.apply(box.url, [rule], limits=here, listen=told))
    assert outcome.status == "done"
    assert box.count("parent WHERE n = 7") == 300


def test_a_budget_ends_a_pause(every_url: str) -> None:
    """A run that only waits still ends in time, and goes on later."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    outcome = api.apply(box.url, [KEY], limits=limits(pause_when="1 = 1", budget=1.0))
    assert (outcome.status, outcome.exit_code) == ("stopped", 1)
    assert "budget" in outcome.message
    assert api.apply(box.url, [KEY]).status == "done"


@pytest.mark.parametrize(
    "condition",
    ["SELECT nothing FROM nowhere", "1 = ", "'text'", "SELECT 1 FROM parent; SELECT 2", ""],
)
def test_a_condition_that_cannot_be_used(every_url: str, condition: str) -> None:
    """It is told before anything is changed."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    before = box.state()
    with pytest.raises(InputError, match="condition to pause"):
        api.apply(box.url, [KEY], limits=limits(pause_when=condition))
    assert box.state() == before
    assert all(r.status != "running" for r in api.status(box.url))


def test_a_condition_that_writes(every_pg_url: str) -> None:
    """It is asked read-only."""
    box = Sandbox(every_pg_url)
    box.execute(
        ROWS,
        """CREATE FUNCTION sneak() RETURNS boolean LANGUAGE sql AS
        $$ DELETE FROM parent; SELECT false $$;""",
    )
    with pytest.raises(InputError, match="read-only transaction"):
        api.apply(box.url, [KEY], limits=limits(pause_when="sneak()"))
    assert box.count("parent") == 300


def test_a_condition_that_ceases_to_work(every_url: str) -> None:
    """The run stops where it can go on."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    drop: list[int] = []

    def listen(event: api.Event) -> None:
        if event.what == "wait" and not drop:
            drop.append(1)
            box.execute("DROP TABLE switch")

    outcome = api.apply(box.url, [KEY], limits=limits(pause_when=PAUSED), listen=listen)
    assert (outcome.status, outcome.exit_code) == ("stopped", 1)
    assert "cannot be used any more" in outcome.message
    assert api.apply(box.url, [KEY]).status == "done"
    undone(box)


# -- standbys ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def standby() -> Iterator[tuple[EmbeddedServer, Standby]]:
    """A server with a standby."""
    with standby_pair() as pair:
        yield pair


def test_lag_on_sqlite(sqlite_url: str) -> None:
    """There is nothing that could lag, and that is said before anything is changed."""
    box = Sandbox(sqlite_url)
    box.execute(ROWS)
    before = box.state()
    with pytest.raises(InputError, match="has no standbys"):
        api.apply(box.url, [KEY], limits=limits(max_lag=1.0))
    assert box.state() == before


def test_lag_without_a_standby(every_pg_url: str) -> None:
    """Nothing lags where nothing follows."""
    box = Sandbox(every_pg_url)
    box.execute(ROWS)
    assert api.apply(box.url, [KEY], limits=limits(max_lag=0.5)).status == "done"


@pytest.mark.timeout(240)
def test_a_standby_that_lags(standby: tuple[EmbeddedServer, Standby]) -> None:
    """Batches wait while its replay is paused, and go on when it has caught up."""
    primary, copy = standby
    with primary.database() as url:
        box = Sandbox(url)
        box.execute(ROWS)
        plan = planned(box, KEY)
        until(lambda: copy.caught_up(), "the standby has the rows")
        told = Told(delay=0.05)
        copy.execute("SELECT pg_wal_replay_pause()")
        run = InBackground(
            lambda: api.apply(url, plan=plan, limits=limits(max_lag=0.4), listen=told)
        )
        until(lambda: told.waits("bytes behind"), "the lag is told")
        stands = box.count("parent")
        time.sleep(1.2)
        assert run.running
        assert box.count("parent") == stands > 100
        copy.execute("SELECT pg_wal_replay_resume()")
        assert run.result().status == "done"
        assert "the standby copy is" in told.waits("bytes behind")[0]


def test_a_role_that_does_not_see_the_lag(standby: tuple[EmbeddedServer, Standby]) -> None:
    """It is told what it lacks, before anything is changed."""
    primary, _ = standby
    with primary.database() as url:
        box = Sandbox(url)
        box.execute(ROWS, "CREATE ROLE blind LOGIN; ALTER TABLE parent OWNER TO blind")
        try:
            name = box.value("SELECT current_database()")
            box.execute(
                f"GRANT ALL ON DATABASE {name} TO blind; GRANT ALL ON SCHEMA public TO blind"
            )
            address = socket_url(primary, name, "blind")
            with pytest.raises(NoPrivilege, match="how far standbys are") as error:
                api.apply(address, [KEY], limits=limits(max_lag=1.0))
            assert "pg_monitor" in error.value.hint
            assert not box.value("SELECT to_regclass('onerow.run')")
        finally:
            box.execute("DROP OWNED BY blind CASCADE; DROP ROLE blind")
