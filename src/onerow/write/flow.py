"""A verb as a conversation: a generator yields what to ask, and is sent the answer.

No I/O here. One flow serves Session, Connection and their async twins (`run.py` drives it), and a
test can play the database by hand.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from sqlalchemy.sql.base import Executable

T = TypeVar("T")

Outcome = Literal["inserted", "updated", "unchanged", "restored"]


@dataclass(frozen=True, slots=True)
class Ask:
    """One statement for the database.

    `guarded`: run it so that its failure leaves the transaction usable (a savepoint on
    PostgreSQL; SQLite rolls back the statement alone), and answer with the error.
    """

    statement: Executable
    params: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class Load(Ask):
    """Many rows into a table of ours, as fast as the driver can (COPY)."""

    statement: Any = None
    table: str = ""
    columns: Sequence[Any] = ()
    rows: Sequence[tuple[Any, ...]] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the rows, or how many rows were touched, or the error of a guarded ask."""

    rows: Sequence[Any] = ()
    count: int = 0
    error: Exception | None = None

    @property
    def row(self) -> Any:
        return self.rows[0] if self.rows else None


Flow = Generator[Ask, Answer, T]


@dataclass(frozen=True, slots=True)
class Written(Generic[T]):
    """What a verb did.

    Attributes:
        row: the row as it now stands: an instance when the key was made from a mapped class and
            written through a Session, else a SQLAlchemy Row.
        outcome: ``inserted``, ``updated``, ``unchanged`` or ``restored``.
        raced: another writer made, changed or removed the row meanwhile, and it was done again.
    """

    row: T
    outcome: Outcome
    raced: bool = False

    @property
    def created(self) -> bool:
        """The row is new."""
        return self.outcome == "inserted"

    @property
    def changed(self) -> bool:
        """The database was changed."""
        return self.outcome != "unchanged"
