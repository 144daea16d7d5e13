"""[[column]]: added empty, filled from what the rule names, kept from NULL. Nothing is guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from onerow import api
from onerow.errors import RuleError
from onerow.plan import Plan
from onerow.rulefile import Rules
from onerow.session import Limits
from tests.support.rules import (
    applied,
    apply,
    blocked,
    plan,
    rules_of,
    there_and_back,
    undone,
    verdicts,
)
from tests.support.sandbox import Sandbox
from tests.support.story import SMALL

ROWS = 60
DATA = f"""
CREATE TABLE facilities (id integer PRIMARY KEY, name text);
CREATE TABLE execution_data (id integer PRIMARY KEY, period_id integer NOT NULL,
    created_by text, amount numeric(18, 2));
INSERT INTO facilities VALUES (1, 'one'), (2, 'two'), (3, 'three');
INSERT INTO execution_data
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
    SELECT i, i % 4, 'u' || (i % 3), i FROM n;
"""


@pytest.fixture
def box(every_url: str) -> Sandbox:
    return made(every_url)


@pytest.fixture
def either(db_url: str) -> Sandbox:
    """For what is refused before an engine's version could matter."""
    return made(db_url)


def made(url: str) -> Sandbox:
    box = Sandbox(url)
    box.execute(DATA)
    return box


def column(*lines: str, table: str = "execution_data", name: str = "facility_id") -> str:
    head = [f'table = "{table}"', f'name = "{name}"']
    if not any(line.startswith("type") for line in lines):
        head.append('type = "integer"')
    return "\n".join(["[[column]]", *head, *lines, ""])


def csv_of(folder: Path, rows: dict[object, object], header: str = "id,facility_id") -> None:
    lines = [f"{k},{v}" for k, v in rows.items()]
    (folder / "map.csv").write_text("\n".join([header, *lines, ""]))


def by_csv(folder: Path, *lines: str) -> Rules:
    return rules_of(column('backfill = { csv = "map.csv", key = "id" }', *lines), folder)


def filled(box: Sandbox) -> dict[int, int | None]:
    return dict(box.rows("SELECT id, facility_id FROM execution_data"))


# -- added ---------------------------------------------------------------------------------------


def test_added_and_nothing_more(either: Sandbox) -> None:
    """Nullable, without a default: a change of the catalog."""
    rules = rules_of(column())
    assert verdicts(either, rules) == ["not enforced"]
    outcome = there_and_back(either, rules)
    assert [s.kind for s in outcome.steps] == ["add_column", "verify"]
    assert set(filled(either).values()) == {None}


def test_backfill_with_a_value(box: Sandbox) -> None:
    """Every row gets it; the column is NOT NULL then."""
    there_and_back(box, rules_of(column("not_null = true", "backfill = { value = 2 }")))
    assert filled(box) == dict.fromkeys(range(1, ROWS + 1), 2)
    with pytest.raises(Exception, match=r"(?i)null"):
        box.execute("INSERT INTO execution_data (id, period_id) VALUES (1000, 1)")


@pytest.mark.parametrize(
    ("type_", "value", "stored"),
    [
        ("text", '"it\'s"', "it's"),
        ("text", '"100 %s :x"', "100 %s :x"),
        ("integer", "-7", -7),
        ("boolean", "true", True),
    ],
)
def test_values_of_several_types(either: Sandbox, type_: str, value: str, stored: object) -> None:
    """They are written as SQL, whatever stands in them."""
    applied(
        either, rules_of(column(f'type = "{type_}"', f"backfill = {{ value = {value} }}", name="v"))
    )
    assert set(either.rows("SELECT v FROM execution_data")) == {(stored,)}


def test_backfill_with_an_expression(box: Sandbox) -> None:
    """It reads the row, by the table's name too, and other tables."""
    sql = "(SELECT f.id FROM facilities AS f WHERE 'u' || (f.id - 1) = execution_data.created_by)"
    there_and_back(box, rules_of(column("not_null = true", f'backfill = {{ sql = "{sql}" }}')))
    assert filled(box) == {i: i % 3 + 1 for i in range(1, ROWS + 1)}


def test_backfill_from_a_file(box: Sandbox, tmp_path: Path) -> None:
    """By the key that the rule names."""
    csv_of(tmp_path, {i: i % 3 + 1 for i in range(1, ROWS + 1)})
    there_and_back(box, by_csv(tmp_path, "not_null = true"))
    assert filled(box) == {i: i % 3 + 1 for i in range(1, ROWS + 1)}


