"""The scenarios of the page, over HTTP and the command line; and what the original does in each."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from systems.execution_data import races, states
from systems.execution_data.scope import VARIABLE
from systems.shared.address import open_engine
from tests.systems.execution.change import Change
from tests.systems.execution.clients import Clients
from tests.systems.execution.support import (
    FREE,
    PERIOD,
    ROOT,
    application,
    bearer,
    client,
    report,
    state,
)
from tests.systems.serving import Served, served
from tests.systems.support import made

OURS, THEIRS = bearer(1), bearer(2)
AT_ONCE = 50
OPTIONAL = {VARIABLE: "optional"}


# -- 1: a second facility -----------------------------------------------------------------------


@pytest.mark.parametrize("naive", [True, False], ids=["naive", "safe"])
def test_1_before_the_second_facility_is_refused(
    db_url: str, naive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the old key no writer can help: B's save of what A has saved is a 409."""
    monkeypatch.setenv(VARIABLE, "optional")
    state(db_url, "before")
    with application(db_url, naive=naive) as http:
        saves = [http.post(ROOT, json=report(), headers=who) for who in (OURS, THEIRS)]
    assert [s.status_code for s in saves] == [201, 409]
    assert saves[1].json()["message"].endswith("for this reporting period and activity")


def test_1_after_each_facility_has_its_own(db_url: str) -> None:
    """201 for both; A's second one is a 409."""
    state(db_url, "after")
    with application(db_url) as http:
        facilities = ((1, OURS), (2, THEIRS), (1, OURS))
        saves = [http.post(ROOT, json=report(f), headers=who) for f, who in facilities]
    assert [s.status_code for s in saves] == [201, 201, 409]
    assert saves[2].json()["key"]["facilityId"] == 1


# -- 2: all at once -----------------------------------------------------------------------------


async def posted_at_once(address: str, activity: int = FREE) -> Counter[int]:
    limits = httpx.Limits(max_connections=AT_ONCE)
    body = report(1, activity, q1Amount=1, q2Amount=2, q3Amount=3, q4Amount=4)
    async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as http:
        posts = [http.post(ROOT, json=body, headers=OURS) for _ in range(AT_ONCE)]
        return Counter(answer.status_code for answer in await asyncio.gather(*posts))


async def test_2_fifty_at_once_are_one(db_url: str) -> None:
    """One 201, forty-nine 409, one row, one set of postings."""
    box = state(db_url, "after")
    with served("execution_data", db_url) as server:
        assert await posted_at_once(server.address) == {201: 1, 409: AT_ONCE - 1}
    assert box.count("execution_data") == 1
    postings = box.rows("SELECT quarter FROM execution_ledger ORDER BY quarter")
    assert postings == [(1,), (2,), (3,), (4,)]


async def test_2_the_original_breaks(pg_url: str) -> None:
    """Its look-up decides nothing: who loses the race gets a 500. On SQLite the window is short."""
    state(pg_url, "before")
    with served("execution_data", pg_url, "--naive", failing=True) as server:
        statuses: Counter[int] = Counter()
        # Until two have met: how often they do, depends on the machine.
        activities = iter(range(1, FREE))
        while not statuses[500]:
            statuses += await posted_at_once(server.address, next(activities))
        assert "Unforeseen" in server.log


@pytest.mark.parametrize("schema", ["before", "after"])
def test_2_in_every_interleaving(db_url: str, schema: str) -> None:
    """Two saves of one key: one is a 409, the ledger is the row's; and two facilities have both."""
    with engine_of(db_url, schema) as engine:
        saves = races.two_saves(engine, races.safe)
        both = races.two_facilities(engine, races.safe)
    assert (saves.verdict, saves.exhausted) == ("holds", True), saves
    assert both.verdict == ("holds" if schema == "after" else "broken"), both


def test_2_the_original_breaks_in_one(db_url: str) -> None:
    """What the database refuses it has not foreseen, and of two changes it loses one."""
    with engine_of(db_url, "before") as engine:
        assert races.two_saves(engine, races.naive).verdict == "raised"
        changes = races.two_changes(engine, races.naive)
    # SQLite does not let a transaction write over what it has not seen, and says so.
    assert changes.verdict == ("raised" if db_url.startswith("sqlite") else "broken")


@pytest.mark.slow
def test_2_changes_in_every_interleaving(db_url: str) -> None:
    """Of two changes of one row both are there, and the ledger tells its sum."""
    with engine_of(db_url, "after") as engine:
        result = races.two_changes(engine, races.safe)
    assert (result.verdict, result.exhausted) == ("holds", True), result


@contextmanager
def engine_of(url: str, schema: str) -> Iterator[sa.Engine]:
    state(url, schema)
    engine = open_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


# -- 3: while clients keep posting --------------------------------------------------------------


def changed_under_traffic(url: str, folder: Path, rows: int, *, seconds: float) -> None:
    """The column, a mapping, a kill half way, and on to the end, while clients keep posting."""
    box = made(url, states.before(rows))
    change = Change(box, folder)
    activities = int(box.value("SELECT max(id) FROM activities"))
    with (
        served("execution_data", url, env=OPTIONAL) as server,
        Clients(
            server.address, box.value("SELECT count(*) FROM reporting_periods"), activities
        ) as old,
    ):
        old.after(3)
        assert change.apply("column.toml").code == 0
        change.write_mapping()
        old.after(3)
        killed_half_way(change, rows)
        old.after(3)
        done = change.apply(seconds=seconds)
        assert (done.code, done.said["status"]) == (0, "done"), done.said
        old.after(5)
    assert old.surprises == [], old.surprises[:3]
    assert set(old.statuses) <= {200, 201, 409}
    change.check(old.saved)
    assert box.count("execution_data") == rows + len(old.saved)
    assert box.value("SELECT count(*) FROM execution_data WHERE facility_id IS NULL") == 0
    assert change.verify().code == 0


