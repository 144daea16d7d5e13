"""Amounts of money, exact from JSON to the database and back. Pure.

A JSON number is read as decimal digits, never as a float (`loads`). It is written as the float
whose shortest form has the same digits; up to fifteen digits there is always one.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

MOST = Decimal("99999999.99")  #: numeric(10,2)
_TEXT = re.compile(r"\d{1,8}(\.\d{1,2})?", re.ASCII)


def loads(text: bytes | str) -> Any:
    """JSON whose numbers are whole, or Decimals.

    Raises:
        ValueError: it is no JSON; NaN and Infinity, which Python takes, are none.
    """
    return json.loads(text, parse_float=_number, parse_constant=_none)


def _number(text: str) -> int | Decimal:
    """To JSON, 12.0 is a whole number like 12 (JSON Schema 2020-12, 6.1.1)."""
    found = Decimal(text)
    # Not the one that would fill the memory: 1e999999999.
    return int(found) if found.adjusted() < 20 and found == found.to_integral_value() else found


def _none(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def amount(value: object) -> Decimal:
    """An amount out of a JSON number or text.

    Raises:
        ValueError: it is none, is negative, too large, or has a third decimal.
    """
    if isinstance(value, str):
        if not _TEXT.fullmatch(value):
            raise ValueError("must be an amount such as 49.90")
        return Decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError("must be an amount such as 49.90")
    if not 0 <= value <= MOST:
        raise ValueError(f"must be between 0 and {MOST}")
    found = Decimal(value)
    if found != round(found, 2):
        raise ValueError("must have two decimals at most")
    return found


def shown(value: Decimal) -> float:
    """The JSON number of an amount."""
    return float(value)
