"""A key of a partitioned table: built leaf by leaf, attached, enforced by the parent."""

from __future__ import annotations

import psycopg
import pytest

from onerow import api
from onerow.rules import Key
from onerow.session import Limits
from tests.support.live import InBackground, Writers, transaction, until, waits_for_lock
from tests.support.sandbox import Sandbox
from tests.support.story import SMALL, applied, blockers, planned, there_and_back, undone

TABLE = """
CREATE TABLE event (id integer NOT NULL, day date NOT NULL, code text NOT NULL, note text,
    PRIMARY KEY (id, day, code)) PARTITION BY RANGE (day);
CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
-- Columns in another order than the parent's, and one that was dropped.
CREATE TABLE event_2 (note text, gone text, code text NOT NULL, day date NOT NULL,
    id integer NOT NULL, PRIMARY KEY (id, day, code));
ALTER TABLE event_2 DROP COLUMN gone;
ALTER TABLE event ATTACH PARTITION event_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
"""
BELOW = """
CREATE TABLE event_3 PARTITION OF event FOR VALUES FROM ('2026-03-01') TO ('2026-04-01')
    PARTITION BY LIST (code);
CREATE TABLE event_3_a PARTITION OF event_3 FOR VALUES IN ('a');
CREATE TABLE event_3_rest PARTITION OF event_3 DEFAULT;
"""
ROWS = """
INSERT INTO event SELECT i, date '2026-01-01' + i % 59, 'c' || i % 7, nullif(i % 3, 0)::text
    FROM generate_series(1, 900) AS i;
"""
RULE = Key("event", "day", "code", name="event_key")
#: Holds up the partition's build. A write would hold up the parent's lock before that.
WAITED_FOR = "LOCK TABLE event_2 IN ROW EXCLUSIVE MODE"
INDEXES = """
SELECT i.indrelid::regclass::text, i.indisvalid FROM pg_index AS i
JOIN pg_class AS x ON x.oid = i.indexrelid WHERE x.relname LIKE '%event\\_key%'
    OR i.indexrelid IN (SELECT relid FROM pg_partition_tree(to_regclass('event_key'))) ORDER BY 1
"""


def made(url: str, *scripts: str) -> Sandbox:
    box = Sandbox(url)
    box.execute(TABLE, *scripts)
    return box


def test_there_and_back(every_pg_url: str) -> None:
    """Duplicates of each partition are merged, the parent gets a valid constraint, undo is exact."""
    box = made(every_pg_url, BELOW, ROWS)
    before = box.state()
    outcome = there_and_back(box, RULE)
    assert outcome.archived > 0
    kept = "SELECT count(*), count(DISTINCT (day, code)) FROM event"
    assert len(set(box.rows(kept)[0])) == 1
    assert [valid for _, valid in box.rows(INDEXES)] == [True] * 6
    kinds = "SELECT contype::text FROM pg_constraint WHERE conname = 'event_key'"
    assert box.rows(kinds) == [("u",)]
    undone(box)
    assert box.state() == before


def test_the_rows_of_other_partitions_are_left_alone(every_pg_url: str) -> None:
    """Rows that differ in the partition key are not each other's duplicates."""
    box = made(every_pg_url)
    box.execute("INSERT INTO event VALUES (1, '2026-01-05', 'a'), (1, '2026-02-05', 'a')")
    assert there_and_back(box, RULE).archived == 0
    assert box.count("event") == 2


def test_the_plan_names_every_partition(every_pg_url: str) -> None:
    """One build and one attachment for each leaf, in words that an operator can check."""
    box = made(every_pg_url, BELOW)
    step = next(s for s in planned(box, RULE).steps if s.kind == "create_index")
    builds = [sql for sql in step.sql if "CONCURRENTLY" in sql]
    attached = [sql for sql in step.sql if "ATTACH PARTITION" in sql]
    assert (len(builds), len(attached)) == (4, 5)
    assert step.sql[0].startswith('ALTER TABLE ONLY "public"."event" ADD CONSTRAINT "event_key"')
    assert (step.lock, step.transactional) == ("access_exclusive", False)


