"""The published OpenAPI document, and that the service answers by it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.systems.membership_plans.support import PLANS, House
from tests.systems.support import FOLDER

CONTRACT = FOLDER / "membership_plans" / "contracts" / "openapi.yaml"
EVERYWHERE = {"400", "401", "403", "405", "413", "500", "503"}
#: Call, what it answers when it is done, and what besides the errors of every call.
CALLS = {
    "listPlans": ("200", set()),
    "activePlans": ("200", set()),
    "getPlan": ("200", {"404"}),
    "createPlan": ("201", {"409"}),
    "changePlan": ("200", {"404", "409"}),
    "archivePlan": ("200", {"404"}),
    "restorePlan": ("200", {"404"}),
    "deletePlan": ("204", {"404"}),
    "listBranches": ("200", set()),
    "addMember": ("201", set()),
    "getMember": ("200", {"404"}),
}


def test_the_committed_document_is_the_served_one(shop: House) -> None:
    """`ONEROW_UPDATE_DOCS=1` writes it."""
    served = shop.admin.call("GET", "/openapi.json").json()
    if os.environ.get("ONEROW_UPDATE_DOCS"):
        text = yaml.safe_dump(served, sort_keys=False, allow_unicode=True, width=100)
        CONTRACT.write_text(text, encoding="utf-8")
    assert yaml.safe_load(CONTRACT.read_text(encoding="utf-8")) == served


def test_every_answer_is_documented() -> None:
    """Each call of the page has its statuses, no more and no fewer, and errors have one form."""
    calls = {c["operationId"]: c for c in _calls() if "security" in c}
    assert calls.keys() == CALLS.keys()
    for name, (done, errors) in CALLS.items():
        answers = calls[name]["responses"]
        assert set(answers) == {done} | EVERYWHERE | errors, name
        for status in answers.keys() - {done}:
            schema = answers[status]["content"]["application/json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/Error"}


def test_money_is_a_number_with_two_decimals() -> None:
    """In the document, too."""
    price = _document()["components"]["schemas"]["Plan"]["properties"]["price"]
    assert (price["type"], price["multipleOf"]) == ("number", 0.01)


def _document() -> Any:
    return yaml.safe_load(CONTRACT.read_text(encoding="utf-8"))


def _calls() -> list[dict[str, Any]]:
    return [call for path in _document()["paths"].values() for call in path.values()]


# -- fuzzing ------------------------------------------------------------------------------------

#: Taking 400 for a mistake of the service: here an unknown branch gets it. And `…/active` is an id,
#: too, to PATCH and DELETE, which answer 404 there and so are among what is allowed.
NOT_SO = "positive_data_acceptance,allow_header_conformance"
CHECKS = ["--checks", "all", "--exclude-checks", NOT_SO]
ADMIN = {"tenant_id": "t1", "role": "ADMIN"}
CALLERS = {
    "an admin": ADMIN,
    "an admin of another tenant": {"tenant_id": "t2", "role": "ADMIN"},
    "staff of a branch": {"tenant_id": "t1", "role": "STAFF", "branch_id": "t1-b1"},
    "staff of no branch": {"tenant_id": "t1", "role": "STAFF"},
}


def fuzz(shop: House, folder: Path, token: str, *words: str) -> None:
    """Requests that the document makes up; each answer must be one that it knows, and no 5xx."""
    command = Path(sys.executable).with_name("schemathesis")
    header = ["--header", f"Authorization: Bearer {token}"] if token else []
    fixed = ["--seed", "1", "--generation-database", "none", "--no-color", "--continue-on-failure"]
    done = subprocess.run(
        [command, "run", f"{shop.address}/openapi.json", *header, *CHECKS, *fixed, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def answered(shop: House, method: str, route: str, status: int) -> int:
    """How many requests of a route the server has answered so."""
    labels = f'method="{method}",route="{PLANS}{route}",status="{status}"'
    text = shop.admin.call("GET", "/metrics").text
    found = re.search(rf"^http_requests_total{{{re.escape(labels)}}} (\S+)$", text, re.M)
    return int(float(found[1])) if found else 0


@pytest.mark.parametrize("shop", ["sqlite"], indirect=True)
def test_a_few_made_up_requests(shop: House, tmp_path: Path) -> None:
    """Calls by themselves, and one after the other as their links say; both engines below."""
    token = shop.server.token(**ADMIN)
    fuzz(shop, tmp_path, token, "--phases", "fuzzing,stateful", "--max-examples", "4")
    assert answered(shop, "POST", "", 201), "no plan was made: nothing was tried"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("caller", CALLERS)
def test_many_made_up_requests(shop: House, tmp_path: Path, caller: str) -> None:
    """All phases, for everybody."""
    token = shop.server.token(**CALLERS[caller])
    fuzz(shop, tmp_path, token, "--max-examples", "60")
    if "admin" in caller:
        assert answered(shop, "POST", "/{planId}/archive", 200)
        assert answered(shop, "POST", "/{planId}/restore", 200)
        assert answered(shop, "DELETE", "/{planId}", 204)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_made_up_requests_of_nobody(shop: House, tmp_path: Path) -> None:
    """Without a token all is 401."""
    fuzz(shop, tmp_path, "", "--max-examples", "20")
