"""The report as text and as a page of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from systems.report_weeks.judging import Check, Report, rate
from systems.report_weeks.survey import Day

FOLDER = Path(__file__).parent / "templates"
MARKS = {True: "✓", False: "✗"}
WIDTH, HEIGHT = 720, 160  #: of the chart
GRID = (0.25, 0.5, 0.75, 1.0)


def as_text(report: Report) -> Iterator[str]:
    """Line by line."""
    width = max(len(c.name) for c in report.checks)
    for check in report.checks:
        yield f"{_mark(check)} {check.severity:<7} {check.name:<{width}}  {check.message}"
    yield "ok: no error" if report.ok else "not ok"


def _mark(check: Check) -> str:
    return "·" if check.severity == "info" else MARKS[check.ok]


@dataclass(frozen=True, slots=True)
class Bar:
    """A day of the chart: all its weeks, and those of them that say their execution."""

    x: float
    width: float
    total: float
    populated: float
    told: str


def bars(per_day: Sequence[Day]) -> list[Bar]:
    """Of all days that have weeks, side by side."""
    most = max((d.total for d in per_day), default=0)
    step = WIDTH / max(len(per_day), 1)
    return [
        Bar(
            round(number * step, 2),
            round(max(step * 0.8, 0.5), 2),
            round(day.total / most * HEIGHT, 2),
            round(day.populated / most * HEIGHT, 2),
            f"{day.day}: {day.populated:,} of {day.total:,}, {rate(day.populated, day.total):.0%}",
        )
        for number, day in enumerate(per_day)
    ]


def as_html(report: Report) -> str:
    """A page that needs nothing but itself."""
    loader = FileSystemLoader(FOLDER)
    found = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    days = report.found.numbers.per_day
    return found.get_template("report.html").render(
        report=report,
        marks=MARKS,
        days=days,
        bars=bars(days),
        most=max((d.total for d in days), default=0),
        rate=rate,
        width=WIDTH,
        height=HEIGHT,
    )
