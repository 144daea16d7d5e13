"""A failure as one HTML page: the schedule as a sequence diagram. Pure; loads nothing.

The same steps are there as a list: it is what a narrow screen shows, and what is read aloud.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from onerow.race.render import happenings, headline, outcome, shown, told, waiting
from onerow.race.trace import Step, letter

if TYPE_CHECKING:
    from onerow.race.verdict import Failure, TableState

COLUMN = 380  #: width of a session, in pixels
LINE = 16
LEFT = 40
TOP = 56
CHARACTERS = 46  #: of a line in a box

STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --paper: #fff; --line: #8790a5; --box: #eef3fb;
  --bad: #b3261e; --wait: #b87a12; --soft: #5a6477; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9f0; --paper: #14171d; --line: #76809a;
  --box: #222b3a; --bad: #ff8a80; --wait: #d39a3a; --soft: #9ab; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  margin: 2rem; overflow-wrap: anywhere; }
h1 { font-size: 1.3rem; } h1 em { color: var(--bad); font-style: normal; }
.scroll { overflow-x: auto; } :focus-visible { outline: 2px solid var(--ink); }
svg text { font: 12px ui-monospace, monospace; fill: var(--ink); }
svg .head { font-weight: bold; font-size: 14px; } svg .label { font-weight: bold; }
svg .place { fill: var(--soft); } svg .error { fill: var(--bad); }
svg .life { stroke: var(--line); stroke-dasharray: 4 4; }
svg .box { fill: var(--box); stroke: var(--line); } svg .box.end { fill: var(--paper); }
svg .box.bad { stroke: var(--bad); stroke-width: 2; }
svg .wait { fill: var(--wait); } svg .free { stroke: var(--ink); fill: none; }
svg .tip { fill: var(--ink); }
.key { color: var(--soft); } .key i { display: inline-block; width: 10px; height: 1em;
  background: var(--wait); vertical-align: text-bottom; }
.steps ol { padding-left: 0; list-style: none; } .steps span { display: block; }
.steps li { border-left: 3px solid var(--line); padding-left: .6rem;
  margin: .6rem 0 .6rem calc(var(--session) * 1.2rem); font: 13px/1.4 ui-monospace, monospace; }
.steps .error { color: var(--bad); }
@media (min-width: 50rem) { .steps { position: absolute; width: 1px; height: 1px; margin: -1px;
  overflow: hidden; clip-path: inset(50%); white-space: nowrap; } }
@media (max-width: 50rem) { .diagram { display: none; } body { margin: 1rem; } }
table { border-collapse: collapse; margin: 1rem 0; }
caption { text-align: left; font-weight: bold; white-space: nowrap; }
td, th { border: 1px solid var(--line); padding: .2rem .6rem; font: 13px ui-monospace, monospace;
  text-align: left; overflow-wrap: normal; } th { font-weight: bold; }
code, pre { font: 13px/1.4 ui-monospace, monospace; } pre { overflow-x: auto; }
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
        f"<title>{title}</title><style>{STYLE}</style></head><body><main>\n"
        f"<h1><em>{escape(failure.verdict)}</em>{anomaly}</h1>\n<p>{escape(failure.reason)}</p>\n"
        f'<div class="diagram" aria-hidden="true"><div class="scroll">{_diagram(failure)}</div>'
        f"{_key(failure)}</div>\n{_list(failure)}"
        f"{''.join(_table(s) for s in failure.state)}"
        f"<p>To run it again: <code>--replay {escape(repr(failure.script))}</code></p>\n"
        "<details><summary>As a test for pytest</summary>"
        f'<pre tabindex="0">{escape(failure.test)}</pre></details>\n</main></body></html>\n'
    )


def _list(failure: Failure) -> str:
    """The schedule step by step."""
    names = "; ".join(f"{letter(i)}: {escape(name)}" for i, name in enumerate(failure.names))
    items = "".join(
        f'<li style="--session: {session}">{_told(lines)}</li>\n'
        for _, session, lines in happenings(failure.trace)
    )
    return f'<div class="steps"><p>{names}</p>\n<ol aria-label="Schedule">\n{items}</ol></div>\n'


def _told(lines: list[str]) -> str:
    first, _, rest = lines[0].partition(" ")
    others = "".join(f"<span{_kind(line)}>{escape(line)}</span>" for line in lines[1:])
    return f"<b>{escape(first)}</b> {escape(rest)}{others}"


def _key(failure: Failure) -> str:
    """What the signs mean, where there are any."""
    if not any(s.waited for s in failure.trace.steps):
        return ""
    return (
        '<p class="key"><i></i> waits for a lock of another session; '
        "the arrow comes from the step that let it go.</p>"
    )


def _diagram(failure: Failure) -> str:
    boxes = list(_boxes(failure))
    height = max((b.bottom for b in boxes), default=TOP) + 24
    width = LEFT + COLUMN * len(failure.names)
    parts = [*_lives(failure, height), *_waits(boxes), *map(_drawn, boxes), *_freed(boxes)]
    return (
        f'<svg width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


def _boxes(failure: Failure) -> Iterator[_Box]:
    top = TOP
    trace = failure.trace
    for step in trace.steps:
        late = step.waited and step.ended != step.began
        said = [told(step), *([] if late else outcome(step))]
        if step.waited:
            said.append(waiting(step))
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
    first, _, rest = box.lines[0].partition(" ")
    marked = [f'<tspan class="label">{escape(first)}</tspan> {escape(rest)}']
    lines = "".join(
        f'<text x="{left + 8}" y="{y + n * LINE}"{_kind(box.lines[n])}>{line}</text>'
        for n, line in enumerate([*marked, *map(escape, box.lines[1:])])
    )
    place = "" if box.back else f'<text class="place" x="6" y="{y}">{box.place}</text>'
    return (
        f'{place}<rect class="box{bad}{end}" x="{left}" y="{box.top}" rx="4" '
        f'width="{COLUMN - 20}" height="{box.height}"/>{lines}'
    )


def _kind(line: str) -> str:
    return ' class="error"' if line.startswith("✗") else ""


def _table(state: TableState) -> str:
    head = "".join(f'<th scope="col">{escape(c)}</th>' for c in state.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(shown(v))}</td>" for v in row) + "</tr>"
        for row in state.rows
    )
    if state.more:
        rows += f'<tr><td colspan="{len(state.columns)}">and more</td></tr>'
    name = f"{escape(state.name)} afterwards"
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{name}"><table>'
        f"<caption>{name}</caption><tr>{head}</tr>{rows}</table></div>\n"
    )