def test_backfill_from_a_file_by_two_columns(either: Sandbox, tmp_path: Path) -> None:
    """A key may be of several columns, in any order, and name many rows at once."""
    (tmp_path / "map.csv").write_text(
        "facility_id,created_by,period_id\n"
        + "".join(f"{p + 1},u{u},{p}\n" for p in range(4) for u in range(3))
    )
    file = 'backfill = { csv = "map.csv", key = "period_id, created_by" }'
    applied(either, rules_of(column("not_null = true", file), tmp_path))
    assert filled(either) == {i: i % 4 + 1 for i in range(1, ROWS + 1)}


def test_a_nullable_column_may_stay_empty_where_nothing_covers_it(
    either: Sandbox, tmp_path: Path
) -> None:
    """Only NOT NULL asks for every row."""
    csv_of(tmp_path, {1: 1, 2: 2, 3: ""})
    there_and_back(either, by_csv(tmp_path))
    assert {k: v for k, v in filled(either).items() if v} == {1: 1, 2: 2}


# -- references ----------------------------------------------------------------------------------


def test_references(box: Sandbox, tmp_path: Path) -> None:
    """A foreign key stands, valid, with the action asked for."""
    csv_of(tmp_path, {i: i % 3 + 1 for i in range(1, ROWS + 1)})
    rules = by_csv(
        tmp_path, "not_null = true", 'references = "facilities(id)"', 'on_delete = "cascade"'
    )
    there_and_back(box, rules)
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        box.execute("INSERT INTO execution_data (id, period_id, facility_id) VALUES (1000, 1, 99)")
    box.execute("DELETE FROM facilities WHERE id = 1")
    assert 1 not in filled(box).values()


def test_a_backfill_that_refers_to_nothing_is_refused(either: Sandbox, tmp_path: Path) -> None:
    """Before anything is touched, with the rows."""
    csv_of(tmp_path, {1: 1, 2: 77})
    message = blocked(either, by_csv(tmp_path, 'references = "facilities(id)"'))["violating_rows"]
    assert "1 row(s)" in message
    assert "id = 2" in message


def test_a_missing_target_is_an_error(either: Sandbox) -> None:
    """With the nearest name."""
    with pytest.raises(RuleError, match="facilities"):
        api.make_plan(either.url, rules_of(column('references = "facilitys(id)"')))


def test_triggers_and_foreign_keys_at_once(pg_url: str, tmp_path: Path) -> None:
    """With user triggers kept from firing the server checks no foreign key; we do."""
    box = Sandbox(pg_url)
    box.execute(
        DATA,
        """CREATE FUNCTION bad() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN NEW.amount := 0; RETURN NEW; END $$;
        CREATE TRIGGER moved BEFORE UPDATE ON execution_data
            FOR EACH ROW EXECUTE FUNCTION bad();""",
    )
    csv_of(tmp_path, dict.fromkeys(range(1, ROWS + 1), 1))
    rules = by_csv(tmp_path, "not_null = true", 'references = "facilities(id)"')
    made = plan(box, rules)
    csv_of(tmp_path, {i: 1 if i != 5 else 99 for i in range(1, ROWS + 1)})
    outcome = api.apply(box.url, plan=made, limits=Limits(batch_rows=4, most_batch_rows=8))
    assert outcome.status == "stopped"
    assert "99" in outcome.message
    csv_of(tmp_path, dict.fromkeys(range(1, ROWS + 1), 1))
    assert apply(box, rules).status == "done"
    assert box.value("SELECT min(amount) FROM execution_data") == 1


# -- what covers nothing -------------------------------------------------------------------------


def test_rows_that_nothing_covers_are_a_blocker(box: Sandbox, tmp_path: Path) -> None:
    """Known before anything is touched, with their number and keys; nothing is guessed."""
    csv_of(tmp_path, dict.fromkeys(range(1, ROWS - 1), 1))
    message = blocked(box, by_csv(tmp_path, "not_null = true"))["unmapped_rows"]
    assert "2 row(s)" in message
    assert f"id = {ROWS - 1}; id = {ROWS}" in message


def test_an_expression_that_gives_null_covers_nothing(either: Sandbox) -> None:
    """What it leaves is told as well."""
    given = 'backfill = { sql = "CASE WHEN id <> 9 THEN 1 END" }'
    assert (
        "(id = 9)" in blocked(either, rules_of(column("not_null = true", given)))["unmapped_rows"]
    )


