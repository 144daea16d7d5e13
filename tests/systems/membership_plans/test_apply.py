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

from onerow import api
from onerow.rulefile import parse_rules
from tests.support.sandbox import Sandbox
from tests.systems.membership_plans.support import MEMBERS, NAME, PLANS, House, fresh, house, plan
from tests.systems.support import FOLDER, before, made

RULES = FOLDER / NAME / "rules.toml"
TABLES = ("tenants", "branches", "membership_plans", "members")
GROUP = "p.tenant_id, p.scope, coalesce(p.branch_id, 'TENANT'), lower(p.name)"
#: How many members each plan has that somebody meant to sell, however often it was entered.
SOLD = (
    f"SELECT {GROUP}, count(*) AS n FROM members AS m JOIN membership_plans AS p"
    f" ON p.id = m.membership_plan_id WHERE p.status = 'ACTIVE' GROUP BY {GROUP}"
)


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


class Kept:
    """What there was at first, beside the database, so that the server compares it."""

    def __init__(self, box: Sandbox, folder: Path) -> None:
        self.box = box
        place = f"ATTACH '{folder / 'kept.sqlite3'}' AS kept"
        self._open = place if box.sqlite else "CREATE SCHEMA IF NOT EXISTS kept"
        tables = {"sold": SOLD, **{t: self._texts(t) for t in TABLES}}
        copies = (f"CREATE TABLE kept.{name} AS {sql}" for name, sql in tables.items())
        box.execute("; ".join([self._open, *copies]))

    def sold_otherwise(self) -> int:
        """Plans that had members, and have another number of them."""
        return self._gone("sold", SOLD)

    def lost(self) -> dict[str, int]:
        """How many rows each table had that it has not, or has otherwise."""
        return {t: n for t in TABLES for n in [self._gone(t, self._texts(t))] if n}

    def _gone(self, kept: str, now: str) -> int:
        sql = f"SELECT count(*) FROM (SELECT * FROM kept.{kept} EXCEPT SELECT * FROM ({now}) AS n) AS g"
        with self.box.connect() as connection:
            connection.execute(self._open)
            return int(connection.execute(sql).fetchone()[0])

    def _texts(self, table: str) -> str:
        """Every row as one text, values with their types."""
        if not self.box.sqlite:
            return f"SELECT r::text AS row FROM public.{table} AS r"
        names = [r[1] for r in self.box.rows(f"PRAGMA table_xinfo({table})")]
        each = " || ',' || ".join(f"quote({n})" for n in names)
        return f"SELECT {each} AS row FROM main.{table}"


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


def way(url: str, rows: int, folder: Path) -> None:
    box = made(url, before(NAME, rows))
    first = Kept(box, folder)
    merge = assert_told(box)
    with house(box, "--naive") as shop, Traffic(shop) as traffic:
        done = onerow(box, "apply", "--yes")
    assert done["status"] == "done", done
    assert done["archived"] >= merge
    assert traffic.answers["plan", 201] > 0
    assert set(traffic.answers) <= {("plan", 201), ("plan", 409), ("member", 201)}

    assert [p.message for p in api.verify(box.url, RULES) if not p.ok] == []
    assert first.sold_otherwise() == 0, "members have gone to other plans"
    lost = "SELECT count(*) FROM members WHERE membership_plan_id IS NULL"
    assert box.value(lost) == 0
    assert_new_writers_hold(box)

    back = api.undo(box.url, done["run"])
    assert (back.status, back.left_alone) == ("undone", ()), back.message
    assert first.lost() == {}, "rows have not come back as they were"


def assert_told(box: Sandbox) -> int:
    """What is wrong is told before anything is done; the number of rows that are too many."""
    rules = parse_rules(RULES.read_text(encoding="utf-8"), str(RULES))
    report = api.check(box.url, rules)
    assert {"U103-nulls-defeat-unique", "U101-duplicate-key-rows"} <= {
        f.check for f in report.findings
    }
    (state,) = (r for r in report.rules if r.rule == "membership_plans_one_active_name")
    wanted = f"SELECT count(*) FROM (SELECT 1 FROM membership_plans AS p WHERE status = 'ACTIVE' GROUP BY {GROUP}"
    assert state.violations.groups == box.value(f"{wanted} HAVING count(*) > 1) AS g")
    (merge,) = (s for s in api.make_plan(box.url, rules).steps if s.kind == "merge_duplicates")
    assert merge.rows == state.violations.rows > 0
    return merge.rows


def assert_new_writers_hold(box: Sandbox) -> None:
    """What the original application still writes is held back by the database."""
    (name,) = box.rows(
        "SELECT name FROM membership_plans WHERE tenant_id = 't1' AND scope = 'TENANT'"
        " AND status = 'ACTIVE' ORDER BY id LIMIT 1"
    )[0]
    # As SQLite folds letters, and whichever plan the traffic has put first.
    other = "".join(c.upper() if c.isascii() else c for c in name)
    insert = (
        "INSERT INTO membership_plans (id, tenant_id, scope, name, duration_type, duration_value,"
        f" price, currency) VALUES ('x', 't1', 'TENANT', '{other}', 'DAYS', 1, 1, 'EUR')"
    )
    with pytest.raises(Exception, match=r"(?i)unique"):
        box.execute(insert)
    computed = insert.replace("(id,", "(scope_key, id,").replace("('x',", "('mine', 'x',")
    with pytest.raises(Exception, match=r"(?i)generated"):
        box.execute(computed)


def test_the_whole_way(db_url: str, tmp_path: Path) -> None:
    """Checked, applied by the command line while the application serves, verified and undone."""
    way(db_url, 120, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_way_at_a_million(db_url: str, tmp_path: Path) -> None:
    """The same with a million plans."""
    way(db_url, 1_000_000, tmp_path)
