"""Helpers of the generators: what is drawn depends on the seed alone. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """Random choices, cheap enough to be made a million times.

    Args:
        seed: with the name, decides everything that is drawn.
    """

    def __init__(self, seed: int, name: str) -> None:
        source = random.Random(f"{seed} {name}")
        self.random: Callable[[], float] = source.random
        self._bits: Callable[[int], int] = source.getrandbits

    def below(self, n: int) -> int:
        """A number from 0 to n - 1."""
        return int(self.random() * n)

    def one_of(self, these: Sequence[T]) -> T:
        return these[int(self.random() * len(these))]

    def chance(self, share: float) -> bool:
        return self.random() < share

    def uuid(self) -> str:
        """A version 4 uuid."""
        h = f"{self._bits(128):032x}"
        return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-a{h[17:20]}-{h[20:]}"


def moment(start: datetime, **later: float) -> str:
    """A moment in UTC, as both engines read it."""
    return (start + timedelta(**later)).isoformat(" ", "microseconds")


def spread(index: int, some: int, of: int) -> bool:
    """Whether this one is among `some` that are spread evenly over `of`."""
    return index * some // of != (index + 1) * some // of
