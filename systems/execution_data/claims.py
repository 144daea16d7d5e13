"""What a token says here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from systems.shared.web.fields import Id
from systems.shared.web.tokens import Claims as CommonClaims


class Claims(CommonClaims):
    """An ACCOUNTANT works within the facility, an ADMIN in any."""

    role: Annotated[Literal["ACCOUNTANT", "ADMIN"], Field(description="ACCOUNTANT or ADMIN")]
    facility_id: Annotated[Id, Field(description="the facility of the session")]

    @property
    def is_admin(self) -> bool:
        return self.role == "ADMIN"

    def may_see(self, facility: int | None) -> bool:
        """Rows that nobody's facility is known of are everybody's, as all were before."""
        return self.is_admin or facility in (None, self.facility_id)
