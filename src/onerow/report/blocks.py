"""The pieces that pages for a person are made of: words in their colour, headings, tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from onerow.report.words import clean, value

Parts = list[RenderableType]

ENGINES = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}
STYLES = {
    "holds": "green",
    "done": "green",
    "undone": "cyan",
    "running": "yellow",
    "stopped": "yellow",
    "warning": "yellow",
    "info": "cyan",
    "broken": "bold red",
    "failed": "bold red",
    "refused": "bold red",
    "error": "bold red",
}


def word(text: str) -> Text:
    """A status or severity in its colour."""
    return Text(text, style=STYLES.get(text, ""))


def line(text: str, style: str = "") -> Text:
    return Text(clean(text, lines=True), style=style)


def heading(text: str) -> Text:
    return Text("\n").append(clean(text), style="bold")


def next_step(text: str) -> Text:
    return Text("\nNext: ", style="dim").append(text, style="not dim")


def entries(rows: Iterable[tuple[RenderableType, RenderableType]]) -> Table:
    """Two columns without lines: a word, and what there is to say in as many lines as it takes."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for left, right in rows:
        if grid.row_count:
            grid.add_row("", "")
        grid.add_row(left, right)
    return grid


def stack(parts: Iterable[RenderableType]) -> Table:
    grid = Table.grid()
    for part in parts:
        grid.add_row(part)
    return grid


def columns(*headers: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim")
    for header in headers:
        table.add_column(header, justify="right" if header in right else "left")
    return table


def inline(sample: Mapping[str, Any]) -> str:
    return ", ".join(f"{clean(k)} = {value(v)}" for k, v in sample.items())