@pytest.mark.parametrize(
    "rule",
    [
        Key("event", "day", "code", name="event_key", where="note IS NOT NULL"),
        Key("event", "day", "(lower(code))", name="event_key"),
        Key("event", "day", "note", name="event_key", nulls="equal"),
        Key("event", "day", "note", name="event_key", nulls="forbidden"),
    ],
    ids=["filter", "expression", "equal nulls", "no nulls"],
)
def test_other_shapes(every_pg_url: str, rule: Key) -> None:
    """Filters, expressions and every NULL mode: as on a table without partitions."""
    box = made(every_pg_url, ROWS)
    box.execute("UPDATE event SET note = 'n' WHERE note IS NULL AND id % 2 = 0")
    if rule.nulls == "forbidden":
        box.execute("UPDATE event SET note = 'm' WHERE note IS NULL")
    before = box.state()
    there_and_back(box, rule)
    undone(box)
    assert box.state() == before


def test_children_of_a_partitioned_table_follow(every_pg_url: str) -> None:
    """A foreign key to a partitioned table is re-pointed like any other."""
    box = made(every_pg_url)
    box.execute(
        """CREATE TABLE note (id integer PRIMARY KEY, event_id integer, day date, code text,
            FOREIGN KEY (event_id, day, code) REFERENCES event ON DELETE CASCADE);
        INSERT INTO event VALUES (1, '2026-01-05', 'a'), (2, '2026-01-05', 'a'),
            (3, '2026-02-05', 'a');
        INSERT INTO note VALUES (1, 1, '2026-01-05', 'a'), (2, 2, '2026-01-05', 'a'),
            (3, 3, '2026-02-05', 'a');"""
    )
    assert there_and_back(box, RULE).archived == 1
    assert box.rows("SELECT event_id FROM note ORDER BY id") == [(1,), (1,), (3,)]


def test_a_key_without_the_partition_column_is_refused_with_the_count(every_pg_url: str) -> None:
    """Across partitions nothing can enforce it; how many groups break it is told."""
    box = made(every_pg_url, BELOW)
    box.execute("INSERT INTO event VALUES (1, '2026-01-05', 'a'), (2, '2026-02-05', 'a')")
    before = box.state()
    found = api.make_plan(box.url, [Key("event", "code")]).blockers
    assert [b.code for b in found] == ["partition_key_missing"]
    assert "public.event is partitioned by day" in found[0].message
    assert "1 group(s) of rows break it now" in found[0].message
    assert api.apply(box.url, [Key("event", "code")]).status == "refused"
    assert box.state() == before


def test_a_key_without_a_sub_partitions_column_is_refused(every_pg_url: str) -> None:
    """The partition key of every level must be in the key."""
    box = made(every_pg_url, BELOW)
    found = api.make_plan(box.url, [Key("event", "day", "id")]).blockers
    assert [b.code for b in found] == ["partition_key_missing"]
    assert "public.event_3 is partitioned by code" in found[0].message


def test_a_folded_partition_column_is_not_in_the_key(every_pg_url: str) -> None:
    """lower(code) in the key is not code, by which the rows are placed."""
    box = made(every_pg_url, BELOW)
    rule = Key("event", "day", "code", ignore_case=("code",))
    assert blockers(box, rule) == ["partition_key_missing"]


def test_the_name_of_a_part_is_taken(every_pg_url: str) -> None:
    """What bears the name that a partition's part would get is not touched."""
    box = made(every_pg_url)
    box.execute("CREATE INDEX event_1_event_key ON event_2 (note)")
    assert blockers(box, RULE) == ["name_taken"]


OLD = {
    "constraint": "ALTER TABLE event ADD CONSTRAINT event_old UNIQUE (day, code, note);"
    "COMMENT ON CONSTRAINT event_old ON event IS 'old';"
    "COMMENT ON INDEX event_2_day_code_note_key IS 'a part'",
    "deferred": "ALTER TABLE event ADD CONSTRAINT event_old UNIQUE (day, code, note)"
    " DEFERRABLE INITIALLY DEFERRED",
    "index": "CREATE UNIQUE INDEX event_old ON event (day, code, (coalesce(note, '')) DESC)"
    " WHERE id > 0",
}
REPLACING = Key("event", "day", "code", name="event_key", replaces=("event_old",))


