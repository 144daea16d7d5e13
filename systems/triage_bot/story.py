"""The story: keys too strict and too loose, a state that two write at once, a database away."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

import onerow
from systems.shared.address import open_async_engine, open_engine
from systems.shared.commands import rules_text
from systems.shared.fixtures import build
from systems.shared.story import Stage
from systems.triage_bot import races, sandbox, states, tables
from systems.triage_bot.desk import NaiveDesk, SafeDesk
from systems.triage_bot.records import AddUser, RequestOverride, Transition
from systems.triage_bot.team import slack_id

TITLE = "Triage bot: keys too strict and too loose, and a row that should be the only one"
ROWS = 2_000
AT_ONCE = 32
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
T = TypeVar("T")


def tell(stage: Stage) -> None:
    """From the failure to the proof, and back."""
    story = _Story(stage)
    story.races_are_lost()
    before = story.failure()
    story.check()
    story.apply()
    story.at_once()
    story.database_away()
    story.undo(before)
    story.races_hold()


class _Story:
    def __init__(self, stage: Stage) -> None:
        self.stage, self.screen, self.url = stage, stage.screen, stage.url
        (stage.folder / "onerow.toml").write_text(rules_text(__file__))
        self.rules = onerow.load_rules(stage.folder / "onerow.toml")

    # -- before ------------------------------------------------------------------------------------

    def races_are_lost(self) -> None:
        self.stage.chapter("What two do at once", "onerow race")
        build(self.url, states.before(0))
        for name, race in races.RACES.items():
            result = self._explored(race, races.naive)
            script = " ".join(str(result.failure.script).split()) if result.failure else "none"
            self.stage.prove(
                result.verdict in ("broken", "raised"), f"{name}: {result.verdict} by {script}"
            )

    def failure(self) -> list[Any]:
        self.stage.chapter("The original at work", "serve --naive")
        build(self.url, states.before(ROWS), force=True)
        ana = AddUser(slack_id=slack_id(2), name="Ana", discipline="beEng")

        async def second_discipline(engine: AsyncEngine) -> str:
            try:
                await NaiveDesk(engine).submit("add_user", ana, "boss")
            except sa.exc.IntegrityError as error:
                conflict = onerow.conflict_of(error)
                return str(conflict.columns if conflict else error)
            return ""

        refused = self._run(second_discipline)
        self.stage.prove(refused, f"A person in a second discipline is a crash on {refused}.")
        twice = self._value(_TWICE)
        self.stage.prove(twice, f"{twice} requests stand there more than once.")
        two = self._value(_TWO_APPROVED)
        self.stage.prove(two, f"{two} roles have two approved overrides.")
        return self._rows("SELECT * FROM overrides ORDER BY id")

    # -- the change --------------------------------------------------------------------------------

    def check(self) -> None:
        self.stage.chapter("What is to be done, and what must not be", "onerow plan")
        wrong = onerow.Key(
            "sprints",
            "sprint_index",
            "sprint_name",
            name="sprints_index_and_name",
            replaces=["sprints_sprint_index_key"],
        )
        plan = onerow.make_plan(self.url, [wrong])
        self.stage.prove(plan.blockers, "A rule that replaces the sprint key is refused:")
        self.screen.say(plan.blockers[0].message)
        plan = onerow.make_plan(self.url, self.rules)
        for number, step in enumerate(plan.steps, 1):
            self.screen.say(step.sentence, lead=f"{number}. ")
        self.stage.prove(not plan.blockers, "Nothing stands in the way of ours.")

    def apply(self) -> None:
        self.stage.chapter("People, state, overrides: while people write", "onerow apply")
        with self._people_at_work() as written:
            done = onerow.apply(self.url, self.rules)
        self.stage.prove(done.status == "done", f"{done.archived} rows merged and archived.")
        self.stage.prove(written, f"{len(written)} overrides were edited meanwhile, none refused.")
        for proof in onerow.verify(self.url, self.rules):
            self.stage.prove(proof.ok, f"{proof.rule}: {proof.message}.")

    # -- after -------------------------------------------------------------------------------------

    def at_once(self) -> None:
        self.stage.chapter(f"{AT_ONCE} at once", "transition --from N")
        here = self._value("SELECT sprint_index FROM current_state")
        move = Transition(from_index=here)
        told = self._results("transition", move)
        moved = Counter(f"{r['outcome']} {r['at']}" for r in told)
        good = moved == {f"moved {here + 1}": 1, f"already {here + 1}": AT_ONCE - 1}
        self.stage.prove(good, ", ".join(f"{n} × {w}" for w, n in sorted(moved.items())) + ".")
        ask = RequestOverride(
            sprint_index=here + 2,
            role="po",
            requested_by="UNEW1",
            replacement_slack_id="UNEW2",
        )
        rows = [r["row"] for r in self._results("request_override", ask)]
        same = all(row == rows[0] for row in rows)
        self.stage.prove(same, f"{len(rows)} equal answers to one request, sent {AT_ONCE} times.")
        logged = "SELECT count(*) FROM audit_logs WHERE changed_by = 'story'"
        self.stage.prove(self._value(logged) == 2, "One audit row for each of the two writes.")

    def database_away(self) -> None:
        self.stage.chapter("The database is away", "replay")
        people = [AddUser(slack_id=f"UAWAY{n}", name="new", discipline="po") for n in range(5)]

        async def keep(engine: AsyncEngine) -> int:
            desk = self._desk(engine)
            for person in people:
                await desk.submit("add_user", person, "story")
            return desk.depth

        async def replay(engine: AsyncEngine) -> tuple[int, int]:
            desk = self._desk(engine)
            return (await desk.replay()).applied, (await desk.replay()).applied

        self.stage.prove(self._run(keep, NOWHERE) == 5, "5 writes wait in the spool.")
        applied = self._run(replay)
        self.stage.prove(applied == (5, 0), f"Two replays apply {applied[0]} and {applied[1]}.")
        there = self._value("SELECT count(*) FROM users WHERE slack_id LIKE 'UAWAY%'")
        self.stage.prove(there == 5, f"{there} people, each once.")

    def undo(self, before: list[Any]) -> None:
        self.stage.chapter("And back", "onerow undo --archive-newer")
        back = onerow.undo(self.url, archive_newer=True)
        self.stage.prove(back.status == "undone", f"{back.restored} rows put back. {back.message}")
        now = {row[0] for row in self._rows("SELECT id FROM overrides")}
        same = sum(row[0] in now for row in before)
        self.stage.prove(same == len(before), f"{same:,} of {len(before):,} overrides are there.")

    def races_hold(self) -> None:
        self.stage.chapter("What two do at once, now", "onerow race")
        build(self.url, states.after(), force=True)
        self._run(tables.prepare)
        for name, race in races.RACES.items():
            result = self._explored(race, races.safe, preemptions=1)
            self.stage.prove(result.verdict == "holds", f"{name}: {result.reason}.")

    # -- what they share ---------------------------------------------------------------------------

    def _run(self, work: Callable[[AsyncEngine], Awaitable[T]], url: str = "") -> T:
        async def run() -> T:
            engine = open_async_engine(url or self.url, connections=8)
            try:
                return await work(engine)
            finally:
                await engine.dispose()

        return asyncio.run(run())

    def _desk(self, engine: AsyncEngine) -> SafeDesk:
        settings = sandbox.settings(self.stage.folder / "spool")
        return SafeDesk(engine, settings, lambda kind, _reason: self.screen.say(f"spool: {kind}"))

    def _results(self, name: str, record: Any) -> list[dict[str, Any]]:
        async def all_at_once(engine: AsyncEngine) -> list[dict[str, Any]]:
            await tables.prepare(engine)
            desk = self._desk(engine)
            done = await asyncio.gather(
                *(desk.submit(name, record, "story") for _ in range(AT_ONCE))
            )
            return [d.result for d in done if d.result]

        return self._run(all_at_once)

    def _explored(self, race: Callable[..., Any], do: races.Do, **limits: Any) -> Any:
        engine = open_async_engine(self.url, connections=6)
        try:
            return race(engine, do, **limits)
        finally:
            asyncio.run(engine.dispose())

    @contextmanager
    def _people_at_work(self) -> Iterator[list[int]]:
        written: list[int] = []
        stop = threading.Event()
        numbers = [row[0] for row in self._rows("SELECT id FROM overrides ORDER BY id")]

        def work() -> None:
            engine = open_engine(self.url, connections=1)
            turn = 0
            while not stop.wait(0.01):
                number = numbers[turn % len(numbers)]
                turn += 1
                with engine.begin() as connection:
                    edit = "UPDATE overrides SET reason = 'edited' WHERE id = "
                    connection.exec_driver_sql(f"{edit}{number}")
                written.append(number)
            engine.dispose()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield written
        finally:
            stop.set()
            thread.join()

    def _rows(self, sql: str) -> list[Any]:
        engine = open_engine(self.url)
        try:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.exec_driver_sql(sql.replace("%", "%%"))]
        finally:
            engine.dispose()

    def _value(self, sql: str) -> Any:
        return self._rows(sql)[0][0]


_TWO_APPROVED = """SELECT count(*) FROM (SELECT 1 FROM overrides WHERE approved
                   GROUP BY sprint_index, role HAVING count(*) > 1) AS g"""
_TWICE = """SELECT count(*) FROM (SELECT 1 FROM overrides GROUP BY sprint_index, role,
            requested_by, replacement_slack_id HAVING count(*) > 1) AS g"""