def killed_half_way(change: Change, rows: int) -> None:
    """SIGKILL between two batches of the backfill: a condition holds it there."""
    filled = "SELECT count(*) FROM execution_data WHERE facility_id IS NOT NULL"
    held = f"({filled}) >= {rows // 4}"
    words = ("--yes", "--batch-time", "0.01", "--pause-when", held)
    with change.started("apply", *words) as running:
        while change.box.value(filled) < rows // 4:
            assert running.running, running.said
        running.kill()
    assert rows // 4 <= change.box.value(filled) < rows


def test_3_under_traffic_killed_and_resumed(db_url: str, tmp_path: Path) -> None:
    """No request fails but by an honest 409; rows written meanwhile carry their facility."""
    changed_under_traffic(db_url, tmp_path, 4000, seconds=60)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_3_at_a_million_rows(db_url: str, tmp_path: Path) -> None:
    """The same at size."""
    changed_under_traffic(db_url, tmp_path, 1_000_000, seconds=900)


def test_3_under_the_original_it_cannot_end(db_url: str, tmp_path: Path) -> None:
    """Its rows carry no facility, so the change stops and lists them, and no key is lost meanwhile."""
    box = made(db_url, states.before(60))
    change = Change(box, tmp_path)
    assert change.apply("column.toml").code == 0
    change.write_mapping()
    with served("execution_data", db_url, "--naive") as server, client(server.address) as http:
        late = http.post(ROOT, json=report(), headers=OURS)
        assert late.status_code == 201
        stopped = change.apply()
    assert (stopped.code, stopped.said["status"]) == (1, "refused")
    assert f"id = {late.json()['id']}" in stopped.said["message"]


# -- 4: rows that nobody knows ------------------------------------------------------------------


def test_4_unknown_rows_stop_it_and_are_listed(db_url: str, tmp_path: Path) -> None:
    """Before NOT NULL; nothing is lost; with the mapping completed it goes on."""
    box = made(db_url, states.before(200, unmapped=3))
    change = Change(box, tmp_path)
    contents = box.contents()
    change.write_mapping()
    stopped = change.apply()
    assert (stopped.code, stopped.said["status"]) == (1, "refused")
    unknown = [n for (n,) in box.rows("SELECT id FROM execution_data WHERE created_by = 'import'")]
    assert len(unknown) == 3
    assert all(f"id = {number}" in stopped.said["message"] for number in unknown)
    assert {t: r for t, r in box.contents().items() if t in contents} == contents
    change.write_mapping(unknown=7)
    assert change.apply().code == 0
    of_seven = "SELECT count(*) FROM execution_data WHERE facility_id = 7 AND created_by = 'import'"
    assert (box.value(of_seven), box.count("execution_data")) == (3, 200)


def test_4_the_original_migration_fails(db_url: str) -> None:
    """A column NOT NULL in one statement: no row has a value for it."""
    made(db_url, states.before(20))
    engine = open_engine(db_url)
    with pytest.raises(sa.exc.DBAPIError), engine.begin() as connection:
        connection.exec_driver_sql(
            "ALTER TABLE execution_data ADD COLUMN facility_id integer NOT NULL"
        )
    engine.dispose()


# -- 5: and back --------------------------------------------------------------------------------


def test_5_undo_is_exact(db_url: str, tmp_path: Path) -> None:
    """Schema and rows, byte for byte."""
    box = made(db_url, states.before(500))
    before = box.state()
    change = Change(box, tmp_path)
    change.write_mapping()
    assert change.apply().code == 0
    assert box.schema() != before[0]
    assert change.undo().code == 0
    assert box.state() == before


def test_5_rows_that_the_old_key_cannot_hold(db_url: str, tmp_path: Path) -> None:
    """Undo names them and refuses, and archives them when it is told to."""
    box = made(db_url, states.before(60))
    before = box.contents()[box.called("execution_data")]
    change = Change(box, tmp_path)
    change.write_mapping()
    assert change.apply().code == 0
    with application(db_url) as http:
        first = http.post(ROOT, json=report(1), headers=OURS)
        second = http.post(ROOT, json=report(2), headers=THEIRS)
    assert (first.status_code, second.status_code) == (201, 201)
    refused = change.undo()
    assert refused.code == 1
    assert f"reporting_period_id {PERIOD}, activity_id {FREE}" in refused.said["message"]
    assert box.count("execution_data") == 62
    done = change.undo("--archive-newer")
    assert done.code in (0, 1), done.said
    assert set(before) <= set(box.contents()[box.called("execution_data")])
    assert "facility_id" not in str(box.schema())
    with pytest.raises(Exception, match=r"(?i)unique"):
        box.execute(
            "INSERT INTO execution_data (reporting_period_id, activity_id)"
            " SELECT reporting_period_id, activity_id FROM execution_data WHERE id = 1"
        )


# -- the log ------------------------------------------------------------------------------------


def test_a_removal_leaves_a_line(sqlite_url: str) -> None:
    """Who and what; a name cannot write a line of its own."""
    state(sqlite_url, "after")
    with served("execution_data", sqlite_url) as server, client(server.address) as http:
        who = bearer(1, sub="anna\nERROR forged")
        number = http.post(ROOT, json=report(1), headers=who).json()["id"]
        assert http.delete(f"{ROOT}/{number}", headers=who).status_code == 204
        lines = removals(server)
    assert len(lines) == 1
    for text in (f"removed {number}:", "facility 1", r"'anna\nERROR forged' (ACCOUNTANT)"):
        assert text in lines[0]


def removals(server: Served) -> list[str]:
    return [line for line in server.log.splitlines() if ".audit" in line or "forged" in line]
