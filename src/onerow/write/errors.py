"""What can go wrong in a write, one class per broken fact.

OnerowError
└── WriteError
    ├── NoUniqueIndex        nothing in the database holds this key
    ├── UnknownColumn        a value names a column that the table does not have
    ├── OutsideKey           the new row is not among the rows that the key covers
    ├── TransitionalIsolation   a key without an index, under REPEATABLE READ
    ├── NotFound             there is no such row
    ├── Stale                the row is there, and not as expected
    │   └── LostClaim        the claim was taken over, or has run out
    ├── Contended            others kept winning; worth another transaction
    ├── NestedTransaction    a transactional function called inside another
    ├── UnknownCommit        the connection broke during COMMIT
    ├── InFlight             the same operation is running elsewhere
    ├── OperationReused      an operation id came back with other content
    ├── DuplicateInBatch     two rows of a batch have one key
    └── SpoolError
        ├── SpoolFull        the spool has reached its size
        ├── SpoolBusy        another process is replaying
        └── UnknownHandler   no handler of that name
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onerow.errors import OnerowError


class WriteError(OnerowError):
    """A write was not done."""


class NoUniqueIndex(WriteError):
    """No unique index holds this key.

    Attributes:
        passing: a transitional key's index is gone; the next transaction takes the lock instead.
    """

    passing = False


class UnknownColumn(WriteError):
    """The table has no such column."""


class OutsideKey(WriteError):
    """The new row is not among the rows that the key covers."""


class TransitionalIsolation(WriteError):
    """A key without its index cannot be kept under REPEATABLE READ."""


class NotFound(WriteError):
    """There is no such row."""


class Stale(WriteError):
    """The row is not as expected.

    Attributes:
        row: the row as it stands.
        expected: what the caller expected.
    """

    def __init__(self, message: str = "", *, row: Any = None, expected: Mapping[str, Any]) -> None:
        self.row = row
        self.expected = dict(expected)
        super().__init__(message)


class LostClaim(Stale):
    """The claim was taken over by another worker, or given back."""


class Contended(WriteError):
    """Other writers kept winning; another transaction may succeed."""


class NestedTransaction(WriteError):
    """A transactional function was called inside another one."""


class UnknownCommit(WriteError):
    """The connection broke during COMMIT; whether the write is there is not known."""


class InFlight(WriteError):
    """The same operation is running in another transaction."""


class OperationReused(WriteError):
    """The operation id was used before, with other content."""


class DuplicateInBatch(WriteError):
    """Two rows of the batch have the same key."""


class SpoolError(WriteError):
    """The spool could not do it."""


class SpoolFull(SpoolError):
    """The spool has reached its size; the write was not accepted."""


class SpoolBusy(SpoolError):
    """Another process is replaying this spool."""

    exit_code = 1


class UnknownHandler(SpoolError):
    """The spool has no handler of that name."""
