"""What a spool holds and what a replay did, as documents and as text.

A spool is told as plain values (`onerow.write.spool.status` and `show`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from onerow.report.blocks import Parts, columns, heading, line
from onerow.report.json import SCHEMA, Document
from onerow.report.words import clean, count, duration, moment, value

Entry = Mapping[str, Any]


def document(told: Mapping[str, Any]) -> Document:
    return {"schema": SCHEMA, **told}


def status(told: Entry) -> Parts:
    """How many wait, for how long, and what needs a person."""
    waiting = count(told["depth"], "write")
    if told["depth"]:
        waiting += f", the oldest for {duration(told['age'])}"
    parts: Parts = [line(f"Waiting: {waiting} ({count(told['bytes'], 'byte')}).")]
    if told["failed"]:
        parts.append(line(f"Put aside: {count(told['failed'], 'write')}.", "bold red"))
    if told["damaged"]:
        parts.append(line(f"Damaged: {count(told['damaged'], 'line')}, not applied.", "bold red"))
    return parts


def show(told: Mapping[str, Sequence[Entry]]) -> Parts:
    """Every write: those that wait in their order, and those that were put aside, with why."""
    parts: Parts = []
    if told["pending"]:
        parts += [heading("Waiting"), _writes(told["pending"])]
    if told["failed"]:
        parts.append(heading("Put aside"))
        parts.append(_writes([{**f["record"], "reason": f["reason"]} for f in told["failed"]]))
    return parts or [line("Nothing waits, and nothing was put aside.")]


def _writes(entries: Sequence[Entry]) -> Table:
    reasons = ["Reason"] if any("reason" in e for e in entries) else []
    table = columns("Since", "Write", "Key", "Operation", "Payload", *reasons)
    for e in entries:
        since = moment(datetime.fromtimestamp(e["at"], UTC))
        shown = (e["name"], value(e["key"]) if e["key"] is not None else "", e["op_id"])
        why = [clean(e["reason"])] if reasons else []
        table.add_row(since, *map(clean, shown), value(json.dumps(e["payload"])), *why)
    return table


def replay(told: Entry) -> Parts:
    """What became of the writes that waited."""
    parts: Parts = [line(f"Applied: {count(told['applied'], 'write')}.")]
    if told["failed"]:
        aside = f"Put aside: {count(told['failed'], 'write')}; `onerow spool show` tells why."
        parts.append(line(aside, "bold red"))
    if told["left"]:
        parts.append(line(f"Still waiting: {count(told['left'], 'write')}.", "yellow"))
    return parts
