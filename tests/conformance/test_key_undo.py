"""The way back: exact, with user triggers silent, and careful with what others did meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from onerow import api
from onerow.errors import OnerowError
from onerow.rules import Key
from tests.support.sandbox import Sandbox
from tests.support.story import SMALL, applied, blockers, there_and_back, undone

ROWS = """
CREATE TABLE parent (id integer PRIMARY KEY, k integer NOT NULL, v text, n integer UNIQUE);
CREATE TABLE child (id integer PRIMARY KEY, parent_id integer REFERENCES parent ON DELETE CASCADE,
    word text);
INSERT INTO parent VALUES (1, 1, NULL, 10), (2, 1, 'b', 20), (3, 2, 'c', 30), (4, 2, 'd', 40),
    (5, 3, 'e', 50);
INSERT INTO child VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 4, 'c'), (4, 5, 'd');
"""
KEY = Key("parent", "k", name="parent_k", merge={"n": "max"})
CHILD_KEY = {"id": 2}


def left(outcome: api.Outcome) -> list[tuple[str, Any, str]]:
    return [
        (w["table"].rpartition(".")[2], w["key"]["id"], w["reason"]) for w in outcome.left_alone
    ]


def without_counters(schema: dict[str, Any]) -> dict[str, Any]:
    return {what: texts for what, texts in schema.items() if what != "sequences"}


def ready(url: str) -> tuple[Sandbox, Any]:
    """The rows above, merged."""
    box = Sandbox(url)
    box.execute(ROWS)
    before = box.state()
    applied(box, KEY)
    return box, before


# -- triggers -----------------------------------------------------------------------------------

POSTGRESQL_TRIGGERS = """
CREATE TABLE audit (id bigint GENERATED ALWAYS AS IDENTITY, what text);
ALTER TABLE parent ADD updated_at timestamptz NOT NULL DEFAULT '2026-01-01';
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.updated_at := clock_timestamp(); RETURN NEW; END $$;
CREATE FUNCTION write_down() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
    $$ BEGIN INSERT INTO audit (what) VALUES (TG_OP || ' ' || TG_TABLE_NAME); RETURN NULL; END $$;
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON parent FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER "Write % down" AFTER INSERT OR UPDATE OR DELETE ON parent
    FOR EACH ROW EXECUTE FUNCTION write_down();
CREATE TRIGGER write_down AFTER INSERT OR UPDATE OR DELETE ON child
    FOR EACH STATEMENT EXECUTE FUNCTION write_down();
CREATE CONSTRAINT TRIGGER later AFTER UPDATE ON child DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION write_down();
CREATE TRIGGER asleep AFTER DELETE ON child FOR EACH ROW EXECUTE FUNCTION write_down();
ALTER TABLE child DISABLE TRIGGER asleep;
COMMENT ON TRIGGER touch ON parent IS 'keeps the time';
"""
SQLITE_TRIGGERS = """
CREATE TABLE audit (id integer PRIMARY KEY, what text);
ALTER TABLE parent ADD updated_at text NOT NULL DEFAULT '2026-01-01';
CREATE TRIGGER touch AFTER UPDATE ON parent WHEN NEW.updated_at = OLD.updated_at
    BEGIN UPDATE parent SET updated_at = datetime('now') WHERE id = NEW.id; END;
CREATE TRIGGER "Write % down" AFTER DELETE ON parent
    BEGIN INSERT INTO audit (what) VALUES ('DELETE; parent'); END;
CREATE TRIGGER back AFTER INSERT ON parent
    BEGIN INSERT INTO audit (what) VALUES ('INSERT parent'); END;
CREATE TRIGGER write_down BEFORE UPDATE OF parent_id ON child
    BEGIN INSERT INTO audit (what) VALUES ('UPDATE child'); END;
