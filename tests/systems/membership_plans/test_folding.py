"""SQLite: names that differ in the case of other letters than A to Z."""

from __future__ import annotations

from pathlib import Path

import pytest

from onerow import apply, undo, verify
from onerow.rulefile import Rules, parse_rules
from systems.membership_plans import folding, tables
from systems.shared.address import open_engine
from systems.shared.errors import SystemRefusal
from tests.support.sandbox import Sandbox
from tests.systems.membership_plans.support import NAME, PLANS, fresh, house, plan
from tests.systems.support import FOLDER, after, before, made, rules

FOLDED = (FOLDER / NAME / "rules-folded.toml").read_text(encoding="utf-8")


def folded_rules() -> Rules:
    return parse_rules(FOLDED, "rules-folded.toml")


def ensure(url: str) -> None:
    engine = open_engine(url)
    tables.prepare(engine)
    try:
        folding.ensure(engine)
    finally:
        engine.dispose()


def keys(box: Sandbox) -> set[str]:
    sql = "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'membership_plans'"
    return {row[0] for row in box.rows(sql)}


def test_the_application_adds_what_is_missing(sqlite_url: str) -> None:
    """Column and key, once; PostgreSQL folds by itself and gets neither."""
    box = made(sqlite_url, after(NAME))
    ensure(sqlite_url)
    assert tables.FOLDED_KEY in keys(box)
    first = box.schema()
    ensure(sqlite_url)
    assert box.schema() == first


def test_nothing_on_postgresql(pg_url: str) -> None:
    """Its own `lower` folds all letters."""
    box = made(pg_url, after(NAME))
    first = box.schema()
    ensure(pg_url)
    assert box.schema() == first


def test_rows_written_past_the_application(sqlite_url: str) -> None:
    """They are folded when it starts again."""
    box = made(sqlite_url, after(NAME))
    name = fresh("Über")
    with house(box) as shop:
        own = shop.admin.create("Other")["id"]
    box.execute(f"UPDATE membership_plans SET name = '{name}' WHERE id = '{own}'")
    with house(box) as shop:
        assert shop.admin.call("POST", PLANS, plan(name.upper())).status_code == 409


def test_the_way_with_duplicates(sqlite_url: str, tmp_path: Path) -> None:
    """It does not start, names them and the way out; merged, it starts; undone, all is back."""
    box = made(sqlite_url, before(NAME))
    members = box.count("members")
    first = apply(sqlite_url, rules(NAME, tmp_path))
    merged = box.contents()
    with pytest.raises(SystemRefusal, match=r"differ in case only, such as .*rules --folded"):
        ensure(sqlite_url)
    second = apply(sqlite_url, folded_rules())
    assert (first.status, second.status) == ("done", "done")
    assert second.archived > 0
    ensure(sqlite_url)
    assert all(p.ok for p in verify(sqlite_url, folded_rules()))
    dangling = "SELECT count(*) FROM members WHERE membership_plan_id NOT IN (SELECT id FROM membership_plans)"
    assert (box.value(dangling), box.count("members")) == (0, members)
    assert undo(sqlite_url, second.run).left_alone == ()
    box.execute(f"ALTER TABLE membership_plans DROP COLUMN {tables.FOLDED}")
    assert box.contents() == merged
