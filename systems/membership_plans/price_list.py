"""Tenants, their plans and members. Pure, and the same for the same seed.

The damage: plans of a whole tenant stand there twice and more, exactly or in another case, each
copy with a part of what was entered; plans of a branch only in another case, as the old key sees
them otherwise. Archived plans keep their names; where they blocked a branch's, a new plan had to
be called something else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from systems.shared.fixtures import Made, Row
from systems.shared.made_up import Dice, moment

PER_TENANT = 400  #: plans, about
FIRST_DAY = datetime(2024, 1, 8, 9)

COLUMNS = {
    "tenants": ("id", "name", "default_currency"),
    "branches": ("id", "tenant_id", "name", "is_active"),
    "membership_plans": (
        "id", "tenant_id", "scope", "branch_id", "name", "description", "duration_type",
        "duration_value", "price", "currency", "max_freeze_days", "auto_renew", "status",
        "sort_order", "created_at", "updated_at",
    ),
    "members": (
        "id", "tenant_id", "branch_id", "membership_plan_id", "status", "membership_start_date",
        "membership_end_date", "membership_price_at_purchase",
    ),
}  # fmt: skip

_NAMES = (
    "Monthly", "Annual", "Student", "Off-peak", "Family", "Weekend", "Ten visits", "Day pass",
    "Senior", "Company", "Trial", "Early bird", "Gold", "Silver", "Année complète", "Frühling",
)  # fmt: skip
_DESCRIPTIONS = ("All classes included", "Without sauna", "Two guests a month")
_DURATIONS = (
    ("MONTHS", 1), ("MONTHS", 3), ("MONTHS", 6), ("MONTHS", 12), ("MONTHS", 24),
    ("DAYS", 1), ("DAYS", 30), ("DAYS", 90),
)  # fmt: skip
_CURRENCIES = ("EUR", "USD", "GBP")
_STATUSES = ("ACTIVE", "ACTIVE", "ACTIVE", "FROZEN", "EXPIRED", "CANCELLED")


def around(tenants: int = 2) -> Iterator[Made]:
    """Tenants and their branches: t1 has two, t2 one, further ones two."""
    for number in range(1, tenants + 1):
        currency = _CURRENCIES[(number - 1) % len(_CURRENCIES)]
        yield "tenants", (f"t{number}", f"Gym chain {number}", currency)
        for branch in range(1, branches_of(number) + 1):
            name = f"Branch {branch} of chain {number}"
            yield "branches", (f"t{number}-b{branch}", f"t{number}", name, True)


def branches_of(tenant: int) -> int:
    return 1 if tenant == 2 else 2


@dataclass(frozen=True, slots=True)
class Offer:
    """What somebody meant to sell: one plan, however often it was entered."""

    tenant: int
    branch: str | None
    name: str
    duration: tuple[str, int]
    price: int
    created: datetime

    @property
    def scope(self) -> str:
        return "BRANCH" if self.branch else "TENANT"


@dataclass(slots=True)
class PriceList:
    """`rows` plans and about as many members."""

    rows: int
    seed: int
    dice: Dice = field(init=False)
    members: int = 0

    def __iter__(self) -> Iterator[Made]:
        self.dice = Dice(self.seed, "plans")
        tenants = max(2, self.rows // PER_TENANT)
        yield from around(tenants)
        made = number = 0
        while made < self.rows:
            offer = self._offer(number, tenants)
            for plan in list(self._plans(offer, number))[: self.rows - made]:
                made += 1
                yield "membership_plans", plan
                yield from self._members(plan, offer)
            number += 1

    def _offer(self, number: int, tenants: int) -> Offer:
        tenant = number % tenants + 1
        nth = number // tenants
        # Two thirds are for all branches; the rest goes to the branches in turn.
        branch = f"t{tenant}-b{1 + nth % branches_of(tenant)}" if nth % 3 == 2 else None
        # So that nobody else's offer has the name, in any case, in any scope of the tenant.
        turn, which = divmod(nth, len(_NAMES))
        name = f"{_NAMES[which]} {turn + 1}" if turn else _NAMES[which]
        created = FIRST_DAY + timedelta(hours=number % 9000)
        duration, price = self.dice.one_of(_DURATIONS), 990 + 500 * self.dice.below(40)
        return Offer(tenant, branch, name, duration, price, created)

    def _plans(self, offer: Offer, number: int) -> Iterator[Row]:
        """The rows of an offer: entered once, entered again, archived."""
        dice = self.dice
        # The first offers show every kind of damage in a small database, too.
        kind = number if number < 12 else 12 + dice.below(88)
        if kind in (0, 5) or 12 <= kind < 18:
            names = self._entered_twice(offer, kind)
            for copy, name in enumerate(names):
                yield self._plan(offer, name, copy=copy, of=len(names))
        elif kind in (2, 3) or 18 <= kind < 24:
            # Its name stays taken in a branch; for a whole tenant it can simply come back.
            yield self._plan(offer, offer.name, status="ARCHIVED")
            yield self._plan(offer, f"{offer.name} (new)" if offer.branch else offer.name, later=40)
        else:
            status = "ARCHIVED" if 24 <= kind < 30 else "ACTIVE"
            yield self._plan(offer, offer.name, status=status)

    def _entered_twice(self, offer: Offer, kind: int) -> list[str]:
        name, loud, low = offer.name, offer.name.upper(), offer.name.lower()
        if offer.branch:
            return [name, loud] if kind % 2 else [name, low, loud]
        return ([name, name], [name, low], [name, loud, name])[kind % 3]

    def _plan(
        self,
        offer: Offer,
        name: str,
        *,
        status: str = "ACTIVE",
        copy: int = 0,
        of: int = 1,
        later: float = 0,
    ) -> Row:
        dice = self.dice
        entered = (dice.one_of(_DESCRIPTIONS), 7 * dice.below(9), 1 + dice.below(90))
        description, freeze, order = (
            value if i % of == copy % of else None for i, value in enumerate(entered)
        )
        return (
            dice.uuid(),
            f"t{offer.tenant}",
            offer.scope,
            offer.branch,
            name,
            description,
            *offer.duration,
            offer.price,
            _CURRENCIES[(offer.tenant - 1) % len(_CURRENCIES)],
            freeze,
            dice.chance(0.4),
            status,
            order,
            moment(offer.created, days=later, milliseconds=3 * copy),
            moment(offer.created, days=later + dice.below(20), milliseconds=3 * copy),
        )

    def _members(self, plan: Row, offer: Offer) -> Iterator[Made]:
        dice = self.dice
        for _ in range(dice.below(3)):
            self.members += 1
            start = date(2024, 2, 1) + timedelta(days=dice.below(700))
            branch = offer.branch or f"t{offer.tenant}-b{1 + dice.below(branches_of(offer.tenant))}"
            row = (
                f"m{self.members}",
                plan[1],
                branch,
                plan[0],
                dice.one_of(_STATUSES),
                start.isoformat(),
                (start + timedelta(days=30 * (1 + dice.below(24)))).isoformat(),
                plan[8],
            )
            yield "members", row
