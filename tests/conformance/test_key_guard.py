"""`guard = true`: no new duplicates from the start of the change."""

from __future__ import annotations

import secrets
import sqlite3
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from onerow import api, conflict_of
from onerow.database import Database
from onerow.rules import Index, Key
from onerow.session import Limits
from tests.support.live import InBackground, Writers, transaction, until, waits_for_lock
from tests.support.sandbox import Sandbox
from tests.support.story import SMALL, applied, blockers, planned, undone

ROWS = """
CREATE TABLE parent (id integer PRIMARY KEY, k integer, j text, v text);
CREATE INDEX parent_look ON parent (k);
INSERT INTO parent VALUES (1, 1, 'a', 'x'), (2, 1, 'a', 'y'), (3, 2, 'b', NULL);
"""
REFUSED = (psycopg.errors.UniqueViolation, sqlite3.IntegrityError)
STOP = Limits(budget=0)


def key(*columns: str, **facts: Any) -> Key:
    return Key("parent", *(columns or ("k",)), name="parent_k", guard=True, **facts)


def guarded(box: Sandbox, *rules: Any) -> None:
    """Apply as far as the guard: the budget ends after its step."""
    outcome = api.apply(box.url, list(rules), plan=planned(box, *rules), limits=STOP)
    assert outcome.status == "stopped"
    done = [s.id for s in outcome.steps if s.status == "done"]
    assert len(done) == 1


def taken(box: Sandbox, *statements: str) -> None:
    for statement in statements:
        box.execute(statement)


def refused(box: Sandbox, statement: str) -> BaseException:
    before = box.contents()
    with pytest.raises(REFUSED) as error:
        box.execute(statement)
    assert box.contents() == before
    return error.value


# -- what is left alone --------------------------------------------------------------------------