"""


def test_triggers_stay_silent(every_url: str) -> None:
    """updated_at and audit triggers fire neither on the way there nor back, and work again after."""
    box = Sandbox(every_url)
    box.execute(ROWS, SQLITE_TRIGGERS if box.sqlite else POSTGRESQL_TRIGGERS)
    there_and_back(box, KEY)
    assert box.count("audit") == 0
    box.execute(
        "UPDATE parent SET v = 'z' WHERE id = 5; UPDATE child SET parent_id = 1 WHERE id = 4"
    )
    assert box.count("audit") > 0
    assert str(box.value("SELECT updated_at FROM parent WHERE id = 5")) > "2026-01-02"


def as_owner(box: Sandbox, *, grant: str = "") -> Sandbox:
    """The same database as a role that owns the tables and may not be replica."""
    box.execute(
        f"""CREATE ROLE plain LOGIN PASSWORD 'plain';
        DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO plain', current_database()); END $$;
        GRANT ALL ON SCHEMA public TO plain; GRANT SELECT ON ALL TABLES IN SCHEMA public TO plain;
        ALTER TABLE parent OWNER TO plain; ALTER TABLE child OWNER TO plain; {grant}"""
    )
    head, _, tail = box.url.partition("://")
    return Sandbox(f"{head}://plain:plain@{tail.partition('@')[2]}")


@pytest.fixture
def owned(every_pg_url: str) -> Any:
    """Tables with triggers in a database; the role goes with it."""
    box = Sandbox(every_pg_url)
    box.execute(ROWS, POSTGRESQL_TRIGGERS)
    yield box
    box.execute("DROP OWNED BY plain CASCADE; DROP ROLE plain")


def test_triggers_stay_silent_for_a_plain_owner(owned: Sandbox) -> None:
    """Disabled by name for the batch, and enabled again, deferred foreign keys notwithstanding."""
    owned.execute(
        """ALTER TABLE child ADD CONSTRAINT later_key FOREIGN KEY (parent_id) REFERENCES parent
            DEFERRABLE INITIALLY DEFERRED;
        ALTER TABLE parent ADD up integer REFERENCES parent DEFERRABLE INITIALLY DEFERRED;"""
    )
    box = as_owner(owned)
    there_and_back(box, KEY)
    assert box.count("parent") == 3
    assert owned.count("audit") == 0


def test_triggers_of_a_child_that_we_do_not_own_stop_the_plan(owned: Sandbox) -> None:
    """The plan names the trigger and the ways out."""
    box = as_owner(
        owned, grant="ALTER TABLE child OWNER TO current_user; GRANT ALL ON child TO plain;"
    )
    before = box.state()
    plan = api.make_plan(box.url, [KEY])
    assert [b.code for b in plan.blockers] == ["trigger_not_suppressible"]
    assert "write_down" in plan.blockers[0].message
    assert box.state() == before


def test_missing_privileges_stop_the_plan(owned: Sandbox) -> None:
    """Each is named before anything is touched."""
    owned.execute("DROP TABLE audit; DROP FUNCTION touch, write_down CASCADE;")
    box = as_owner(owned, grant="REVOKE INSERT, DELETE ON parent FROM plain;")
    plan = api.make_plan(box.url, [KEY])
    assert [b.code for b in plan.blockers] == ["missing_privilege"]
    assert "INSERT, DELETE" in plan.blockers[0].message


def test_a_trigger_that_always_fires_stops_the_plan(every_pg_url: str) -> None:
    """It cannot be kept from firing, so it is named."""
    box = Sandbox(every_pg_url)
    box.execute(ROWS, POSTGRESQL_TRIGGERS, "ALTER TABLE parent ENABLE ALWAYS TRIGGER touch")
    assert blockers(box, KEY) == ["trigger_not_suppressible"]


# -- exactness ----------------------------------------------------------------------------------


def test_everything_about_the_tables_comes_back(every_pg_url: str) -> None:
    """Comments, privileges, storage parameters, statistics, row order by nobody, sequences."""
    box = Sandbox(every_pg_url)
    box.execute(
        ROWS,
        """COMMENT ON TABLE parent IS 'the parents'; COMMENT ON COLUMN parent.k IS 'key: 100%';
        ALTER TABLE parent SET (fillfactor = 80); ALTER TABLE parent ALTER v SET STATISTICS 7;
        ALTER TABLE parent ALTER v SET STORAGE EXTERNAL; ALTER TABLE parent ADD CHECK (n > 0);
        GRANT SELECT ON parent TO PUBLIC; GRANT UPDATE (v) ON parent TO PUBLIC;
        CREATE INDEX ON parent (v); CREATE INDEX parent_h ON parent USING hash (v);
        ALTER TABLE parent ADD CONSTRAINT parent_ex EXCLUDE USING btree (n WITH =);
        CREATE VIEW seen AS SELECT * FROM parent; CREATE MATERIALIZED VIEW kept AS TABLE parent;
        CREATE RULE r AS ON INSERT TO child DO ALSO NOTHING;
        CREATE STATISTICS parent_s ON k, n FROM parent;""",
    )
    there_and_back(box, KEY)


def test_undo_twice_and_apply_again(every_url: str) -> None:
    """A second undo does nothing; the next apply plans anew."""
    box, before = ready(every_url)
    after = box.state()
    undone(box)
    again = api.undo(box.url)
    assert (again.status, again.exit_code, again.restored) == ("undone", 0, 0)
    assert box.state() == before
    applied(box, KEY)
    assert box.state() == after
    assert [r.status for r in api.status(box.url)] == ["done", "undone"]
    undone(box)
    assert box.state() == before


def test_undo_of_nothing(every_url: str) -> None:
    """No run, and no run of that name, are refused."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    assert api.undo(box.url).status == "refused"
    applied(box, KEY)
    outcome = api.undo(box.url, "20200101-00000000")
    assert (outcome.status, outcome.exit_code) == ("refused", 1)


