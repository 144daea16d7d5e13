"""The figures as the table of a page, between two marks of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def write_page(
    path: Path, figures: Sequence[Mapping[str, Any]], machine: Mapping[str, str]
) -> None:
    """Put a table in the place of the one that stands there.

    Raises:
        SystemExit: the page has no place for it.
    """
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{path} lacks the lines {BEGIN} and {END}.")
    table = _table(figures, machine)
    path.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


def _table(figures: Sequence[Mapping[str, Any]], machine: Mapping[str, str]) -> str:
    head = (
        f"Measured on {machine['date']}: {machine['cores']} cores, {machine['memory']}, Python "
        f"{machine['python']}.\n\n"
        "| what | against | measured | target | | command |\n|---|---|---|---|---|---|"
    )
    return "\n".join([head, *map(_row, figures)])


def _row(figure: Mapping[str, Any]) -> str:
    met = {None: "", True: "met", False: "**not met**"}[figure["met"]]
    if met and not figure["full_size"]:
        met += " (small)"
    cells = (
        figure["what"],
        figure["against"],
        figure["shown"],
        figure["wanted"],
        met,
        f"`{figure['command']}`",
    )
    return f"| {' | '.join(cells)} |"
