"""Writes the page of the gallery from the cases: `docs/races/gallery.md`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

from docs.races.gallery import CASES, Case
from docs.races.gallery.known import KNOWN

PAGE = Path(__file__).parents[1] / "gallery.md"
ENGINES = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}
HEAD = """\
# Twenty races and how to close them

Each race is followed by its cures. The workers are what the tests run; every answer and every
number is checked by them. *Schedules* are those run until the answer, of all that there are;
*steps* is the length of the smallest failure. `session` is a SQLAlchemy Session; `retried` runs the
whole transaction again after a serialization failure or a deadlock, `at` sets the isolation level
([`case.py`](gallery/case.py) has both, and the tables).
"""


def write() -> str:
    """The page as text."""
    return "\n".join(
        [HEAD, *(part for number, c in enumerate(CASES, 1) for part in _of(number, c))]
    )


def _of(number: int, case: Case) -> Iterator[str]:
    yield f"## {number}. {case.name}\n"
    yield f"{case.told}\n"
    yield "```python\n" + "\n\n".join(_sources(case)) + "```\n"
    yield "| engine | verdict | schedules | steps |\n|---|---|---|---|"
    for engine, name in ENGINES.items():
        verdict = getattr(case, engine)
        if verdict is not None:
            yield _row(case, engine, name, verdict)
    yield ""


def _row(case: Case, engine: str, name: str, verdict: str) -> str:
    run, steps, every, _ = KNOWN[case.name][engine]
    anomaly = f" ({case.anomaly})" if case.anomaly and engine == "postgresql" else ""
    return f"| {name} | **{verdict}**{anomaly} | {run} of {every} | {steps or '–'} |"


def _sources(case: Case) -> list[str]:
    """The code of the workers, each once, with what makes them."""
    found: dict[str, None] = {}
    for body in case.workers:
        inner = inspect.unwrap(body)
        module = inspect.getmodule(inner)
        top = inner.__qualname__.split(".")[0]
        found[inspect.getsource(getattr(module, top))] = None
    return list(found)


if __name__ == "__main__":
    PAGE.write_text(write(), encoding="utf-8")