def test_undo_of_a_stopped_run(every_url: str) -> None:
    """What was merged until then is put back."""
    from onerow.session import Limits

    box = Sandbox(every_url)
    box.execute(ROWS)
    before = box.state()
    outcome = api.apply(box.url, [KEY], limits=Limits(batch_rows=1, most_batch_rows=1, budget=0))
    assert (outcome.status, outcome.exit_code) == ("stopped", 1)
    undone(box)
    assert box.state() == before


def test_two_runs_are_taken_back_one_by_one(every_url: str) -> None:
    """The newest first; another rule of the same table in between."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    states = [box.state()]
    for key in (KEY, Key("parent", "(n % 3)", name="by_rest")):
        applied(box, key)
        states.append(box.state())
    runs = [r.id for r in api.status(box.url)]
    for run, state in zip(runs, states[-2::-1], strict=True):
        undone(box, run)
        assert box.state() == state


# -- others have been there since ---------------------------------------------------------------


def forced(box: Sandbox) -> api.Outcome:
    return api.undo(box.url, force=True, limits=SMALL)


NOT_BACK = "a row that it refers to is gone, or its place in a unique key is taken"


def test_a_survivor_that_was_changed(every_url: str) -> None:
    """It is left as it is, with what hangs on it; force puts the merged columns back."""
    box, before = ready(every_url)
    box.execute("UPDATE parent SET v = 'mine' WHERE id = 1; UPDATE parent SET v = 'f' WHERE id = 5")
    outcome = api.undo(box.url)
    assert (outcome.status, outcome.exit_code) == ("undone", 1)
    assert left(outcome) == [
        ("child", 2, "a row that it referred to is gone"),
        ("parent", 2, NOT_BACK),  # its number is the survivor's now
        ("parent", 1, "changed since"),
    ]
    assert box.rows("SELECT * FROM parent ORDER BY id") == [
        (1, 1, "mine", 20), (3, 2, "c", 30), (4, 2, "d", 40), (5, 3, "f", 50),
    ]  # fmt: skip
    assert box.rows("SELECT parent_id FROM child ORDER BY id") == [(1,), (1,), (4,), (5,)]
    outcome = forced(box)
    assert (outcome.status, outcome.exit_code, outcome.left_alone) == ("undone", 0, ())
    box.execute("UPDATE parent SET v = 'e' WHERE id = 5")
    assert box.state() == before


def test_columns_that_the_merge_did_not_write_are_the_others(every_url: str) -> None:
    """Forced or not, what somebody wrote into another column stays."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    applied(box, Key("parent", "k", merge={"default": "keep", "n": "max"}))
    box.execute("UPDATE parent SET v = 'mine' WHERE id = 3")
    assert left(api.undo(box.url))[-1] == ("parent", 3, "changed since")
    assert forced(box).exit_code == 0
    assert box.rows("SELECT v, n FROM parent WHERE id IN (3, 4) ORDER BY id") == [
        ("mine", 30), ("d", 40),
    ]  # fmt: skip


