"""Types of fields that every database takes as they are."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

MOST = 2**31 - 1  #: of an integer column

Id = Annotated[int, Field(ge=1, le=MOST)]


def _without_nul(text: str) -> str:
    # PostgreSQL's text has no NUL (datatype-character.html), and drivers do not agree on the error.
    if "\0" in text:
        raise ValueError("must not contain the character NUL")
    return text


Words = Annotated[str, AfterValidator(_without_nul)]


class Model(BaseModel):
    """A body or an answer: frozen, its fields in camelCase, no others."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid"
    )
