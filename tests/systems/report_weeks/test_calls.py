"""Each call: what it answers when all is well, and when not."""

from __future__ import annotations

from typing import Any

import pytest

from systems.report_weeks.app import make
from systems.shared.errors import SystemRefusal
from systems.shared.web.application import Serving
from tests.systems.report_weeks.support import (
    NOWHERE,
    House,
    broken,
    collect,
    engine_of,
    repaired,
    request,
    workflows,
)
from tests.systems.serving import TOKENS


def test_create_and_read(house: House) -> None:
    """201 with its address; again 200 with the one that exists, in another case of the UUID, too."""
    body = request(4)
    made = house.http.post("/collections", json=body)
    assert made.status_code == 201
    found = made.json()
    assert made.headers["Location"] == f"/collections/{found['id']}"
    assert (found["targetWeeks"], found["status"], found["progressPercentage"]) == (4, "pending", 0)
    assert found["weeks"] == {"pending": 4, "running": 0, "completed": 0, "failed": 0}
    again = house.http.post("/collections", json={**body, "workflowId": body["workflowId"].upper()})
    assert (again.status_code, again.json()) == (200, found)
    assert house.http.get(f"/collections/{found['id']}").json() == found
    listed = house.http.get("/collections?limit=1").json()
    assert listed["data"] == [found]
    assert listed["total"] >= 1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"endDate": "2023-01-01"}, "before startDate"),
        ({"startDate": "2024-02-30"}, "startDate"),
        ({"workflowId": "no"}, "workflowId"),
        ({"name": "a\0b"}, "NUL"),
        ({"surprise": 1}, "surprise"),
        ({"instanceId": None}, "instanceId"),
    ],
)
def test_bad_bodies(house: House, changed: dict[str, Any], said: str) -> None:
    """400, which names what is wrong."""
    answer = house.http.post("/collections", json={**request(4), **changed})
    assert answer.status_code == 400
    assert said in answer.json()["message"]


@pytest.mark.parametrize(
    "call",
    [
        "GET /collections/{}",
        "POST /collections/{}/pause",
        "POST /collections/{}/resume",
        "GET /weeks/{}",
        "POST /weeks/{}/retry",
        "GET /executions/{}/weeks",
        "GET /show/weeks/{}",
        "GET /show/executions/{}",
    ],
)
def test_what_is_not_there(house: House, call: str) -> None:
    """404 for an id of nothing, 400 for what is no id."""
    method, path = call.split()
    assert house.http.request(method, path.format(NOWHERE)).status_code == 404
    assert house.http.request(method, path.format("no-id")).status_code == 400


def test_a_week_leads_to_its_execution_and_back(house: House) -> None:
    """GET /weeks/{id} has data and execution, GET /executions/{id}/weeks the week; pages, too."""
    collection = house.create(2)["id"]
    with workflows() as service:
        assert collect(house.box, service, collection).completed == 2
    cell, _ = house.weeks(collection)
    week = house.http.get(f"/weeks/{cell['id']}").json()
    assert week["data"]["week"] == week["weekStartDate"] == "2024-01-01"
    execution = week["execution"]
    assert week["executionId"] == execution["id"] == cell["executionId"]
    assert (execution["status"], execution["progress"]) == ("completed", 100)
    assert execution["rowCount"] == week["data"]["rows"]
    assert execution["amcExecutionId"].startswith("amc-")
    assert execution["startedAt"] <= execution["completedAt"]
    (back,) = house.http.get(f"/executions/{execution['id']}/weeks").json()
    assert back == {k: v for k, v in week.items() if k not in ("data", "execution")}
    page = house.http.get(f"/show/executions/{execution['id']}").text
    assert f"/show/weeks/{cell['id']}" in page
    assert f"/show/executions/{execution['id']}" in house.http.get(f"/show/weeks/{cell['id']}").text
    done = house.http.get(f"/collections/{collection}").json()
    assert (done["status"], done["progressPercentage"]) == ("completed", 100)


def test_other_sites_may_not_write(house: House) -> None:
    """403 for what a browser says comes from elsewhere; reading is free."""
    other = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
    assert house.http.post("/collections", json=request(4), headers=other).status_code == 403
    assert house.http.get("/collections", headers=other).status_code == 200


def test_names_are_escaped(house: House) -> None:
    """On the pages of a week."""
    made = house.create(2, name="<script>alert(1)</script>")
    week = house.weeks(made["id"])[0]["id"]
    text = house.http.get(f"/show/weeks/{week}").text
    assert "&lt;script&gt;alert(1)" in text
    assert "<script>alert" not in text


def test_schemas_that_do_not_fit(db_url: str) -> None:
    """Nothing there, or the original writers after the change: refused with the way out."""
    box = broken(db_url)
    box.execute("DROP TABLE report_data_weeks")
    with engine_of(box) as engine, pytest.raises(SystemRefusal, match="after --url"):
        make(Serving(engine=engine, tokens=TOKENS))


def test_the_original_refuses_the_repaired_schema(sqlite_url: str) -> None:
    """Its writers are for the one before."""
    with engine_of(repaired(sqlite_url)) as engine, pytest.raises(SystemRefusal, match="before"):
        make(Serving(engine=engine, tokens=TOKENS, naive=True))