@pytest.mark.parametrize("old", OLD.values(), ids=OLD)
def test_an_old_key_is_replaced(every_pg_url: str, old: str) -> None:
    """Dropped with its parts when the new one stands; the undo builds each part as it was."""
    box = made(every_pg_url, BELOW, ROWS, "UPDATE event SET note = id", old)
    before = box.state()
    there_and_back(box, REPLACING)
    assert not box.rows("SELECT 1 FROM pg_class WHERE relname = 'event_old'")
    undone(box)
    assert box.state() == before


def test_an_old_key_over_partitions_of_other_days(every_pg_url: str) -> None:
    """One has gone since and one has come: the old key stands over those of now."""
    box = made(every_pg_url, BELOW, ROWS, "UPDATE event SET note = id", OLD["constraint"])
    applied(box, REPLACING)
    box.execute(
        "DROP TABLE event_1;"
        "CREATE TABLE event_4 PARTITION OF event FOR VALUES FROM ('2026-04-01') TO ('2026-05-01');"
    )
    outcome = api.undo(box.url, limits=SMALL)
    assert outcome.status == "undone", outcome.message
    told = (
        "SELECT count(*), bool_and(i.indisvalid) FROM pg_partition_tree('event_old') AS t"
        " JOIN pg_index AS i ON i.indexrelid = t.relid"
    )
    assert box.rows(told) == [(6, True)]
    with pytest.raises(Exception, match="duplicate key"):
        box.execute(
            "INSERT INTO event VALUES (1, '2026-04-01', 'x', 'y'), (2, '2026-04-01', 'x', 'y')"
        )


def test_rows_that_an_old_key_cannot_hold(pg_url: str) -> None:
    """In partitions, too, they are named before anything is built."""
    box = made(pg_url, BELOW, ROWS, "UPDATE event SET note = id", OLD["constraint"])
    applied(box, Key("event", "day", "code", "id", name="event_key", replaces=("event_old",)))
    box.execute(
        "INSERT INTO event VALUES (7000, '2026-01-05', 'z', 'n'), (7001, '2026-01-05', 'z', 'n')"
    )
    after = box.state()
    outcome = api.undo(box.url)
    assert "1 row(s) too many in 1 group(s) (day 2026-01-05, code z, note n)" in outcome.message
    assert box.state() == after
    assert api.undo(box.url, archive_newer=True).status == "undone"
    assert box.count("event WHERE id > 6999") == 1


@pytest.mark.parametrize(
    ("rule", "more"),
    [
        (Key("event", "day", "code", name="event_old", replaces=("event_old",)), ""),
        (REPLACING, "ALTER INDEX event_2_day_code_note_key SET (fillfactor = 50)"),
        (REPLACING, "ALTER TABLE event_1 CLUSTER ON event_1_day_code_note_key"),
        (REPLACING, "CREATE TABLE leans (d date, c text, n text,"
         " FOREIGN KEY (d, c, n) REFERENCES event (day, code, note))"),
    ],
    ids=["same name", "parameters", "marks", "foreign key"],
)  # fmt: skip
def test_an_old_key_that_must_stay(pg_url: str, rule: Key, more: str) -> None:
    """What an undo could not bring back as it was stops the plan, with the reason."""
    box = made(pg_url, OLD["constraint"], more or "SELECT 1")
    assert set(blockers(box, rule)) & {"unsupported", "foreign_key_on_replaced_key"}


GUARDED = Key("event", "day", "code", name="event_key", guard=True)


