"""A failure as one HTML page: the schedule as a sequence diagram. Pure; loads nothing."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from onerow.race.render import headline, outcome, shown, told
from onerow.race.trace import Step, letter

if TYPE_CHECKING:
    from onerow.race.verdict import Failure, TableState

COLUMN = 380  #: width of a session, in pixels
LINE = 16
LEFT = 40
TOP = 56
CHARACTERS = 46  #: of a line in a box

STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --paper: #fff; --line: #aab; --box: #eef3fb;
  --bad: #b3261e; --wait: #f3c77a; --soft: #667; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9f0; --paper: #14171d; --line: #556;
  --box: #222b3a; --bad: #ff8a80; --wait: #8a6420; --soft: #9ab; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  margin: 2rem; }
h1 { font-size: 1.3rem; } h1 em { color: var(--bad); font-style: normal; }
.scroll { overflow-x: auto; }
svg text { font: 12px ui-monospace, monospace; fill: var(--ink); }
svg .head { font-weight: bold; font-size: 14px; } svg .place { fill: var(--soft); }
svg .life { stroke: var(--line); stroke-dasharray: 4 4; }
svg .box { fill: var(--box); stroke: var(--line); } svg .box.end { fill: var(--paper); }
svg .box.bad { stroke: var(--bad); stroke-width: 2; } svg .error { fill: var(--bad); }
svg .wait { fill: var(--wait); } svg .free { stroke: var(--ink); fill: none; }
svg .tip { fill: var(--ink); }
table { border-collapse: collapse; margin: 1rem 0; }
caption { text-align: left; font-weight: bold; }
td, th { border: 1px solid var(--line); padding: .2rem .6rem; font: 13px ui-monospace, monospace; }
code { font: 13px ui-monospace, monospace; }
"""


@dataclass(frozen=True, slots=True)
class _Box:
    """A step, or its coming back after a wait, at its place on the page."""

    step: Step
    place: int
    lines: tuple[str, ...]
    top: int
    back: bool = False  #: it is the end of a wait

    @property
    def height(self) -> int:
        return len(self.lines) * LINE + 10

    @property
    def bottom(self) -> int:
        return self.top + self.height


def page(failure: Failure) -> str:
    """The page as text."""
    anomaly = f" &middot; {escape(failure.anomaly)}" if failure.anomaly else ""
    title = escape(headline(failure))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head><body>\n"
        f"<h1><em>{escape(failure.verdict)}</em>{anomaly}</h1>\n<p>{escape(failure.reason)}</p>\n"
        f'<div class="scroll">{_diagram(failure)}</div>\n'
        f"{''.join(_table(s) for s in failure.state)}"
        f"<p>To run it again: <code>{escape(failure.script)}</code></p>\n</body></html>\n"
    )


def _diagram(failure: Failure) -> str:
    boxes = list(_boxes(failure))
    height = max((b.bottom for b in boxes), default=TOP) + 24
    width = LEFT + COLUMN * len(failure.names)
    parts = [*_lives(failure, height), *_waits(boxes), *map(_drawn, boxes), *_freed(boxes)]
    return (
        f'<svg role="img" aria-label="{escape(failure.script)}" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


def _boxes(failure: Failure) -> Iterator[_Box]:
    top = TOP
    trace = failure.trace
    for step in trace.steps:
        late = step.waited and step.ended != step.began
        said = [told(step), *([] if late else outcome(step))]
        if step.waited:
            said.append(f"waits for {', '.join(letter(i) for i in step.waited_for)}")
        box = _Box(step, step.began, _wrapped(said), top)
        yield box
        top = box.bottom + 12
        for other in trace.steps:
            if other.ended == step.began and other.began < step.began:
                back = _wrapped([f"{other.label} goes on", *outcome(other)])
                box = _Box(other, step.began, back, top, back=True)
                yield box
                top = box.bottom + 12


def _wrapped(parts: list[str]) -> tuple[str, ...]:
    return tuple(line for part in parts for line in textwrap.wrap(part, CHARACTERS))


def _middle(session: int) -> int:
    return LEFT + COLUMN * session + COLUMN // 2


def _lives(failure: Failure, height: int) -> Iterator[str]:
    for index, name in enumerate(failure.names):
        x = _middle(index)
        label = escape(f"{letter(index)}: {name}")
        yield f'<text class="head" x="{x}" y="24" text-anchor="middle">{label}</text>'
        yield f'<line class="life" x1="{x}" x2="{x}" y1="34" y2="{height - 6}"/>'


def _waits(boxes: list[_Box]) -> Iterator[str]:
    """A bar on the lifeline for as long as a session waited."""
    for start in boxes:
        for end in boxes:
            if end.back and end.step is start.step and not start.back:
                x = _middle(start.step.session) - 5
                yield (
                    f'<rect class="wait" x="{x}" y="{start.bottom}" width="10" '
                    f'height="{end.top - start.bottom}"/>'
                )


def _freed(boxes: list[_Box]) -> Iterator[str]:
    """An arrow from the step that let go to the session that goes on."""
    for box in boxes:
        releaser = next((b for b in boxes if b.place == box.place and not b.back), None)
        if not box.back or releaser is None:
            continue
        here, there = _middle(releaser.step.session), _middle(box.step.session)
        edge = there - (COLUMN // 2 - 10) * (1 if there > here else -1)
        y = box.top + box.height // 2
        tip = -7 if edge > here else 7
        yield f'<path class="free" d="M{here} {releaser.bottom} V{y} H{edge}"/>'
        yield f'<path class="tip" d="M{edge} {y} l{tip} -4 v8 z"/>'


def _drawn(box: _Box) -> str:
    bad = " bad" if box.step.error and (box.back or not box.step.waited) else ""
    end = " end" if box.step.operation.kind != "statement" else ""
    left = _middle(box.step.session) - COLUMN // 2 + 10
    y = box.top + LINE
    lines = "".join(
        f'<text x="{left + 8}" y="{y + n * LINE}"{_kind(line)}>{escape(line)}</text>'
        for n, line in enumerate(box.lines)
    )
    place = "" if box.back else f'<text class="place" x="6" y="{y}">{box.place}</text>'
    return (
        f'{place}<rect class="box{bad}{end}" x="{left}" y="{box.top}" rx="4" '
        f'width="{COLUMN - 20}" height="{box.height}"/>{lines}'
    )


def _kind(line: str) -> str:
    return ' class="error"' if line.startswith("✗") else ""


def _table(state: TableState) -> str:
    head = "".join(f"<th>{escape(c)}</th>" for c in state.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(shown(v))}</td>" for v in row) + "</tr>"
        for row in state.rows
    )
    return (
        f"<table><caption>{escape(state.name)} afterwards</caption><tr>{head}</tr>{rows}</table>\n"
    )
