"""The published OpenAPI document, and that the service answers by it."""

from __future__ import annotations

import os
from typing import Any

import yaml

from tests.systems.membership_plans.support import House
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
