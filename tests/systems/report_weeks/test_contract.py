"""The OpenAPI document, and that the server answers by it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.systems.report_weeks.support import House

ALWAYS = {"400", "403", "405", "413", "500", "503"}
CALLS = {
    ("get", "/collections"): {"200"},
    ("post", "/collections"): {"200", "201"},
    ("get", "/collections/{id}"): {"200", "404"},
    ("post", "/collections/{id}/pause"): {"200", "404", "409"},
    ("post", "/collections/{id}/resume"): {"200", "404", "409"},
    ("get", "/heat-map"): {"200"},
    ("get", "/weeks/{id}"): {"200", "404"},
    ("post", "/weeks/{id}/retry"): {"200", "404", "409"},
    ("get", "/executions/{id}/weeks"): {"200", "404"},
}


def test_every_answer_is_documented(house: House) -> None:
    """Each call of the page has its statuses, no more and no fewer."""
    paths = house.http.get("/openapi.json").json()["paths"]
    found = {
        (method, path): set(call["responses"])
        for path, calls in paths.items()
        for method, call in calls.items()
        if path not in ("/health", "/metrics")
    }
    assert found == {call: own | ALWAYS for call, own in CALLS.items()}


def conforms(house: House, folder: Path, *words: str) -> None:
    """Schemathesis has nothing against the server."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{house.address}/openapi.json"),
            *("--seed", "1", "--suppress-health-check", "all"),
            # That a range is no range, JSON Schema cannot say.
            *("--checks", "all", "--exclude-checks", "positive_data_acceptance"),
            *("--generation-database", "none", "--no-color", *words),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_the_server_keeps_to_it(house: House, tmp_path: Path) -> None:
    """No undocumented answer, no 5xx, nothing of another form."""
    house.create(4)
    conforms(house, tmp_path, "--phases", "examples,fuzzing", "--max-examples", "3")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_server_keeps_to_it_at_length(house: House, tmp_path: Path) -> None:
    """The same with whatever can be made up."""
    conforms(house, tmp_path, "--phases", "coverage,fuzzing,stateful", "--max-examples", "60")
