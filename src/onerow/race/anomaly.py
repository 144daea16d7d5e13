"""The names of what went wrong. Pure.

After Berenson et al., "A Critique of ANSI SQL Isolation Levels" (1995), and Adya's thesis (1999).
What happened is read from the trace; where no name fits, none is given.
"""

from __future__ import annotations

from collections.abc import Iterator

from onerow.codes import SERIALIZATION, UNIQUE
from onerow.race.dependency import tables_of
from onerow.race.trace import Step, Trace

FOREIGN = {"23503", "23001", "SQLITE_CONSTRAINT_FOREIGNKEY"}


def name_anomaly(trace: Trace, verdict: str) -> str:
    """The anomaly's name, '' if it is none of those known."""
    if verdict == "deadlocked":
        return "deadlock by lock order"
    if verdict == "raised":
        return _of_code({r.code for r in trace.raised})
    work = [s for s in trace.steps if not s.error]
    for name, found in (
        ("duplicate insert", _duplicate_insert),
        ("lost update", _lost_update),
        ("write skew", _write_skew),
        ("non-repeatable read", _changed_read),
        ("phantom", _phantom),
        ("write on a stale read", _stale_read),
    ):
        if found(trace, work):
            return name
    return ""


def _of_code(codes: set[str]) -> str:
    if codes & UNIQUE:
        return "unhandled duplicate key"
    if codes & FOREIGN:
        return "unhandled foreign key violation"
    if SERIALIZATION in codes:
        return "unhandled serialization failure"
    if "SQLITE_BUSY_SNAPSHOT" in codes:
        return "write on a stale snapshot"
    return ""


def _is(step: Step, word: str) -> bool:
    return step.operation.sql.lstrip()[: len(word)].upper() == word


def _tables(step: Step) -> frozenset[str]:
    return tables_of(step.operation.sql)


def _ends(step: Step, trace: Trace) -> int:
    """Place at which the step's transaction was committed; beyond the end if never."""
    for other in trace.steps:
        if other.session == step.session and other.number > step.number:
            if other.operation.kind == "commit":
                return other.ended or other.began
            if other.operation.kind == "rollback":
                return len(trace.choices) + 1
    return step.ended or step.began


def _read_before(trace: Trace, write: Step, place: int) -> Iterator[Step]:
    """Reads of the same session and tables that were over before that place."""
    return filter(_reads, _earlier(trace, write, place))


def _looked_before(trace: Trace, write: Step, place: int) -> Iterator[Step]:
    """The same, and an UPDATE or DELETE that found no row: it tells that there is none, too."""
    return (s for s in _earlier(trace, write, place) if _reads(s) or _found_none(s))


def _earlier(trace: Trace, write: Step, place: int) -> Iterator[Step]:
    for step in trace.steps:
        same = step.session == write.session and step.number < write.number
        if same and step.began < place and _tables(step) & _tables(write):
            yield step


def _reads(step: Step) -> bool:
    return _is(step, "SELECT") and step.rows is not None


def _found_none(step: Step) -> bool:
    return step.rowcount == 0 and (_is(step, "UPDATE") or _is(step, "DELETE"))


def _pairs(trace: Trace, steps: list[Step], first: str, second: str) -> Iterator[tuple[Step, Step]]:
    for a in steps:
        for b in steps:
            if a.session != b.session and a.began < b.began and _is(a, first) and _is(b, second):
                yield a, b


def _duplicate_insert(trace: Trace, steps: list[Step]) -> bool:
    """Both inserted what neither had seen."""
    return any(
        _tables(a) & _tables(b) and any(_looked_before(trace, b, _ends(a, trace)))
        for a, b in _pairs(trace, steps, "INSERT", "INSERT")
        if (a.rowcount != 0 and b.rowcount != 0)
    )


def _lost_update(trace: Trace, steps: list[Step]) -> bool:
    """The second write rests on a read that was made before the first one was committed."""
    return any(
        a.operation.sql == b.operation.sql
        and _same_row(a, b)
        and any(_read_before(trace, b, _ends(a, trace)))
        for a, b in _pairs(trace, steps, "UPDATE", "UPDATE")
    )


def _same_row(a: Step, b: Step) -> bool:
    """As far as can be told: the last parameter is the one that the WHERE clause compares."""
    return _last(a) == _last(b)


def _last(step: Step) -> object:
    parameters = step.operation.parameters
    values = list(parameters.values() if isinstance(parameters, dict) else parameters or ())
    return values[-1] if values else None


def _write_skew(trace: Trace, steps: list[Step]) -> bool:
    """Each wrote another row than the other, on a read that the other's write made untrue."""
    return any(
        _tables(a) & _tables(b)
        and any(_read_before(trace, b, _ends(a, trace)))
        and any(_read_before(trace, a, _ends(b, trace)))
        for word in ("UPDATE", "DELETE")
        for a, b in _pairs(trace, steps, word, word)
    )


def _repeated(steps: list[Step]) -> Iterator[tuple[Step, Step]]:
    for a in steps:
        for b in steps:
            same = a.session == b.session and a.number < b.number
            if same and _reads(a) and _asks(a) == _asks(b):
                yield a, b


def _asks(step: Step) -> tuple[str, str]:
    return step.operation.sql, repr(step.operation.parameters)


def _changed_read(_trace: Trace, steps: list[Step]) -> bool:
    return any(a.rowcount == b.rowcount and a.rows != b.rows for a, b in _repeated(steps))


def _phantom(_trace: Trace, steps: list[Step]) -> bool:
    return any(a.rowcount != b.rowcount for a, b in _repeated(steps))


def _stale_read(trace: Trace, steps: list[Step]) -> bool:
    writes = [s for s in steps if s.operation.footprint.writes and s.operation.kind == "statement"]
    return any(
        a.session != b.session
        and a.began < b.began
        and any(_read_before(trace, b, _ends(a, trace)))
        for a in writes
        for b in writes
    )
