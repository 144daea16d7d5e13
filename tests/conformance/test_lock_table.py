"""What the plans rely on: locks, scans and rewrites of each statement, on every version.

PostgreSQL's manual tells the locks (§13.3.1 and each command's page); whether a table is scanned or
written anew, and what a combination of statements does, it tells in part only.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
import pytest

from tests.support.locks import held_up, run_and_look, wait_and_look
from tests.support.sandbox import Sandbox

AX, SRX, S = "access_exclusive", "share_row_exclusive", "share"
SUX, RX, RS = "share_update_exclusive", "row_exclusive", "row_share"

SCHEMA = """
CREATE TABLE parent (id integer PRIMARY KEY, code integer NOT NULL,
    CONSTRAINT parent_code UNIQUE (code));
CREATE UNIQUE INDEX parent_twin ON parent (code);
CREATE TABLE t (id integer PRIMARY KEY, a integer, b integer NOT NULL, v varchar(10),
    CONSTRAINT t_old UNIQUE (b));
CREATE UNIQUE INDEX t_a ON t (a);
CREATE UNIQUE INDEX t_b ON t (b);
CREATE TABLE child (id integer PRIMARY KEY, code integer,
    CONSTRAINT child_fk FOREIGN KEY (code) REFERENCES parent (code));
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
CREATE TRIGGER own BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION nothing();
INSERT INTO parent SELECT i, i FROM generate_series(1, 500) AS i;
INSERT INTO t SELECT i, i, i, 'v' FROM generate_series(1, 500) AS i;
INSERT INTO child SELECT i, i FROM generate_series(1, 500) AS i;
ANALYZE;
"""
PARTITIONED = """
CREATE TABLE whole (id integer NOT NULL, day integer NOT NULL, n integer) PARTITION BY RANGE (day);
CREATE TABLE part PARTITION OF whole FOR VALUES FROM (0) TO (1000);
CREATE TABLE other (id integer PRIMARY KEY);
INSERT INTO other SELECT i FROM generate_series(1, 500) AS i;
INSERT INTO whole SELECT i, i, i FROM generate_series(1, 500) AS i;
ANALYZE;
"""


@dataclass(frozen=True)
class Row:
    """A statement after others that are committed before, and what it does."""

    sql: str
    locks: dict[str, str]
    scans: frozenset[str] = frozenset()
    rewrites: frozenset[str] = frozenset()
    first: str = ""
    since: int = 14


def row(
    sql: str,
    locks: dict[str, str],
    *,
    scans: str = "",
    rewrites: str = "",
    first: str = "",
    since: int = 14,
) -> Row:
    both = frozenset(rewrites.split())
    return Row(sql, locks, frozenset(scans.split()) | both, both, first, since)


CHECK = "ALTER TABLE t ADD CONSTRAINT c CHECK (a IS NOT NULL) NOT VALID;"
NOT_NULL = "ALTER TABLE t ADD CONSTRAINT c NOT NULL a NOT VALID;"
VALID = "ALTER TABLE t VALIDATE CONSTRAINT c;"
FK = "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES parent (id)"
TAKES = [
    # Columns.
    row("ALTER TABLE t ADD COLUMN n integer", {"t": AX}),
    row("ALTER TABLE t ADD COLUMN n integer NOT NULL DEFAULT 7", {"t": AX}),
    row("ALTER TABLE t ADD COLUMN n timestamptz DEFAULT now()", {"t": AX}),
    row("ALTER TABLE t ADD COLUMN n float DEFAULT random()", {"t": AX}, rewrites="t"),
    row("ALTER TABLE t ADD COLUMN n bigserial", {"t": AX}, rewrites="t"),
    row("ALTER TABLE t ADD COLUMN n integer GENERATED ALWAYS AS IDENTITY", {"t": AX}, rewrites="t"),
    row(
        "ALTER TABLE t ADD COLUMN n integer GENERATED ALWAYS AS (b + 1) STORED",
        {"t": AX},
        rewrites="t",
    ),
    row("ALTER TABLE t ADD COLUMN n integer GENERATED ALWAYS AS (b + 1)", {"t": AX}, since=18),
    row("ALTER TABLE t ADD COLUMN n integer UNIQUE", {"t": AX}, scans="t"),
    row("ALTER TABLE t ADD COLUMN n integer DEFAULT 1 CHECK (n > 0)", {"t": AX}, scans="t"),
    row("ALTER TABLE t ADD COLUMN n integer REFERENCES parent", {"t": AX, "parent": SRX}),
    row(
        "ALTER TABLE t ADD COLUMN n integer DEFAULT 1 REFERENCES parent",
        {"t": AX, "parent": SRX},
        scans="t parent",
    ),
    row("ALTER TABLE t ALTER a SET DEFAULT 1", {"t": AX}),
    row("ALTER TABLE t ALTER a DROP DEFAULT", {"t": AX}),
    row("ALTER TABLE t ALTER b DROP NOT NULL", {"t": AX}),
    row("ALTER TABLE t DROP COLUMN v", {"t": AX}),
    row("ALTER TABLE t RENAME COLUMN v TO w", {"t": AX}),
    row("ALTER TABLE t RENAME CONSTRAINT t_old TO t_new", {"t": AX}),
    row("ALTER INDEX t_a RENAME TO t_z", {}),
    row("ALTER TABLE t ALTER a TYPE bigint", {"t": AX}, rewrites="t"),
    row("ALTER TABLE t ALTER v TYPE varchar(20)", {"t": AX}),
    row("ALTER TABLE t ALTER v TYPE text", {"t": AX}),
    row("COMMENT ON TABLE t IS 'x'", {"t": SUX}),
    row("ALTER TABLE t SET (autovacuum_enabled = false)", {"t": SUX}),
    # NOT NULL.
    row("ALTER TABLE t ALTER a SET NOT NULL", {"t": AX}, scans="t"),
    row(CHECK, {"t": AX}),
    row(VALID, {"t": SUX}, scans="t", first=CHECK),
    row("ALTER TABLE t ALTER a SET NOT NULL", {"t": AX}, first=CHECK + VALID),
    row("ALTER TABLE t DROP CONSTRAINT c", {"t": AX}, first=CHECK + VALID),
    row(
        "ALTER TABLE t ALTER a SET NOT NULL, DROP CONSTRAINT c",
        {"t": AX},
        scans="t",
        first=CHECK + VALID,
    ),
    row(NOT_NULL, {"t": AX}, since=18),
    row(VALID, {"t": SUX}, scans="t", first=NOT_NULL, since=18),
    row("ALTER TABLE t ALTER a SET NOT NULL", {"t": AX}, scans="t", first=NOT_NULL, since=18),
    row("ALTER TABLE t ALTER a SET NOT NULL", {"t": AX}, first=NOT_NULL + VALID, since=18),
    # Foreign keys.
    row(FK, {"t": SRX, "parent": SRX}, scans="t parent"),
    row(f"{FK} NOT VALID", {"t": SRX, "parent": SRX}),
    row(
        "ALTER TABLE t VALIDATE CONSTRAINT f",
        {"t": SUX, "parent": RS},
        scans="t parent",
        first=f"{FK} NOT VALID",
    ),
    row("ALTER TABLE child DROP CONSTRAINT child_fk", {"child": AX, "parent": AX}),
    # Unique constraints and indexes.
    row("ALTER TABLE t ADD UNIQUE (a)", {"t": AX}, scans="t"),
    row("CREATE UNIQUE INDEX u ON t (a)", {"t": S}, scans="t"),
    row("ALTER TABLE t ADD CONSTRAINT u UNIQUE USING INDEX t_a", {"t": AX}),
    row(
        "ALTER TABLE t ADD CONSTRAINT u UNIQUE USING INDEX t_a DEFERRABLE INITIALLY DEFERRED",
        {"t": AX},
    ),
    row(
        "ALTER TABLE t ADD CONSTRAINT u UNIQUE USING INDEX u",
        {"t": AX},
        first="CREATE UNIQUE INDEX u ON t (a) NULLS NOT DISTINCT",
        since=15,
    ),
    row(
        "ALTER TABLE t ADD PRIMARY KEY USING INDEX t_b",
        {"t": AX},
        first="ALTER TABLE t DROP CONSTRAINT t_pkey",
    ),
    row(
        "ALTER TABLE t ADD PRIMARY KEY USING INDEX t_a",
        {"t": AX},
        scans="t",
        first="ALTER TABLE t DROP CONSTRAINT t_pkey",
    ),
    row("ALTER TABLE t DROP CONSTRAINT t_old", {"t": AX}),
    row("DROP INDEX t_a", {"t": AX}),
    row(
        "ALTER TABLE t DROP CONSTRAINT t_old, ADD CONSTRAINT t_old UNIQUE USING INDEX t_b",
        {"t": AX},
    ),
    row("ALTER TABLE t REPLICA IDENTITY FULL", {"t": AX}),
    row("ALTER TABLE t REPLICA IDENTITY USING INDEX t_b", {"t": AX}),
    row("CREATE TRIGGER x BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION nothing()", {"t": SRX}),
    row("ALTER TABLE t DISABLE TRIGGER own", {"t": SRX}),
    row("DROP TRIGGER own ON t", {"t": AX}),
]
ONLY = "ALTER TABLE ONLY whole ADD CONSTRAINT u UNIQUE (day, id);"
LEAF = "ALTER TABLE part ADD CONSTRAINT part_u UNIQUE (day, id);"
WHOLE_CHECK = "ALTER TABLE whole ADD CONSTRAINT c CHECK (n IS NOT NULL) NOT VALID;"
TAKES_OF_PARTITIONS = [
    row(ONLY, {"whole": AX}),
    row("CREATE UNIQUE INDEX u ON ONLY whole (day, id)", {"whole": S}),
    row("ALTER INDEX u ATTACH PARTITION part_u", {}, first=ONLY + LEAF),
    row("ALTER TABLE whole DROP CONSTRAINT u", {"whole": AX, "part": AX}, first=ONLY),
    row("ALTER TABLE whole ADD COLUMN m integer", {"whole": AX, "part": AX}),
    row(WHOLE_CHECK, {"whole": AX, "part": AX}),
    row(
        "ALTER TABLE whole VALIDATE CONSTRAINT c",
        {"whole": SUX, "part": SUX},
        scans="part",
        first=WHOLE_CHECK,
    ),
    row("ALTER TABLE whole ALTER n SET NOT NULL", {"whole": AX, "part": AX}, scans="part"),
    row(
        "ALTER TABLE whole ALTER n SET NOT NULL",
        {"whole": AX, "part": AX},
        first=WHOLE_CHECK + "ALTER TABLE whole VALIDATE CONSTRAINT c",
    ),
    row(
        "ALTER TABLE whole ADD CONSTRAINT f FOREIGN KEY (n) REFERENCES other NOT VALID",
        {"whole": SRX, "part": SRX, "other": SRX},
        since=18,
    ),
]


def version(box: Sandbox) -> int:
    return int(box.value("SHOW server_version_num")) // 10000


def check(box: Sandbox, rows: list[Row]) -> None:
    """Each row in a state of its own; all that differ are told at once."""
    wrong = []
    template = box.url.rpartition("/")[2].partition("?")[0]
    for each in (r for r in rows if r.since <= version(box)):
        name = f"{template}_copy"
        maintenance = Sandbox(box.url.replace(f"/{template}", "/postgres"))
        maintenance.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        copy = Sandbox(box.url.replace(f"/{template}", f"/{name}"))
        copy.execute(each.first)
        seen = run_and_look(copy, [each.sql])
        tables = {n: m for n, m in seen.locks.items() if n in TABLES}
        scanned = seen.scanned & TABLES
        if (tables, scanned, seen.rewritten) != (each.locks, each.scans, each.rewrites):
            wrong.append((each.sql, tables, set(scanned), set(seen.rewritten)))
        maintenance.execute(f"DROP DATABASE {name} WITH (FORCE)")
    assert not wrong


TABLES = {"t", "parent", "child", "whole", "part", "other"}


def test_locks_scans_and_rewrites(every_pg_url: str) -> None:
    """Each statement takes the lock that the rules name, and looks at rows only where they say."""
    box = Sandbox(every_pg_url)
    box.execute(SCHEMA)
    check(box, TAKES)


def test_locks_scans_and_rewrites_of_partitioned_tables(every_pg_url: str) -> None:
    """The same for statements on a parent, whose partitions are locked with it, or are not."""
    box = Sandbox(every_pg_url)
    box.execute(PARTITIONED)
    check(box, TAKES_OF_PARTITIONS)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE UNIQUE INDEX CONCURRENTLY u ON t (a, b)",
        "DROP INDEX CONCURRENTLY t_a",
        "REINDEX INDEX CONCURRENTLY t_a",
    ],
)
def test_concurrent_statements_let_writers_write(every_pg_url: str, sql: str) -> None:
    """While they wait for a writer they hold SHARE UPDATE EXCLUSIVE, which stops no other one."""
    box = Sandbox(every_pg_url)
    box.execute(SCHEMA)
    assert wait_and_look(box, sql, "t").locks["t"] == SUX


REFUSED = [
    # (SQLSTATE, statement, what is done before): the combinations that no plan may contain.
    ("0A000", "CREATE INDEX CONCURRENTLY u ON whole (day, id)", ""),
    (
        "0A000",
        "ALTER TABLE whole ADD CONSTRAINT u UNIQUE USING INDEX u",
        "CREATE UNIQUE INDEX u ON whole (day, id)",
    ),
    ("0A000", "ALTER TABLE whole ADD UNIQUE (id)", ""),
    ("2BP01", "DROP INDEX part_u", "CREATE UNIQUE INDEX u ON ONLY whole (day, id);"
        "CREATE UNIQUE INDEX part_u ON part (day, id); ALTER INDEX u ATTACH PARTITION part_u"),
    ("2BP01", "ALTER TABLE parent DROP CONSTRAINT parent_code", ""),
    ("42809", "ALTER TABLE t ADD CONSTRAINT u UNIQUE USING INDEX u",
        "CREATE UNIQUE INDEX u ON t (a) WHERE a > 1"),
    ("42809", "ALTER TABLE t ADD CONSTRAINT u UNIQUE USING INDEX u",
        "CREATE UNIQUE INDEX u ON t ((a + 1))"),
    ("42809", "ALTER TABLE t ADD CONSTRAINT u UNIQUE USING INDEX u",
        "CREATE UNIQUE INDEX u ON t (a DESC)"),
    ("55000", "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES t (a)",
        "DROP INDEX t_a; ALTER TABLE t ADD UNIQUE (a) DEFERRABLE"),
    ("42809", "ALTER TABLE t REPLICA IDENTITY USING INDEX t_a", ""),
]  # fmt: skip


@pytest.mark.parametrize(("code", "sql", "first"), REFUSED)
def test_what_the_server_refuses(every_pg_url: str, code: str, sql: str, first: str) -> None:
    """These are why steps go a longer way; the day one is taken, the way can be shorter."""
    box = Sandbox(every_pg_url)
    box.execute(SCHEMA, PARTITIONED, first)
    with pytest.raises(psycopg.Error) as caught:
        box.execute(sql)
    assert caught.value.sqlstate == code


def test_a_parent_takes_no_unvalidated_foreign_key_before_18(every_pg_url: str) -> None:
    """Which is why a [[reference]] of a partitioned table is refused there."""
    box = Sandbox(every_pg_url)
    box.execute(PARTITIONED)
    if version(box) < 18:
        with pytest.raises(psycopg.Error) as caught:
            box.execute("ALTER TABLE whole ADD FOREIGN KEY (n) REFERENCES other NOT VALID")
        assert caught.value.sqlstate == "42809"


FAILED_BUILD = "SELECT indisvalid, indisready FROM pg_index WHERE indexrelid = 'u'::regclass"


def impatiently(box: Sandbox, sql: str) -> None:
    """Run a statement that gives up a lock soon."""
    with box.connect() as connection:
        connection.execute("SET lock_timeout = 200")
        connection.execute(sql)


def test_a_failed_build_is_left_invalid(every_pg_url: str) -> None:
    """Duplicates, or a writer that outlasts the timeout: the index stays, and enforces nothing."""
    box = Sandbox(every_pg_url)
    box.execute(SCHEMA)
    with held_up(box, "t"), pytest.raises(psycopg.errors.LockNotAvailable):
        impatiently(box, "CREATE UNIQUE INDEX CONCURRENTLY u ON t (a, b)")
    assert box.rows(FAILED_BUILD) == [(False, False)]
    box.execute("DROP INDEX u; DROP INDEX t_a; UPDATE t SET a = 1 WHERE id < 3")
    with pytest.raises(psycopg.errors.UniqueViolation):
        box.execute("CREATE UNIQUE INDEX CONCURRENTLY u ON t (a)")
    assert box.rows(FAILED_BUILD) == [(False, False)]
    box.execute("INSERT INTO t VALUES (1000, 1, 1000)")
    # IF NOT EXISTS is content with what is there.
    box.execute("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS u ON t (a)")
    assert box.rows(FAILED_BUILD) == [(False, False)]


def test_a_build_that_failed_at_its_last_wait_enforces(every_pg_url: str) -> None:
    """An old snapshot anywhere holds up the last phase: ready, not valid, and refusing rows."""
    box = Sandbox(every_pg_url)
    box.execute(SCHEMA)
    with box.connect() as old:
        old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT count(*) FROM parent")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            impatiently(box, "CREATE UNIQUE INDEX CONCURRENTLY u ON t (v, id)")
    assert box.rows(FAILED_BUILD) == [(False, True)]
    box.execute("ALTER TABLE t DROP CONSTRAINT t_pkey")
    with pytest.raises(psycopg.errors.UniqueViolation):
        box.execute("INSERT INTO t VALUES (1, 1000, 1000, 'v')")
