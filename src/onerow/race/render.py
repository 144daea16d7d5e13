"""A failure as text: the sessions side by side, and a test to paste. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onerow.race.trace import Step, Trace, letter

if TYPE_CHECKING:
    from onerow.race.verdict import Failure, TableState

WIDTH = 100
LONGEST_VALUE = 40
ROWS = 3
GAP = "  "


def failure_table(failure: Failure, width: int = WIDTH) -> str:
    """The whole report: what failed, the schedule step by step, the rows afterwards, the script."""
    parts = [
        headline(failure),
        "\n".join(_side_by_side(failure, width)),
        *(_state(s) for s in failure.state),
        f"Schedule: {failure.script}",
    ]
    return "\n\n".join(p for p in parts if p)


def headline(failure: Failure) -> str:
    name = f" [{failure.anomaly}]" if failure.anomaly else ""
    return f"{failure.verdict}{name}: {failure.reason}"


def _side_by_side(failure: Failure, total: int) -> Iterator[str]:
    count = len(failure.names)
    width = (total - 4 - len(GAP) * (count - 1)) // count
    heads = [f"{letter(i)}: {name}"[:width] for i, name in enumerate(failure.names)]
    yield _line("", heads, width)
    yield _line("", ["─" * width] * count, width)
    for place, session, text in happenings(failure.trace):
        lines = [
            line for part in text for line in textwrap.wrap(part, width, subsequent_indent="   ")
        ]
        for number, line in enumerate(lines):
            cells = ["" if i != session else line for i in range(count)]
            yield _line(str(place) if number == 0 else "", cells, width)


def _line(place: str, cells: Sequence[str], width: int) -> str:
    return f"{place:>3} {GAP.join(c.ljust(width) for c in cells)}".rstrip()


def happenings(trace: Trace) -> Iterator[tuple[int, int, list[str]]]:
    """What is told, in order: the place in the schedule, the session, lines of text."""
    labels = {s.began: s for s in trace.steps}
    for place in range(1, len(trace.choices) + 1):
        step = labels[place]
        late = step.waited and step.ended != place
        wait = [waiting(step)] if step.waited else []
        yield place, step.session, [told(step), *wait, *([] if late else outcome(step))]
        for other in trace.steps:
            if other.ended == place and other.began < place:
                freed = f"{other.label} goes on after {step.label} {verb(step)}"
                yield place, other.session, [freed, *outcome(other)]


def waiting(step: Step) -> str:
    """For whom a step waited."""
    return f"… waits for {', '.join(letter(s) for s in step.waited_for)}"


def verb(step: Step) -> str:
    """A short name of what a step does: COMMIT, INSERT, …"""
    words = step.operation.sql.split()
    return words[0].upper() if words else ""


def told(step: Step) -> str:
    """A step's label, SQL and parameters."""
    sql = " ".join(step.operation.sql.split())
    values = shown_parameters(step.operation.parameters, many=step.operation.many)
    return f"{step.label} {sql}{f'  -- {values}' if values else ''}"


def shown_parameters(parameters: Any, *, many: bool = False) -> str:
    if not parameters:
        return ""
    if many:
        return f"{len(parameters)} sets: {shown_parameters(parameters[0])}, …"
    if isinstance(parameters, Mapping):
        return ", ".join(f"{k}={shown(v)}" for k, v in parameters.items())
    return ", ".join(shown(v) for v in parameters)


def shown(value: Any) -> str:
    text = repr(bytes(value) if isinstance(value, memoryview) else value)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


def outcome(step: Step) -> list[str]:
    """What a step brought: rows, a count, an error."""
    if step.error:
        return [f"✗ {step.error} {step.message}"]
    if step.rows is not None:
        return [_rows(step)]
    if step.rowcount >= 0 and step.operation.kind == "statement":
        return [f"→ {_count(step.rowcount, 'row')} changed"] if _changes(step) else []
    return []


def _changes(step: Step) -> bool:
    return verb(step) in ("INSERT", "UPDATE", "DELETE", "MERGE", "WITH")


def _rows(step: Step) -> str:
    rows = step.rows or ()
    if not rows:
        return "→ no row"
    some = ", ".join(_tuple(r) for r in rows[:ROWS])
    return f"→ {_count(step.rowcount, 'row')}: {some}{', …' if step.rowcount > ROWS else ''}"


def _tuple(row: Sequence[Any]) -> str:
    return f"({', '.join(shown(v) for v in row)})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _state(state: TableState) -> str:
    head = f"{state.name} afterwards: ({', '.join(state.columns)})"
    rows = [f"    {_tuple(r)}" for r in state.rows] or ["    no row"]
    return "\n".join([head, *rows, *(["    …"] if state.more else [])])


def regression_test(failure: Failure) -> str:
    """A pytest test that replays the schedule; `engine`, `setup`, `invariant` are one's own."""
    imports = sorted(
        {tuple(p.split(":")) for p in failure.places if p and p.split(":")[1].isidentifier()}
    )
    lines = [f"from {module} import {name}" for module, name in imports]
    label = (failure.anomaly or failure.verdict).replace("-", "_").replace(" ", "_")
    name = "".join(c for c in label if c.isalnum() or c == "_")
    workers = ", ".join(failure.names)
    return "\n".join(
        [
            "from onerow.race import replay",
            *lines,
            "",
            "",
            f"def test_no_{name}(engine):",
            f'    """{headline(failure).splitlines()[0][:90]}"""',
            "    result = replay(",
            f"        engine, [{workers}], {failure.script!r},",
            "        setup=setup, invariant=invariant,",
            "    )",
            "    result.expect_holds()",
            "",
        ]
    )
