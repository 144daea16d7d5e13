"""Names of plans: how they are kept, and when two are the same. Pure."""

from __future__ import annotations

import unicodedata

LONGEST = 120


def cleaned(text: str) -> str:
    """A text as it is kept: composed (NFC), without blanks around it.

    Raises:
        ValueError: it holds what no person types, such as NUL, which PostgreSQL refuses.
    """
    found = unicodedata.normalize("NFC", text).strip()
    if any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" for c in found):
        raise ValueError("must not contain control characters")
    return found


def cleaned_name(text: str) -> str:
    """A name as it is kept: in one line, and not empty.

    Raises:
        ValueError: it is neither.
    """
    found = cleaned(text)
    if not found:
        raise ValueError("must not be blank")
    if "\n" in found or "\t" in found:
        raise ValueError("must not contain control characters")
    return found


def folded(name: str) -> str:
    """What two names have in common that are the same but for case, as `lower` of PostgreSQL."""
    return name.lower()
