"""The OpenAPI document, and that the running server keeps to it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.systems.planner.support import Planner, after, application

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


#: Whether a text is a plan is beyond a JSON schema.
CONFIG = """
[[operations]]
include-path = "/api/workouts/import"
checks.positive_data_acceptance.enabled = false
"""


def conforms(planner: Planner, folder: Path, *words: str) -> None:
    """Schemathesis has nothing against the server."""
    (folder / "schemathesis.toml").write_text(CONFIG)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{planner.address}/openapi.json"),
            *("--seed", "1", "--suppress-health-check", "all"),
            *("--generation-database", "none", "--no-color", *words),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_the_server_keeps_to_it(sqlite_url: str, tmp_path: Path) -> None:
    """No undocumented answer, no 5xx, nothing of another form, at the edges of every field."""
    with application(after(sqlite_url)) as planner:
        conforms(planner, tmp_path, "--phases", "coverage", "--max-examples", "1")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_server_keeps_to_it_at_length(planner: Planner, tmp_path: Path) -> None:
    """The same with whatever can be made up."""
    conforms(planner, tmp_path, "--phases", "coverage,fuzzing", "--max-examples", "60")
