"""The OpenAPI document, held against the running server by schemathesis."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.systems.execution.support import ADMIN, ROOT, report, state
from tests.systems.serving import served

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "unsupported_method",
    "ignored_auth",
)


@pytest.fixture
def address(sqlite_url: str) -> Iterator[str]:
    state(sqlite_url, "after")
    with served("execution_data", sqlite_url) as server:
        for activity in (1, 2, 3):
            body = report(9, activity)
            assert httpx.post(server.address + ROOT, json=body, headers=ADMIN).status_code == 201
        yield server.address


def tried(address: str, folder: Path, *words: str) -> None:
    """schemathesis finds nothing: no undocumented answer, no 5xx, no call without a token."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{address}/openapi.json"),
            *("--header", f"Authorization: {ADMIN['Authorization']}", "--checks", ",".join(CHECKS)),
            *("--seed", "1", "--no-color", "--suppress-health-check", "all", *words),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_the_server_keeps_to_its_document(address: str, tmp_path: Path) -> None:
    """A few requests of each call, good and bad."""
    tried(address, tmp_path, "--max-examples", "6", "--phases", "fuzzing")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_server_keeps_to_its_document_for_long(address: str, tmp_path: Path) -> None:
    """Many, every kind of bad value, and calls that follow each other."""
    tried(address, tmp_path, "--max-examples", "60")


def test_the_document_is_complete(address: str) -> None:
    """Each call tells the errors of the page, and 401 and 403 besides; names are camelCase."""
    document = httpx.get(f"{address}/openapi.json").json()
    found = {
        f"{method.upper()} {path.removeprefix(ROOT)}": {int(s) for s in call["responses"]}
        for path, calls in document["paths"].items()
        if path.startswith(ROOT)
        for method, call in calls.items()
    }
    always = {400, 401, 403, 405, 413, 500, 503}
    assert found == {
        "GET ": {200, *always},
        "GET /by-period-and-activity": {200, 404, *always},
        "GET /exists": {200, *always},
        "GET /{id}": {200, 404, *always},
        "POST ": {201, 409, *always},
        "PUT /{id}": {200, 404, 409, *always},
        "PATCH /{id}": {200, 404, 409, *always},
        "DELETE /{id}": {204, 404, *always},
    }
    assert "_" not in "".join(properties(document["components"]["schemas"]))
    assert json.dumps(document).count("422") == 0


def properties(schemas: dict[str, Any]) -> list[str]:
    return [name for schema in schemas.values() for name in schema.get("properties", ())]
