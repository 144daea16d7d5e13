"""Numbers, times and values as a person reads them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

MOST_CHARACTERS = 60  #: of one sample value

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def number(value: int) -> str:
    return f"{value:,}"


def count(value: int, one: str, many: str = "") -> str:
    """`1 row`, `12,000 rows`; `many` for a plural that is not made with an s."""
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """`40 ms`, `1.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def moment(time: datetime) -> str:
    """To the second, in UTC. SQLite hands times back without their zone; they were UTC."""
    return f"{utc(time):%Y-%m-%d %H:%M:%S} UTC"


def utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def clean(text: str, *, lines: bool = False) -> str:
    """Text without what a terminal would obey: names and values are other people's.

    Args:
        lines: leave line ends as they are.
    """

    def shown(match: re.Match[str]) -> str:
        character = match.group()
        return character if lines and character == "\n" else repr(character)[1:-1]

    return _CONTROL.sub(shown, text)


def value(given: Any) -> str:
    """A value of a sample: NULL is told from the text, and the empty text from nothing."""
    if given is None:
        return "NULL"
    if given == "":
        return "''"
    text = clean(str(given))
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"


def lock(name: str, length: str = "") -> str:
    """`SHARE UPDATE EXCLUSIVE for the build`: PostgreSQL's modes as its manual writes them."""
    if name == "none":
        return name
    mode = "the write lock" if name == "write" else name.replace("_", " ").upper()
    return f"{mode} for {length}" if length else mode
