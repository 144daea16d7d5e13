"""Create, claim and complete in every interleaving of their statements."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from onerow.race import explore
from systems.report_weeks.ledger import LOST, Claim, Ledger, give_back_lapsed
from systems.report_weeks.models import Answer, NewCollection
from systems.report_weeks.naive import NaiveLedger, NaiveStore
from systems.report_weeks.store import Store
from systems.shared.address import open_engine
from tests.systems.report_weeks.support import broken, repaired, request

NEW = NewCollection.model_validate(request(2, name="Raced"))
DONE = Answer(status="SUCCEEDED", execution_id="amc-1", row_count=1, data={})
COLLECTION = "00000000-0000-4000-8000-00000000000c"
WEEK, OTHER_WEEK = (f"00000000-0000-4000-8000-00000000000{n}" for n in (1, 2))
EXECUTION = "00000000-0000-4000-8000-0000000000e1"
LATE = Claim(
    week=WEEK,
    collection=COLLECTION,
    start=NEW.start_date,
    end=NEW.end_date,
    workflow=NEW.workflow_id,
    instance=NEW.instance_id,
    token=1,
    execution=EXECUTION,
)


class Race:
    """Workers over one engine, which the explorer watches, and what became of them."""

    def __init__(self, url: str, *, naive: bool) -> None:
        (broken if naive else repaired)(url)
        self.naive = naive
        self.engine = open_engine(url, connections=6)
        self.claims: list[Claim] = []
        self.refused = 0

    def book(self, owner: str) -> Any:
        return (
            NaiveLedger(self.engine)
            if self.naive
            else Ledger(self.engine, owner, timedelta(minutes=5))
        )

    # -- workers --------------------------------------------------------------------------------

    def create(self, _factory: Any) -> None:
        """By a server of its own, as behind a balancer."""
        (NaiveStore if self.naive else Store)(self.engine).create(NEW)

    def claim_as(self, owner: str) -> Callable[[Any], None]:
        def claim(_factory: Any) -> None:
            self.claims += self.book(owner).claim(COLLECTION, 1)

        claim.__name__ = f"claim_{owner}"
        return claim

    def complete_late(self, _factory: Any) -> None:
        """By a runner whose lease has run out."""
        self._complete("late", LATE)

    def take_over(self, _factory: Any) -> None:
        """By another one: the first look gives the week back, the second takes it."""
        for _ in range(2):
            for claim in self.book("other").claim(COLLECTION, 1):
                self._complete("other", claim)

    def _complete(self, owner: str, claim: Claim) -> None:
        try:
            self.book(owner).complete(claim, DONE)
            self.claims.append(claim)
        except LOST:
            self.refused += 1

    # -- before ---------------------------------------------------------------------------------

    def nothing(self, connection: sa.Connection) -> None:
        self.claims.clear()
        self.refused = 0
        for table in ("report_data_weeks", "report_data_collections", "workflow_executions"):
            connection.exec_driver_sql(f"DELETE FROM {table}")

    def pending(self, connection: sa.Connection) -> None:
        """A collection of two weeks."""
        self.nothing(connection)
        connection.exec_driver_sql(
            "INSERT INTO report_data_collections (id, name, workflow_id, instance_id, start_date, end_date)"
            f" VALUES ('{COLLECTION}', 'Raced', '{NEW.workflow_id}', 'i-1', '2024-01-01', '2024-01-14')"
        )
        for week, start, end in ((WEEK, "01", "07"), (OTHER_WEEK, "08", "14")):
            connection.exec_driver_sql(
                "INSERT INTO report_data_weeks (id, collection_id, week_start_date, week_end_date)"
                f" VALUES ('{week}', '{COLLECTION}', '2024-01-{start}', '2024-01-{end}')"
            )

    def lapsed(self, connection: sa.Connection) -> None:
        """A week of a runner that is too slow."""
        self.pending(connection)
        connection.exec_driver_sql(f"DELETE FROM report_data_weeks WHERE id = '{OTHER_WEEK}'")
        connection.exec_driver_sql(
            "UPDATE report_data_weeks SET status = 'running', claimed_by = 'late', claim_token = 1,"
            " claimed_until = '2020-01-01 00:00:00.000000'"
        )
        connection.exec_driver_sql(
            "INSERT INTO workflow_executions (id, execution_id, status)"
            f" VALUES ('{EXECUTION}', 'week-{WEEK}-1', 'running')"
        )

    # -- after ----------------------------------------------------------------------------------

    def two_weeks(self, connection: sa.Connection) -> bool:
        count = "SELECT count(*) FROM report_data_weeks"
        return bool(connection.exec_driver_sql(count).scalar_one() == 2)

    def each_has_its_own(self, _connection: sa.Connection) -> bool:
        weeks = [c.week for c in self.claims]
        return len(weeks) == len(set(weeks)) == 2

    def completed_once(self, connection: sa.Connection) -> bool:
        """By the one that the week names. Who looked while the other wrote may have found nothing."""
        row = "SELECT status, execution_id FROM report_data_weeks"
        ((status, execution),) = connection.exec_driver_sql(row).all()
        if status == "pending":
            return not self.claims and self.refused == 1
        (winner,) = self.claims
        return status == "completed" and str(execution) == winner.execution


@pytest.fixture
def race(db_url: str, naive: bool) -> Iterator[Race]:
    found = Race(db_url, naive=naive)
    yield found
    found.engine.dispose()


@pytest.fixture(autouse=True)
def _no_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key without an index is looked for twice a second, which would be steps of their own."""
    monkeypatch.setattr("onerow.write.run.RECHECK_SECONDS", 3600.0)


