"""Every call of the planner and what it answers, over HTTP, on both engines."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from icalendar import Calendar

from tests.systems.planner.support import SELECTED, Planner

NOWHERE = 4_000_000


def refused(answer: httpx.Response, status: int, field: str = "") -> dict[str, Any]:
    """The error form, and the field at fault."""
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    assert set(body) <= {"error", "message", "details"}
    assert [d["field"] for d in body.get("details", [])] == ([field] if field else [])
    return body


def test_a_selection_is_made_and_changed(planner: Planner) -> None:
    """PUT creates with what it names, and changes that and no more; each write raises the version."""
    made = planner.put(1, currentPlanDay="2026-03-05", timeOfDay="morning").json()
    assert made.pop("updatedAt").endswith("Z")
    assert made == {
        "workoutId": 1,
        "isSelected": True,
        "currentPlanDay": "2026-03-05",
        "timeOfDay": "morning",
        "workoutLocation": None,
        "userNotes": None,
        "version": 1,
    }
    changed = planner.put(1, userNotes="<b>windy</b>", workoutLocation="track").json()
    assert changed.pop("updatedAt")
    assert changed == {
        **made,
        "userNotes": "<b>windy</b>",
        "workoutLocation": "track",
        "version": 2,
    }
    assert planner.selection(1)["version"] == 2


def test_the_same_write_again_is_a_write(planner: Planner) -> None:
    """A PUT that changes nothing else raises the version, too, and so does an empty one."""
    versions = [planner.put(2, timeOfDay="evening").json()["version"] for _ in range(3)]
    assert versions == [1, 2, 3]
    assert planner.put(2).json()["version"] == 4


def test_taking_it_off_clears_the_time(planner: Planner) -> None:
    """Off the calendar it keeps its day and its notes; back on it has no time of day."""
    planner.put(3, currentPlanDay="2026-03-05", timeOfDay="morning", userNotes="n")
    off = planner.put(3, isSelected=False).json()
    assert (off["isSelected"], off["timeOfDay"], off["userNotes"]) == (False, None, "n")
    on = planner.put(3, isSelected=True).json()
    assert (on["isSelected"], on["timeOfDay"], on["currentPlanDay"]) == (True, None, "2026-03-05")


def test_reset(planner: Planner) -> None:
    """DELETE forgets it; twice is fine; of a workout that is not there it is 404."""
    planner.put(4, userNotes="x")
    for _ in range(2):
        assert planner.http.delete(SELECTED.format(4)).status_code == 204
        assert planner.selection(4) is None
    refused(planner.http.delete(SELECTED.format(NOWHERE)), 404)


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"currentPlanDay": "2026-02-30"}, "currentPlanDay"),
        ({"currentPlanDay": "tomorrow"}, "currentPlanDay"),
        ({"timeOfDay": "noon"}, "timeOfDay"),
        ({"isSelected": 1}, "isSelected"),
        ({"userNotes": "a\0b"}, "userNotes"),
        ({"curentPlanDay": "2026-03-05"}, "curentPlanDay"),
    ],
)
def test_bad_fields(planner: Planner, sent: dict[str, Any], field: str) -> None:
    """400 with the field, and nothing is written."""
    assert field in refused(planner.put(5, **sent), 400, field)["message"]
    assert planner.selection(5) is None


def test_unknown_workouts(planner: Planner) -> None:
    """404, whatever number it is; what is no number is 400."""
    for number in (NOWHERE, 0, -1, 2**31, 10**30):
        refused(planner.put(number, timeOfDay="morning"), 404)
        refused(planner.http.get(f"/api/workouts/{number}"), 404)
    refused(planner.http.put("/api/selections/x", json={}), 400, "workoutId")


def test_bodies_that_are_none(planner: Planner) -> None:
    """Not JSON, no object, or too large."""
    path = SELECTED.format(5)
    json = {"Content-Type": "application/json"}
    refused(planner.http.put(path, content="{", headers=json), 400, "body")
    refused(planner.http.put(path, json=[1]), 400, "body")
    refused(planner.http.put(path, content=b" " * (5 * 2**20), headers=json), 413)


def test_the_list(planner: Planner) -> None:
    """In the order of the days, each with its selection; by part, by day, on or off the calendar."""
    planner.put(60, currentPlanDay="2026-02-01")
    answer = planner.http.get("/api/workouts")
    rows = answer.json()
    assert (rows[0]["id"], rows[0]["selection"]["currentPlanDay"]) == (60, "2026-02-01")
    assert len(rows) == int(answer.headers["X-Total-Count"]) >= 60

    def ids(**query: object) -> list[int]:
        found = planner.http.get("/api/workouts", params=query)  # type: ignore[arg-type]
        assert int(found.headers["X-Total-Count"]) >= len(found.json())
        return [row["id"] for row in found.json()]

    assert ids(limit=2, offset=1) == [row["id"] for row in rows[1:3]]
    assert ids(start="2026-02-01", end="2026-02-02") == [60]
    assert ids(start="2026-02-01", end="2026-02-02", scheduled=False) == []
    assert 60 not in ids(scheduled=False)
    assert 60 in ids(scheduled=True)
    planner.put(60, isSelected=False)
    assert 60 in ids(scheduled=False, start="2026-04-30", end="2026-04-30")
    refused(planner.http.get("/api/workouts?limit=0"), 400, "limit")
    refused(planner.http.get("/api/workouts?start=1700000000"), 400, "start")


def test_custom_workouts(planner: Planner) -> None:
    """Created, listed, changed by field, deleted; what is gone is 404."""
    new = {"title": "Yoga", "plannedDate": "2026-07-01", "plannedDuration": 1}
    made = planner.http.post("/api/custom-workouts", json=new)
    assert made.status_code == 201
    row = made.json()
    path = made.headers["Location"]
    assert path == f"/api/custom-workouts/{row['id']}"
    assert planner.http.get(path).json() == row
    changed = planner.http.put(path, json={"timeOfDay": "evening", "plannedDuration": None}).json()
    assert {n for n in row if row[n] != changed[n]} == {"timeOfDay", "plannedDuration", "updatedAt"}
    july = {"start": "2026-07-01", "end": "2026-07-31"}
    assert planner.http.get("/api/custom-workouts", params=july).json() == [changed]
    assert planner.http.delete(path).status_code == 204
    for answer in (
        planner.http.get(path),
        planner.http.put(path, json={}),
        planner.http.delete(path),
    ):
        refused(answer, 404)


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"plannedDate": "2026-07-01"}, "title"),
        ({"title": "", "plannedDate": "2026-07-01"}, "title"),
        ({"title": "Yoga"}, "plannedDate"),
        ({"title": "Yoga", "plannedDate": "2026-07-01", "plannedDuration": -1}, "plannedDuration"),
        ({"title": "Yoga", "plannedDate": "2026-07-01", "colour": "red"}, "colour"),
    ],
)
def test_custom_workouts_that_are_refused(
    planner: Planner, sent: dict[str, Any], field: str
) -> None:
    """400 with the field, when they are made and when they are changed."""
    refused(planner.http.post("/api/custom-workouts", json=sent), 400, field)
    if field in sent:
        refused(planner.http.put("/api/custom-workouts/1", json=sent), 400, field)
    refused(
        planner.http.put("/api/custom-workouts/1", json={"plannedDate": None}), 400, "plannedDate"
    )


def test_numbers(planner: Planner) -> None:
    """Workouts, those on the calendar, and those of one's own."""
    first = planner.http.get("/api/stats").json()
    assert set(first) == {"totalWorkouts", "selectedWorkouts", "customWorkouts"}
    planner.put(30, timeOfDay="morning")
    planner.put(31, isSelected=False)
    planner.http.post("/api/custom-workouts", json={"title": "Yoga", "plannedDate": "2026-09-01"})
    assert planner.http.get("/api/stats").json() == {
        "totalWorkouts": first["totalWorkouts"],
        "selectedWorkouts": first["selectedWorkouts"] + 1,
        "customWorkouts": first["customWorkouts"] + 1,
    }


