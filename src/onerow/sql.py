"""SQL as text: quoting, literals, and names that fit.

PostgreSQL cuts identifiers at 63 bytes without an error (manual §4.1.1); SQLite takes any
length. Names that onerow makes up fit both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MAX_IDENTIFIER_BYTES = 63


def quote(name: str) -> str:
    """Quote an identifier for PostgreSQL and SQLite, always (`a"b` becomes `"a""b"`)."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """Quote a string literal. Needs `standard_conforming_strings`, on in both engines."""
    return "'" + value.replace("'", "''") + "'"


def comma(parts: Iterable[str]) -> str:
    return ", ".join(parts)


def conjunction(parts: Iterable[str]) -> str:
    """Join conditions with AND; no condition is `true`."""
    return " AND ".join(p for p in parts if p) or "1 = 1"


def digest(*parts: str, length: int = 8) -> str:
    """A short stable hash of texts, for made-up names and step ids."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:length]


def cut(name: str, limit: int = MAX_IDENTIFIER_BYTES) -> str:
    """Cut a name to `limit` bytes; a cut name ends in a hash of the whole, so it stays distinct."""
    raw = name.encode()
    if len(raw) <= limit:
        return name
    tail = "_" + digest(name)
    return raw[: limit - len(tail)].decode(errors="ignore") + tail


@dataclass(frozen=True, slots=True)
class Name:
    """A table's or index's name with its schema (`main` on SQLite)."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def sql(self) -> str:
        return f"{quote(self.schema)}.{quote(self.name)}"


def split_identifier(text: str) -> tuple[str, ...]:
    """Split `a.b`, `"a"."b"` or `a."B ""c"` into its parts; text without quotes splits at dots.

    Raises ValueError when a quote is left open.
    """
    parts: list[str] = []
    current: list[str] = []
    quoted = was_quoted = False
    chars = iter(range(len(text)))
    for i in chars:
        c = text[i]
        if quoted and c == '"' and text[i + 1 : i + 2] == '"':
            current.append('"')
            next(chars)
        elif c == '"' and (quoted or not current):
            quoted = not quoted
            was_quoted = True
        elif c == "." and not quoted:
            parts.append("".join(current))
            current, was_quoted = [], False
        else:
            current.append(c)
    if quoted:
        raise ValueError(f"unclosed quote in {text!r}")
    if current or was_quoted:
        parts.append("".join(current))
    return tuple(parts)


def quote_all(names: Sequence[str]) -> str:
    return comma(map(quote, names))
