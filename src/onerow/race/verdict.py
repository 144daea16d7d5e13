"""What an exploration found. Values, and the rules by which a run is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from onerow.codes import DEADLOCK, code_of
from onerow.race.trace import Trace

Verdict = Literal["holds", "broken", "raised", "deadlocked", "inconclusive"]


@dataclass(frozen=True, slots=True)
class TableState:
    """Rows of a table after a run."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    more: bool = False  #: there are rows that are not shown


@dataclass
class Failure:
    """A schedule that failed, the smallest that was found.

    Attributes:
        verdict: ``broken``, ``raised`` or ``deadlocked``.
        trace: what happened.
        reason: the invariant that is broken and how, or the exception.
        anomaly: the name that the literature has for it, '' if it has none.
        state: rows of the tables that were written, afterwards.
    """

    verdict: Verdict
    trace: Trace
    reason: str
    anomaly: str = ""
    state: tuple[TableState, ...] = ()
    names: tuple[str, ...] = ()
    places: tuple[str, ...] = ()  #: "module:function" of the workers, '' where they have none

    @property
    def script(self) -> str:
        """The schedule as text, for `replay`: ``A1 B1 A2 B2 A3 B3``."""
        return self.trace.script

    @property
    def length(self) -> int:
        """Number of its steps."""
        return len(self.trace.choices)

    @cached_property
    def table(self) -> str:
        """The sessions side by side, as text."""
        from onerow.race.render import failure_table

        return failure_table(self)

    @cached_property
    def test(self) -> str:
        """A regression test to paste, for pytest."""
        from onerow.race.render import regression_test

        return regression_test(self)

    @cached_property
    def html(self) -> str:
        """The schedule as a sequence diagram: a page of its own that loads nothing."""
        from onerow.race.html import page

        return page(self)

    def __str__(self) -> str:
        return self.table


@dataclass
class Result:
    """The answer of `explore` and `replay`.

    Attributes:
        verdict: ``holds`` (no schedule failed; `exhausted` tells whether all of them were run, else
            all within `bound`), ``broken`` (the invariant), ``raised`` (an exception left a
            worker), ``deadlocked`` (the server's deadlock error left a worker), ``inconclusive``.
        reason: one sentence.
        exhausted: every schedule, up to equivalence, was run.
        bound: the bound of preemptions, None if there was none.
        schedules: how many were run to their end.
        redundant: runs besides that were found to be equivalent to another one on their way.
        repeated: runs that the server decided otherwise than usual, and that were repeated.
        failure: the first failure, None if there is none.
        failures: all of them, in the order of the search, with ``keep_going``.
        outcomes: how many schedules ended how, with ``keep_going``.
        seconds: duration, without what was before the first schedule.
        notes: what a reader should know besides.
    """

    verdict: Verdict
    reason: str = ""
    exhausted: bool = False
    bound: int | None = None
    schedules: int = 0
    redundant: int = 0
    repeated: int = 0
    failure: Failure | None = None
    failures: list[Failure] = field(default_factory=list)
    outcomes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return self.verdict == "holds"

    def __str__(self) -> str:
        text = f"{self.verdict}: {self.reason}"
        return f"{text}\n\n{self.failure.table}" if self.failure else text

    def expect_holds(self) -> None:
        """Raises AssertionError, with the failing schedule, unless the verdict is ``holds``."""
        if not self.ok:
            raise AssertionError(str(self))


Allowed = Sequence[type[BaseException] | str]


def judge(trace: Trace, broken: str | None, allowed: Allowed) -> tuple[Verdict, str]:
    """Verdict and reason of one run. An exception comes before the invariant: it came first."""
    if trace.trouble:
        return "inconclusive", trace.trouble
    raised = [r for r in trace.raised if not _is_allowed(r.error, allowed)]
    for each in raised:
        if each.code == DEADLOCK:
            return "deadlocked", str(each)
    if raised:
        return "raised", str(raised[0])
    if broken is not None:
        return "broken", broken
    return "holds", ""


def _is_allowed(error: BaseException, allowed: Allowed) -> bool:
    code = code_of(error)
    return any(a == code if isinstance(a, str) else isinstance(error, a) for a in allowed)
