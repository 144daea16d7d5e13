"""The planner's story: a drop that loses a change, the change under load, the way back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import sqlalchemy as sa
from fastapi import FastAPI

from onerow import apply, load_rules, make_plan, undo, verify
from onerow.demo.screen import Screen
from onerow.race import explore
from systems.shared.address import open_engine
from systems.shared.fixtures import build
from systems.shared.story import Stage, StoryFailed
from systems.shared.web.application import THREADS, Serving
from systems.shared.web.server import in_thread
from systems.shared.web.tokens import LEAST_BYTES, Tokens
from systems.workout_planner import states
from systems.workout_planner.app import make
from systems.workout_planner.dedupe import RULES

TITLE = "Workout planner: one-to-one in the code only"
ROWS = 2_000
DROP = ({"currentPlanDay": "2026-03-05"}, {"timeOfDay": "morning"})
TRIES = 40
WRITERS = 3
PREEMPTIONS = 2


def tell(stage: Stage) -> None:
    """From a drop that loses a change to the proof, and back.

    Raises:
        StoryFailed: it went otherwise.
    """
    build(stage.url, states.before(ROWS))
    with _engine(stage.url) as engine:
        story = _Story(stage, stage.url, engine)
        story.failure()
        story.finding()
        first = story.look()
        story.change()
        story.proof()
        story.way_back(first)


@dataclass(slots=True)
class _Story:
    stage: Stage
    url: str
    engine: sa.Engine

    @property
    def out(self) -> Screen:
        return self.stage.screen

    def failure(self) -> None:
        """Two PUTs at once, until a workout has two selections."""
        self.stage.chapter("A drop on another day and another time of day")
        with _served(self.engine, naive=True) as address:
            for workout in self._unselected():
                asyncio.run(_drop(address, workout))
                rows = self._selections(workout)
                if len(rows) > 1:
                    break
            else:
                raise StoryFailed("The PUTs came one after the other, every time.")
            seen = httpx.get(f"{address}/api/workouts/{workout}").json()["selection"]
        self.out.code("\n".join(f"PUT /api/selections/{workout}  {change}" for change in DROP))
        self.out.table(("id", "current_plan_day", "time_of_day"), rows)
        shown = {name: seen[name] for change in DROP for name in change}
        self.out.say(f"Both were answered 200. The calendar shows {shown}: one change is lost.")

    def finding(self) -> None:
        """The explorer's shortest interleaving, before."""
        self.stage.chapter("The interleaving")
        result = self._explored(naive=True)
        if result.verdict != "broken":
            raise StoryFailed(f"The naive writer: {result.verdict}, {result.reason}")
        self.out.code(result.failure.table)

    def look(self) -> dict[str, list[Any]]:
        """How much of it there is, and what would be done."""
        self.stage.chapter("What is there, and what would be done")
        for step in make_plan(self.url, load_rules(RULES)).steps:
            self.out.say(f"- {step.sentence}")
        return self._contents()

    def change(self) -> None:
        """The safe writer first, the merge and the key while it writes."""
        self.stage.chapter("The safe writer, the merge, the key: while the application serves")
        workouts = self._imported_once()
        with _served(self.engine, naive=False) as address, _writers(address, workouts) as load:
            done = apply(self.url, load_rules(RULES))
        if done.status != "done" or load.failed:
            raise StoryFailed(f"{done.message} {load.failed[:1]}")
        self.out.proven(
            f"{done.archived} rows merged away and archived; {load.written} PUTs meanwhile, none"
            " failed."
        )

    def proof(self) -> None:
        """The rules hold, and so does the writer in every interleaving."""
        self.stage.chapter("The proof")
        for proof in verify(self.url, load_rules(RULES)):
            if not proof.ok:
                raise StoryFailed(proof.message)
            self.out.proven(f"{proof.rule}: {proof.message}")
        result = self._explored(naive=False)
        if result.verdict != "holds":
            raise StoryFailed(f"The safe writer: {result.verdict}, {result.reason}")
        self.out.proven(f"two PUTs at once: {result.reason}")

    def way_back(self, first: dict[str, list[Any]]) -> None:
        """Undo; what nobody has written since is as it was."""
        self.stage.chapter("The way back")
        back = undo(self.url)
        if back.status != "undone":
            raise StoryFailed(back.message)
        now = self._contents()
        if now["workouts"] != first["workouts"]:
            raise StoryFailed("The workouts are not as they were.")
        gone = {r[0] for r in first["workout_selections"]} - {
            r[0] for r in now["workout_selections"]
        }
        if gone:
            raise StoryFailed(f"Selections did not come back: {sorted(gone)[:5]}.")
        self.out.proven(
            f"{back.restored} rows put back, the schema as before; {len(back.left_alone)} that were"
            " written since were left as they are."
        )

    # -- the database ---------------------------------------------------------------------------

    def _rows(self, sql: str) -> list[Any]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(sql)]

    def _selections(self, workout: int) -> list[Any]:
        return self._rows(
            "SELECT id, current_plan_day, time_of_day FROM workout_selections"
            f" WHERE workout_id = {workout} ORDER BY id"
        )

    def _unselected(self) -> list[int]:
        rows = self._rows(
            "SELECT id FROM workouts AS w WHERE NOT is_custom AND NOT EXISTS (SELECT 1 FROM"
            " workout_selections AS s WHERE s.workout_id = w.id) AND NOT EXISTS (SELECT 1 FROM"
            " workouts AS o WHERE o.title = w.title AND o.id <> w.id"
            f" AND o.originally_planned_day = w.originally_planned_day) ORDER BY id LIMIT {TRIES}"
        )
        return [row[0] for row in rows]

    def _imported_once(self) -> list[int]:
        """Their numbers stay theirs."""
        rows = self._rows(
            "SELECT id FROM workouts AS w WHERE NOT EXISTS (SELECT 1 FROM workouts AS o"
            " WHERE o.title = w.title AND o.id <> w.id"
            " AND o.originally_planned_day = w.originally_planned_day) ORDER BY id LIMIT 200"
        )
        return [row[0] for row in rows]

    def _contents(self) -> dict[str, list[Any]]:
        tables = ("workouts", "workout_selections")
        return {t: self._rows(f"SELECT * FROM {t} ORDER BY id") for t in tables}

    def _explored(self, *, naive: bool) -> Any:
        """On a workout of its own, with an application for each of the two."""
        (workout,) = self._unselected()[-1:]
        one = f"FROM workout_selections WHERE workout_id = {workout}"

        def setup(connection: sa.Connection) -> None:
            connection.exec_driver_sql(f"DELETE {one}")

        def both(connection: sa.Connection) -> bool:
            rows = connection.exec_driver_sql(f"SELECT current_plan_day, time_of_day {one}").all()
            return len(rows) == 1 and None not in rows[0]

        with ExitStack() as stack:
            workers = []
            for change in DROP:
                engine = stack.enter_context(_engine(self.url, 2))
                app = make(Serving(engine=engine, tokens=_tokens(), naive=naive))
                asyncio.run(_put_inside(app, workout, {}))
                engine.dispose()  # only connections opened under its eyes are known to the explorer
                workers.append(_worker(app, workout, change))
            result = explore(
                self.engine, workers, setup=setup, invariant=both, preemptions=PREEMPTIONS
            )
        with self.engine.begin() as connection:
            setup(connection)
        return result