def test_rows_that_nothing_covers_any_more_stop_it(box: Sandbox, tmp_path: Path) -> None:
    """A file that has lost lines since the plan: told at the backfill; complete, it goes on."""
    rules = by_csv(tmp_path, "not_null = true")
    before = box.state()
    made = planned_in_full(box, tmp_path, rules)
    csv_of(tmp_path, dict.fromkeys(range(1, ROWS - 1), 1))
    outcome = api.apply(box.url, plan=made)
    assert (outcome.status, outcome.exit_code) == ("stopped", 1)
    assert "unmapped_rows: 2 row(s)" in outcome.message
    assert f"id = {ROWS - 1}; id = {ROWS}" in outcome.message
    assert {s.kind: s.status for s in outcome.steps[:2]} == {
        "add_column": "done",
        "backfill": "stopped",
    }
    assert box.count("execution_data") == ROWS
    assert apply(box, rules).status == "stopped"
    csv_of(tmp_path, dict.fromkeys(range(1, ROWS + 1), 1))
    assert apply(box, rules).status == "done"
    assert set(filled(box).values()) == {1}
    undone(box)
    assert box.state() == before


def planned_in_full(box: Sandbox, folder: Path, rules: Rules) -> Plan:
    """A plan by a file that covers every row."""
    csv_of(folder, dict.fromkeys(range(1, ROWS + 1), 1))
    return plan(box, rules)


def test_a_stopped_backfill_can_be_taken_back(either: Sandbox, tmp_path: Path) -> None:
    """As if nothing had been."""
    before = either.state()
    made = planned_in_full(either, tmp_path, by_csv(tmp_path, "not_null = true"))
    csv_of(tmp_path, {1: 1})
    assert api.apply(either.url, plan=made).status == "stopped"
    undone(either)
    assert either.state() == before


def test_not_null_without_a_backfill_is_refused(either: Sandbox) -> None:
    """There is nothing that could cover the rows."""
    message = blocked(either, rules_of(column("not_null = true")))["unmapped_rows"]
    assert f"{ROWS} row(s)" in message


def test_not_null_without_a_backfill_over_no_rows(either: Sandbox) -> None:
    """An empty table needs none."""
    either.execute("DELETE FROM execution_data")
    there_and_back(either, rules_of(column("not_null = true")))


def is_native(box: Sandbox) -> bool:
    return int(box.value("SHOW server_version_num")) >= 180000


def test_the_servers_own_way_to_not_null(every_pg_url: str, tmp_path: Path) -> None:
    """From 18 on a constraint NOT VALID, then validated: no check, no scan under a strong lock."""
    box = Sandbox(every_pg_url)
    box.execute(DATA)
    csv_of(tmp_path, dict.fromkeys(range(1, ROWS + 1), 1))
    steps = plan(box, by_csv(tmp_path, "not_null = true")).steps
    sql = [q.partition('"execution_data" ')[2] for s in steps for q in s.sql]
    name = '"execution_data_facility_id_not_null"'
    assert (f'ADD CONSTRAINT {name} NOT NULL "facility_id" NOT VALID' in sql) == is_native(box)
    assert ("add_check" in {s.kind for s in steps}) == (not is_native(box))
    assert f"VALIDATE CONSTRAINT {name}" in sql
    there_and_back(box, by_csv(tmp_path, "not_null = true"))
    if is_native(box):
        told = "SELECT conname, convalidated FROM pg_constraint WHERE contype = 'n'"
        assert ("execution_data_facility_id_not_null", True) in box.rows(told)


def test_a_not_null_that_was_never_validated(every_pg_url: str) -> None:
    """It is filled and validated, and is NOT VALID again after the undo."""
    box = Sandbox(every_pg_url)
    if not is_native(box):
        with pytest.raises(psycopg.errors.SyntaxError):
            box.execute("CREATE TABLE t (a int); ALTER TABLE t ADD NOT NULL a NOT VALID")
        return
    box.execute(
        "CREATE TABLE t (id integer PRIMARY KEY, a integer); INSERT INTO t VALUES (1, NULL), (2, 2);"
        "ALTER TABLE t ADD CONSTRAINT mine NOT NULL a NOT VALID;"
        "COMMENT ON CONSTRAINT mine ON t IS 'soon'"
    )
    rules = rules_of(column("not_null = true", "backfill = { value = 9 }", table="t", name="a"))
    assert [s.kind for s in plan(box, rules).steps] == [
        "set_not_null", "backfill", "validate_check", "verify",
    ]  # fmt: skip
    there_and_back(box, rules)
    assert box.rows("SELECT a FROM t ORDER BY id") == [(9,), (2,)]


