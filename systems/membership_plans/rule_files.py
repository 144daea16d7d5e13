"""The rule files, and the one for a `scope_key` that a trigger keeps."""

from __future__ import annotations

from pathlib import Path

from systems.membership_plans.schema import SCOPE_KEY

HERE = Path(__file__).parent
_GENERATED = f'generated = "{SCOPE_KEY}"\n'
_FILLED = f'backfill = {{ sql = "{SCOPE_KEY}" }}\n'
_KEPT = f"""
# What the trigger keeps stays true where it is switched off.
[[constraint]]
table = "membership_plans"
name = "membership_plans_scope_key_check"
check = "scope_key = {SCOPE_KEY}"
"""


def rules() -> str:
    """The rules of the repaired state."""
    return _text("rules.toml")


def folded() -> str:
    """SQLite: those for names that are not ASCII."""
    return _text("rules-folded.toml")


def by_trigger() -> str:
    """PostgreSQL: the same rules over the column that `trigger` makes."""
    text = rules()
    assert text.count(_GENERATED) == 1
    return text.replace(_GENERATED, _FILLED) + _KEPT


def trigger() -> str:
    """PostgreSQL: the column, and the trigger that keeps it, as SQL."""
    return _text("scope_key.sql")


def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
