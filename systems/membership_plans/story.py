"""The story: twenty POSTs of one plan, and one row of it in the end."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import sqlalchemy as sa

import onerow
from onerow.race import Result
from systems.membership_plans import races, rule_files, states
from systems.membership_plans.claims import Claims
from systems.shared.address import open_engine
from systems.shared.fixtures import build
from systems.shared.story import Stage
from systems.shared.web.tokens import Tokens

TITLE = "Membership plans: NULL in the key, case, and archived plans"
ROWS = 2_000
CLIENTS = 20
TRIES = 20
PLANS = "/api/v1/membership-plans"
MEMBERS = "/api/v1/members"


def tell(stage: Stage) -> None:
    """From the failure to the proof, and back."""
    build(stage.url, states.before(ROWS))
    engine = open_engine(stage.url)
    try:
        _Story(stage, engine).tell()
    finally:
        engine.dispose()


class _Story:
    def __init__(self, stage: Stage, engine: sa.Engine) -> None:
        self.stage, self.engine = stage, engine
        self.screen = stage.screen
        self.rules = stage.folder / "onerow.toml"
        token = Tokens(stage.secret).mint(Claims(sub="anna", tenant_id="t1", role="ADMIN"))
        self.headers = {"Authorization": f"Bearer {token}"}
        self.before: dict[str, list[str]] = {}

    def tell(self) -> None:
        self._failure()
        self._check()
        with self.stage.server("--naive") as address:
            run = self._apply(address)
        self._proof()
        self._undo(run)

    def _failure(self) -> None:
        self.stage.chapter("Twenty POSTs of one plan", "serve --naive")
        self.screen.why(
            f"{ROWS:,} plans of gym chains. A plan of all branches has no branch, and NULL is never"
            " equal to NULL: the key (tenant, branch, name) holds nothing back there. The original"
            " service looks whether the name is free, and inserts."
        )
        with self.stage.server("--naive") as address:
            made = next(filter(lambda n: n > 1, map(self._at_once(address), range(TRIES))), 0)
        self.stage.prove(made > 1, f"Of {CLIENTS} POSTs at once {made} were answered 201.")
        self._race("create and create", "broken", naive=True)
        self._race("restore and create", "broken", naive=True)
        self.before = self._rows()

    def _at_once(self, address: str) -> Callable[[int], int]:
        """How many of twenty POSTs of one name, in mixed case, were taken."""

        def post(name: str) -> int:
            return self._post(address, PLANS, _plan(name)).status_code

        def turn(number: int) -> int:
            names = [f"Gold {number}", f"GOLD {number}"] * (CLIENTS // 2)
            with ThreadPoolExecutor(CLIENTS) as pool:
                return list(pool.map(post, names)).count(201)

        return turn

    def _race(self, name: str, verdict: str, *, naive: bool) -> None:
        found: Result = races.explored(self.engine, name, naive=naive)
        self.stage.prove(found.verdict == verdict, f"onerow race, {name}: {found.verdict}.")
        if found.failure is not None:
            self.screen.code(" ".join(map(str, str(found.failure.script).split())))

    def _check(self) -> None:
        self.stage.chapter("What is there, and what would be done", "onerow check; onerow plan")
        self.rules.write_text(rule_files.rules(), encoding="utf-8")
        for finding in onerow.check(self.stage.url, self.rules).findings:
            if finding.check.startswith("U103"):
                self.screen.say(finding.message)
        plan = onerow.make_plan(self.stage.url, self.rules)
        for number, step in enumerate(plan.steps, 1):
            self.screen.say(step.sentence, lead=f"{number}. ")
        self.stage.prove(not plan.blockers, "Nothing stands in the way.")

    def _apply(self, address: str) -> str:
        self.stage.chapter("Do it, while plans are made and sold", "onerow apply")
        answers: Counter[tuple[str, int]] = Counter()
        stop = threading.Event()
        writer = threading.Thread(target=self._write, args=(address, stop, answers))
        writer.start()
        try:
            done = onerow.apply(self.stage.url, self.rules)
        finally:
            stop.set()
            writer.join()
        self.stage.prove(done.status == "done", f"{done.archived} surplus plans merged away.")
        known = {("plan", 201), ("plan", 409), ("member", 201)}
        told = ", ".join(f"{n} × {what} {code}" for (what, code), n in sorted(answers.items()))
        self.stage.prove(answers.keys() <= known, f"Meanwhile: {told}; nothing else.")
        return str(done.run)

    def _write(
        self, address: str, stop: threading.Event, answers: Counter[tuple[str, int]]
    ) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            for name in (f"Live {number}", f"LIVE {number}"):
                made = self._post(address, PLANS, _plan(name))
                answers["plan", made.status_code] += 1
                if made.status_code == 201:
                    body = {"membershipPlanId": made.json()["id"], "branchId": "t1-b1"}
                    answers["member", self._post(address, MEMBERS, body).status_code] += 1

    def _proof(self) -> None:
        self.stage.chapter("The proof", "onerow verify; serve")
        for proof in onerow.verify(self.stage.url, self.rules):
            self.stage.prove(proof.ok, f"{proof.rule}: {proof.message}")
        dangling = (
            "SELECT count(*) FROM members WHERE membership_plan_id IS NOT NULL"
            " AND membership_plan_id NOT IN (SELECT id FROM membership_plans)"
        )
        self.stage.prove(self._value(dangling) == 0, "Every member has a plan that is there.")
        for race in races.RACES:
            self._race(race, "holds", naive=False)

    def _undo(self, run: str) -> None:
        self.stage.chapter("And back", "onerow undo")
        back = onerow.undo(self.stage.url, run)
        self.stage.prove(back.status == "undone", f"{back.restored} rows put back or changed back.")
        now = self._rows()
        lost = [t for t, rows in self.before.items() if not set(rows) <= set(now[t])]
        self.stage.prove(not lost, "Every plan and every member is as it was before.")

    # -- small things ---------------------------------------------------------------------------

    def _post(self, address: str, path: str, body: dict[str, Any]) -> httpx.Response:
        return httpx.post(address + path, json=body, headers=self.headers, timeout=60)

    def _value(self, sql: str) -> Any:
        with self.engine.connect() as connection:
            return connection.execute(sa.text(sql)).scalar()

    def _rows(self) -> dict[str, list[str]]:
        """The rows of the old columns, which no clients of this story have touched."""
        with self.engine.connect() as connection:
            return {
                name: [repr(tuple(r)) for r in connection.execute(sa.select(*columns))]
                for name, columns in races.OLD_COLUMNS.items()
            }


def _plan(name: str) -> dict[str, Any]:
    terms = {"durationType": "MONTHS", "durationValue": 12, "price": 49.9}
    return {"scope": "TENANT", "name": name, **terms}
