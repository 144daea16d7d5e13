"""Undo to the letter: the whole catalog of a rich table, by queries and by pg_dump, before and after."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest

from onerow import api
from tests.support.live import Writers
from tests.support.rules import apply, rules_of, there_and_back, undone
from tests.support.sandbox import Sandbox

RULES = """
[[key]]
table = "member"
columns = ["tenant", "code"]
name = "member_key"
nulls = "forbidden"
keep = "latest seen"
replaces = ["member_old", "member_pair", "member_ident"]
merge = { visits = "sum" }
[[column]]
table = "member"
name = "region"
type = "integer"
not_null = true
backfill = { value = 7 }
[[reference]]
table = "visit"
columns = ["place_id"]
to = "place(id)"
on_delete = "set null"
orphans = "null"
index = true
[[constraint]]
table = "member"
name = "visits_not_negative"
check = "visits >= 0"
"""
#: Everything that a table can have and an undo could lose.
RICH = """
CREATE TABLESPACE {space} LOCATION '';
CREATE SCHEMA other;
CREATE SEQUENCE number START 50 INCREMENT 5;
CREATE TABLE place (id integer PRIMARY KEY);
CREATE TABLE member (
    id bigint GENERATED ALWAYS AS IDENTITY (START 10 INCREMENT 3) PRIMARY KEY,
    tenant integer NOT NULL, code varchar(20) COLLATE "C", pair integer,
    seen timestamptz, visits integer NOT NULL DEFAULT 1, number integer DEFAULT nextval('number'),
    label text GENERATED ALWAYS AS (upper(code)) STORED, note text, region integer
) WITH (fillfactor = 83, autovacuum_vacuum_scale_factor = 0.3);
CREATE TABLE visit (id serial PRIMARY KEY, place_id integer,
    member_id bigint NOT NULL REFERENCES member ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED);
ALTER SEQUENCE number OWNED BY member.number;
COMMENT ON TABLE member IS 'who''s who'; COMMENT ON COLUMN member.code IS 'a code; "C"';
ALTER TABLE member ALTER code SET STATISTICS 33, ALTER note SET STORAGE EXTERNAL,
    ALTER seen SET (n_distinct = 9);
CREATE INDEX visit_member ON visit (member_id);
CREATE UNIQUE INDEX member_old ON member
    (tenant DESC NULLS LAST, lower(code) text_pattern_ops, (visits + id) DESC) INCLUDE (note)
    WITH (fillfactor = 71) TABLESPACE {space} WHERE tenant > 0;
ALTER INDEX member_old ALTER COLUMN 2 SET STATISTICS 77;
COMMENT ON INDEX member_old IS 'the old key';
ALTER TABLE member ADD CONSTRAINT member_pair UNIQUE (tenant, code, pair, id)
    INCLUDE (note) WITH (fillfactor = 61) USING INDEX TABLESPACE {space} DEFERRABLE INITIALLY DEFERRED;
COMMENT ON CONSTRAINT member_pair ON member IS 'a pair';
COMMENT ON INDEX member_pair IS 'the index of the pair';
ALTER TABLE member ADD CONSTRAINT member_ident UNIQUE (id, tenant);
ALTER TABLE member CLUSTER ON member_ident;
CREATE STATISTICS member_s (dependencies, ndistinct) ON tenant, code FROM member;
ALTER STATISTICS member_s SET STATISTICS 55; COMMENT ON STATISTICS member_s IS 'together';
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.note = 'touched'; RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON member FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER off AFTER DELETE ON member FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE member DISABLE TRIGGER off; COMMENT ON TRIGGER touch ON member IS 'touches';
CREATE POLICY mine ON member FOR SELECT USING (tenant > 0); COMMENT ON POLICY mine ON member IS 'own';
CREATE RULE quiet AS ON INSERT TO visit WHERE new.id < 0 DO INSTEAD NOTHING;
CREATE VIEW seen AS SELECT id, code FROM member; GRANT SELECT ON seen TO PUBLIC;
CREATE ROLE {role} NOLOGIN;
GRANT SELECT, UPDATE (note) ON member TO {role} WITH GRANT OPTION;
GRANT INSERT (code, tenant) ON member TO PUBLIC; GRANT USAGE ON SEQUENCE number TO {role};
ALTER TABLE visit OWNER TO {role}; ALTER TABLE visit REPLICA IDENTITY FULL;
"""
ROWS = """
INSERT INTO place SELECT generate_series(1, 5);
INSERT INTO member (tenant, code, pair, seen, note, region)
    SELECT i % 3 + 1, 'c' || i % 4, i, timestamptz '2025-01-01' + i * interval '1 hour',
        CASE WHEN i % 2 = 0 THEN 'n' || i END, CASE WHEN i % 5 = 0 THEN i END
    FROM generate_series(1, 40) AS i;