def test_rows_that_were_written_meanwhile_come_back_empty(either: Sandbox) -> None:
    """Written before new rows were bound, filled behind that, and empty again after the undo."""
    either.execute(
        "CREATE TABLE t (id integer PRIMARY KEY, a integer); INSERT INTO t VALUES (1, NULL), (2, 2)"
    )
    rules = rules_of(column("not_null = true", "backfill = { value = 9 }", table="t", name="a"))
    seen: list[str] = []

    def listen(event: Any) -> None:
        if event.step and event.step.kind == "backfill" and event.what == "end" and not seen:
            either.execute("INSERT INTO t VALUES (3, NULL)")
            seen.append(event.step.id)

    outcome = api.apply(either.url, rules, limits=SMALL, listen=listen)
    assert (outcome.status, len(seen)) == ("done", 1), outcome.message
    assert either.rows("SELECT id, a FROM t ORDER BY id") == [(1, 9), (2, 2), (3, 9)]
    undone(either)
    assert either.rows("SELECT id, a FROM t ORDER BY id") == [(1, None), (2, 2), (3, None)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,facility_id\n1,1\n1,2\n", "two values for id = 1"),
        ("id,facility_id\n999,1\n", "names rows that"),
        ("id,facility_id\n1,abc\n", "abc"),
        ("id,facility\n1,1\n", "Did you mean 'facility'?"),
        ("id,facility_id,note\n1,1,x\n", "unknown column 'note'"),
        ("id,facility_id\n1\n", "line 2"),
        ("id,facility_id\n,1\n", "key is empty"),
        ("", "lacks the column"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error(
    either: Sandbox, tmp_path: Path, text: str | None, said: str
) -> None:
    """Before anything is touched."""
    if text is not None:
        (tmp_path / "map.csv").write_text(text)
    with pytest.raises(RuleError) as caught:
        api.make_plan(either.url, by_csv(tmp_path))
    assert said in str(caught.value)


def test_the_same_value_twice_is_no_contradiction(either: Sandbox, tmp_path: Path) -> None:
    """A line may be there twice."""
    (tmp_path / "map.csv").write_text("id,facility_id\n1,1\n1,1\n")
    applied(either, by_csv(tmp_path))
    assert filled(either)[1] == 1


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (('backfill = { value = 1, sql = "2" }',), "backfill is one of"),
        (('backfill = { csv = "map.csv" }',), "backfill is one of"),
        (("backfill = { value = [1] }",), "no single value"),
        (('backfill = { sql = "1; 2" }',), "not one SQL expression"),
        (('backfill = { sql = "no_such_column" }',), "no_such_column"),
        (('generated = "period_id"', "backfill = { value = 1 }"), "takes no backfill"),
        (('generated = "perod_id"',), "Did you mean 'period_id'?"),
        (('references = "facilities(id)"', 'on_delete = "drop"'), "unknown on_delete"),
        (('references = "facilities(id, name)"',), "as many columns"),
    ],
)
def test_rules_that_contradict_themselves(
    either: Sandbox, lines: tuple[str, ...], said: str
) -> None:
    """They are errors of the rule."""
    with pytest.raises(RuleError) as caught:
        api.make_plan(either.url, rules_of(column(*lines)))
    assert said in str(caught.value)


def test_a_type_that_is_none_is_an_error(pg_url: str) -> None:
    """The server is asked."""
    box = Sandbox(pg_url)
    box.execute(DATA)
    with pytest.raises(RuleError, match="integr"):
        api.make_plan(box.url, rules_of(column('type = "integr"')))


# -- a column that is there already --------------------------------------------------------------


def half_there(box: Sandbox) -> None:
    box.execute(
        "ALTER TABLE execution_data ADD COLUMN facility_id integer",
        "UPDATE execution_data SET facility_id = 3 WHERE id % 2 = 0",
    )


def test_only_what_is_missing_is_done(box: Sandbox, tmp_path: Path) -> None:
    """What rows hold already stays; the undo empties what was filled, and nothing else."""
    half_there(box)
    csv_of(tmp_path, dict.fromkeys(range(1, ROWS + 1), 1))
    outcome = there_and_back(box, by_csv(tmp_path, "not_null = true", 'references = "facilities"'))
    assert "add_column" not in {s.kind for s in outcome.steps}
    assert filled(box) == {i: 3 if i % 2 == 0 else 1 for i in range(1, ROWS + 1)}


