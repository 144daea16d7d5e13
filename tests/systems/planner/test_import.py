"""The coach's plan comes in: once, twice, and twice at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support.sandbox import Sandbox
from tests.systems.planner.support import Planner, application, before

HEADER = "Title,WorkoutType,PlannedDuration,WorkoutDay\n"
IMPORT = "/api/workouts/import"
CSV = {"Content-Type": "text/csv"}
SAME = (
    "SELECT count(*) FROM (SELECT 1 FROM workouts WHERE NOT is_custom"
    " GROUP BY title, originally_planned_day HAVING count(*) > 1) AS g"
)


def plan(name: str, rows: int) -> str:
    return HEADER + "".join(f"{name} {n},Run,1.5,2027-01-{1 + n % 28:02}\n" for n in range(rows))


def test_once(planner: Planner) -> None:
    """By form and by body; what is there by title and day is skipped, twice in the file, too."""
    text = plan("form", 3) + "form 0,Bike,2,2027-01-01\n"
    files = {"file": ("plan.csv", text, "text/csv")}
    first = planner.http.post(IMPORT, files=files).json()
    assert first == {"imported": 3, "skipped": 1, "errors": []}
    again = planner.http.post(IMPORT, content=text, headers=CSV).json()
    assert again == {"imported": 0, "skipped": 4, "errors": []}
    (row,) = [w for w in workouts(planner) if w["title"] == "form 0"]
    assert (row["workoutType"], row["plannedDuration"], row["isCustom"]) == ("Run", 1.5, False)


def test_bad_rows(planner: Planner) -> None:
    """Told by line; the good ones are kept."""
    text = f'{HEADER}good,Run,1,2027-02-01\n,Run,1,2027-02-01\nx,"Ru\nn",abc,2027-02-01\nlate,Run,1,2027-02-02\n'
    told = planner.http.post(IMPORT, content=text, headers=CSV).json()
    assert (told["imported"], told["skipped"]) == (2, 0)
    assert told["errors"] == [
        {"line": 3, "message": "Title is empty"},
        {"line": 4, "message": "PlannedDuration must be a number"},
    ]


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        ({"content": "a,b\n", "headers": CSV}, 400, "no column Title"),
        ({"content": b"\xff\xfe", "headers": CSV}, 400, "UTF-8"),
        ({"content": b"", "headers": CSV}, 400, "no column Title"),
        ({"files": {"other": ("p.csv", HEADER, "text/csv")}}, 400, "is missing"),
        ({"json": {}}, 415, "text/csv"),
        ({"data": {"file": HEADER}}, 415, "text/csv"),
        ({"content": b"x" * (5 * 2**20), "headers": CSV}, 413, "too large"),
    ],
)
def test_what_is_no_plan(planner: Planner, given: dict[str, Any], status: int, said: str) -> None:
    """400, 413 or 415, with what is wrong."""
    answer = planner.http.post(IMPORT, **given)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["message"]


def workouts(planner: Planner) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = planner.http.get("/api/workouts?limit=5000").json()
    return rows


def at_once(planner: Planner, text: str, times: int = 4) -> int:
    """Import it several times at once; how many rows were imported in all."""

    def one(_n: int) -> int:
        with httpx.Client(base_url=planner.address, timeout=30) as http:
            answer = http.post(IMPORT, content=text, headers=CSV)
            assert answer.status_code == 200, answer.text
            return int(answer.json()["imported"])

    with ThreadPoolExecutor(times) as pool:
        return sum(pool.map(one, range(times)))


def test_at_once(planner: Planner) -> None:
    """Each row comes in once, and is counted once."""
    assert at_once(planner, plan("both", 300)) == 300
    assert planner.box.value(SAME) == 0


def test_at_once_before_the_key_is_there(db_url: str) -> None:
    """The safe writer needs no key for that, only that all writers are safe."""
    box = before(db_url, 0)
    with application(box) as planner:
        assert at_once(planner, plan("both", 300)) == 300
    assert box.value(SAME) == 0


def test_the_naive_writer_at_once(pg_url: str) -> None:
    """One after the other it skips what is there; at once it does not."""
    box: Sandbox = before(pg_url, 0)
    with application(box, naive=True) as planner:
        text = plan("naive", 40)
        assert at_once(planner, text, times=1) == 40
        assert at_once(planner, text, times=1) == 0
        assert box.value(SAME) == 0
        assert at_once(planner, plan("race", 300)) > 300
    assert box.value(SAME) > 0
