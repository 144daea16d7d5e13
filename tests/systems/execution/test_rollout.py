"""The switch that carries the change: each setting on each schema, and the way as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from systems.execution_data import states
from systems.execution_data.scope import VARIABLE
from tests.support.sandbox import Sandbox
from tests.systems.execution.change import Change
from tests.systems.execution.clients import Clients
from tests.systems.execution.support import (
    ADMIN,
    FREE,
    PERIOD,
    ROOT,
    application,
    bearer,
    report,
    state,
)
from tests.systems.serving import served
from tests.systems.support import made
from tests.systems.test_commands import call

OURS, THEIRS = bearer(1), bearer(2)
OLD = "Execution data already exists for this reporting period and activity"
NEW = "Execution data already exists for this reporting period, activity and facility"


class Cell:
    """A setting on a schema: saves, and what became of them."""

    def __init__(self, http: httpx.Client, box: Sandbox) -> None:
        self.http, self.box = http, box

    def save(
        self, who: dict[str, str], facility: int | None = None, activity: int = FREE
    ) -> httpx.Response:
        return self.http.post(ROOT, json=report(facility, activity), headers=who)

    def stored(self, answer: httpx.Response) -> Any:
        """The facility in the row that was made."""
        assert answer.status_code == 201, answer.text
        number, told = answer.json()["id"], answer.json()["facilityId"]
        if "facility_id" not in str(self.box.schema()):
            return told
        sql = f"SELECT facility_id FROM execution_data WHERE id = {number}"
        assert self.box.value(sql) == told
        return told

    def conflict(self, answer: httpx.Response, message: str) -> dict[str, Any]:
        assert answer.status_code == 409, answer.text
        body: dict[str, Any] = answer.json()
        assert (body["error"], body["message"]) == ("CONFLICT", message)
        return body


@pytest.fixture
def cell(request: pytest.FixtureRequest, db_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    scope, name = request.param
    monkeypatch.setenv(VARIABLE, scope)
    box = state(db_url, name)
    with application(db_url) as http:
        yield Cell(http, box)


def on(scope: str, schema: str) -> Any:
    return pytest.mark.parametrize(
        "cell", [(scope, schema)], indirect=True, ids=[f"{scope}-{schema}"]
    )


@on("off", "before")
def test_off_before(cell: Cell) -> None:
    """As always: the key is period and activity, and the second facility gets a 409."""
    assert cell.stored(cell.save(OURS)) is None
    body = cell.conflict(cell.save(THEIRS), OLD)
    assert body["key"] == {"reportingPeriodId": PERIOD, "activityId": FREE}


@on("off", "during")
def test_off_during(cell: Cell) -> None:
    """The token's facility is stored as soon as the column is there; the old key still rules."""
    assert cell.stored(cell.save(OURS)) == 1
    ignored = cell.save(THEIRS, facility=1, activity=FREE - 1)
    assert cell.stored(ignored) == 2
    assert "FACILITY_SCOPE is off" in ignored.headers["warning"]
    body = cell.conflict(cell.save(THEIRS), OLD)
    assert "stored" not in body, "it is another facility's"
    assert "stored" in cell.conflict(cell.save(OURS), OLD)


@on("optional", "before")
def test_optional_before(cell: Cell) -> None:
    """Like off; a facilityId in the body is accepted and ignored with a warning header."""
    plain = cell.save(OURS)
    assert cell.stored(plain) is None
    assert "warning" not in plain.headers
    ignored = cell.save(OURS, facility=7, activity=FREE - 1)
    assert cell.stored(ignored) is None
    assert ignored.headers["warning"].startswith('299 - "facilityId was ignored')
    number = ignored.json()["id"]
    changed = cell.http.patch(
        f"{ROOT}/{number}", json={"facilityId": 7, "q2Amount": 1}, headers=OURS
    )
    assert (changed.status_code, "warning" in changed.headers) == (200, True)
    cell.conflict(cell.save(THEIRS, facility=2), OLD)
    rows = cell.http.get(ROOT, params={"facilityId": 7}, headers=THEIRS).json()
    assert rows["pagination"]["total"] == cell.box.count("execution_data")


@on("optional", "during")
def test_optional_during(cell: Cell) -> None:
    """The body's or else the token's facility is stored; the old key still stands."""
    assert cell.stored(cell.save(OURS)) == 1
    assert cell.stored(cell.save(ADMIN, facility=3, activity=FREE - 1)) == 3
    assert cell.save(OURS, facility=2, activity=FREE - 2).status_code == 403
    assert "stored" not in cell.conflict(cell.save(THEIRS), OLD)
    old = cell.http.get(f"{ROOT}/1", headers=THEIRS).json()
    assert old["facilityId"] is None, "nobody's yet, so everybody sees it, as before"
    key = {"reportingPeriodId": old["reportingPeriodId"], "activityId": old["activityId"]}
    there = cell.http.get(f"{ROOT}/exists", params=key, headers=THEIRS).json()
    assert there == {"exists": True, "id": 1}


