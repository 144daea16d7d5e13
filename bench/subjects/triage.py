"""The triage bot's writes under 32 clients, against their bare statements; its spool."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bench.common import Line, Options, Subject, server
from systems.shared.address import open_async_engine
from systems.shared.fixtures import build
from systems.triage_bot import sandbox, states
from systems.triage_bot import tables as t
from systems.triage_bot.desk import SafeDesk
from systems.triage_bot.records import AddUser, Record, RequestOverride, Transition
from systems.triage_bot.team import slack_id

CLIENTS = 32
CONNECTIONS = 16  #: as the server has
SPRINTS = 2_000
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
Write = Callable[[int], Awaitable[None]]


def triage(options: Options) -> Iterator[Line]:
    """Transition and override request of the triage bot, 32 clients: all of them, and p99."""
    for name in ("request", "transition"):
        whole: tuple[list[float], list[float]] = ([], [])
        slow: list[float] = []
        for turn in range(options.rounds):
            for way in (0, 1) if turn % 2 == 0 else (1, 0):
                took, each = asyncio.run(_round(options, name, by_hand=bool(way)))
                whole[way].append(took)
                if not way:
                    slow.append(statistics.quantiles(each, n=100)[-1] * 1e3)
        what = f"{options.rows:,} × {name}, {CLIENTS} clients"
        against = "the bare statements"
        yield Line(what=what, against=against, ours=whole[0], other=whole[1], target=1 / 0.7)
        yield Line(what=f"p99 of {what}", ours=slow, unit="ms", target=50)


async def _round(options: Options, name: str, *, by_hand: bool) -> tuple[float, list[float]]:
    with server(options) as started, TemporaryDirectory() as folder:
        url = started.create_database("triage")
        build(url, states.after())
        engine = open_async_engine(url, connections=CONNECTIONS)
        await t.prepare(engine)
        await _lay_sprints(engine)
        ways = _by_hand(engine) if by_hand else _by_desk(engine, Path(folder))
        found = await _clients(ways[name], options.rows)
        await engine.dispose()
        return found


async def _lay_sprints(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.exec_driver_sql(
            "INSERT INTO sprints (sprint_name, start_date, end_date, sprint_index)"
            " SELECT 'Sprint ' || n, date '2040-01-01' + 14 * n, date '2040-01-14' + 14 * n, n"
            f" FROM generate_series(10, {SPRINTS}) AS n"
        )


async def _clients(write: Write, rows: int) -> tuple[float, list[float]]:
    numbers = iter(range(rows))
    each: list[float] = []

    async def client() -> None:
        for number in numbers:
            began = time.perf_counter()
            await write(number)
            each.append(time.perf_counter() - began)

    for warm in range(CLIENTS):
        await write(-1 - warm)
    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return time.perf_counter() - began, each


# -- our way ---------------------------------------------------------------------------------------


def _by_desk(engine: AsyncEngine, folder: Path) -> dict[str, Write]:
    desk = SafeDesk(engine, sandbox.settings(folder / "spool"))

    async def request(number: int) -> None:
        await desk.submit("request_override", _request(number), "bench")

    async def transition(number: int) -> None:
        # The clients of one turn all want the same one, as 32 jobs would.
        record = Transition(from_index=number // CLIENTS - 1 if number >= 0 else SPRINTS)
        await desk.submit("transition", record, "bench")

    return {"request": request, "transition": transition}


def _request(number: int) -> RequestOverride:
    sprint, who = divmod(number + CLIENTS, CLIENTS)
    return RequestOverride(
        sprint_index=sprint,
        role="po",
        requested_by=f"UBENCH{who}",
        replacement_slack_id=slack_id(7),
        original_slack_id=slack_id(2),
    )


# -- the bare statements ---------------------------------------------------------------------------


def _by_hand(engine: AsyncEngine) -> dict[str, Write]:
    async def request(number: int) -> None:
        async with engine.begin() as connection:
            sprint = sa.select(t.SPRINTS).where(t.SPRINTS.c.sprint_index == number)
            await connection.execute(sprint)
            values = _request(number).model_dump(exclude={"approved_by"})
            row = await connection.execute(
                insert(t.OVERRIDES)
                .values(values)
                .on_conflict_do_nothing(constraint="overrides_unique_request")
                .returning(t.OVERRIDES.c.id)
            )
            await _beside(connection, "overrides", row.scalar_one(), number)

    async def transition(number: int) -> None:
        here = None if number // CLIENTS == 0 else number // CLIENTS - 1
        async with engine.begin() as connection:
            state = await connection.execute(sa.select(t.STATE))
            if state.mappings().one()["sprint_index"] != here:
                return
            await connection.execute(sa.select(t.STATE).with_for_update())
            await connection.execute(sa.select(t.USERS).where(t.USERS.c.active))
            await connection.execute(
                sa.select(t.OVERRIDES).where(t.OVERRIDES.c.sprint_index == number)
            )
            moved = await connection.execute(
                sa.update(t.STATE)
                .where(t.STATE.c.sprint_index.is_not_distinct_from(here))
                .values(sprint_index=number // CLIENTS)
                .returning(t.STATE.c.id)
            )
            if (row := moved.scalar()) is not None:
                await _beside(connection, "current_state", row, number)

    return {"request": request, "transition": transition}


async def _beside(connection: AsyncConnection, table: str, row: int, number: int) -> None:
    """What every writer must leave: the audit row and the notice."""
    log = {"table_name": table, "record_id": row, "operation": "INSERT", "new_values": {"n": row}}
    await connection.execute(sa.insert(t.AUDIT).values(log))
    notice = {"sprint_index": number, "recipient": table, "kind": "k", "message": {"text": "x"}}
    await connection.execute(sa.insert(t.OUTBOX).values(notice))


# -- the spool -------------------------------------------------------------------------------------


def spool(options: Options) -> Iterator[Line]:
    """The triage bot's spool: append with fsync, and replay."""
    append: list[float] = []
    replay: list[float] = []
    for _ in range(options.rounds):
        first, second = asyncio.run(_spooled(options))
        append.append(first / options.rows * 1e3)
        replay.append(second / options.rows * 1e3)
    yield Line(what="append to the spool, a write", ours=append, unit="ms", target=1000 / 500)
    yield Line(what="replay of the spool, a write", ours=replay, unit="ms", target=1000 / 1000)


async def _spooled(options: Options) -> tuple[float, float]:
    with server(options) as started, TemporaryDirectory() as folder:
        url = started.create_database("triage")
        build(url, states.after())
        away = open_async_engine(NOWHERE, connections=1)
        desk = SafeDesk(away, sandbox.settings(Path(folder) / "spool"))
        began = time.perf_counter()
        for number in range(options.rows):
            # What the desk does once the key waits: the database is not asked again.
            record = _person(number)
            desk.spool.files.append(f"op{number}", "add_user", record.payload("bench"), record.key)
        appended = time.perf_counter() - began
        engine = open_async_engine(url, connections=2)
        await t.prepare(engine)
        back = SafeDesk(engine, desk.settings)
        began = time.perf_counter()
        done = await back.replay()
        replayed = time.perf_counter() - began
        assert (done.applied, done.left) == (options.rows, 0)
        await engine.dispose()
        await away.dispose()
        return appended, replayed


def _person(number: int) -> Record:
    return AddUser(slack_id=f"UBENCH{number}", name="n", discipline="po", position=number)


SUBJECTS = (
    Subject(name="triage", measure=triage, options=Options(rows=6_400)),
    Subject(name="triage_spool", measure=spool, options=Options(rows=2_000)),
)
