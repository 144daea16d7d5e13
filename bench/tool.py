"""onerow at work in a process of its own: times, transactions and memory of its steps.

Run as `python -m bench.tool`: a job as JSON on standard input, what was measured on standard
output. `work` does that from another process.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from onerow import api
from onerow.executor import Event
from onerow.rulefile import parse_rules

#: With these a transaction of `Session` begins that changes rows.
_WRITES = ("SELECT set_config('lock_timeout'", "SET LOCAL lock_timeout", "BEGIN IMMEDIATE")


@dataclass(slots=True)
class Step:
    """A step's time by the clock that other processes see, and its longest transaction."""

    kind: str
    began: float
    ended: float = 0.0
    longest: float = 0.0  #: seconds of a transaction that changed rows

    @property
    def seconds(self) -> float:
        return self.ended - self.began


@dataclass(slots=True)
class Worked:
    """What a verb did."""

    seconds: float
    peak_mb: float  #: resident memory of the process, at most, so far
    steps: list[Step] = field(default_factory=list)

    def of(self, kind: str) -> Step:
        """The first step of a kind."""
        return next(s for s in self.steps if s.kind == kind)

    def seconds_of(self, kind: str) -> float:
        return sum(s.seconds for s in self.steps if s.kind == kind)

    def longest_of(self, kind: str) -> float:
        return max(s.longest for s in self.steps if s.kind == kind)


def work(url: str, rules: str, *verbs: str, base: str = "") -> dict[str, Worked]:
    """Let onerow apply (and undo) rules in a process of its own.

    Args:
        verbs: of `apply` and `undo`.
        base: the folder of files that the rules name.
    """
    job = json.dumps({"url": url, "rules": rules, "verbs": verbs, "base": base})
    done = subprocess.run(
        [sys.executable, "-m", "bench.tool"], input=job, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise SystemExit(f"onerow could not {' and '.join(verbs)}: see above.")
    return {
        verb: Worked(d["seconds"], d["peak_mb"], [Step(**s) for s in d["steps"]])
        for verb, d in json.loads(done.stdout).items()
    }


class _Clock:
    """Listens to the run and to its transactions."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._began: float | None = None
        event.listen(Engine, "before_cursor_execute", self._statement)
        event.listen(Engine, "commit", self._ended)
        event.listen(Engine, "rollback", self._ended)

    def __call__(self, event: Event) -> None:
        if event.step is None:
            return
        if event.what == "begin":
            self.steps.append(Step(event.step.kind, time.time()))
        elif event.what == "end":
            self.steps[-1].ended = time.time()

    def _statement(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(_WRITES):
            self._began = time.perf_counter()

    def _ended(self, _connection: Any) -> None:
        # Called before the commit: what that takes is seen by the next look at the clock.
        began, self._began = self._began, None
        if began is not None and self.steps:
            step = self.steps[-1]
            step.longest = max(step.longest, time.perf_counter() - began)


def _main() -> None:
    job = json.load(sys.stdin)
    rules = parse_rules(job["rules"], f"{job['base']}/onerow.toml" if job["base"] else "")
    out: dict[str, Any] = {}
    for verb in job["verbs"]:
        out[verb] = _verb(verb, job["url"], rules)
    json.dump(out, sys.stdout)


def _verb(verb: str, url: str, rules: Any) -> dict[str, Any]:
    clock = _Clock()
    began = time.perf_counter()
    if verb == "apply":
        outcome = api.apply(url, rules, listen=clock)
    else:
        outcome = api.undo(url, listen=clock)
    if outcome.status not in ("done", "undone"):
        raise SystemExit(f"{verb}: {outcome.status}: {outcome.message}")
    steps = [
        {"kind": s.kind, "began": s.began, "ended": s.ended, "longest": s.longest}
        for s in clock.steps
    ]
    return {"seconds": time.perf_counter() - began, "peak_mb": _peak_mb(), "steps": steps}


def _peak_mb() -> float:
    """Of this program alone: getrusage counts what the process was before its exec, too."""
    status = Path("/proc/self/status")
    if not status.exists():  # macOS, in bytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1024


if __name__ == "__main__":
    _main()
