"""What `onerow plan --alembic` has written, for a person."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType

from onerow.report.blocks import line
from onerow.report.shapes import Written


def text(written: Written) -> Iterator[RenderableType]:
    for path in written.there:
        yield line(f"{path} is already written.")
    for path in written.new:
        yield line(f"Wrote {path}.")
    if not (written.there or written.new):
        yield line("Nothing to do, so no revision was written.")
