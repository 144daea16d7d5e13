"""What one run of a schedule was: who did what, who waited for whom, how it ended. Pure values.

The words are those of PostgreSQL's isolation tester (src/test/isolation/README): a *session* does
*steps*. A *schedule* is the order in which the steps were begun.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from onerow.race.dependency import LOCAL, Footprint

Kind = Literal["statement", "commit", "rollback"]

LETTERS = "ABCDEFGH"


def letter(session: int) -> str:
    """The name of a session in scripts and tables: A, B, …"""
    return LETTERS[session]


@dataclass(frozen=True, slots=True)
class Operation:
    """What a session is about to do: one statement, or the end of a transaction."""

    kind: Kind
    sql: str
    parameters: Any = None
    many: bool = False  #: executemany: one step, whatever the number of parameter sets
    footprint: Footprint = LOCAL


@dataclass(slots=True)
class Step:
    """One operation of a session, from its release to its end.

    Attributes:
        session: its index; `letter` names it.
        number: counts the steps of the session from 1.
        began: place in the schedule where it was released.
        ended: place of the step during which it came back; greater than `began` if it waited.
        waited_for: the sessions that the server named when it waited.
        error: SQLSTATE, or SQLite's name of the code, of the error that it ended with.
        message: first line of the driver's text of that error.
        rowcount: as the driver tells it; -1 if unknown.
        columns, rows: what came back, if anything did.
    """

    session: int
    number: int
    operation: Operation
    began: int
    ended: int | None = None
    waited_for: tuple[int, ...] = ()
    error: str = ""
    message: str = ""
    rowcount: int = -1
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Any, ...], ...] | None = None

    @property
    def label(self) -> str:
        return f"{letter(self.session)}{self.number}"

    @property
    def waited(self) -> bool:
        return bool(self.waited_for)


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception that left a worker."""

    session: int
    error: BaseException
    code: str  #: SQLSTATE or SQLite's name; empty if it is none of the database's

    def __str__(self) -> str:
        first = next(iter(str(self.error).splitlines()), "")
        code = f" ({self.code})" if self.code else ""
        return f"{letter(self.session)} raised {type(self.error).__name__}{code}: {first}"


@dataclass(slots=True)
class Trace:
    """One run.

    Attributes:
        choices: the schedule, as indices of sessions.
        preemptions: how often a session was left that could have gone on.
        steps: in the order of their release.
        raised: exceptions that left workers.
        trouble: why nothing can be said: a stall, an ungated connection, too many steps.
        skewed: the server decided among sessions otherwise than it usually does (which of them is
            the victim of a deadlock, say); the run is to be repeated.
        redundant: it is equivalent to another one of the search.
    """

    choices: list[int] = field(default_factory=list)
    preemptions: int = 0
    steps: list[Step] = field(default_factory=list)
    raised: list[Raised] = field(default_factory=list)
    trouble: str = ""
    skewed: str = ""
    redundant: bool = False
    skipped: list[str] = field(default_factory=list)
    sleeps: int = 0

    @property
    def script(self) -> str:
        return write_script(self.choices)


def write_script(choices: Sequence[int]) -> str:
    """A schedule as text: ``A1 B1 A2``."""
    counts: dict[int, int] = {}
    words = []
    for session in choices:
        counts[session] = counts.get(session, 0) + 1
        words.append(f"{letter(session)}{counts[session]}")
    return " ".join(words)


def read_script(text: str, sessions: int) -> list[int]:
    """The schedule that a script tells; numbers behind the letters are for the reader.

    Raises:
        ValueError: a word is not the name of one of that many sessions.
    """
    known = LETTERS[:sessions]
    choices = []
    for word in text.split():
        if word[0] not in known or (word[1:] and not word[1:].isdigit()):
            raise ValueError(
                f"{word!r} is no step of the sessions {', '.join(known)}; a script reads 'A1 B1 A2'"
            )
        choices.append(known.index(word[0]))
    return choices
