"""The commands that work: create, run, pause, resume, retry, status, verify, clear-tracking."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import click
import sqlalchemy as sa

from systems.report_weeks import schema
from systems.report_weeks.client import WorkflowService
from systems.report_weeks.ledger import Ledger, Left
from systems.report_weeks.models import NewCollection
from systems.report_weeks.naive import NaiveLedger
from systems.report_weeks.runner import Limits, Runner, Tally
from systems.report_weeks.store import Store, Unknown
from systems.shared.address import open_engine
from systems.shared.commands import tell
from systems.shared.errors import SystemFailure, SystemRefusal
from systems.shared.web.schema import lacking

CONNECTIONS = 16


@contextmanager
def database(url: str) -> Iterator[sa.Engine]:
    """An engine for a command; what the database says no to is told in a sentence.

    Raises:
        SystemFailure: it cannot be reached or used.
        SystemRefusal: a collection is not there.
    """
    engine = open_engine(url, connections=CONNECTIONS)
    try:
        yield engine
    except Unknown as unknown:
        raise SystemRefusal(str(unknown) or "There is no such collection.") from None
    except sa.exc.DBAPIError as error:
        said = " ".join(str(error.orig).split())
        raise SystemFailure(f"The database cannot be used: {said}") from error
    finally:
        engine.dispose()


# -- collections ----------------------------------------------------------------------------------


def create(engine: sa.Engine, new: NewCollection) -> str:
    """The id of the collection, which may have been there already."""
    row, made = Store(engine).create(new)
    weeks = sum(row["weeks"].values())
    tell(f"{'created' if made else 'it exists already'}: {weeks} weeks, {row['status']}")
    return str(row["id"])


def show(engine: sa.Engine, words: Sequence[str]) -> Iterator[str]:
    """How collections stand, all of them unless some are named."""
    store = Store(engine)
    some = [store.collection(store.find(w)) for w in words]
    for row in some or store.collections(1_000, 0)[0]:
        counts = row["weeks"]
        told = ", ".join(f"{counts[s]} {s}" for s in sorted(counts)) or "no weeks"
        yield f"{row['id']}  {row['status']:<9}  {row['name']}: {told}"


# -- running --------------------------------------------------------------------------------------


def run(
    engine: sa.Engine,
    collections: Sequence[str],
    service: str,
    *,
    lease: float,
    attempts: int,
    timeout: float,
    naive: bool,
) -> int:
    """Run collections, with a word of progress; 1 when some weeks have failed or are left.

    Raises:
        SystemRefusal: the schema is not one for this runner.
    """
    book = _book(engine, lease, naive)
    _log_to_stderr()
    progress = Progress(Store(engine))
    ended = asyncio.run(_run(book, collections, service, attempts, timeout, progress))
    tell(_told(ended))
    return 0 if all(_done(book.left(c)) for c in collections) else 1


def _book(engine: sa.Engine, lease: float, naive: bool) -> Ledger | NaiveLedger:
    wanting = lacking(engine, schema.before() if naive else schema.after())
    if wanting:
        raise SystemRefusal(
            f"The database has not: {', '.join(wanting)}. `onerow apply` with the rule file that"
            " `python -m systems.report_weeks rules` prints brings it there."
        )
    if naive:
        schema.refuse_after(engine)
        return NaiveLedger(engine, timedelta(seconds=lease))
    owner = f"{socket.gethostname()}:{os.getpid()}"
    return Ledger(engine, owner, timedelta(seconds=lease))


async def _run(
    book: Ledger | NaiveLedger,
    collections: Sequence[str],
    service: str,
    attempts: int,
    timeout: float,
    progress: Progress,
) -> Tally:
    async with WorkflowService(service, attempts=attempts, timeout=timeout) as client:
        runner = Runner(book, client, Limits(), progress.tell)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, _stop, runner)
        return await runner.run(collections)


def _stop(runner: Runner) -> None:
    """The first signal; a second one ends the process, and the leases run out."""
    tell("stopping: the weeks at work come to their end")
    runner.stop.set()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().remove_signal_handler(number)


def _done(left: Left) -> bool:
    return set(left.counts) <= {"completed"}


def _told(tally: Tally) -> str:
    return (
        f"{tally.completed} weeks completed here, {tally.failed} failed;"
        f" {tally.no_id} without an id of the service, {tally.lost} lost to others"
    )


class Progress:
    """A line for each change of a collection, at most one a second until it has ended."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._names: dict[str, str] = {}
        self._last: dict[str, tuple[float, str]] = {}

    def tell(self, collection: str, left: Left) -> None:
        at, before = self._last.get(collection, (0.0, ""))
        counts, total = left.counts, sum(left.counts.values())
        done = counts.get("completed", 0)
        said = f"{done}/{total} completed, {counts.get('failed', 0)} failed"
        now = asyncio.get_running_loop().time()
        if said == before or (left.open and now - at < 1.0):
            return
        self._last[collection] = (now, said)
        tell(f"{self._name(collection)}: {said}")

    def _name(self, collection: str) -> str:
        if collection not in self._names:
            self._names[collection] = str(self._store.collection(collection)["name"])
        return self._names[collection]


def _log_to_stderr() -> None:
    logging.basicConfig(
        level=logging.WARNING,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    # Each retry would be a line; what comes of them is told.
    logging.getLogger("stamina").setLevel(logging.ERROR)


# -- verify ---------------------------------------------------------------------------------------


def verify(url: str, since: date | None, *, as_json: bool, html: Path | None) -> int:
    """Print the report; 1 when a check of severity error is not met."""
    from systems.report_weeks import reporting
    from systems.report_weeks.verify import verify as look

    report = look(url, since)
    if html is not None:
        html.write_text(reporting.as_html(report), encoding="utf-8")
        tell(f"written: {html}")
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=1))
    else:
        click.echo("\n".join(reporting.as_text(report)))
    return 0 if report.ok else 1