INSERT INTO visit (member_id, place_id) SELECT id, id % 9 FROM member;
"""


@pytest.fixture
def rich(every_pg_url: str) -> Iterator[Sandbox]:
    """The rich table; tablespace and role are the server's, and go when the test does."""
    box = Sandbox(every_pg_url)
    name = f"undo_{box.value('SELECT current_database()')}"
    space, role = f"space_{name}"[:60], f"role_{name}"[:60]
    with box.connect() as connection:
        connection.execute("SET allow_in_place_tablespaces = on")
        for statement in RICH.format(space=space, role=role).split(";\n"):
            connection.execute(statement)
        connection.execute(ROWS)
    yield box
    box.execute(
        f"DROP SCHEMA public CASCADE; DROP SCHEMA IF EXISTS onerow CASCADE; DROP OWNED BY {role}"
    )
    box.execute(f"DROP TABLESPACE {space}")
    box.execute(f"DROP ROLE {role}")


def dump(box: Sandbox) -> str:
    """The definitions as pg_dump says them; nothing where there is no pg_dump for the server."""
    program = shutil.which("pg_dump")
    if program is None or _major(program) < int(box.value("SHOW server_version_num")) // 10_000:
        return ""
    done = subprocess.run(
        [program, "--schema-only", "--exclude-schema=onerow", box.url],
        capture_output=True,
        text=True,
        check=True,
    )
    # The key of psql's restricted mode is new each time.
    return "\n".join(x for x in done.stdout.splitlines() if "restrict" not in x)


def _major(program: str) -> int:
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return int(version.stdout.split()[2].split(".")[0])


def test_the_whole_catalog_comes_back(rich: Sandbox) -> None:
    """Every definition, comment, grant, parameter, tablespace, flag and target; rows; and pg_dump's text."""
    before = dump(rich)
    outcome = there_and_back(rich, rules_of(RULES))
    assert outcome.archived > 0
    assert rich.value("SELECT count(*) FROM member WHERE note = 'touched'") == 0
    undone(rich)
    assert dump(rich) == before


def test_a_child_that_came_since_stays_with_the_survivor(every_url: str) -> None:
    """It points at what its writer saw; all the others go back to where they came from."""
    box = Sandbox(every_url)
    box.execute(
        "CREATE TABLE parent (id integer PRIMARY KEY, k integer);"
        "CREATE TABLE child (id integer PRIMARY KEY,"
        " parent_id integer REFERENCES parent ON DELETE CASCADE);"
        "INSERT INTO parent VALUES (1, 1), (2, 1), (3, 2);"
        "INSERT INTO child VALUES (10, 1), (20, 2), (30, 3);"
    )
    apply(box, rules_of(KEY))
    box.execute("INSERT INTO child VALUES (40, 1)", "UPDATE child SET parent_id = 3 WHERE id = 20")
    outcome = api.undo(box.url)
    assert [(r["key"], r["reason"]) for r in outcome.left_alone] == [({"id": 20}, "changed since")]
    assert box.rows("SELECT * FROM child ORDER BY id") == [(10, 1), (20, 3), (30, 3), (40, 1)]
    assert box.rows("SELECT * FROM parent ORDER BY id") == [(1, 1), (2, 1), (3, 2)]


KEY = """
[[key]]
table = "parent"
columns = ["k"]
name = "parent_key"
"""


def test_while_writers_write(every_url: str) -> None:
    """Rows that are written during the way back are all there, and so is every row of before."""
    box = Sandbox(every_url)
    box.execute(
        "CREATE TABLE parent (id integer PRIMARY KEY, k integer);",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600)"
        " INSERT INTO parent SELECT i, i % 200 FROM n",
    )
    before = set(box.rows("SELECT id, k FROM parent"))
    apply(box, rules_of(KEY))

    def insert(number: int) -> str:
        return f"INSERT INTO parent VALUES ({number}, {number})"

    with Writers(box, insert, pause=0.002) as writers:
        undone(box)
    rows = box.rows("SELECT id, k FROM parent")
    assert len(rows) == len(before) + writers.written
    assert before <= set(rows)
    assert writers.written > 0
    assert writers.refused == 0
