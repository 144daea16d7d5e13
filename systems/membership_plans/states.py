"""The states of the database that can be made."""

from __future__ import annotations

from systems.membership_plans import price_list, schema
from systems.shared.fixtures import State


def before(rows: int, seed: int = 1) -> State:
    """The broken state, with `rows` plans."""
    return State(schema.before(), price_list.COLUMNS, price_list.PriceList(rows, seed))


def after() -> State:
    """The repaired state: tenants t1 and t2 with their branches, no plans."""
    return State(schema.after(), price_list.COLUMNS, price_list.around())