def test_a_survivor_that_was_deleted(every_url: str) -> None:
    """Its group comes back without it; forced, it comes back too."""
    box, before = ready(every_url)
    box.execute("DELETE FROM parent WHERE id = 1")
    outcome = api.undo(box.url)
    assert outcome.exit_code == 1
    # Its children went with it, by ON DELETE CASCADE: the one that had moved is known to us.
    assert left(outcome) == [("child", 2, "deleted since"), ("parent", 1, "deleted since")]
    assert box.rows("SELECT id FROM parent ORDER BY id") == [(2,), (3,), (4,), (5,)]
    assert forced(box).left_alone == ()
    box.execute("INSERT INTO child VALUES (1, 1, 'a')")
    assert box.state() == before


def test_a_child_that_was_moved_elsewhere(every_url: str) -> None:
    """It stays where somebody has put it, and what else was changed of it stays too."""
    box, before = ready(every_url)
    box.execute(
        "UPDATE child SET parent_id = 5 WHERE id = 3; UPDATE child SET word = 'new' WHERE id = 2"
    )
    outcome = api.undo(box.url)
    assert left(outcome) == [("child", 3, "changed since")]
    assert box.rows("SELECT parent_id, word FROM child ORDER BY id") == [
        (1, "a"), (2, "new"), (5, "c"), (5, "d"),
    ]  # fmt: skip
    assert forced(box).exit_code == 0
    box.execute("UPDATE child SET word = 'b' WHERE id = 2")
    assert box.state() == before


def test_a_row_in_the_place_of_one_that_went(every_url: str) -> None:
    """Of its primary key: force writes over it. Of another unique key: nobody can tell who wins."""
    box, before = ready(every_url)
    box.execute(
        "INSERT INTO parent VALUES (2, 7, 'new', 70); INSERT INTO parent VALUES (8, 8, 'new', 30)"
    )
    box.execute("DELETE FROM parent WHERE id = 3")
    outcome = api.undo(box.url)
    assert left(outcome) == [
        ("child", 3, "deleted since"),
        ("parent", 2, "a row with this key is there now"),
        ("parent", 3, "deleted since"),
    ]
    assert box.value("SELECT v FROM parent WHERE id = 2") == "new"
    outcome = forced(box)
    assert (outcome.exit_code, left(outcome)) == (1, [("parent", 3, NOT_BACK)])
    assert box.value("SELECT v FROM parent WHERE id = 2") == "b"
    box.execute("DELETE FROM parent WHERE id = 8")
    assert forced(box).exit_code == 0
    assert box.contents() == before[1]


def test_an_old_value_that_somebody_else_has_now(every_url: str) -> None:
    """The survivor cannot have its number back; the other rows of the batch can."""
    box, before = ready(every_url)
    box.execute("INSERT INTO parent VALUES (8, 8, 'new', 10)")
    outcome = api.undo(box.url)
    assert [w[:2] for w in left(outcome)] == [("child", 2), ("parent", 2), ("parent", 1)]
    assert "unique" in left(outcome)[-1][2].lower()
    assert box.rows("SELECT id, n FROM parent ORDER BY id") == [
        (1, 20), (3, 30), (4, 40), (5, 50), (8, 10),
    ]  # fmt: skip
    box.execute("DELETE FROM parent WHERE id = 8")
    assert forced(box).exit_code == 0
    assert box.state() == before


