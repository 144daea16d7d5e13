"""The story: weeks that could not say which execution made them, and how they came to."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import httpx
import sqlalchemy as sa

import onerow
from onerow.race import Result, explore
from systems.report_weeks import states, tracking
from systems.report_weeks.client import WorkflowService
from systems.report_weeks.ledger import Ledger
from systems.report_weeks.models import NewCollection
from systems.report_weeks.naive import NaiveLedger, NaiveStore
from systems.report_weeks.runner import Runner, Tally
from systems.report_weeks.store import Store
from systems.report_weeks.verify import RULES, verify
from systems.report_weeks.workflow_service import Manner
from systems.report_weeks.workflow_service import make as make_service
from systems.shared.address import open_engine
from systems.shared.fixtures import build
from systems.shared.story import ROOT, Stage
from systems.shared.web.server import in_thread

TITLE = "Report weeks: a reference column exists and is never filled"
ROWS = 3_000
CLICKS = 20
LEASE = 1.5
PATIENCE = 30.0
SLOW = Manner(latency=0.3)
FORGETFUL = Manner(fail_rate=0.2, no_id_rate=0.05, latency=0.02, seed=9)


def tell(stage: Stage) -> None:
    """From the failure to the proof, and back."""
    # Each failed week would be a line; the numbers are told.
    logging.getLogger("systems.report_weeks").setLevel(logging.ERROR)
    story = _Story(stage)
    try:
        story.tell()
    finally:
        story.engine.dispose()


def _request(name: str) -> NewCollection:
    return NewCollection(
        name=name,
        workflow_id="11111111-1111-4111-8111-111111111111",
        instance_id="instance-01",
        start_date=date(2024, 1, 1),
        end_date=date(2024, 12, 29),
    )


class _Story:
    def __init__(self, stage: Stage) -> None:
        self.stage, self.screen = stage, stage.screen
        build(stage.url, states.before(ROWS))
        self.engine = open_engine(stage.url, connections=16)
        self.rules = onerow.load_rules(RULES)

    def tell(self) -> None:
        self._failure()
        self._twice()
        before = self._rows()
        self._check()
        self._apply()
        self._lineage()
        self._killed()
        self._created_once()
        self._cleared()
        self._undo(before)

    # -- before ---------------------------------------------------------------------------------

    def _failure(self) -> None:
        self.stage.chapter("A year is collected, and no week says how", "run --naive")
        self.screen.why(
            f"{ROWS:,} weeks of data, each made by one execution of a workflow. The service answers"
            " with the execution's id; the update of the week has no parameter for it."
        )
        row, _ = NaiveStore(self.engine).create(_request("Naive"))
        with in_thread(make_service(Manner(latency=0.01))) as service:
            tally = self._collect(NaiveLedger(self.engine), service, row["id"])
        self.stage.prove(tally.completed == 52, "52 weeks of a new collection are completed.")
        linked = self._value(_LINKED.format(row["id"]))
        self.stage.prove(linked == 0, "Of these, 0 say which execution made them.")
        self.screen.why(
            "The rule wants an execution of weeks completed from 2025-09-08 on. These are of the"
            " time before, so their rows are dated back to it."
        )
        with self.engine.begin() as connection:
            connection.exec_driver_sql(_DATED_BACK.format(row["id"]))

    def _twice(self) -> None:
        self.stage.chapter("A second click makes the collection again", "onerow race")
        result = self._two_creates(NaiveStore)
        self.stage.prove(result.verdict == "broken", f"Two creates at once: {result.verdict}.")
        assert result.failure is not None
        self.screen.why("The shortest interleaving, A and B by the numbers of their statements:")
        self.screen.code(" ".join(str(result.failure.script).split()))

    def _two_creates(self, kind: type[Store]) -> Result:
        new = _request("Clicked twice")
        stores = [kind(self.engine), kind(self.engine)]
        ours = "FROM report_data_collections WHERE name = 'Clicked twice'"

        def worker(number: int) -> Any:
            def create(_factory: Any) -> None:
                stores[number].create(new)

            return create

        def setup(connection: sa.Connection) -> None:
            weeks = f"DELETE FROM report_data_weeks WHERE collection_id IN (SELECT id {ours})"
            connection.exec_driver_sql(weeks)
            connection.exec_driver_sql(f"DELETE {ours}")

        def one(connection: sa.Connection) -> bool:
            return bool(connection.exec_driver_sql(f"SELECT count(*) {ours}").scalar_one() == 1)

        result = explore(
            self.engine, [worker(0), worker(1)], setup=setup, invariant=one, preemptions=2
        )
        with self.engine.begin() as connection:
            setup(connection)
        return result

    # -- the change -----------------------------------------------------------------------------

    def _check(self) -> None:
        self.stage.chapter("What is there, and what is to be done?", "verify; onerow plan")
        report = verify(self.stage.url)
        for check in report.checks:
            if not check.ok:
                self.screen.say(f"{check.severity}  {check.name}: {check.message}")
        self.stage.prove(not report.ok, f"Not ok: {report.found.orphans} orphans, no key.")
        plan = onerow.make_plan(self.stage.url, self.rules)
        for number, step in enumerate(plan.steps, 1):
            self.screen.say(step.sentence, lead=f"{number}. ")
        self.stage.prove(not plan.blockers, "Nothing stands in the way.")

    def _apply(self) -> None:
        self.stage.chapter("Merge, key, reference: while the service serves", "onerow apply")
        with self.stage.server() as address, ThreadPoolExecutor(1) as pool:
            done = pool.submit(onerow.apply, self.stage.url, self.rules)
            codes: list[int] = []
            while not done.done() or len(codes) < 5:
                codes.append(_create(address, f"Meanwhile {len(codes)}"))
            ended = done.result()
        self.stage.prove(ended.status == "done", f"{ended.archived} rows merged and archived.")
        good = set(codes) == {201}
        self.stage.prove(good, f"{len(codes)} collections were created meanwhile, none refused.")
        for proof in onerow.verify(self.stage.url, self.rules):
            self.stage.prove(proof.ok, f"{proof.rule}: {proof.message}.")

    # -- after ----------------------------------------------------------------------------------

    def _lineage(self) -> None:
        self.stage.chapter("20 % fail, 5 % have no id, and every week says its execution", "run")
        row, _ = Store(self.engine).create(_request("With lineage"))
        with in_thread(make_service(FORGETFUL)) as service:
            tally = self._collect(self._ledger(), service, row["id"], attempts=1)
        self.screen.say(f"{tally.completed} completed, {tally.failed} failed, {tally.no_id} no id.")
        linked = self._value(_LINKED.format(row["id"]))
        self.stage.prove(linked == tally.completed, f"All {linked} completed weeks are linked.")
        report = verify(self.stage.url)
        self.stage.prove(report.ok, "verify: no error.")

    def _killed(self) -> None:
        self.stage.chapter("Two runners, and one is killed", "run; kill -9")
        row, _ = Store(self.engine).create(_request("Killed"))
        with (
            in_thread(make_service(SLOW)) as service,
            self._runner(service, "Killed") as doomed,
            self._runner(service, "Killed") as other,
        ):
            mine = _OF_OWNER.format(row["id"], doomed.pid)
            end = time.monotonic() + PATIENCE
            while not (held := self._value(mine)) and time.monotonic() < end:
                time.sleep(0.05)
            doomed.kill()
            self.stage.prove(held, f"One has claimed {held} weeks, and is killed.")
            code = other.wait(PATIENCE)
            executions = httpx.get(f"{service}/stats").json()["executions"]
        linked = self._value(_LINKED.format(row["id"]))
        self.stage.prove((code, linked) == (0, 52), f"The other completes {linked} of 52.")
        self.stage.prove(executions == 52, f"The service has executed {executions}, none twice.")

    def _created_once(self) -> None:
        self.stage.chapter(f"{CLICKS} clicks at once", "POST /collections")
        with self.stage.server() as address, ThreadPoolExecutor(CLICKS) as pool:
            codes = list(pool.map(lambda _: _create(address, "Once"), range(CLICKS)))
        said = (codes.count(201), codes.count(200))
        self.stage.prove(said == (1, CLICKS - 1), f"{said[0]} × 201, {said[1]} × 200.")
        weeks = self._value(_WEEKS.format("Once"))
        self.stage.prove(weeks == 52, f"{weeks} weeks, not {52 * CLICKS:,}.")
        result = self._two_creates(Store)
        self.stage.prove(result.ok, f"onerow race: {result.verdict}, {result.reason}.")

    def _cleared(self) -> None:
        self.stage.chapter("The tracking is rolled back, and brought back", "clear-tracking")
        linked = "SELECT count(execution_id) FROM report_data_weeks"
        before = self._value(linked)
        run = tracking.clear(self.engine, date(2025, 9, 8))
        self.stage.prove(run.rows > 0, f"{run.rows} weeks forget their execution.")
        tracking.undo(self.engine, run.run)
        self.stage.prove(self._value(linked) == before, f"Undone: {before} are linked again.")

    def _undo(self, before: dict[str, Any]) -> None:
        self.stage.chapter("And back", "onerow undo --archive-newer")
        self.screen.why(
            "What came since and fits the old schema stays; every old row is as it was."
        )
        back = onerow.undo(self.stage.url, archive_newer=True)
        self.stage.prove(back.status == "undone", f"{back.restored} rows put back. {back.message}")
        now = self._rows()
        same = {week for week, row in before.items() if now.get(week) == row}
        said = f"{len(same):,} of {len(before):,} weeks are as they were."
        self.stage.prove(len(same) == len(before), said)

    # -- what they share ------------------------------------------------------------------------

    def _ledger(self) -> Ledger:
        return Ledger(self.engine, "story", timedelta(seconds=30))

    def _collect(self, book: Any, service: str, collection: str, attempts: int = 3) -> Tally:
        async def work() -> Tally:
            async with WorkflowService(service, attempts=attempts) as client:
                return await Runner(book, client).run([collection])

        return asyncio.run(work())

    @contextmanager
    def _runner(self, service: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "systems.report_weeks", "run", *words]
        env = {**os.environ, "REPORT_WEEKS_LEASE_SECONDS": str(LEASE)}
        process = subprocess.Popen(
            [*command, "--url", self.stage.url, "--service-url", service],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def _value(self, sql: str) -> Any:
        with self.engine.connect() as connection:
            return connection.exec_driver_sql(sql).scalar_one()

    def _rows(self) -> dict[str, Any]:
        sql = "SELECT id, week_start_date, status, execution_id, updated_at FROM report_data_weeks"
        with self.engine.connect() as connection:
            return {r[0]: tuple(r) for r in connection.exec_driver_sql(sql)}


_LINKED = """SELECT count(*) FROM report_data_weeks AS w JOIN workflow_executions AS e
             ON e.id = w.execution_id WHERE w.status = 'completed' AND w.collection_id = '{}'"""
_DATED_BACK = """UPDATE report_data_weeks SET updated_at = '2025-09-01 00:00:00.000000'
                 WHERE collection_id = '{}'"""
_OF_OWNER = """SELECT count(*) FROM report_data_weeks WHERE status = 'running'
               AND collection_id = '{}' AND claimed_by LIKE '%%:{}'"""
_WEEKS = """SELECT count(*) FROM report_data_weeks WHERE collection_id IN
            (SELECT id FROM report_data_collections WHERE name = '{}')"""


def _create(address: str, name: str) -> int:
    body = _request(name).model_dump(mode="json", by_alias=True)
    return httpx.post(f"{address}/collections", json=body, timeout=PATIENCE).status_code
