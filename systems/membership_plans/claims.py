"""What a token says."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from systems.shared.web import tokens
from systems.shared.web.fields import Words

Short = Annotated[Words, Field(min_length=1, max_length=64)]


class Claims(tokens.Claims):
    """Who asks, for which tenant, in which role."""

    tenant_id: Annotated[Short, Field(description="whose plans, such as t1")]
    role: Annotated[Literal["ADMIN", "STAFF"], Field(description="ADMIN or STAFF")]
    branch_id: Annotated[Short | None, Field(description="of STAFF, such as t1-b1")] = None