def test_a_guard_of_a_partitioned_table(every_pg_url: str) -> None:
    """New duplicates are refused in every partition until the key stands, and afterwards by it."""
    box = made(every_pg_url, BELOW, ROWS, "CREATE INDEX event_look ON event (day)")
    before = box.state()
    plan = planned(box, GUARDED)
    kinds = [s.kind for s in plan.steps]
    assert (kinds[0], kinds[-2]) == ("guard", "drop_guard")
    # The budget ends after the guard's step.
    assert api.apply(box.url, plan=plan, limits=Limits(budget=0)).status == "stopped"
    for day in ("2026-01-01", "2026-03-02"):
        box.execute(f"INSERT INTO event VALUES (8000, '{day}', 'new')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            box.execute(f"INSERT INTO event VALUES (8001, '{day}', 'new')")
    with pytest.raises(psycopg.errors.UniqueViolation):
        box.execute("UPDATE event SET day = '2026-01-01' WHERE day = '2026-03-02' AND code = 'new'")
    box.execute("DELETE FROM event WHERE id = 8000")
    assert api.apply(box.url, [GUARDED], limits=SMALL).status == "done"
    assert not box.rows("SELECT 1 FROM pg_trigger WHERE tgname LIKE 'onerow%'")
    undone(box)
    assert box.state() == before


def test_a_partition_that_arrives_meanwhile(every_pg_url: str) -> None:
    """The build waits for a writer; a partition that is made then is covered, too."""
    box = made(every_pg_url, ROWS)
    with transaction(box) as open_:
        open_.execute(WAITED_FOR)
        work = InBackground(lambda: api.apply(box.url, [RULE], limits=SMALL))
        until(lambda: waits_for_lock(box, "CONCURRENTLY"), "the build waits")
        box.execute(
            "CREATE TABLE event_4 PARTITION OF event FOR VALUES FROM ('2026-04-01') TO ('2026-05-01');"
            "INSERT INTO event VALUES (6000, '2026-04-01', 'x')"
        )
        open_.execute("COMMIT")
    assert work.result().status == "done"
    assert [name for name, _ in box.rows(INDEXES)] == ["event", "event_1", "event_2", "event_4"]
    with pytest.raises(Exception, match="duplicate key"):
        box.execute("INSERT INTO event VALUES (6001, '2026-04-01', 'x')")


def test_writers_that_make_duplicates_meanwhile(every_pg_url: str) -> None:
    """Duplicates that come between the merge and a leaf's build are merged, until it stands."""
    box = made(every_pg_url, BELOW, ROWS)
    # Every 50th row has the key of one that was written before.
    sql = (
        "INSERT INTO event VALUES ({0}, date '2026-01-01' + {0} % 89,"
        " 'c' || {0} - CASE {0} % 50 WHEN 0 THEN 89 ELSE 0 END)"
    )
    with Writers(box, lambda n: sql.format(n), pause=0.002):
        outcome = api.apply(box.url, [RULE], limits=Limits(passes=50))
    assert outcome.status == "done", outcome.message
    assert [valid for _, valid in box.rows(INDEXES)] == [True] * 6


def test_duplicates_at_the_build_are_merged(every_pg_url: str) -> None:
    """A writer's duplicate that commits during the build is merged, and the leaf built again."""
    box = made(every_pg_url, ROWS)
    with transaction(box) as open_:
        open_.execute(WAITED_FOR)
        work = InBackground(lambda: api.apply(box.url, [RULE], limits=SMALL))
        until(lambda: waits_for_lock(box, "CONCURRENTLY"), "the build waits")
        open_.execute(
            "INSERT INTO event_2 (code, day, id) VALUES ('new', '2026-02-10', 5000),"
            " ('new', '2026-02-10', 5001)"
        )
        open_.execute("COMMIT")
    assert work.result().status == "done"
    assert box.value("SELECT count(*) FROM event WHERE code = 'new'") == 1


def test_triggers_of_partitions_stay_silent(every_pg_url: str) -> None:
    """A row trigger of the parent, cloned to the partitions, does not write over the archive."""
    box = made(every_pg_url, ROWS)
    box.execute(
        """CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
            $$BEGIN NEW.note := 'touched'; RETURN NEW; END$$;
        CREATE TRIGGER touch BEFORE UPDATE ON event FOR EACH ROW EXECUTE FUNCTION touch();"""
    )
    there_and_back(box, RULE)
    assert box.value("SELECT count(*) FROM event WHERE note = 'touched'") == 0


def test_an_index_of_ours_that_a_cut_off_build_has_left(every_pg_url: str) -> None:
    """An invalid leaf index, and a parent's that waits for it: both are gone on with, or undone."""
    box = made(every_pg_url, ROWS)
    before = box.state()
    with transaction(box) as open_:
        open_.execute(WAITED_FOR)
        short = Limits(build_budget=1.0, batch_rows=100)
        assert api.apply(box.url, [RULE], limits=short).status == "stopped"
        assert [valid for _, valid in box.rows(INDEXES)] == [False, True, False]
        open_.execute("ROLLBACK")
    undone(box)
    assert box.state() == before
    applied(box, RULE)
