"""Which finding tells already what another one would tell again."""

from __future__ import annotations

from onerow.checks import proposals
from onerow.checks.base import Consequence, Context
from onerow.finding import Finding
from onerow.keys import BoundKey

NULLS_DEFEAT_UNIQUE = "U103-nulls-defeat-unique"
INVALID_UNIQUE_INDEX = "U112-invalid-unique-index"


def causes_of(finding: Finding, bound: BoundKey, context: Context) -> Finding | Consequence:
    """A finding on a declared key, with the findings on its indexes that would explain it."""
    candidates = context.standing(bound).candidates
    of = tuple(
        (NULLS_DEFEAT_UNIQUE, proposals.label(bound.table, proposals.labels(c.index)))
        for c in candidates
        if c.gaps == ("nulls",) and bound.key.nulls == "equal"
    )
    if finding.check.startswith("U102"):
        of += tuple(
            (INVALID_UNIQUE_INDEX, proposals.label(bound.table, proposals.labels(c.index)))
            for c in candidates
            if c.invalid
        )
    return Consequence(finding, of) if of else finding