def test_undo_leaves_what_others_have_changed(either: Sandbox) -> None:
    """A value that somebody has put there since is told, and stays."""
    half_there(either)
    rules = rules_of(column("backfill = { value = 1 }"))
    applied(either, rules)
    either.execute("UPDATE execution_data SET facility_id = 2 WHERE id = 1")
    either.execute("UPDATE execution_data SET amount = 5 WHERE id = 3")
    outcome = api.undo(either.url)
    assert [row["key"] for row in outcome.left_alone] == [{"id": 1}]
    assert (filled(either)[1], filled(either)[3], filled(either)[5]) == (2, None, None)
    assert either.value("SELECT amount FROM execution_data WHERE id = 3") == 5


def test_a_column_that_is_as_it_should_be(either: Sandbox) -> None:
    """There is nothing to do."""
    half_there(either)
    rules = rules_of(column())
    assert plan(either, rules).steps == ()
    assert verdicts(either, rules) == ["enforced"]


def test_a_column_of_another_type_is_refused(either: Sandbox) -> None:
    """It is somebody else's."""
    either.execute("ALTER TABLE execution_data ADD COLUMN facility_id text")
    rules = rules_of(column())
    assert "of type text" in blocked(either, rules)["name_taken"].lower()
    assert verdicts(either, rules) == ["not enforced"]


def test_other_words_for_a_type(pg_url: str) -> None:
    """`int4` and `integer` are one."""
    box = Sandbox(pg_url)
    box.execute(DATA, "CREATE TYPE mood AS ENUM ('good')")
    box.execute("ALTER TABLE execution_data ADD COLUMN a int, ADD COLUMN b varchar(5), ADD c mood")
    for name, word in (("a", "int4"), ("b", "varchar(5)"), ("c", "public.mood")):
        rules = rules_of(column(f'type = "{word}"', name=name))
        assert plan(box, rules).steps == ()
        assert verdicts(box, rules) == ["enforced"]


def test_a_filled_column_without_a_key_cannot_be_taken_back(either: Sandbox) -> None:
    """A table without a primary key has no way to find its rows again."""
    either.execute("CREATE TABLE bare (a integer, f integer)", "INSERT INTO bare VALUES (1, NULL)")
    rules = rules_of(column("backfill = { value = 1 }", table="bare", name="f"))
    assert "no primary key" in blocked(either, rules)["no_primary_key"]


def test_a_new_column_needs_no_key(either: Sandbox) -> None:
    """It is taken back by dropping it."""
    either.execute("CREATE TABLE bare (a integer)", "INSERT INTO bare VALUES (1), (2)")
    there_and_back(
        either, rules_of(column("not_null = true", "backfill = { value = 1 }", table="bare"))
    )


# -- generated -----------------------------------------------------------------------------------


def test_generated_by_the_database(box: Sandbox) -> None:
    """A client cannot set it."""
    rules = rules_of(
        column('type = "text"', "not_null = true", "generated = \"coalesce(created_by, 'ALL')\"",
               name="scope_key")
    )  # fmt: skip
    there_and_back(box, rules)
    box.execute("UPDATE execution_data SET created_by = NULL WHERE id = 1")
    assert box.value("SELECT scope_key FROM execution_data WHERE id = 1") == "ALL"
    assert box.value("SELECT scope_key FROM execution_data WHERE id = 2") == "u2"
    with pytest.raises(Exception, match="scope_key"):
        box.execute("UPDATE execution_data SET scope_key = 'x'")


def test_generated_null_where_it_must_not_be(either: Sandbox) -> None:
    """The rows are told beforehand."""
    either.execute("UPDATE execution_data SET created_by = NULL WHERE id = 7")
    rules = rules_of(column('type = "text"', "not_null = true", 'generated = "created_by"'))
    assert "id = 7" in blocked(either, rules)["unmapped_rows"]


def test_a_plain_column_is_not_a_generated_one(either: Sandbox) -> None:
    """It is not taken for it."""
    half_there(either)
    rules = rules_of(column('generated = "period_id"'))
    assert "not generated" in blocked(either, rules)["name_taken"]


