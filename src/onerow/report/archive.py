"""The archive, told in words, as JSON, and as CSV."""

from __future__ import annotations

import csv
import io
import json as encoding
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from rich.console import RenderableType

from onerow.report.blocks import line
from onerow.report.json import SCHEMA, Document
from onerow.report.words import count, utc, value
from onerow.sql import Name


class Archive(Protocol):
    """What a run has kept of a table."""

    @property
    def run(self) -> str: ...
    @property
    def table(self) -> Name: ...
    @property
    def rows(self) -> int: ...
    @property
    def size(self) -> int | None: ...
    @property
    def status(self) -> str: ...
    @property
    def finished_at(self) -> datetime | None: ...
    @property
    def prunable(self) -> bool: ...
    @property
    def pruned(self) -> datetime | None: ...


class ArchivedRow(Protocol):
    """A row as it was."""

    @property
    def table(self) -> Name: ...
    @property
    def action(self) -> str: ...
    @property
    def step(self) -> str: ...
    @property
    def undone(self) -> bool: ...
    @property
    def row(self) -> Mapping[str, Any]: ...
    @property
    def survivor(self) -> Mapping[str, Any] | None: ...


def _time(at: datetime | None) -> str | None:
    return utc(at).isoformat() if at else None


def listed(found: Sequence[Archive]) -> Document:
    return {
        "schema": SCHEMA,
        "archives": [
            {
                "run": a.run,
                "table": str(a.table),
                "rows": a.rows,
                "bytes": a.size,
                "status": a.status,
                "finished_at": _time(a.finished_at),
                "prunable": a.prunable,
                "pruned_at": _time(a.pruned),
            }
            for a in found
        ],
    }


def listed_text(found: Sequence[Archive]) -> Iterator[RenderableType]:
    for a in found:
        size = f", {a.size:,} bytes" if a.size else ""
        state = "pruned" if a.pruned else "may be pruned" if a.prunable else "needed"
        yield line(f"{a.run}  {a.table}  {count(a.rows, 'row')}{size}  run {a.status}, {state}")
    if not found:
        yield line("The archive is empty.")


def shown(run: str, found: Sequence[ArchivedRow]) -> Document:
    return {"schema": SCHEMA, "run": run, "rows": [_row(r) for r in found]}


def _row(r: ArchivedRow) -> Document:
    return {
        "table": str(r.table),
        "action": r.action,
        "step": r.step,
        "undone": r.undone,
        "row": dict(r.row),
        "survivor": dict(r.survivor) if r.survivor is not None else None,
    }


def shown_text(found: Sequence[ArchivedRow]) -> Iterator[RenderableType]:
    for r in found:
        into = f", merged into {_pairs(r.survivor)}" if r.survivor else ""
        yield line(f"{r.table}  {r.action}{into}{'  (put back)' if r.undone else ''}")
        yield line(f"  {_pairs(r.row)}")
    if not found:
        yield line("No archived row is like that.")


def _pairs(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{column} = {value(v)}" for column, v in row.items())


def shown_csv(found: Sequence[ArchivedRow]) -> str:
    """One line a row: the row and its survivor as JSON, which holds columns of any table."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["table", "action", "step", "undone", "row", "survivor"])
    for r in found:
        survivor = encoding.dumps(dict(r.survivor), ensure_ascii=False) if r.survivor else ""
        row = encoding.dumps(dict(r.row), ensure_ascii=False)
        writer.writerow([str(r.table), r.action, r.step, str(r.undone).lower(), row, survivor])
    return out.getvalue()


def pruned(runs: Sequence[str]) -> Document:
    return {"schema": SCHEMA, "pruned": list(runs)}


def pruned_text(runs: Sequence[str]) -> Iterator[RenderableType]:
    for run in runs:
        yield line(f"The archive of run {run} is gone; it cannot be undone any more.")
    if not runs:
        yield line("Nothing to prune.")
