"""Race-safe writes: one row per key, whoever else writes.

    from onerow import Key, upsert

    key = Key(User, "tenant_id", "slug")
    written = upsert(session, key, {"tenant_id": 1, "slug": "a", "title": "A"})
    written.row, written.outcome

Useful without the rest of onerow. Importing it is cheap: names are loaded when they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onerow.rules import Key as Key
    from onerow.write.binding import bind as bind
    from onerow.write.bulk import BulkWritten as BulkWritten
    from onerow.write.bulk import bulk_upsert as bulk_upsert
    from onerow.write.claims import claim as claim
    from onerow.write.claims import release as release
    from onerow.write.claims import renew as renew
    from onerow.write.conflict import Conflict as Conflict
    from onerow.write.conflict import conflict_of as conflict_of
    from onerow.write.errors import Contended as Contended
    from onerow.write.errors import DuplicateInBatch as DuplicateInBatch
    from onerow.write.errors import InFlight as InFlight
    from onerow.write.errors import LostClaim as LostClaim
    from onerow.write.errors import NestedTransaction as NestedTransaction
    from onerow.write.errors import NotFound as NotFound
    from onerow.write.errors import NoUniqueIndex as NoUniqueIndex
    from onerow.write.errors import OperationReused as OperationReused
    from onerow.write.errors import OutsideKey as OutsideKey
    from onerow.write.errors import SpoolBusy as SpoolBusy
    from onerow.write.errors import SpoolFull as SpoolFull
    from onerow.write.errors import Stale as Stale
    from onerow.write.errors import TransitionalIsolation as TransitionalIsolation
    from onerow.write.errors import UnknownCommit as UnknownCommit
    from onerow.write.errors import WriteError as WriteError
    from onerow.write.flow import Written as Written
    from onerow.write.listeners import observe as observe
    from onerow.write.notify import SpoolEvent as SpoolEvent
    from onerow.write.operations import Fresh as Fresh
    from onerow.write.operations import Replay as Replay
    from onerow.write.operations import create_tables as create_tables
    from onerow.write.operations import operation as operation
    from onerow.write.retry import Retry as Retry
    from onerow.write.retry import transactional as transactional
    from onerow.write.spool import Replayed as Replayed
    from onerow.write.spool import Spool as Spool
    from onerow.write.spool import Submitted as Submitted
    from onerow.write.transient import Transient as Transient
    from onerow.write.transient import transient_of as transient_of
    from onerow.write.verbs import advance as advance
    from onerow.write.verbs import get_or_create as get_or_create
    from onerow.write.verbs import patch as patch
    from onerow.write.verbs import restore_or_create as restore_or_create
    from onerow.write.verbs import singleton as singleton
    from onerow.write.verbs import upsert as upsert

_HOMES = {
    "onerow.rules": ("Key",),
    "onerow.write.binding": ("bind",),
    "onerow.write.bulk": ("BulkWritten", "bulk_upsert"),
    "onerow.write.claims": ("claim", "release", "renew"),
    "onerow.write.conflict": ("Conflict", "conflict_of"),
    "onerow.write.errors": (
        "Contended",
        "DuplicateInBatch",
        "InFlight",
        "LostClaim",
        "NestedTransaction",
        "NoUniqueIndex",
        "NotFound",
        "OperationReused",
        "OutsideKey",
        "SpoolBusy",
        "SpoolFull",
        "Stale",
        "TransitionalIsolation",
        "UnknownCommit",
        "WriteError",
    ),
    "onerow.write.flow": ("Written",),
    "onerow.write.listeners": ("observe",),
    "onerow.write.notify": ("SpoolEvent",),
    "onerow.write.operations": ("Fresh", "Replay", "create_tables", "operation"),
    "onerow.write.retry": ("Retry", "transactional"),
    "onerow.write.spool": ("Replayed", "Spool", "Submitted"),
    "onerow.write.transient": ("Transient", "transient_of"),
    "onerow.write.verbs": (
        "advance",
        "get_or_create",
        "patch",
        "restore_or_create",
        "singleton",
        "upsert",
    ),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME)


if not TYPE_CHECKING:  # a type checker would take every name for one of ours

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(_HOME[name]), name)
        return value


def __dir__() -> list[str]:
    return __all__
