"""Rules, snapshot and what the rows say become a Plan. Pure."""

from onerow.planning.fingerprint import fingerprint, invariant
from onerow.planning.key import KeyPlan, merge_spec, plan_key, standing_verdict

__all__ = [
    "KeyPlan",
    "fingerprint",
    "invariant",
    "merge_spec",
    "plan_key",
    "standing_verdict",
]
