"""What the command line does without Slack."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TypeVar

import click

from onerow import conflict_of
from onerow.write import SpoolBusy
from systems.shared.address import open_async_engine, open_engine
from systems.shared.errors import SystemFailure, SystemRefusal
from systems.triage_bot import files, tables
from systems.triage_bot.desk import SafeDesk, Unreadable, away
from systems.triage_bot.records import Record, Transition
from systems.triage_bot.rotation import NONE_YET, TITLES
from systems.triage_bot.settings import Settings
from systems.triage_bot.writes import Refused

T = TypeVar("T")
BY = "command line"
CONNECTIONS = 2
WAITS = "waits in the spool; `replay` applies it when the database is back"


def run(url: str, errand: Callable[[SafeDesk], Awaitable[T]]) -> T:
    """An errand at a desk over the database, which may be away."""

    async def at_desk() -> T:
        async with desk_at(url) as desk:
            return await errand(desk)

    try:
        return asyncio.run(at_desk())
    except Refused as refused:
        raise SystemRefusal(str(refused)) from refused
    except Unreadable:
        raise SystemFailure("The database is away, and there is no snapshot of it.") from None


@asynccontextmanager
async def desk_at(url: str) -> AsyncIterator[SafeDesk]:
    engine = open_async_engine(url, connections=CONNECTIONS)
    try:
        desk = SafeDesk(engine, Settings.from_environment(), _said)
        await _make_ready(url, desk)
        yield desk
    finally:
        await engine.dispose()


async def _make_ready(url: str, desk: SafeDesk) -> None:
    try:
        await tables.prepare(desk.engine)
    except Exception as error:
        if not away(error):
            raise
        return
    engine = open_engine(url)
    try:
        tables.check_schema(engine, naive=False)
    finally:
        engine.dispose()


def _said(kind: str, reason: str) -> None:
    click.echo(f"spool {kind}: {reason}" if reason else f"spool {kind}", err=True)


# -- import and export -----------------------------------------------------------------------------


def import_files(url: str, paths: Sequence[Path]) -> int:
    """Each file's records; 1 when one of them could not be imported."""
    order = sorted(paths, key=lambda p: files.KINDS.index(files.kind_of(p)))
    read = [(path, files.read(path)) for path in order]

    async def errand(desk: SafeDesk) -> int:
        return sum([await _import(desk, path, entries) for path, entries in read])

    return 1 if run(url, errand) else 0


async def _import(desk: SafeDesk, path: Path, entries: Sequence[files.Entry]) -> int:
    name = files.WRITES[files.kind_of(path)]
    outcomes: Counter[str] = Counter()
    for entry in entries:
        outcome, error = await _import_one(desk, name, entry)
        outcomes[outcome] += 1
        if error:
            click.echo(f"{path.name}, {entry.place}: {error}", err=True)
    told = ", ".join(
        f"{outcomes[o]} {word}" for o, word in _WORDS.items() if outcomes[o] or o == "inserted"
    )
    click.echo(f"{path.name}: {told}")
    return outcomes["bad"]


_WORDS = {
    "inserted": "new",
    "updated": "changed",
    "unchanged": "as before",
    "waits": "waiting in the spool",
    "bad": "not imported",
}


async def _import_one(desk: SafeDesk, name: str, entry: files.Entry) -> tuple[str, str]:
    if entry.record is None:
        return "bad", entry.error
    try:
        done = await desk.submit(name, entry.record, "import")
    except Refused as refused:
        return "bad", str(refused)
    except Exception as error:
        conflict = conflict_of(error)
        if conflict is None:
            raise
        return "bad", f"the database refuses it: {conflict.kind} {conflict.constraint}"
    return (str(done.result["outcome"]), "") if done.result else ("waits", "")


def export_files(url: str, folder: Path) -> None:
    async def errand(desk: SafeDesk) -> None:
        for path in files.write(folder, (await desk.read()).team):
            click.echo(path)

    run(url, errand)


# -- the rotation ----------------------------------------------------------------------------------


def schedule(url: str, day: date | None) -> None:
    """Who is on call on a day; the team's today without one."""

    async def errand(desk: SafeDesk) -> None:
        when = day or datetime.now(desk.settings.zone).date()
        found = await desk.read()
        sprint, duties = found.team.on_call(when)
        if found.stale:
            click.echo(f"The database is away; as of {found.at:%Y-%m-%d %H:%M} UTC.", err=True)
        if sprint is None:
            raise Refused(f"There is no sprint on {when}.")
        click.echo(f"{when}: {sprint.name} ({sprint.start} to {sprint.end})")
        for duty in duties:
            name = f"{duty.name or '?'} ({duty.slack_id})" if duty.slack_id else "nobody"
            instead = f", for {duty.instead_of}" if duty.instead_of else ""
            click.echo(f"  {TITLES[duty.role]:<18} {name}{instead}")

    run(url, errand)


def transition(url: str, start: int) -> None:
    """Enter the next sprint, unless somebody has."""
    record = Transition(from_index=start)

    async def errand(desk: SafeDesk) -> None:
        click.echo(_told(await _submitted(desk, "transition", record)))

    run(url, errand)


async def _submitted(desk: SafeDesk, name: str, record: Record) -> str | dict[str, object]:
    done = await desk.submit(name, record, BY)
    return done.result or WAITS


def _told(result: str | dict[str, object]) -> str:
    if isinstance(result, str):
        return f"The transition {result}."
    if result["outcome"] == "moved":
        return f"Moved to {result['at']}"
    return "no sprint yet" if result["at"] == NONE_YET else f"already at {result['at']}"


def replay(url: str) -> int:
    """Apply what waits; 1 when something was put aside or waits still."""

    async def errand(desk: SafeDesk) -> int:
        try:
            done = await desk.replay()
        except SpoolBusy as busy:
            raise SystemRefusal(str(busy)) from busy
        click.echo(f"{done.applied} applied, {done.failed} put aside, {done.left} waiting")
        for failed in desk.spool.failed:
            click.echo(f"put aside: {failed.record.name} {failed.record.key}: {failed.reason}")
        return 1 if done.left or desk.spool.failed else 0

    return run(url, errand)