@on("optional", "during")
def test_nobody_takes_a_row_by_editing_it(cell: Cell) -> None:
    """Whose an old row is, the backfill says, or an ADMIN."""
    for body in ({"q2Amount": 3}, {"q2Amount": 4, "facilityId": 2}):
        changed = cell.http.patch(f"{ROOT}/1", json=body, headers=THEIRS)
        assert (changed.status_code, changed.json()["facilityId"]) == (200, None)
    moved = cell.http.patch(f"{ROOT}/1", json={"facilityId": 5}, headers=ADMIN)
    assert (moved.status_code, moved.json()["facilityId"]) == (200, 5)
    assert cell.http.get(f"{ROOT}/1", headers=THEIRS).status_code == 403


@on("optional", "after")
def test_optional_after(cell: Cell) -> None:
    """The same, and the new key rules."""
    assert cell.stored(cell.save(OURS)) == 1
    assert cell.stored(cell.save(THEIRS, facility=2)) == 2
    assert cell.conflict(cell.save(THEIRS), NEW)["key"]["facilityId"] == 2
    key = {"reportingPeriodId": PERIOD, "activityId": FREE}
    for who, there in ((OURS, True), (bearer(3), False)):
        found = cell.http.get(f"{ROOT}/exists", params=key, headers=who).json()
        assert found["exists"] is there


@on("required", "during")
def test_required_during(cell: Cell) -> None:
    """400 without facilityId; while the old key stands, it rules."""
    assert cell.save(OURS).status_code == 400
    assert cell.stored(cell.save(OURS, facility=1)) == 1
    cell.conflict(cell.save(THEIRS, facility=2), OLD)
    assert cell.http.patch(f"{ROOT}/1", json={"q2Amount": 1}, headers=OURS).status_code == 400


@on("required", "after")
def test_required_after(cell: Cell) -> None:
    """400 without facilityId; each facility has its own."""
    assert cell.save(OURS).status_code == 400
    assert cell.stored(cell.save(OURS, facility=1)) == 1
    assert cell.stored(cell.save(THEIRS, facility=2)) == 2
    cell.conflict(cell.save(OURS, facility=1), NEW)


@pytest.mark.parametrize(
    ("schema", "scope", "words", "said"),
    [
        ("after", "off", (), "FACILITY_SCOPE=optional"),
        ("before", "required", (), "column execution_data.facility_id is missing"),
        ("before", "", (), "column execution_data.facility_id is missing"),
        ("after", "optional", ("--naive",), "--naive knows only the old key"),
        ("before", "sometimes", (), "'sometimes'"),
    ],
)
def test_what_does_not_start(
    sqlite_url: str,
    schema: str,
    scope: str,
    words: tuple[str, ...],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A setting that the schema is not for is told, with the way out; `required` is the default."""
    state(sqlite_url, schema)
    monkeypatch.setenv(VARIABLE, scope)
    monkeypatch.setenv("ONEROW_JWT_SECRET", "x" * 32)
    done = call("systems.execution_data", "serve", "--url", sqlite_url, *words)
    assert done.returncode in (1, 2)
    assert said in done.stderr


def test_a_database_of_something_else_is_refused(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it lacks is named; and without a secret nothing starts."""
    monkeypatch.setenv("ONEROW_JWT_SECRET", "x" * 32)
    done = call("systems.execution_data", "serve", "--url", sqlite_url)
    assert (done.returncode, "lacks table" in done.stderr) == (1, True)
    monkeypatch.delenv("ONEROW_JWT_SECRET")
    done = call("systems.execution_data", "serve", "--url", sqlite_url)
    assert (done.returncode, "ONEROW_JWT_SECRET is not set" in done.stderr) == (2, True)


def test_the_way_as_a_whole(db_url: str, tmp_path: Path) -> None:
    """Server on `optional`, plan and apply, clients, `required`: no request fails but by a 409."""
    rows = 300
    box = made(db_url, states.before(rows))
    change = Change(box, tmp_path)
    size = {"periods": 4, "activities": 83}
    with (
        served("execution_data", db_url, env={VARIABLE: "optional"}) as server,
        Clients(server.address, **size) as old,
    ):
        old.after(3)
        assert change.apply("column.toml").code == 0
        old.after(3)
        change.write_mapping()
        assert change.plan().code == 0
        assert change.apply().code == 0
        old.after(10)
        with Clients(server.address, **size, facilities=(4,), sends_facility=True) as new:
            new.after(3)
    with (
        served("execution_data", db_url, env={VARIABLE: "required"}) as server,
        Clients(server.address, **size, facilities=(5, 6), sends_facility=True) as last,
    ):
        last.after(5)
    for clients in (old, new, last):
        assert clients.surprises == []
        change.check(clients.saved)
    assert old.statuses[409] > 0
    assert change.verify().code == 0
