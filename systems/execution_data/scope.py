"""The switch that carries the change: what is done with a facility. Pure."""

from __future__ import annotations

import os
from enum import StrEnum

from systems.execution_data.claims import Claims
from systems.shared.errors import SystemFailure
from systems.shared.web.errors import Detail, Fault

VARIABLE = "FACILITY_SCOPE"
IGNORED = "facilityId was ignored"


class FacilityScope(StrEnum):
    """`off`: as always. `optional`: the body's or the token's. `required`: the body's."""

    OFF = "off"
    OPTIONAL = "optional"
    REQUIRED = "required"

    @classmethod
    def from_environment(cls) -> FacilityScope:
        """FACILITY_SCOPE; `required` where it is not set."""
        text = os.environ.get(VARIABLE) or cls.REQUIRED
        try:
            return cls(text)
        except ValueError:
            known = ", ".join(cls)
            raise SystemFailure(f"{VARIABLE} is {text!r}; it can be one of {known}.") from None

    def counts(self, *, column: bool) -> bool:
        """Whether a facility that is sent means anything."""
        return column and self is not FacilityScope.OFF

    def check(self, given: int | None, who: Claims, *, column: bool) -> None:
        """Refuse a facility that is missing, or not for the one who asks.

        Raises:
            Fault: 400 or 403.
        """
        if self is FacilityScope.REQUIRED and given is None:
            told = Detail(field="facilityId", message="Field required")
            raise Fault(400, "facilityId: Field required", code="VALIDATION_ERROR", details=[told])
        if self.counts(column=column) and given is not None and not who.may_see(given):
            raise outside()

    def of_new(self, given: int | None, who: Claims) -> int:
        """The facility that a new row gets where there is a column for it."""
        return who.facility_id if self is FacilityScope.OFF else given or who.facility_id

    def of_changed(self, given: int | None, stored: int | None, who: Claims) -> int | None:
        """The facility that a row has after a change.

        Raises:
            Fault: 403, when somebody else than an ADMIN would move it.
        """
        if self is FacilityScope.OFF or given is None or given == stored:
            return stored
        if who.is_admin:
            return given
        if stored is None:
            # Whose it is will be told by the backfill, and is not for the first who edits it.
            return None
        raise Fault(403, "Only an ADMIN may move a row to another facility.")

    def warning(self, given: int | None, *, column: bool) -> str | None:
        """A header's text where a facility was sent in vain."""
        if given is None or self.counts(column=column):
            return None
        why = f"{VARIABLE} is off" if column else "the database has no column for it yet"
        return f'299 - "{IGNORED}: {why}"'


def outside() -> Fault:
    """An ACCOUNTANT asked for what is another facility's."""
    return Fault(403, "This is outside the facility of your token.")
