"""Pieces of SQL that both engines put together alike."""

from __future__ import annotations

import re
from collections.abc import Sequence

from onerow.keys import BoundKey
from onerow.sql import comma, conjunction, quote


def key_filter(bound: BoundKey) -> str:
    """Which rows a key speaks of. Rows with a NULL are out unless NULLs are equal."""
    tests = [f"({bound.where})"] if bound.where is not None else []
    if bound.key.nulls != "equal":
        tests += [f"{p.sql} IS NOT NULL" for p in bound.parts if p.nullable]
    return conjunction(tests)


def aliased(bound: BoundKey) -> list[str]:
    return [f"{p.sql} AS k{i}" for i, p in enumerate(bound.parts, 1)]


def key_aliases(bound: BoundKey) -> list[str]:
    return [f"k{i}" for i, _ in enumerate(bound.parts, 1)]


def group_by(bound: BoundKey) -> str:
    return f" GROUP BY {comma(p.sql for p in bound.parts)}" if bound.parts else ""


def element_names(identity: Sequence[str], prefix: str) -> list[str]:
    return [f"{prefix}{i}" for i, _ in enumerate(identity, 1)]


def same(left: Sequence[str], right: Sequence[str]) -> str:
    """`a = x AND b = y`."""
    return conjunction(f"{a} = {b}" for a, b in zip(left, right, strict=True))


def of(alias: str, names: Sequence[str]) -> list[str]:
    return [f"{alias}.{quote(n)}" for n in names]


def quoted_names(text: str) -> list[str]:
    """The quoted names in a list of them, quotes left on."""
    return re.findall(r'"(?:[^"]|"")*"', text)


def unquote(name: str) -> str:
    return name[1:-1].replace('""', '"')
