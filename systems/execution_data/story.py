"""The story: one facility in the whole country, and how each got its own row."""

from __future__ import annotations

import csv
import hashlib
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

import onerow
from onerow.race import Result
from systems.execution_data import races, states
from systems.execution_data import tables as t
from systems.execution_data.scope import VARIABLE
from systems.shared.address import open_engine
from systems.shared.commands import rules_text
from systems.shared.fixtures import build
from systems.shared.story import Stage
from systems.shared.web.tokens import Tokens

TITLE = "Execution data: a unique key leaves out the facility"
ROWS = 3_000
CALL = "/api/execution-data"
OPTIONAL = {VARIABLE: "optional"}
OLD_COLUMNS = [c for c in t.REPORTS.c if c.name != "facility_id"]


def tell(stage: Stage) -> None:
    """From the failure to the proof, and back."""
    story = _Story(stage)
    try:
        story.tell()
    finally:
        story.engine.dispose()


class _Story:
    def __init__(self, stage: Stage) -> None:
        self.stage, self.screen = stage, stage.screen
        self.tokens = Tokens(stage.secret)
        build(stage.url, states.before(ROWS))
        self.engine = open_engine(stage.url)
        self.before = self._hash()

    def tell(self) -> None:
        self._failure()
        self._check()
        with self.stage.server(env=OPTIONAL) as address:
            runs = [self._column()]
            runs.insert(0, self._apply(address))
        self._proof()
        self._undo(runs)

    def _failure(self) -> None:
        self.stage.chapter("One facility in the whole country", "serve --naive")
        self.screen.why(
            f"{ROWS:,} reports of 20 health facilities. The key of execution_data is (period,"
            " activity); it should be (period, activity, facility)."
        )
        with self.stage.server("--naive") as address:
            saves = [self._save(address, facility) for facility in (1, 2)]
        codes = [s.status_code for s in saves]
        self.stage.prove(codes == [201, 409], f"Facility 1 saves an activity: {codes[0]}.")
        self.screen.say(f"Facility 2 saves the same: {codes[1]}, {saves[1].json()['message']}.")
        found = races.two_facilities(self.engine, races.naive)
        self._finding(found, "broken", "two facilities save one activity")
        found = races.two_saves(self.engine, races.naive)
        self._finding(found, "raised", "one facility saves it twice at once")
        self.before = self._hash()

    def _finding(self, found: Result, verdict: str, what: str) -> None:
        assert found.failure is not None
        self.stage.prove(found.verdict == verdict, f"onerow race, {what}: {found.verdict}.")
        self.screen.why("Its shortest interleaving, A and B by the numbers of their statements:")
        self.screen.code(" ".join(map(str, str(found.failure.script).split())))

    def _check(self) -> None:
        self.stage.chapter("What is to be done?", "onerow check; onerow plan")
        for name in ("rules.toml", "column.toml"):
            text = rules_text(__file__, name)
            (self.stage.folder / name).write_text(text, encoding="utf-8")
        _write_mapping(self.engine, self.stage.folder / "facility_of_row.csv")
        report = onerow.check(self.stage.url, self.rules)
        for state in report.rules:
            self.screen.say(f"{state.rule}: {state.verdict}")
        plan = onerow.make_plan(self.stage.url, self.rules)
        for number, step in enumerate(plan.steps, 1):
            self.screen.say(step.sentence, lead=f"{number}. ")
        self.stage.prove(not plan.blockers, "Nothing stands in the way.")

    def _column(self) -> str:
        self.stage.chapter("The column first", "rules --column; onerow apply")
        self.screen.why(
            "A server with FACILITY_SCOPE=optional is at work. As soon as the column is there it"
            " fills it in every new row, so a mapping of all older rows will be complete."
        )
        done = onerow.apply(self.stage.url, self.stage.folder / "column.toml")
        self.stage.prove(done.status == "done", "execution_data has facility_id, empty.")
        return str(done.run)

    def _apply(self, address: str) -> str:
        self.stage.chapter("And the key, while accountants keep posting", "onerow apply")
        _write_mapping(self.engine, self.stage.folder / "facility_of_row.csv")
        with _Accountants(address, self.tokens) as clients:
            clients.after(5)
            done = onerow.apply(self.stage.url, self.rules)
            clients.after(20)
        for step in done.steps:
            self.screen.say(f"{step.status}  {step.kind}  {step.seconds:.2f} s")
        self.stage.prove(done.status == "done", "The new key stands, the old one is gone.")
        told = ", ".join(f"{n} × {code}" for code, n in sorted(clients.statuses.items()))
        self.stage.prove(not clients.failed, f"Meanwhile: {told}; nothing else.")
        of_saver = clients.saved.items() <= self._facilities().items()
        self.stage.prove(of_saver, f"All {len(clients.saved)} new rows carry their facility.")
        return str(done.run)

    def _proof(self) -> None:
        self.stage.chapter("Does it hold?", "onerow verify")
        for proof in onerow.verify(self.stage.url, self.rules):
            self.stage.prove(proof.ok, f"{proof.rule}: {proof.message}.")
        with self.stage.server() as address:
            codes = [self._save(address, facility, 30).status_code for facility in (1, 2, 1)]
        self.stage.prove(codes == [201, 201, 409], f"Facilities 1, 2 and 1 again: {codes}.")
        for what, race in (("two facilities", races.two_facilities), ("twice", races.two_saves)):
            found = race(self.engine, races.safe)
            self.stage.prove(found.ok, f"onerow race, {what}: {found.verdict}, {found.reason}.")

    def _undo(self, runs: list[str]) -> None:
        self.stage.chapter("And back", "onerow undo --archive-newer")
        self.screen.why(
            "The old key holds one facility's row. Rows that came since and that it cannot hold are"
            " archived, because we say so; without it, undo names them and refuses."
        )
        refused = onerow.undo(self.stage.url, runs[0])
        self.stage.prove(refused.status == "stopped", f"{refused.message.partition(' (')[0]}.")
        for run in runs:
            onerow.undo(self.stage.url, run, archive_newer=True)
        now = self._hash()
        self.stage.prove(now == self.before, f"The {ROWS:,} rows: {self.before} before, {now} now.")
        columns = {c["name"] for c in sa.inspect(self.engine).get_columns("execution_data")}
        self.stage.prove("facility_id" not in columns, "The column is gone, the old key is back.")

    # -- what they share -------------------------------------------------------------------------

    @property
    def rules(self) -> Path:
        return self.stage.folder / "rules.toml"

    def _save(self, address: str, facility: int, activity: int = races.ACTIVITY) -> httpx.Response:
        body = _body(races.PERIOD, activity, facility)
        return httpx.post(address + CALL, json=body, headers=_headers(self.tokens, facility))

    def _facilities(self) -> dict[int, int]:
        sql = sa.select(t.REPORTS.c.id, t.REPORTS.c.facility_id)
        with self.engine.connect() as connection:
            return dict(connection.execute(sql).tuples().all())

    def _hash(self) -> str:
        """Of the rows that were there from the start."""
        sql = sa.select(*OLD_COLUMNS).where(t.REPORTS.c.id <= ROWS).order_by(t.REPORTS.c.id)
        with self.engine.connect() as connection:
            rows = [tuple(r) for r in connection.execute(sql)]
        return hashlib.sha256(repr(rows).encode()).hexdigest()[:12]


