"""The lock that each step declares is the one that the server takes, on every version."""

from __future__ import annotations

import pytest

from onerow import api
from onerow.plan import Step
from onerow.session import Limits
from onerow.steps import kind, kinds
from tests.support.live import InBackground, until
from tests.support.locks import MODES, held, run_and_look, wait_and_look
from tests.support.rules import rules_of
from tests.support.sandbox import Sandbox

SCHEMA = """
CREATE SCHEMA onerow;
CREATE TABLE owner (id integer PRIMARY KEY, code integer,
    CONSTRAINT owner_code_key UNIQUE (code));
CREATE TABLE item (id integer PRIMARY KEY, owner_id integer, a integer, b integer NOT NULL,
    CONSTRAINT item_old_key UNIQUE (a, b, owner_id));
CREATE UNIQUE INDEX item_old_index ON item (b, a, owner_id);
CREATE TABLE part (id integer NOT NULL, day integer NOT NULL, code integer NOT NULL)
    PARTITION BY RANGE (day);
CREATE UNIQUE INDEX part_old_index ON part (day, id);
ALTER TABLE part ADD CONSTRAINT part_old_key UNIQUE (day, code, id);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (500);
CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (500) TO (2000);
CREATE TABLE pet (id integer PRIMARY KEY, code integer REFERENCES owner (code));
INSERT INTO owner SELECT i, i FROM generate_series(1, 1000) AS i;
INSERT INTO item SELECT i, i, i, i FROM generate_series(1, 1000) AS i;
INSERT INTO part SELECT i, i, i FROM generate_series(1, 1000) AS i;
ANALYZE;
"""
REPLACE = 'table = "item"\ncolumns = ["a"]\nnulls = "forbidden"\nname = "item_a"\n'
RULES = {
    "key": f'[[key]]\n{REPLACE}replaces = ["item_old_key", "item_old_index"]',
    "guard": '[[key]]\ntable = "item"\ncolumns = ["b"]\nguard = true',
    "swap": '[[key]]\ntable = "item"\ncolumns = ["b"]\nname = "item_old_key"\n'
    'replaces = ["item_old_key"]',
    "moved": '[[key]]\ntable = "owner"\ncolumns = ["code"]\nname = "owner_code"\n'
    'replaces = ["owner_code_key"]',
    "moved by a swap": '[[key]]\ntable = "owner"\ncolumns = ["code"]\nnulls = "forbidden"\n'
    'name = "owner_code_key"\nreplaces = ["owner_code_key"]',
    "partitions": '[[key]]\ntable = "part"\ncolumns = ["day", "code"]',
    "partitions replaced": '[[key]]\ntable = "part"\ncolumns = ["day", "code"]\n'
    'replaces = ["part_old_key", "part_old_index"]',
    "partitions' index": '[[index]]\ntable = "part"\ncolumns = ["code"]',
    "partition filter": '[[key]]\ntable = "part"\ncolumns = ["day"]\nwhere = "code > 5"',
    "column": '[[column]]\ntable = "item"\nname = "kind"\ntype = "integer"\nnot_null = true\n'
    "backfill = { value = 1 }",
    "reference": '[[reference]]\ntable = "item"\ncolumns = ["owner_id"]\nto = "owner(id)"\n'
    'index = true\norphans = "null"',
    "check": '[[constraint]]\ntable = "item"\nname = "a_positive"\ncheck = "a > 0"',
}
#: What a step that changes rows would have done, for the steps after it.
DONE_BY_HAND = {"backfill": "UPDATE item SET kind = 1"}
SCANS_UNDER_STRONG_LOCKS = {"share", "share_row_exclusive", "exclusive", "access_exclusive"}


def by_batches(step: Step) -> bool:
    return kind(step.kind).MODE in ("merge", "backfill", "orphans")


@pytest.mark.parametrize("rule", RULES)
def test_the_declared_lock_is_the_one_taken(every_pg_url: str, rule: str) -> None:
    """Step by step as a plan runs: no lock is stronger than told, and under none that stops
    writers is a table scanned or written anew."""
    box = Sandbox(every_pg_url)
    box.execute(SCHEMA)
    plan = api.make_plan(box.url, rules_of(RULES[rule]))
    assert not plan.blockers
    for step in plan.steps:
        if by_batches(step):
            box.execute(DONE_BY_HAND.get(step.kind, ""))
        elif step.kind != "verify":
            assert taken(box, step) == step.lock, step.kind


def taken(box: Sandbox, step: Step) -> str:
    """The strongest lock of a step, which is done then."""
    modes = ["none"]
    for statements in [step.sql] if step.transactional else [(q,) for q in step.sql]:
        if "CONCURRENTLY" in statements[0]:
            modes.append(wait_and_look(box, statements[0], table_of(statements[0], step)).strongest)
            continue
        seen = run_and_look(box, statements, keep=True)
        assert not seen.rewritten
        assert not (seen.scanned and seen.strongest in SCANS_UNDER_STRONG_LOCKS), statements
        modes.append(seen.strongest)
    return max(modes, key=MODES.index)


def table_of(sql: str, step: Step) -> str:
    """The table whose writers hold up a concurrent statement."""
    return sql.partition(" ON ")[2].partition(" (")[0] or step.table.sql


@pytest.mark.parametrize(
    ("rule", "setup"),
    [
        ('[[key]]\ntable = "item"\ncolumns = ["b"]', "UPDATE item SET b = 1 WHERE id < 9"),
        (
            '[[column]]\ntable = "item"\nname = "a"\ntype = "integer"\nbackfill = { value = 1 }',
            "UPDATE item SET a = NULL",
        ),
        (
            RULES["reference"].replace("index = true", ""),
            "UPDATE item SET owner_id = 5000 WHERE id < 9;"
            "ALTER TABLE item ADD FOREIGN KEY (owner_id) REFERENCES owner NOT VALID",
        ),
    ],
    ids=["merge_duplicates", "backfill", "archive_orphans"],
)
def test_who_waits_for_a_row_stops_no_other_writer(
    every_pg_url: str, rule: str, setup: str
) -> None:
    """A step that changes rows, and waits for one, holds no more than any UPDATE does."""
    box = Sandbox(every_pg_url)
    box.execute(SCHEMA, setup)
    waits = "SELECT pid FROM pg_locks WHERE NOT granted AND locktype IN ('transactionid', 'tuple')"
    with box.connect() as writer:
        writer.execute("BEGIN")
        writer.execute("SELECT 1 FROM item WHERE id = 5 FOR UPDATE")
        work = InBackground(lambda: api.apply(box.url, rules_of(rule), limits=Limits()))
        until(lambda: box.rows(waits) or not work.running, "the step waits for the row")
        with box.connect() as connection:
            locks = held(connection, box.value(waits))
        writer.execute("ROLLBACK")
    assert work.result().status == "done"
    assert locks.keys() >= {"item"}
    assert {m for n, m in locks.items() if n in ("item", "owner")} <= {"row_exclusive", "row_share"}


def test_every_kind_of_step_is_looked_at(pg_url: str) -> None:
    """A new kind of step needs a rule here that plans it; SQLite's rebuild has no place."""
    box = Sandbox(pg_url)
    box.execute(SCHEMA)
    planned = {
        step.kind
        for text in RULES.values()
        for step in api.make_plan(box.url, rules_of(text)).steps
    }
    assert planned == set(kinds()) - {"rebuild_table"}
