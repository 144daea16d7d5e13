"""The command line of the measurements; see `bench`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import bench
from bench.common import CONFIGS, Line, Options, Subject
from bench.page import write_page
from bench.subjects import subjects


def main() -> None:
    known = subjects()
    given = _arguments(known)
    if not given.subjects:
        print(bench.__doc__)
        for subject in known.values():
            print(f"  {subject.name:<14} {subject.told} ({subject.options})")
        return
    names = list(known) if given.subjects == ["all"] else given.subjects
    measured: list[dict[str, Any]] = []
    for name in names:
        measured += _measure(known[name], given)
        if given.json:  # after each: what was measured is not lost with what comes after it
            _write(given.json, measured)
    if given.page:
        write_page(Path(given.page), measured, _machine())
    sys.exit(1 if any(line["met"] is False for line in measured) else 0)


def _arguments(known: dict[str, Subject]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=bench.__doc__)
    parser.add_argument("subjects", nargs="*", choices=["all", *known, []])
    parser.add_argument("--rows", type=int)
    parser.add_argument("--share", type=float, help="of the rows that carry another one's key")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--engine", help="postgresql, postgresql-MAJOR or sqlite")
    parser.add_argument("--config", choices=list(CONFIGS), help="the server's settings")
    parser.add_argument("--timeout", type=int, help="seconds that the other way may take")
    parser.add_argument("--json", metavar="FILE", help="write every figure there")
    parser.add_argument("--page", metavar="FILE", help="write the table into this page")
    return parser.parse_args()


def _measure(subject: Subject, given: argparse.Namespace) -> list[dict[str, Any]]:
    names = ("rows", "share", "rounds", "engine", "config", "timeout")
    changed = {n: getattr(given, n) for n in names if getattr(given, n) is not None}
    options = replace(subject.options, **changed)
    print(f"{subject.name}: {subject.told}", file=sys.stderr, flush=True)
    began = time.monotonic()
    out = []
    for line in subject.measure(options):
        print(line, flush=True)
        out.append(_record(line, subject, options, changed))
    print(f"{subject.name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return out


def _record(
    line: Line, subject: Subject, options: Options, changed: dict[str, Any]
) -> dict[str, Any]:
    flags = " ".join(f"--{n} {v}" for n, v in changed.items())
    command = f"python -m bench {subject.name} {flags}".strip()
    sized = all(getattr(options, n) == getattr(subject.options, n) for n in ("rows", "share"))
    return {"subject": subject.name, "command": command, "full_size": sized, **line.to_dict()}


def _machine() -> dict[str, str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def _write(path: str, measured: list[dict[str, Any]]) -> None:
    document = {"schema": 1, "machine": _machine(), "figures": measured}
    Path(path).write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
