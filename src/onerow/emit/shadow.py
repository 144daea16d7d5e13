"""What each step of a plan does to the stored texts of a SQLite file, and what takes it back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Texts = Mapping[str, str | None]  #: name of an object -> its text, None where it is not there


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """One step, tried on an empty copy of the schema."""

    forward: tuple[str, ...] = ()
    back: tuple[str, ...] = ()
    before: Texts
    after: Texts
