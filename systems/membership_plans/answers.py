"""The form of this application's errors: `{statusCode, message, errors?: [{field, message}]}`."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from systems.shared.web.errors import Detail, ErrorForm, Fault
from systems.shared.web.fields import Model


class Error(Model):
    """Why a request was not done."""

    status_code: int
    message: str
    errors: list[Detail] = Field(default=[])


def body(fault: Fault) -> dict[str, Any]:
    """The body of an error; `errors` only where fields are at fault."""
    told: dict[str, Any] = {"statusCode": fault.status, "message": fault.message}
    if fault.details:
        told["errors"] = [d.model_dump() for d in fault.details]
    return told


FORM = ErrorForm(Error, body)