def test_a_big_table_is_not_written_anew(pg_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody could read it meanwhile."""
    from onerow.planning import column as module

    box = Sandbox(pg_url)
    box.execute(DATA)
    monkeypatch.setattr(module, "REWRITE_MOST", 1)
    rules = rules_of(column('generated = "period_id"'))
    assert "anew" in blocked(box, rules)["unsupported"]


# -- kinds of tables -----------------------------------------------------------------------------


def test_partitions_are_walked(pg_url: str) -> None:
    """Each by its own pages."""
    box = Sandbox(pg_url)
    box.execute(
        """CREATE TABLE facilities (id integer PRIMARY KEY);
        CREATE TABLE execution_data (id integer, period_id integer) PARTITION BY LIST (period_id);
        CREATE TABLE p0 PARTITION OF execution_data FOR VALUES IN (0, 1);
        CREATE TABLE p1 PARTITION OF execution_data DEFAULT;
        INSERT INTO execution_data SELECT i, i % 4 FROM generate_series(1, 60) i"""
    )
    there_and_back(box, rules_of(column("not_null = true", 'backfill = { sql = "period_id + 1" }')))
    assert filled(box) == {i: i % 4 + 1 for i in range(1, 61)}


@pytest.mark.parametrize(
    "tail",
    ["(a text, b integer, PRIMARY KEY (a, b)) WITHOUT ROWID", "(a text, b integer, rowid text)"],
)
def test_tables_with_and_without_row_numbers(sqlite_url: str, tail: str) -> None:
    """SQLite: by the primary key, or by a row number under another name."""
    box = Sandbox(sqlite_url)
    box.execute(f"CREATE TABLE t {tail}")
    rows = ", ".join(f"('it''s {i % 7}', {i})" for i in range(50))
    box.execute(f"INSERT INTO t (a, b) VALUES {rows}")
    there_and_back(
        box,
        rules_of(column("not_null = true", 'backfill = { sql = "b + 1" }', table="t", name="c")),
    )
    assert box.value("SELECT count(*) FROM t WHERE c = b + 1") == 50


def test_wide_gaps_in_row_numbers(sqlite_url: str) -> None:
    """They are leapt over."""
    box = Sandbox(sqlite_url)
    box.execute("CREATE TABLE t (id integer PRIMARY KEY)")
    box.execute("INSERT INTO t VALUES (-9223372036854775808), (-5), (1), (9223372036854775807)")
    applied(box, rules_of(column("not_null = true", "backfill = { value = 1 }", table="t")))
    assert box.value("SELECT sum(facility_id) FROM t") == 4


def test_odd_names(either: Sandbox) -> None:
    """Quotes, blanks and capitals are names like others."""
    either.execute('CREATE TABLE "Odd ""Table" ("Key" integer PRIMARY KEY, "a b" integer)')
    either.execute('INSERT INTO "Odd ""Table" VALUES (1, 1), (2, NULL)')
    text = column("not_null = true", "backfill = { value = 4 }", name='New "C"'.replace('"', '\\"'))
    text = text.replace('table = "execution_data"', "table = 'Odd \"Table'")
    there_and_back(either, rules_of(text))
    assert either.value('SELECT sum("New ""C""") FROM "Odd ""Table"') == 8


@pytest.mark.parametrize("strict", [False, True])
def test_writers_that_leave_the_column_empty(box: Sandbox, strict: bool) -> None:
    """Where it may be NULL that is theirs, and told; where it may not, the run stops before it
    could break them."""
    not_null = ["not_null = true"] if strict else []
    rules = rules_of(column("backfill = { value = 1 }", *not_null))
    numbers = iter(range(1000, 2000))
    told: list[str] = []

    def write(event: api.Event) -> None:
        told.append(event.message)
        if event.step and (event.step.kind, event.what) == ("backfill", "progress"):
            box.execute(f"INSERT INTO execution_data (id, period_id) VALUES ({next(numbers)}, 1)")

    outcome = api.apply(box.url, rules, limits=Limits(passes=2), listen=write)
    empty = box.value("SELECT count(*) FROM execution_data WHERE facility_id IS NULL")
    assert box.value("SELECT count(*) FROM execution_data WHERE facility_id = 1") >= ROWS
    assert empty > 0
    assert outcome.status == ("stopped" if strict else "done"), outcome.message
    assert any("keep arriving" in m for m in (outcome.message, *told))
    if strict:
        assert "Deploy the writer" in outcome.message
        box.execute("INSERT INTO execution_data (id, period_id) VALUES (5000, 1)")  # not refused
