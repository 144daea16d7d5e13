"""`onerow verify`: proof that the rules hold and nothing was lost."""

from __future__ import annotations

from onerow import api
from onerow.cli._verb import Shared, verb
from onerow.report import json, text


@verb("onerow verify", "onerow verify --json")
def verify(shared: Shared) -> int:
    """Prove that the rules hold and that no row was lost."""
    rules = shared.need_rules()
    proofs = api.verify(shared.database, rules)
    shared.output.show(json.verify(proofs), text.verify(proofs))
    return 0 if all(p.ok for p in proofs) else 1