def test_a_parent_that_is_gone(every_url: str) -> None:
    """A merged row whose own parent was deleted since cannot come back, whoever we are."""
    box = Sandbox(every_url)
    box.execute(ROWS, SQLITE_TRIGGERS if box.sqlite else POSTGRESQL_TRIGGERS)
    before = box.state()
    key = Key("child", name="one", where="id > 1", keep="max id")
    applied(box, key)
    box.execute("DELETE FROM parent WHERE id = 2")
    outcome = api.undo(box.url)
    assert left(outcome) == [("child", 2, NOT_BACK)]
    assert left(forced(box)) == [("child", 2, NOT_BACK)]
    assert box.rows("SELECT id FROM child ORDER BY id") == [(1,), (3,), (4,)]
    # The audit of our own DELETE has moved its sequence.
    assert without_counters(box.schema()) == without_counters(before[0])


def test_a_column_that_came_since(every_url: str) -> None:
    """Rows come back with its default; the rest is as it was."""
    box, before = ready(every_url)
    box.execute("ALTER TABLE parent ADD extra integer DEFAULT 7")
    undone(box)
    assert set(box.rows("SELECT extra FROM parent")) == {(7,)}
    box.execute("ALTER TABLE parent DROP COLUMN extra")
    assert box.contents() == before[1]


def test_a_column_that_went_since(every_url: str) -> None:
    """Its values are in the archive only: undo says what is missing, and does nothing by halves."""
    box, _ = ready(every_url)
    box.execute("ALTER TABLE child DROP COLUMN word")
    undone(box)
    assert box.rows("SELECT * FROM child ORDER BY id") == [(1, 1), (2, 2), (3, 4), (4, 5)]
    applied(box, KEY)
    box.execute("ALTER TABLE parent DROP COLUMN v")
    after = box.contents()
    outcome = api.undo(box.url)
    assert (outcome.status, outcome.exit_code) == ("stopped", 1)
    assert "v" in outcome.message
    assert box.contents() == after


def test_a_table_that_went_since(every_url: str) -> None:
    """A clear word, no traceback."""
    box, _ = ready(every_url)
    box.execute("DROP TABLE child")
    outcome = api.undo(box.url)
    assert (outcome.status, outcome.exit_code) == ("stopped", 1)
    assert "child" in outcome.message


def test_rows_that_break_the_old_key_since(every_url: str) -> None:
    """The old key cannot come back: told before any row is moved, and nothing refuses writes."""
    box = Sandbox(every_url)
    box.execute(ROWS, "CREATE UNIQUE INDEX old ON parent (v)")
    before = box.state()
    applied(box, Key("parent", "k", name="parent_k", replaces=["old"], merge={"n": "max"}))
    box.execute("INSERT INTO parent VALUES (8, 8, 'e', 80)")
    merged = box.state()
    outcome = api.undo(box.url)
    assert (outcome.status, outcome.exit_code) == ("stopped", 1)
    assert box.state() == merged
    box.execute("INSERT INTO parent VALUES (9, 9, 'e', 90)")
    box.execute("DELETE FROM parent WHERE id > 7")
    undone(box)
    assert box.state() == before


def test_a_reference_that_leans_on_the_new_key(every_pg_url: str) -> None:
    """Somebody else's foreign key keeps the new key where it is; undo says so."""
    box, _ = ready(every_pg_url)
    box.execute("CREATE TABLE leans (k integer REFERENCES parent (k))")
    before = box.state()
    with pytest.raises(OnerowError, match="other objects depend on it"):
        api.undo(box.url)
    assert box.state() == before
    box.execute("DROP TABLE leans")
    undone(box)
