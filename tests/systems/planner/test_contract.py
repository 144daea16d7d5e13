"""The OpenAPI document, and that the running server keeps to it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.systems.planner.support import Planner

ALWAYS = {"400", "403", "405", "413", "500", "503"}
#: Call, what it answers when it is done, and what besides the errors of every call.
CALLS = {
    ("get", "/api/workouts"): {"200"},
    ("get", "/api/workouts/{workout_id}"): {"200", "404"},
    ("post", "/api/workouts/import"): {"200", "415"},
    ("put", "/api/selections/{workout_id}"): {"200", "404"},
    ("delete", "/api/selections/{workout_id}"): {"204", "404"},
    ("get", "/api/custom-workouts"): {"200"},
    ("post", "/api/custom-workouts"): {"201"},
    ("get", "/api/custom-workouts/{custom_id}"): {"200", "404"},
    ("put", "/api/custom-workouts/{custom_id}"): {"200", "404"},
    ("delete", "/api/custom-workouts/{custom_id}"): {"204", "404"},
    ("get", "/api/stats"): {"200"},
    ("get", "/api/export/calendar.ics"): {"200"},
}


def test_every_answer_is_documented(planner: Planner) -> None:
    """Each call of the page has its statuses, no more and no fewer."""
    paths = planner.http.get("/openapi.json").json()["paths"]
    found = {
        (method, path): set(call["responses"])
        for path, calls in paths.items()
        for method, call in calls.items()
        if path.startswith("/api/") and path != "/api/health"
    }
    assert found == {call: own | ALWAYS for call, own in CALLS.items()}


def conforms(planner: Planner, examples: int, folder: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{planner.address}/openapi.json"),
            *(
                "--max-examples",
                str(examples),
                "--seed",
                "1",
                "--phases",
                "examples,coverage,fuzzing",
            ),
            *("--suppress-health-check", "all", "--generation-database", "none", "--no-color"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_the_server_keeps_to_it(planner: Planner, tmp_path: Path) -> None:
    """No undocumented answer, no 5xx, nothing of another form, whatever is sent."""
    conforms(planner, 5, tmp_path)


@pytest.mark.slow
def test_the_server_keeps_to_it_at_length(planner: Planner, tmp_path: Path) -> None:
    """The same with many more requests."""
    conforms(planner, 150, tmp_path)