def judged(race: Race, workers: list[Any], setup: Any, invariant: Any) -> None:
    result = explore(
        race.engine, workers, setup=setup, invariant=invariant, preemptions=2, max_seconds=60
    )
    assert result.verdict == ("broken" if race.naive else "holds"), result.failure or result
    assert race.naive or result.schedules > 1


both = pytest.mark.parametrize("naive", [False, True], ids=["ours", "original"])


@both
def test_create_and_create(race: Race) -> None:
    """One collection with its weeks; the original makes two."""
    judged(race, [race.create, race.create], race.nothing, race.two_weeks)


@both
def test_claim_and_claim(race: Race) -> None:
    """Each week has one runner; the original gives one week to two."""
    judged(race, [race.claim_as("a"), race.claim_as("b")], race.pending, race.each_has_its_own)


@pytest.mark.parametrize("naive", [False], ids=["ours"])
def test_complete_and_late_complete(race: Race) -> None:
    """The week is one runner's in the end, with that one's execution. (The original has no token.)"""
    judged(race, [race.complete_late, race.take_over], race.lapsed, race.completed_once)


def test_an_old_token_is_refused(db_url: str) -> None:
    """After the week was claimed anew nothing of the late one is written, the link included."""
    race = Race(db_url, naive=False)
    with race.engine.begin() as connection:
        race.lapsed(connection)
        assert give_back_lapsed(connection, COLLECTION) == 1
    (fresh,) = race.book("other").claim(COLLECTION, 1)
    assert fresh.token == 2
    race.complete_late(None)
    assert race.refused == 1
    with race.engine.connect() as connection:
        row = "SELECT status, claimed_by, execution_id FROM report_data_weeks"
        assert tuple(connection.exec_driver_sql(row).one()) == ("running", "other", None)
        said = "SELECT status, amc_execution_id FROM workflow_executions ORDER BY status"
        executions = [tuple(r) for r in connection.exec_driver_sql(said)]
        assert executions == [("failed", None), ("running", None)]
    race.book("other").complete(fresh, DONE)
    race.engine.dispose()


def test_before_a_late_completion_was_taken(db_url: str) -> None:
    """The original has no token: a week that another has completed is overwritten."""
    race = Race(db_url, naive=True)
    with race.engine.begin() as connection:
        race.pending(connection)
    first, _ = race.book("slow").claim(COLLECTION, 2)
    race.book("other").complete(first, DONE.model_copy(update={"data": {"of": "other"}}))
    race.book("slow").complete(first, DONE.model_copy(update={"data": {"of": "slow"}}))
    with race.engine.connect() as connection:
        row = f"SELECT CAST(data AS text) FROM report_data_weeks WHERE id = '{first.week}'"
        assert "slow" in connection.exec_driver_sql(row).scalar_one()
    race.engine.dispose()
