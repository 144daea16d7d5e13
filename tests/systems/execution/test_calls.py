"""Every call of execution data and what it answers, over HTTP, on both engines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.sandbox import Sandbox
from tests.systems.execution.support import (
    ADMIN,
    FREE,
    PERIOD,
    ROOT,
    application,
    bearer,
    ledger,
    report,
    state,
)

OURS, THEIRS = bearer(1), bearer(2)
KEY = {"reportingPeriodId": PERIOD, "activityId": FREE, "facilityId": 1}


@pytest.fixture
def box(db_url: str) -> Sandbox:
    return state(db_url, "after")


@pytest.fixture
def http(box: Sandbox, db_url: str) -> Iterator[httpx.Client]:
    with application(db_url) as client:
        yield client


def created(http: httpx.Client, facility: int = 1, **more: Any) -> dict[str, Any]:
    answer = http.post(ROOT, json=report(facility, **more), headers=bearer(facility))
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


def refused(answer: httpx.Response, status: int, *said: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    assert set(body) <= {"error", "message", "details", "key", "stored"}
    for text in said:
        assert text in answer.text
    return body


def test_a_report_is_created_and_read(http: httpx.Client, box: Sandbox) -> None:
    """POST answers 201 with the row and its sum; one posting per quarter; GET answers the same."""
    quarters = {"q1Amount": 10.5, "q2Amount": 0, "q3Amount": 7, "q4Amount": 0.01}
    body = created(http, comment="late <b>invoice</b>", **quarters)
    assert body["cumulativeBalance"] == 17.51
    assert body | KEY | quarters | {"comment": "late <b>invoice</b>"} == body
    assert ledger(box, body["id"]) == [(1, 10.5), (2, 0), (3, 7), (4, 0.01)]
    assert box.value(f"SELECT created_by FROM execution_data WHERE id = {body['id']}") == "tester"
    assert http.get(f"{ROOT}/{body['id']}", headers=OURS).json() == body
    assert http.get(f"{ROOT}/by-period-and-activity", params=KEY, headers=OURS).json() == body
    there = http.get(f"{ROOT}/exists", params=KEY, headers=OURS).json()
    assert there == {"exists": True, "id": body["id"]}


def test_each_facility_has_its_own(http: httpx.Client, box: Sandbox) -> None:
    """201 for both; the second one of the same is 409, with key and what is stored."""
    first, _ = created(http, 1), created(http, 2)
    again = http.post(ROOT, json=report(1, q1Amount=5), headers=OURS)
    body = refused(again, 409, "reporting period, activity and facility")
    assert (body["error"], body["key"], body["stored"]) == ("CONFLICT", KEY, first)
    assert box.count("execution_data") == 2
    assert box.count("execution_ledger") == 8


def test_a_change_posts_the_differences(http: httpx.Client, box: Sandbox) -> None:
    """PATCH leaves what is not named; PUT sets what is not named to zero; the ledger sums up."""
    number = created(http, q1Amount=10, q2Amount=20, comment="x")["id"]
    patch = {"facilityId": 1, "q2Amount": 25.5}
    body = http.patch(f"{ROOT}/{number}", json=patch, headers=OURS).json()
    assert (body["q1Amount"], body["q2Amount"], body["comment"]) == (10, 25.5, "x")
    assert body["cumulativeBalance"] == 35.5
    assert ledger(box, number)[4:] == [(2, 5.5)]
    put = report(1, q1Amount=4)
    body = http.put(f"{ROOT}/{number}", json=put, headers=OURS).json()
    assert (body["q1Amount"], body["q2Amount"], body["comment"]) == (4, 0, None)
    assert ledger(box, number)[5:] == [(1, -6), (2, -25.5)]
    assert sum(amount for _, amount in ledger(box, number)) == body["cumulativeBalance"] == 4
    same = http.put(f"{ROOT}/{number}", json=put, headers=OURS)
    assert (same.status_code, len(ledger(box, number))) == (200, 7)
    assert same.json()["updatedAt"] >= body["updatedAt"] >= body["createdAt"]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_change_into_another_row_is_409(http: httpx.Client, box: Sandbox, method: str) -> None:
    """With the key of the row that it would collide with; nothing is changed or posted."""
    created(http)
    other = created(http, activity=FREE - 1)
    into = report(1, q1Amount=3) if method == "PUT" else {"activityId": FREE, "facilityId": 1}
    answer = http.request(method, f"{ROOT}/{other['id']}", json=into, headers=OURS)
    assert refused(answer, 409)["key"] == KEY
    assert http.get(f"{ROOT}/{other['id']}", headers=OURS).json() == other
    assert len(ledger(box, other["id"])) == 4


def test_a_removed_report_takes_its_postings_along(http: httpx.Client, box: Sandbox) -> None:
    """204 without a body, and 404 from then on."""
    number = created(http)["id"]
    gone = http.delete(f"{ROOT}/{number}", headers=OURS)
    assert (gone.status_code, gone.content) == (204, b"")
    assert (box.count("execution_data"), box.count("execution_ledger")) == (0, 0)
    for method, body in (("GET", None), ("DELETE", None), ("PATCH", {"facilityId": 1})):
        answer = http.request(method, f"{ROOT}/{number}", json=body, headers=OURS)
        refused(answer, 404, "NOT_FOUND")
    refused(http.put(f"{ROOT}/{number}", json=report(1), headers=OURS), 404)
    refused(http.get(f"{ROOT}/by-period-and-activity", params=KEY, headers=OURS), 404)
    there = http.get(f"{ROOT}/exists", params=KEY, headers=OURS).json()
    assert there == {"exists": False, "id": None}


def test_pages(http: httpx.Client) -> None:
    """Newest update first, with the number of all; hasNext until the last page."""
    made = [created(http, activity=n)["id"] for n in (1, 2, 3)]
    created(http, 2)
    http.patch(f"{ROOT}/{made[0]}", json={"facilityId": 1, "q4Amount": 1}, headers=OURS)
    first = http.get(ROOT, params={"limit": 2}, headers=OURS).json()
    assert [r["id"] for r in first["data"]] == [made[0], made[2]]
    assert first["pagination"] == {"total": 3, "limit": 2, "offset": 0, "hasNext": True}
    last = http.get(ROOT, params={"limit": 2, "offset": 2}, headers=OURS).json()
    assert [r["id"] for r in last["data"]] == [made[1]]
    assert last["pagination"] == {"total": 3, "limit": 2, "offset": 2, "hasNext": False}
    others = http.get(ROOT, params={"facilityId": 2}, headers=ADMIN).json()
    assert [r["facilityId"] for r in others["data"]] == [2]
    assert http.get(ROOT, headers=ADMIN).json()["pagination"]["total"] == 4
    none = http.get(ROOT, params={"reportingPeriodId": 1}, headers=ADMIN).json()
    assert none["pagination"] == {"total": 0, "limit": 50, "offset": 0, "hasNext": False}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (report(), "facilityId"),
        (report(0), "facilityId"),
        (report(-1), "facilityId"),
        ({**report(1), "facilityId": "one"}, "facilityId"),
        ({**report(1), "facilityId": 1.5}, "facilityId"),
        (report(1, q1Amount=-1), "q1Amount"),
        (report(1, q1Amount=0.001), "q1Amount"),
        (report(1, q1Amount=1e13), "q1Amount"),
        (report(1, q1Amount="NaN"), "q1Amount"),
        (report(1, comment="x" * 2001), "comment"),
        (report(1, comment="a\0b"), "comment"),
        (report(1, other=1), "other"),
        (report(1, activity=10**12), "activityId"),
        ({"facilityId": 1, "q1Amount": 1}, "reportingPeriodId"),
    ],
)
def test_a_bad_report_is_400(
    sqlite_http: httpx.Client, method: str, body: dict[str, Any], said: str
) -> None:
    """On PUT as on POST; the field is named."""
    path = ROOT if method == "POST" else f"{ROOT}/1"
    details = refused(sqlite_http.request(method, path, json=body, headers=OURS), 400)["details"]
    assert said in [d["field"] for d in details]


@pytest.fixture(params=["POST", "PUT"])
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def sqlite_http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """What is refused before the database is asked needs no second engine."""
    file = tmp_path_factory.mktemp("calls") / "calls.sqlite3"
    url = f"sqlite:///{file}"
    state(url, "after")
    with application(url) as client:
        created(client)
        yield client


def test_unknown_references_are_400(http: httpx.Client, box: Sandbox) -> None:
    """All that lead nowhere are named, on POST and on a change."""
    body = {"reportingPeriodId": 77, "activityId": 78, "facilityId": 79}
    told = refused(http.post(ROOT, json=body, headers=ADMIN), 400, "facility 79")
    assert [d["field"] for d in told["details"]] == [
        "reportingPeriodId",
        "activityId",
        "facilityId",
    ]
    number = created(http)["id"]
    change = {"facilityId": 1, "activityId": 78}
    answer = http.patch(f"{ROOT}/{number}", json=change, headers=OURS)
    refused(answer, 400, "There is no activity 78")
    assert (box.count("execution_data"), box.count("execution_ledger")) == (1, 4)


@pytest.mark.parametrize(
    ("path", "params", "said"),
    [
        ("", {"limit": 0}, "limit"),
        ("", {"limit": 201}, "limit"),
        ("", {"offset": -1}, "offset"),
        ("", {"facilityId": "x"}, "facilityId"),
        ("", {"reportingPeriodId": 0}, "reportingPeriodId"),
        ("/exists", {"reportingPeriodId": 1, "activityId": 1}, "facilityId"),
        ("/exists", {"activityId": 1, "facilityId": 1}, "reportingPeriodId"),
        ("/by-period-and-activity", {"reportingPeriodId": 1, "activityId": 1}, "facilityId"),
        ("/by-period-and-activity", {"reportingPeriodId": 1, "facilityId": 1}, "activityId"),
        ("/0", {}, "id"),
    ],
)
def test_a_bad_question_is_400(
    sqlite_http: httpx.Client, path: str, params: dict[str, Any], said: str
) -> None:
    """The parameter is named."""
    answer = sqlite_http.get(ROOT + path, params=params, headers=OURS)
    assert said in [d["field"] for d in refused(answer, 400)["details"]]


def test_an_accountant_stays_within_the_facility(http: httpx.Client, box: Sandbox) -> None:
    """403 for another one, reads too; and a row cannot be moved there."""
    number = created(http)["id"]
    theirs = [
        http.get(f"{ROOT}/{number}", headers=THEIRS),
        http.get(ROOT, params={"facilityId": 1}, headers=THEIRS),
        http.get(f"{ROOT}/exists", params=KEY, headers=THEIRS),
        http.get(f"{ROOT}/by-period-and-activity", params=KEY, headers=THEIRS),
        http.post(ROOT, json=report(1), headers=THEIRS),
        http.put(f"{ROOT}/{number}", json=report(2), headers=THEIRS),
        http.patch(f"{ROOT}/{number}", json={"facilityId": 2}, headers=THEIRS),
        http.delete(f"{ROOT}/{number}", headers=THEIRS),
        http.patch(f"{ROOT}/{number}", json={"facilityId": 2}, headers=OURS),
    ]
    for answer in theirs:
        assert refused(answer, 403)["error"] == "FORBIDDEN"
    assert http.get(ROOT, headers=THEIRS).json()["data"] == []
    assert box.value(f"SELECT facility_id FROM execution_data WHERE id = {number}") == 1


def test_an_admin_works_in_any_facility(http: httpx.Client) -> None:
    """And may move a row, if the other facility has none."""
    ours, theirs = created(http, 1), created(http, 2)
    path = f"{ROOT}/{ours['id']}"
    taken = http.patch(path, json={"facilityId": 2}, headers=ADMIN)
    assert refused(taken, 409)["stored"] == theirs
    moved = http.patch(path, json={"facilityId": 3}, headers=ADMIN)
    assert (moved.status_code, moved.json()["facilityId"]) == (200, 3)
    assert http.delete(path, headers=ADMIN).status_code == 204


def test_no_call_without_a_token(sqlite_http: httpx.Client) -> None:
    """401, before anything else is looked at."""
    for method, path in (
        ("GET", ""),
        ("GET", "/1"),
        ("GET", "/exists"),
        ("GET", "/by-period-and-activity"),
        ("POST", ""),
        ("PUT", "/1"),
        ("PATCH", "/1"),
        ("DELETE", "/1"),
    ):
        assert refused(sqlite_http.request(method, ROOT + path), 401)["error"] == "UNAUTHORIZED"
    lacking = {"Authorization": bearer(1)["Authorization"] + "x"}
    refused(sqlite_http.get(ROOT, headers=lacking), 401)
