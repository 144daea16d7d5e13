"""What the demo writes to: colour on a terminal, plain lines in a log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

WIDEST = 100
INDENT = 3


class Screen:
    """Writes one story.

    Args:
        out: a stream or rich's Console.
        explain: say why, too; once is enough when the story is told on several engines.
    """

    def __init__(self, out: TextIO | Console, *, explain: bool = True) -> None:
        self.console = out if isinstance(out, Console) else Console(file=out)
        self.width = min(self.console.width, WIDEST)
        self.explain = explain

    def title(self, text: str) -> None:
        self._line(Text(text, "bold"))
        self._line(Text("=" * len(text), "bold"))

    def chapter(self, number: int, title: str, command: str = "") -> None:
        self.console.print()
        head = Text(f"{number}  {title}", "bold cyan")
        self._line(head.append(f"   $ {command}", "not bold dim") if command else head)

    def why(self, text: str) -> None:
        """An explanation; left out when the story was told before."""
        if self.explain:
            self.say(text, "dim")

    def say(self, text: str, style: str = "", lead: str = "") -> None:
        self._paragraph(Text(text, style), Text(lead, style))

    def proven(self, text: str) -> None:
        self._paragraph(Text(text), Text("ok  ", "bold green"))

    def failed(self, text: str) -> None:
        self._paragraph(Text(text), Text("FAILED  ", "bold red"))

    def code(self, text: str) -> None:
        for line in text.strip("\n").splitlines():
            self._line(Text(line, "blue"), INDENT + 2)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        shown = [["-" if v is None else str(v) for v in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(columns, *shown, strict=True)]
        for number, cells in enumerate((columns, *shown)):
            line = "  ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True))
            self._line(Text(line.rstrip(), "" if number else "dim"), INDENT + 2)

    def _paragraph(self, text: Text, lead: Text) -> None:
        """The lead, and all lines of the text to the right of it."""
        hang = INDENT + len(lead)
        for number, line in enumerate(text.wrap(self.console, self.width - hang)):
            line.rstrip()
            if number:
                self._line(line, hang)
            else:
                self._line(lead.copy().append(line), INDENT)

    def _line(self, text: Text, indent: int = 0) -> None:
        text.pad_left(indent)
        self.console.print(text, soft_wrap=True, highlight=False)