def test_without_guard(every_url: str) -> None:
    """A key that asks for none gets none."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    assert "guard" not in [s.kind for s in planned(box, Key("parent", "k")).steps]


def test_a_key_that_stands_needs_none(every_url: str) -> None:
    """There is nothing to keep out that the index does not."""
    box = Sandbox(every_url)
    box.execute(ROWS, "DELETE FROM parent WHERE id = 2; CREATE UNIQUE INDEX parent_k ON parent (k)")
    assert planned(box, key()).steps == ()


def test_what_passes_the_guard(every_url: str) -> None:
    """New keys, NULLs, duplicates of before in their other columns, and deletes."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    guarded(box, key())
    taken(
        box,
        "INSERT INTO parent VALUES (4, 4, 'd', NULL)",
        "INSERT INTO parent VALUES (5, NULL, 'n', NULL), (6, NULL, 'n', NULL)",
        "UPDATE parent SET v = 'z', k = k WHERE id = 2",
        "UPDATE parent SET k = 9 WHERE id = 3",
        "DELETE FROM parent WHERE id = 4",
    )
    assert box.count("parent") == 5


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO parent VALUES (4, 2, 'b', NULL)",
        "INSERT INTO parent VALUES (4, 1, 'b', NULL)",
        "UPDATE parent SET k = 2 WHERE id = 1",
        "INSERT INTO parent VALUES (4, 7, 'b', NULL), (5, 7, 'b', NULL)",
        "UPDATE parent SET k = 8",
    ],
)
def test_what_the_guard_refuses(every_url: str, statement: str) -> None:
    """A second row, a third one, a row that moves, two at once."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    guarded(box, key())
    refused(box, statement)


CASES: list[tuple[Key, str, list[str], str]] = [
    (
        key("k", where="v IS NOT NULL"),
        "",
        [
            "INSERT INTO parent VALUES (4, 2, 'b', NULL)",
            "INSERT INTO parent VALUES (5, 2, 'b', 'in')",
        ],
        "UPDATE parent SET v = 'in as well' WHERE id = 4",
    ),
    (
        key("j", ignore_case=["j"]),
        "CREATE INDEX parent_j ON parent (lower(j))",
        ["INSERT INTO parent VALUES (4, 2, 'c', NULL)", "UPDATE parent SET j = 'A' WHERE id = 2"],
        "INSERT INTO parent VALUES (5, 2, 'C', NULL)",
    ),
    (
        key("k", "j", nulls="equal"),
        "",
        ["INSERT INTO parent VALUES (4, NULL, 'n', NULL), (5, NULL, NULL, NULL)"],
        "INSERT INTO parent VALUES (6, NULL, NULL, 'again')",
    ),
    (
        key("(coalesce(k, 0) / 10)"),
        "CREATE INDEX parent_e ON parent ((coalesce(k, 0) / 10))",
        ["INSERT INTO parent VALUES (4, 10, 'n', NULL)"],
        "INSERT INTO parent VALUES (5, 19, 'n', NULL)",
    ),
]


@pytest.mark.parametrize(("rule", "extra", "passes", "refuses"), CASES)
def test_shapes_of_keys(
    every_url: str, rule: Key, extra: str, passes: list[str], refuses: str
) -> None:
    """A filter, no case, equal NULLs, an expression: as the index will, so the guard."""
    box = Sandbox(every_url)
    box.execute(ROWS, extra)
    guarded(box, rule)
    taken(box, *passes)
    refused(box, refuses)
    assert api.apply(box.url, [rule]).status == "done"
    refused(box, refuses)


def test_a_singleton(every_url: str) -> None:
    """No second row; the ones that are there may be changed."""
    box = Sandbox(every_url)
    box.execute(
        "CREATE TABLE parent (id integer PRIMARY KEY, v text); INSERT INTO parent VALUES (1, 'a'), (2, 'b')"
    )
    rule = Key("parent", name="parent_one", guard=True)
    guarded(box, rule)
    taken(box, "UPDATE parent SET v = 'c'")
    refused(box, "INSERT INTO parent VALUES (3, 'c')")


def test_what_generated_columns_and_triggers_make_of_a_row(pg_url: str) -> None:
    """The guard looks at the row as it is in the end."""
    box = Sandbox(pg_url)
    box.execute(
        """CREATE TABLE parent (id integer PRIMARY KEY, name text, slug text,
            low text GENERATED ALWAYS AS (lower(slug)) STORED);
        CREATE INDEX ON parent (low);
        CREATE FUNCTION slug() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN NEW.slug := replace(NEW.name, ' ', '-'); RETURN NEW; END $$;
        CREATE TRIGGER zz_slug BEFORE INSERT OR UPDATE ON parent FOR EACH ROW EXECUTE FUNCTION slug();
        INSERT INTO parent VALUES (1, 'A b'), (2, 'a-B');"""
    )
    guarded(box, Key("parent", "low", name="parent_low", guard=True))
    taken(box, "INSERT INTO parent VALUES (3, 'c d')")
    refused(box, "INSERT INTO parent VALUES (4, 'C-D')")
    refused(box, "UPDATE parent SET name = 'c d' WHERE id = 1")


def test_types_that_look_different_and_are_equal(pg_url: str) -> None:
    """1.0 and 1.00 are one key, and so wait for one lock; a type without a hash has one for all."""
    box = Sandbox(pg_url)
    box.execute(
        """CREATE TABLE parent (id integer PRIMARY KEY, n numeric, b bit(3));
        CREATE INDEX ON parent (n); INSERT INTO parent VALUES (1, 1.0, '101')"""
    )
    guarded(box, Key("parent", "n", "b", name="parent_n", guard=True))
    taken(box, "INSERT INTO parent VALUES (2, 2, '101')")
    with transaction(box) as first:
        first.execute("INSERT INTO parent VALUES (3, 3.0, '111')")
        second = InBackground(lambda: box.execute("INSERT INTO parent VALUES (4, 3.00, '111')"))
        until(lambda: _waits(box), "the second writer waits")
        first.execute("COMMIT")
    with pytest.raises(psycopg.errors.UniqueViolation):
        second.result()


def test_as_a_conflict_of_the_key(every_url: str) -> None:
    """`conflict_of` says what it will say of the index; other triggers' refusals are none."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    guarded(box, key("k", "j"))
    if box.sqlite:
        box.execute(
            "CREATE TRIGGER other AFTER DELETE ON parent BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    database = Database(box.url)
    with database.connect() as connection, pytest.raises(sa.exc.DBAPIError) as error:
        connection.execute(
            sa.text("INSERT INTO parent (id, k, j) VALUES (:id, :k, :j)"),
            {"id": 9, "k": 2, "j": "b"},
        )
    conflict = conflict_of(error.value)
    assert conflict is not None
    assert (conflict.kind, conflict.table, conflict.columns) == ("unique", "parent", ("k", "j"))
    if box.sqlite:
        with database.connect() as connection, pytest.raises(sa.exc.DBAPIError) as error:
            connection.execute(sa.text("DELETE FROM parent"))
        assert conflict_of(error.value) is None
    else:
        assert (conflict.constraint, conflict.sqlstate) == ("parent_k", "23505")
        assert conflict.values == {"k": 2, "j": "b"}


# -- who writes ----------------------------------------------------------------------------------


def _waits(box: Sandbox) -> bool:
    return bool(
        box.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    )


def test_two_writers_of_a_new_key(every_pg_url: str) -> None:
    """The second waits for the first, and sees its row; another key does not wait."""
    box = Sandbox(every_pg_url)
    box.execute(ROWS)
    guarded(box, key())
    with transaction(box) as first:
        first.execute("INSERT INTO parent VALUES (4, 4, 'd', NULL)")
        box.execute("SET lock_timeout = '1s'; INSERT INTO parent VALUES (6, 6, 'd', NULL)")
        second = InBackground(lambda: box.execute("INSERT INTO parent VALUES (5, 4, 'd', NULL)"))
        until(lambda: _waits(box), "the second writer waits")
        first.execute("COMMIT")
    with pytest.raises(psycopg.errors.UniqueViolation) as error:
        second.result()
    assert error.value.diag.message_detail == "Key (k)=(4) already exists."


def test_a_first_writer_that_gives_up(pg_url: str) -> None:
    """The second has the key then."""
    box = Sandbox(pg_url)
    box.execute(ROWS)
    guarded(box, key())
    with transaction(box) as first:
        first.execute("INSERT INTO parent VALUES (4, 4, 'd', NULL)")
        second = InBackground(lambda: box.execute("INSERT INTO parent VALUES (5, 4, 'd', NULL)"))
        until(lambda: _waits(box), "the second writer waits")
        first.execute("ROLLBACK")
    second.result()
    assert box.value("SELECT id FROM parent WHERE k = 4") == 5


def test_a_writer_with_one_snapshot(pg_url: str) -> None:
    """In REPEATABLE READ it could not see the other's row: it is told to start anew."""
    box = Sandbox(pg_url)
    box.execute(ROWS)
    guarded(box, key())
    with transaction(box) as first, box.connect() as second:
        first.execute("INSERT INTO parent VALUES (4, 4, 'd', NULL)")
        second.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        with pytest.raises(psycopg.errors.SerializationFailure):
            second.execute("INSERT INTO parent VALUES (5, 4, 'd', NULL)")
        second.execute("ROLLBACK")
        first.execute("COMMIT")


def test_a_writer_that_may_only_insert(pg_url: str) -> None:
    """It needs no more rights than before, and a table of its own does not shadow ours."""
    box = Sandbox(pg_url)
    box.execute(ROWS, "DROP ROLE IF EXISTS onerow_inserter; CREATE ROLE onerow_inserter")
    box.execute("GRANT INSERT ON parent TO onerow_inserter")
    guarded(box, key())
    try:
        with box.connect() as writer:
            writer.execute("SET ROLE onerow_inserter")
            writer.execute("CREATE TEMPORARY TABLE parent_look (k integer)")
            writer.execute("INSERT INTO parent VALUES (4, 4, 'd', NULL)")
            with pytest.raises(psycopg.errors.UniqueViolation):
                writer.execute("INSERT INTO parent VALUES (5, 4, 'd', NULL)")
    finally:
        box.execute("DROP OWNED BY onerow_inserter; DROP ROLE onerow_inserter")


def test_a_writer_of_many_rows(pg_url: str) -> None:
    """However many rows a transaction writes, the server's lock table holds out."""
    box = Sandbox(pg_url)
    box.execute(ROWS)
    guarded(box, key())
    box.execute("INSERT INTO parent SELECT i, i, 'm' FROM generate_series(10, 30000) AS g(i)")
    refused(
        box,
        "INSERT INTO parent SELECT 40000 + i, i, 'm' FROM generate_series(29999, 30001) AS g(i)",
    )


# -- the whole way -------------------------------------------------------------------------------


def test_the_whole_way(every_url: str) -> None:
    """First a guard, at last none: merged under it, taken back without a trace."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    before = box.state()
    kinds = [s.kind for s in planned(box, key()).steps]
    assert (kinds[0], kinds.count("drop_guard")) == ("guard", 1)
    assert kinds.index("drop_guard") > kinds.index("create_index")
    outcome = applied(box, key())
    assert outcome.archived == 1
    assert guards(box) == 0
    undone(box)
    assert box.state() == before


def guards(box: Sandbox) -> int:
    """Triggers and functions of guards that are there."""
    if box.sqlite:
        return int(box.value("SELECT count(*) FROM sqlite_master WHERE name LIKE 'onerow_guard%'"))
    return int(
        box.value(
            "SELECT (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'onerow_guard%')"
            " + (SELECT count(*) FROM pg_proc WHERE proname LIKE 'onerow_guard%')"
        )
    )


def test_undo_of_a_guard_alone(every_url: str) -> None:
    """A run that got no further than its guard leaves nothing behind when it is taken back."""
    box = Sandbox(every_url)
    box.execute(ROWS)
    before = box.state()
    guarded(box, key())
    assert guards(box) > 0
    undone(box)
    assert guards(box) == 0
    assert box.state() == before


def test_an_owner_that_is_no_superuser(pg_url: str) -> None:
    """The merge passes the guard by itself: it is not switched off, which would stop all writers."""
    box = Sandbox(pg_url)
    role, password = "onerow_owner", secrets.token_hex(8)
    box.execute(
        ROWS,
        f"CREATE ROLE {role} LOGIN PASSWORD '{password}'; ALTER TABLE parent OWNER TO {role}; GRANT CREATE ON SCHEMA public TO {role}",
        f"GRANT CREATE ON DATABASE {box.value('SELECT current_database()')} TO {role}",
    )
    url = sa.make_url(pg_url).set(username=role, password=password)
    address = url.render_as_string(hide_password=False)
    strong = "SELECT count(*) FROM pg_locks WHERE mode = 'ShareRowExclusiveLock' AND relation = 'parent'::regclass"
    try:
        with transaction(box) as holder:
            holder.execute("SELECT 1 FROM parent WHERE id = 1 FOR UPDATE")
            run = InBackground(lambda: api.apply(address, [key()]))
            until(lambda: waits_for_lock(box, "INSERT INTO pg_temp"), "a batch waits for the row")
            assert guards(box) == 2
            assert box.value(strong) == 0
            holder.execute("COMMIT")
        assert run.result().status == "done"
    finally:
        box.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


def test_writers_that_make_duplicates_are_kept_out(every_url: str) -> None:
    """With a guard one merge is enough, however hard they try."""
    box = Sandbox(every_url)
    box.execute(
        ROWS,
        """WITH RECURSIVE g(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM g WHERE i < 400)
        INSERT INTO parent SELECT i, i % 50 + 100, 'j', NULL FROM g;""",
    )
    plan = planned(box, key())
    with Writers(
        box, lambda n: f"INSERT INTO parent VALUES ({n}, {n % 50 + 100}, 'w', NULL)", 0.02
    ) as writers:
        until(lambda: writers.written > 3, "the writers write")
        outcome = api.apply(
            box.url, [key()], plan=plan, limits=Limits(batch_rows=10, most_batch_rows=20, passes=1)
        )
    assert outcome.status == "done", outcome.message
    assert writers.refused > 0


# -- the plan ------------------------------------------------------------------------------------


def test_a_guard_that_would_scan(every_pg_url: str) -> None:
    """Over few rows the plan says so; over many it asks for an index, and takes one of the rules."""
    box = Sandbox(every_pg_url)
    box.execute(
        "CREATE TABLE parent (id integer PRIMARY KEY, k integer); INSERT INTO parent VALUES (1, 1), (2, 1); ANALYZE parent"
    )
    rule = Key("parent", "k", name="parent_k", guard=True)
    step = planned(box, rule).steps[0]
    assert step.kind == "guard"
    assert "looks at all rows" in step.sentence
    box.execute(
        "INSERT INTO parent SELECT i, i FROM generate_series(10, 20000) AS g(i); ANALYZE parent"
    )
    assert blockers(box, rule) == ["unindexed_guard"]
    index = Index(table="parent", columns=("k",), name="parent_look")
    plan = planned(box, index, rule)
    kinds = [s.kind for s in plan.steps]
    assert kinds.index("guard") > kinds.index("create_index")
    assert "looks at all rows" not in plan.steps[kinds.index("guard")].sentence
    box.execute("CREATE INDEX other ON parent (k, id)")
    assert blockers(box, rule) == []


def test_a_guard_that_is_killed_with_its_runner(every_pg_url: str) -> None:
    """The next apply knows it by its name in the journal and goes on."""
    box = Sandbox(every_pg_url)
    box.execute(ROWS)
    guarded(box, key())
    outcome = api.apply(box.url, [key()], limits=SMALL)
    assert outcome.status == "done"
    assert guards(box) == 0