def _headers(tokens: Tokens, facility: int) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens.mint(races.who(facility))}"}


def _body(period: int, activity: int, facility: int) -> dict[str, Any]:
    key = {"reportingPeriodId": period, "activityId": activity, "facilityId": facility}
    return {**key, "q1Amount": 100 * facility}


def _write_mapping(engine: sa.Engine, path: Path) -> None:
    """Whose a row is, its author tells: f012.accountant1 is of facility 12."""
    sql = sa.select(t.REPORTS.c.id, t.REPORTS.c.created_by)
    with engine.connect() as connection, path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(("id", "facility_id"))
        out.writerows((n, int(author[1:4])) for n, author in connection.execute(sql))


@dataclass
class _Accountants:
    """Three of them, posting until the block ends."""

    address: str
    tokens: Tokens
    statuses: Counter[int] = field(default_factory=Counter)
    saved: dict[int, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> _Accountants:
        self._threads = [threading.Thread(target=self._work, args=(f,)) for f in (1, 2, 3)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def after(self, calls: int) -> None:
        """Wait until so many more were answered."""
        wanted, end = self.statuses.total() + calls, time.monotonic() + 20
        while self.statuses.total() < wanted and time.monotonic() < end:
            time.sleep(0.01)

    def _work(self, facility: int) -> None:
        headers = _headers(self.tokens, facility)
        activities = iter(range(41, 10_000))
        with httpx.Client(base_url=self.address, headers=headers, timeout=30) as http:
            while not self._stop.wait(0.02):
                body = _body(races.PERIOD, 1 + next(activities) % 800, facility)
                answer = http.post(CALL, json=body)
                self.statuses[answer.status_code] += 1
                if answer.status_code == 201:
                    self.saved[answer.json()["id"]] = facility
                elif answer.status_code != 409:
                    self.failed.append(answer.text)