def test_the_calendar_file(planner: Planner) -> None:
    """What is on the calendar in these days, the same UIDs each time, also after it was moved."""
    planner.put(40, currentPlanDay="2026-08-03", timeOfDay="afternoon", userNotes="slow")
    planner.put(41, currentPlanDay="2026-08-04", isSelected=False)
    planner.http.post(
        "/api/custom-workouts", json={"title": "Swim, with friends", "plannedDate": "2026-08-31"}
    )
    first, moved = exported(planner, "2026-08-01", "2026-08-31"), {}
    assert len(first) == 2
    planner.put(40, currentPlanDay="2026-08-05")
    moved = exported(planner, "2026-08-05", "2026-08-31")
    assert moved.keys() == first.keys()
    ours = next(e for e in moved.values() if "slow" in str(e.get("DESCRIPTION")))
    assert str(ours.decoded("DTSTART")) == "2026-08-05 13:00:00"
    assert exported(planner, "2026-08-06", "2026-08-30") == {}
    refused(
        planner.http.get("/api/export/calendar.ics?start=2026-08-02&end=2026-08-01"), 400, "end"
    )
    refused(planner.http.get("/api/export/calendar.ics?start=x"), 400, "start")


def exported(planner: Planner, start: str, end: str) -> dict[str, Any]:
    answer = planner.http.get("/api/export/calendar.ics", params={"start": start, "end": end})
    assert answer.headers["Content-Type"].startswith("text/calendar")
    events = Calendar.from_ical(answer.content).walk("VEVENT")
    return {str(e["UID"]): e for e in events}


def test_health_and_what_is_not_there(planner: Planner) -> None:
    """Health at both addresses; 404 and 405 have the errors' form."""
    for path in ("/health", "/api/health"):
        assert planner.http.get(path).json() == {"status": "ok"}
    refused(planner.http.get("/api/nothing"), 404)
    refused(planner.http.post("/api/stats"), 405)


def test_other_sites_may_not_write(planner: Planner) -> None:
    """What a browser says comes from elsewhere is refused, and may read nothing into its page."""
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = planner.http.put(SELECTED.format(6), json={"userNotes": "x"}, headers=headers)
        refused(answer, 403)
        upload = planner.http.post("/api/workouts/import", content="", headers=headers)
        refused(upload, 403)
    assert planner.selection(6) is None
    assert "Access-Control-Allow-Origin" not in planner.http.get("/api/stats").headers


def test_pages_are_locked_up(planner: Planner) -> None:
    """No inline script or style, nothing from elsewhere."""
    policy = planner.http.get("/").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    text = planner.http.get("/").text
    assert "<style" not in text
    assert " style=" not in text
    assert "https://" not in text
    assert text.count("<script") == text.count("<script src=")
