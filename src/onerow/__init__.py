"""One row per key, in a live database.

    from onerow import Key, check, make_plan, apply, verify, undo  # the CLI's verbs
    from onerow import upsert, get_or_create, patch, conflict_of   # race-safe writes

Importing it is cheap: a name's module is loaded when the name is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onerow.api import apply as apply
    from onerow.api import check as check
    from onerow.api import load_rules as load_rules
    from onerow.api import make_plan as make_plan
    from onerow.api import rules_from as rules_from
    from onerow.api import status as status
    from onerow.api import undo as undo
    from onerow.api import verify as verify
    from onerow.errors import OnerowError as OnerowError
    from onerow.rulefile import Rules as Rules
    from onerow.rules import Column as Column
    from onerow.rules import Constraint as Constraint
    from onerow.rules import Index as Index
    from onerow.rules import Key as Key
    from onerow.rules import Population as Population
    from onerow.rules import Reference as Reference
    from onerow.session import Limits as Limits
    from onerow.write import Conflict as Conflict
    from onerow.write import Retry as Retry
    from onerow.write import Spool as Spool
    from onerow.write import Written as Written
    from onerow.write import advance as advance
    from onerow.write import bulk_upsert as bulk_upsert
    from onerow.write import claim as claim
    from onerow.write import conflict_of as conflict_of
    from onerow.write import get_or_create as get_or_create
    from onerow.write import operation as operation
    from onerow.write import patch as patch
    from onerow.write import restore_or_create as restore_or_create
    from onerow.write import singleton as singleton
    from onerow.write import transactional as transactional
    from onerow.write import transient_of as transient_of
    from onerow.write import upsert as upsert

__version__ = "0.1.0"

_HOMES = {
    "onerow.api": (
        "apply",
        "check",
        "load_rules",
        "make_plan",
        "rules_from",
        "status",
        "undo",
        "verify",
    ),
    "onerow.errors": ("OnerowError",),
    "onerow.rulefile": ("Rules",),
    "onerow.rules": ("Column", "Constraint", "Index", "Key", "Population", "Reference"),
    "onerow.session": ("Limits",),
    "onerow.write": (
        "Conflict",
        "Retry",
        "Spool",
        "Written",
        "advance",
        "bulk_upsert",
        "claim",
        "conflict_of",
        "get_or_create",
        "operation",
        "patch",
        "restore_or_create",
        "singleton",
        "transactional",
        "transient_of",
        "upsert",
    ),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
__all__ = sorted([*_HOME, "__version__"])


if not TYPE_CHECKING:  # a type checker would take every name for one of ours

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(_HOME[name]), name)
        return value


def __dir__() -> list[str]:
    return __all__