# -- the application ----------------------------------------------------------------------------


@contextmanager
def _engine(url: str, connections: int = THREADS) -> Iterator[sa.Engine]:
    engine = open_engine(url, connections=connections)
    try:
        yield engine
    finally:
        engine.dispose()


def _tokens() -> Tokens:
    return Tokens("-" * LEAST_BYTES)  # nobody signs in


@contextmanager
def _served(engine: sa.Engine, *, naive: bool) -> Iterator[str]:
    with in_thread(make(Serving(engine=engine, tokens=_tokens(), naive=naive))) as address:
        yield address


async def _drop(address: str, workout: int) -> None:
    async with httpx.AsyncClient(base_url=address) as http:
        path = f"/api/selections/{workout}"
        for answer in await asyncio.gather(*(http.put(path, json=change) for change in DROP)):
            answer.raise_for_status()


async def _put_inside(app: FastAPI, workout: int, change: dict[str, str]) -> None:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://planner") as http:
        answer = await http.put(f"/api/selections/{workout}", json=change)
        answer.raise_for_status()


def _worker(app: FastAPI, workout: int, change: dict[str, str]) -> Callable[[Any], None]:
    def worker(_factory: Any) -> None:
        asyncio.run(_put_inside(app, workout, change))

    worker.__name__ = f"put_{next(iter(change))}"
    return worker


@dataclass(slots=True)
class _Load:
    written: int = 0
    failed: list[str] = field(default_factory=list)


@contextmanager
def _writers(address: str, workouts: Sequence[int]) -> Iterator[_Load]:
    """Athletes at work until the block ends."""
    load, stop, lock = _Load(), threading.Event(), threading.Lock()

    def write(number: int) -> None:
        with httpx.Client(base_url=address, timeout=30) as http:
            turn = number
            while not stop.wait(0.01):
                turn += WRITERS
                path = f"/api/selections/{workouts[turn % len(workouts)]}"
                answer = http.put(path, json={"userNotes": f"note {turn}"})
                with lock:
                    load.written += 1
                    if answer.status_code != 200:
                        load.failed.append(f"{answer.status_code} {answer.text}")

    threads = [threading.Thread(target=write, args=(n,)) for n in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        stop.set()
        for thread in threads:
            thread.join()
