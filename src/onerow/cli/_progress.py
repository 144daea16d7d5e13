"""What a run is doing: a bar on a terminal, a line every few seconds in a log."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column
from rich.text import Text

from onerow.cli._output import Output
from onerow.executor import Event, Listener
from onerow.plan import Plan, Step
from onerow.report.words import clean, count, duration, number

INDENT = "      "
EVERY = 3.0  #: seconds between the lines of a log that say the same


@contextmanager
def progress(output: Output, plan: Plan | None = None) -> Iterator[Listener]:
    """A listener that tells what happens; it numbers the steps of the plan, where there is one."""
    steps = _Steps(plan)
    if output.quiet:
        yield lambda _event: None
    elif output.err.is_terminal and not output.err.is_dumb_terminal:
        with _bar(output) as bar:
            yield _Bars(bar, steps)
    else:
        yield _Lines(output, steps)


class _Steps:
    """What a step is called. Undo goes backwards, and numbers nothing."""

    def __init__(self, plan: Plan | None) -> None:
        self.ids = [s.id for s in plan.steps] if plan else []

    def title(self, step: Step) -> str:
        if step.id not in self.ids:
            return f"Undo {step.kind.replace('_', ' ')}: {clean(step.undo)}"
        return f"[{self.ids.index(step.id) + 1}/{len(self.ids)}] {clean(step.sentence)}"

    def short(self, step: Step) -> str:
        what = f"{step.kind.replace('_', ' ')} · {clean(str(step.table))}"
        if step.id not in self.ids:
            return f"undo {what}"
        return f"{self.ids.index(step.id) + 1}/{len(self.ids)} {what}"


class _News:
    """Tells what was not said before; the same with other numbers is news every few seconds."""

    def __init__(self) -> None:
        self.said: dict[str, float] = {}

    def is_news(self, message: str) -> bool:
        gist = "".join(c for c in message if not c.isdigit())
        last = self.said.get(gist)
        if last is not None and time.monotonic() - last < EVERY:
            return False
        self.said[gist] = time.monotonic()
        return True


# -- a log --------------------------------------------------------------------------------------


class _Lines:
    """One line a step, and one every few seconds while it is at work."""

    def __init__(self, output: Output, steps: _Steps) -> None:
        self.output, self.steps = output, steps
        self.news = _News()
        self.began = self.told = time.monotonic()
        # A concurrent build is watched from a thread of its own.
        self.lock = Lock()

    def __call__(self, event: Event) -> None:
        with self.lock:
            for text in self._lines(event):
                self.output.tell(Text(text))

    def _lines(self, event: Event) -> Iterator[str]:
        if event.what == "begin" and event.step is not None:
            self.news = _News()
            self.began = self.told = time.monotonic()
            yield self.steps.title(event.step)
        elif event.what == "progress" and time.monotonic() - self.told >= EVERY:
            self.told = time.monotonic()
            yield INDENT + self._rate(event)
        elif event.what == "wait" and self.news.is_news(event.message):
            yield INDENT + clean(event.message)
        elif event.what == "end":
            yield f"{INDENT}done in {duration(time.monotonic() - self.began)}"

    def _rate(self, event: Event) -> str:
        rate = event.done / max(time.monotonic() - self.began, 1e-3)
        total = max(event.total or 0, event.done)
        parts = [f"{number(event.done)} of {count(total, 'row')}", f"{number(round(rate))} rows/s"]
        if rate and total > event.done:
            parts.append(f"about {duration(math.ceil((total - event.done) / rate))} left")
        return ", ".join(parts)


# -- a terminal ---------------------------------------------------------------------------------


class _Rows(ProgressColumn):
    """`1,200 of 5,000 rows · 800/s · 5 s left`; nothing for a step that counts no rows."""

    def render(self, task: Task) -> Text:
        if not task.total or not task.fields["rows"]:
            return Text("")
        parts = [f"{number(int(task.completed))} of {count(int(task.total), 'row')}"]
        speed = task.finished_speed or task.speed
        if speed:
            parts.append(f"{number(round(speed))}/s")
        if task.time_remaining:
            parts.append(f"{duration(math.ceil(task.time_remaining))} left")
        return Text(" · ".join(parts), style="dim")


@contextmanager
def _bar(output: Output) -> Iterator[Progress]:
    whole = Column(no_wrap=True)
    columns = (
        SpinnerColumn(finished_text="✓" if output.err.encoding.startswith("utf") else "+"),
        TextColumn("{task.description}", markup=False, table_column=whole),
        BarColumn(bar_width=16),
        _Rows(table_column=whole),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=output.err, redirect_stdout=False) as bar:
        yield bar


class _Bars:
    """One bar a step; what it waits for is told above it."""

    def __init__(self, bar: Progress, steps: _Steps) -> None:
        self.bar, self.steps = bar, steps
        self.news = _News()
        self.task: TaskID | None = None
        self.lock = Lock()

    def __call__(self, event: Event) -> None:
        with self.lock:
            self._show(event)

    def _show(self, event: Event) -> None:
        if event.what == "begin" and event.step is not None:
            self.news = _News()
            self.task = self.bar.add_task(self.steps.short(event.step), total=None, rows=False)
        elif event.what == "wait" and self.news.is_news(event.message):
            self.bar.console.print(Text(clean(event.message), style="yellow"))
        elif event.what == "progress" and self.task is not None:
            self.bar.update(self.task, completed=event.done, total=event.total, rows=True)
        elif event.what == "end" and self.task is not None:
            self._finish(self.task)

    def _finish(self, task: TaskID) -> None:
        counted = self.bar.tasks[task].fields["rows"]
        total = self.bar.tasks[task].completed if counted else 1
        self.bar.update(task, completed=total, total=total)
