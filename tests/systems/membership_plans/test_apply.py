"""Scenario 5: duplicates of a serving application are merged, and brought back."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.sandbox import Sandbox
from tests.systems.membership_plans.support import MEMBERS, NAME, PLANS, House, fresh, house, plan
from tests.systems.support import FOLDER, before, made

RULES = FOLDER / NAME / "rules.toml"
GROUP = "p.tenant_id, p.scope, coalesce(p.branch_id, 'TENANT'), lower(p.name)"


def onerow(box: Sandbox, *words: str, code: int = 0) -> Any:
    """A command's JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "onerow", "--json", *words, "--rules", str(RULES), "--url", box.url],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def members(box: Sandbox) -> dict[Any, int]:
    """How many members each plan has that somebody meant to sell, however often it was entered."""
    return {
        row[:4]: row[4]
        for row in box.rows(
            f"SELECT {GROUP}, count(*) FROM members AS m JOIN membership_plans AS p"
            f" ON p.id = m.membership_plan_id WHERE p.status = 'ACTIVE' GROUP BY {GROUP}"
        )
    }


class Traffic:
    """Clients that make plans twice, and sell them, until the block ends."""

    def __init__(self, shop: House, clients: int = 3) -> None:
        self.shop = shop
        self.answers: Counter[tuple[str, int]] = Counter()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(clients)]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        with self.shop.server.client(tenant_id="t1", role="ADMIN") as http:
            while not self._stop.is_set():
                name = fresh("Live")
                for spelled in (name, name.upper()):
                    answer = http.post(PLANS, json=plan(spelled))
                    self.answers["plan", answer.status_code] += 1
                    if answer.status_code == 201:
                        body = {"membershipPlanId": answer.json()["id"], "branchId": "t1-b1"}
                        sold = http.post(MEMBERS, json=body)
                        self.answers["member", sold.status_code] += 1


def way(url: str, rows: int) -> None:
    box = made(url, before(NAME, rows))
    first, sold = box.contents(), members(box)
    found = {f["check"] for f in onerow(box, "check", code=1)["findings"]}
    assert "U103-nulls-defeat-unique" in found
    assert "merge_duplicates" in {s["kind"] for s in onerow(box, "plan")["steps"]}
    with house(box, "--naive") as shop, Traffic(shop) as traffic:
        done = onerow(box, "apply", "--yes")
    assert done["status"] == "done", done
    assert done["archived"] > 0
    assert traffic.answers["plan", 201] > 0
    assert set(traffic.answers) <= {("plan", 201), ("plan", 409), ("member", 201)}

    assert onerow(box, "verify")["ok"]
    assert sold.items() <= members(box).items(), "members have gone to other plans"
    lost = "SELECT count(*) FROM members WHERE membership_plan_id IS NULL"
    assert box.value(lost) == 0
    assert_new_writers_hold(box)

    back = onerow(box, "undo", done["run"])
    assert (back["status"], back["left_alone"]) == ("undone", [])
    last = box.contents()
    for table, old in first.items():
        assert not set(map(repr, old)) - set(map(repr, last[table])), f"{table} is another one"


def assert_new_writers_hold(box: Sandbox) -> None:
    """What the original application still writes is held back by the database."""
    (name,) = box.rows(
        "SELECT name FROM membership_plans WHERE tenant_id = 't1' AND scope = 'TENANT'"
        " AND status = 'ACTIVE' ORDER BY id LIMIT 1"
    )[0]
    insert = (
        "INSERT INTO membership_plans (id, tenant_id, scope, name, duration_type, duration_value,"
        f" price, currency) VALUES ('x', 't1', 'TENANT', '{name.upper()}', 'DAYS', 1, 1, 'EUR')"
    )
    with pytest.raises(Exception, match=r"(?i)unique"):
        box.execute(insert)
    computed = insert.replace("(id,", "(scope_key, id,").replace("('x',", "('mine', 'x',")
    with pytest.raises(Exception, match=r"(?i)generated"):
        box.execute(computed)


def test_the_whole_way(db_url: str, tmp_path: Path) -> None:
    """Checked, applied while the application serves, verified and undone, by the command line."""
    way(db_url, 600)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_way_at_a_million(db_url: str) -> None:
    """The same with a million plans."""
    way(db_url, 1_000_000)
