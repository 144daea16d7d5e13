"""How a backfill goes along a table: in small bites, over gaps, until nothing is left."""

from __future__ import annotations

from collections.abc import Callable

from onerow import api
from onerow.session import Limits
from tests.support.live import at
from tests.support.rules import rules_of
from tests.support.sandbox import Sandbox

ROWS = 4_000
RULE = """
[[column]]
table = "t"
name = "v"
type = "integer"
backfill = { sql = "id % 7" }
"""
RULES = rules_of(RULE)
SMALL = Limits(batch_rows=10, least_batch_rows=5, most_batch_rows=20)


def made(url: str, filled: int, more: str = "") -> Sandbox:
    """A table whose first rows hold a value; the column is there, so batches are in the archive."""
    box = Sandbox(url)
    box.execute(
        "CREATE TABLE t (id integer PRIMARY KEY, v integer)",
        f"""INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
            SELECT i, CASE WHEN i <= {filled} THEN 0 END FROM n""",
        more,
        "ANALYZE",
    )
    return box


def largest_batch(box: Sandbox) -> int:
    table = "onerow_operation" if box.sqlite else "onerow.operation"
    return int(box.value(f"SELECT max(rows) FROM {table}"))


def a_bite(box: Sandbox) -> int:
    """Rows of the largest batch that the limits allow: on PostgreSQL a page at least."""
    if box.sqlite:
        return SMALL.most_batch_rows
    return int(
        box.value(
            "SELECT max(n) FROM (SELECT count(*) AS n FROM t GROUP BY (ctid::text::point)[0]) AS p"
        )
    )


def test_what_was_filled_stays(db_url: str) -> None:
    """Only rows without a value get one, and only they are archived."""
    box = made(db_url, 1_000)
    assert api.apply(db_url, RULES, limits=SMALL).status == "done"
    assert box.value("SELECT count(*) FROM t WHERE id <= 1000 AND v = 0") == 1_000
    assert box.value("SELECT count(*) FROM t WHERE id > 1000 AND v = id % 7") == 3_000
    assert box.archived("t", "repointed") == 3_000


def test_where_nothing_was_to_do_the_bites_do_not_grow(db_url: str) -> None:
    """Behind three quarters that are filled comes no batch of all the rest."""
    box = made(db_url, 3_000)
    bite = a_bite(box)
    assert api.apply(db_url, RULES, limits=SMALL).status == "done"
    assert 0 < largest_batch(box) <= bite < 1_000


def test_over_gaps_of_any_width(db_url: str) -> None:
    """Numbers far apart are leapt between."""
    box = made(db_url, 0, "UPDATE t SET id = id + 1000000000 WHERE id > 2000")
    assert api.apply(db_url, RULES, limits=SMALL).status == "done"
    assert box.value("SELECT count(*) FROM t WHERE v = id % 7") == ROWS


def arriving(box: Sandbox, some: int) -> Callable[[api.Event], None]:
    """A writer that knows nothing of the column: a row after each of the first batches."""
    late = iter(range(-some, 0))

    def insert() -> None:
        number = next(late, None)
        if number is not None:
            box.execute(f"INSERT INTO t (id) VALUES ({number})")

    return at("backfill", "progress", insert)


def test_rows_behind_the_walk_are_met_again(db_url: str) -> None:
    """What is inserted while it is under way is filled before it ends."""
    box = made(db_url, 0)
    assert api.apply(db_url, RULES, limits=SMALL, listen=arriving(box, 3)).status == "done"
    assert box.value("SELECT count(*) FROM t WHERE id < 0 AND v = id % 7") == 3
    assert box.value("SELECT count(*) FROM t WHERE v IS NULL") == 0


def test_rows_that_keep_arriving_stop_it(db_url: str) -> None:
    """It does not run after a writer for ever; when that is gone, it goes on."""
    box, rules = made(db_url, 0), rules_of(RULE + "not_null = true\n")
    outcome = api.apply(db_url, rules, limits=SMALL, listen=arriving(box, 10_000))
    assert outcome.status == "stopped"
    assert "keep arriving" in outcome.message
    assert api.apply(db_url, rules, limits=SMALL).status == "done"
    assert box.value("SELECT count(*) FROM t WHERE v IS NULL") == 0


def test_the_table_does_not_double(pg_url: str) -> None:
    """Places of dead rows are used again, batch by batch."""
    box = Sandbox(pg_url)
    box.execute(
        "CREATE TABLE t (id integer PRIMARY KEY, pad text)",
        "INSERT INTO t SELECT n, repeat('x', 100) FROM generate_series(1, 60000) AS n",
        "VACUUM ANALYZE t",
    )
    size = "SELECT pg_relation_size('t')"
    before = box.value(size)
    assert api.apply(pg_url, RULES).status == "done"
    assert box.value(size) < 1.5 * before
