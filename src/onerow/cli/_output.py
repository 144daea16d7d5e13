"""Where text goes: documents and reports to standard output, everything else to standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from typing import IO, Any, cast

from rich.console import Console, RenderableType

from onerow.cli._streams import Patient

#: Of what is not a terminal: lines are for `grep` there, and are not broken.
UNBROKEN = 10_000


def make_console(stream: Patient, *, no_color: bool) -> Console:
    """A console that has colours on a terminal only, and never reads markup in others' text."""
    plain = no_color or bool(os.environ.get("NO_COLOR")) or not stream.isatty()
    narrow = stream.isatty() or "COLUMNS" in os.environ
    return Console(
        file=cast(IO[str], stream),
        color_system=None if plain else "auto",
        width=None if narrow else UNBROKEN,
        force_terminal=stream.isatty(),
        markup=False,
        highlight=False,
        emoji=False,
    )


class Output:
    """The two streams of one call.

    Args:
        json: one document on standard output, and nothing else there.
        quiet: errors alone.
        no_color: no colours on terminals either.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False, no_color: bool = False) -> None:
        self.json, self.quiet = json, quiet
        self.stdout, self.stderr = Patient(sys.stdout), Patient(sys.stderr)
        self.out = make_console(self.stdout, no_color=no_color)
        self.err = make_console(self.stderr, no_color=no_color)

    @property
    def on_terminal(self) -> bool:
        """Somebody sits there who can be asked."""
        return all(s.isatty() for s in (sys.stdin, self.stdout, self.stderr))

    def show(self, document: Mapping[str, Any], parts: Iterable[RenderableType]) -> None:
        """The answer: the document with --json, else the text."""
        if self.json:
            self.write_json(document)
        elif not self.quiet:
            _print(self.out, parts)

    def write_json(self, document: Mapping[str, Any]) -> None:
        plain = not self.stdout.encoding.lower().startswith("utf")
        text = json.dumps(document, indent=2, ensure_ascii=plain, default=str)
        self.write(text + "\n")

    def write(self, text: str) -> None:
        """Text as it stands, to standard output."""
        self.stdout.write(text)
        self.stdout.flush()

    def tell(self, *parts: RenderableType) -> None:
        """A message beside the answer; --quiet keeps it back."""
        if not self.quiet:
            _print(self.err, parts)

    def warn(self, *parts: RenderableType) -> None:
        """A message that --quiet lets through."""
        _print(self.err, parts)


def _print(console: Console, parts: Iterable[RenderableType]) -> None:
    if console.is_terminal:
        for part in parts:
            console.print(part)
        return
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    # Tables fill their cells with blanks, which a terminal does not show and a log does.
    text = "\n".join(line.rstrip() for line in captured.get().split("\n"))
    console.file.write(text)
    console.file.flush()
