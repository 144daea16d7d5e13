"""PostgreSQL, above the size up to which a table is written anew: a trigger keeps `scope_key`."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import psycopg
import pytest

from onerow import api
from onerow.planning import column
from onerow.rulefile import parse_rules
from systems.membership_plans import rule_files
from tests.support.sandbox import Sandbox
from tests.systems.membership_plans.support import NAME, PLANS, House, at_once, fresh, house, plan
from tests.systems.support import before, made

BY_TRIGGER = parse_rules(rule_files.by_trigger(), "onerow.toml")
INSERT = (
    "INSERT INTO membership_plans (id, tenant_id, scope, scope_key, name, duration_type,"
    " duration_value, price, currency) VALUES ('x', 't1', 'TENANT', 'mine', '{}', 'DAYS', 1, 1, 'EUR')"
)


@pytest.fixture
def box(pg_url: str, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The broken state, in a table that is above the size."""
    monkeypatch.setattr(column, "REWRITE_MOST", 1)
    return made(pg_url, before(NAME, 200))


def test_the_way_by_trigger(box: Sandbox) -> None:
    """Refused as a generated column, applied by trigger under the old writers, served, undone."""
    first = box.contents()
    blockers = api.make_plan(box.url, parse_rules(rule_files.rules(), "onerow.toml")).blockers
    assert [b.code for b in blockers if "keep it by a trigger" in b.message] == ["unsupported"]

    with house(box, "--naive") as shop:
        box.execute(rule_files.trigger())
        assert shop.admin.create()["id"]
        done = api.apply(box.url, BY_TRIGGER)
        assert done.status == "done", done.message
        taken = fresh()
        twice = [shop.admin.call("POST", PLANS, plan(n)) for n in (taken, taken.upper())]
        assert [a.status_code for a in twice] == [201, 409]
    assert done.archived > 0
    assert [p.message for p in api.verify(box.url, BY_TRIGGER) if not p.ok] == []

    with house(box) as shop:
        assert_application_works(shop)
    assert_clients_cannot_set_it(box)

    back = api.undo(box.url, done.run)
    assert (back.status, back.left_alone) == ("undone", ()), back.message
    box.execute("DROP FUNCTION membership_plans_scope_key() CASCADE")
    box.execute("ALTER TABLE membership_plans DROP COLUMN scope_key")
    last = box.contents()
    assert {
        t: set(rows) - set(last[t]) for t, rows in first.items() if set(rows) - set(last[t])
    } == {}


def assert_application_works(shop: House) -> None:
    """One plan of a name, for all branches or for one, at once and in any case."""
    for branch in (None, "t1-b1"):
        name = fresh()
        spelled = [name, name.upper()] * 4
        answers = at_once(
            [partial(shop.admin.call, "POST", PLANS, plan(n, branch)) for n in spelled]
        )
        assert sorted(a.status_code for a in answers) == [201] + [409] * 7
        (own,) = (a.json()["id"] for a in answers if a.status_code == 201)
        assert shop.admin.archive(own).status_code == 200
        again = shop.admin.create(name, branch=branch)["id"]
        assert shop.admin.restore(own).status_code == 400
        assert shop.admin.change(again, price=1).status_code == 200
        # The old key, which an undo brings back, counts archived plans.
        assert [shop.admin.delete(p).status_code for p in (own, again)] == [204, 204]
    assert shop.admin.call("POST", PLANS, plan(scopeKey="mine")).status_code == 400
    kept = "SELECT count(*) FROM membership_plans WHERE scope_key = coalesce(branch_id, 'TENANT')"
    assert shop.box.value(kept) == shop.box.count("membership_plans")


def assert_clients_cannot_set_it(box: Sandbox) -> None:
    """The trigger sets it whatever is sent; where it is off, the CHECK refuses."""
    box.execute(INSERT.format(fresh()))
    box.execute("UPDATE membership_plans SET scope_key = 'mine' WHERE id = 'x'")
    assert box.value("SELECT scope_key FROM membership_plans WHERE id = 'x'") == "TENANT"
    box.execute("DELETE FROM membership_plans WHERE id = 'x'")
    off = "ALTER TABLE membership_plans DISABLE TRIGGER membership_plans_scope_key"
    with pytest.raises(psycopg.errors.CheckViolation):
        box.execute(f"{off}; {INSERT.format(fresh())}")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["rules", "--trigger"], 0, rule_files.by_trigger()),
        (["trigger"], 0, rule_files.trigger()),
        (["rules", "--folded", "--trigger"], 2, ""),
    ],
    ids=["rules", "trigger", "both"],
)
def test_the_commands(words: list[str], code: int, said: str) -> None:
    """They print what is applied here."""
    done = subprocess.run(
        [sys.executable, "-m", f"systems.{NAME}", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (code, said)
    assert code == 0 or "take one" in done.stderr
