"""[[reference]]: new rows are checked first, old ones mended as the rule says, then validated."""

from __future__ import annotations

import pytest

from onerow import api
from onerow.errors import RuleError
from onerow.rulefile import Rules
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

WEEKS = """
CREATE TABLE executions (id integer PRIMARY KEY, code text);
CREATE TABLE weeks (id integer PRIMARY KEY, execution_id integer, note text);
INSERT INTO executions VALUES (1, 'a'), (2, 'b');
INSERT INTO weeks VALUES (1, 1, 'x'), (2, 2, 'y'), (3, NULL, 'z');
"""
ORPHANS = """
INSERT INTO weeks
    WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 29)
    SELECT i, 900 + i, 'lost' FROM n;
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
    box.execute(WEEKS)
    return box


def reference(*lines: str, columns: str = '["execution_id"]', to: str = "executions(id)") -> Rules:
    head = ["[[reference]]", 'table = "weeks"', f"columns = {columns}", f'to = "{to}"']
    return rules_of("\n".join([*head, *lines, ""]))


def weeks(box: Sandbox) -> dict[int, int | None]:
    return dict(box.rows("SELECT id, execution_id FROM weeks"))


def refuses(box: Sandbox, sql: str) -> bool:
    try:
        box.execute(sql)
    except Exception:
        return True
    return False


def test_it_is_added_validated_and_taken_back(box: Sandbox) -> None:
    """Its action is the one asked for."""
    rules = reference('on_delete = "set null"')
    assert verdicts(box, rules) == ["not enforced"]
    there_and_back(box, rules)
    assert refuses(box, "INSERT INTO weeks VALUES (9, 99, '')")
    box.execute("DELETE FROM executions WHERE id = 1")
    assert weeks(box)[1] is None


def test_the_target_may_be_named_without_its_column(either: Sandbox) -> None:
    """Its primary key is meant."""
    there_and_back(either, reference(to="executions"))


def test_orphans_are_reported(either: Sandbox) -> None:
    """The default: nothing is touched, they are counted and named."""
    either.execute(ORPHANS)
    message = blocked(either, reference())["orphans"]
    assert "20 row(s)" in message
    assert "id = 10; id = 11" in message
    state = api.check(either.url, reference()).rules[0]
    assert (state.verdict, state.violations.rows) == ("not enforced", 20)


def test_orphans_are_set_null(box: Sandbox) -> None:
    """Their old values are in the archive, and come back."""
    box.execute(ORPHANS)
    outcome = there_and_back(box, reference('orphans = "null"', 'on_delete = "set null"'))
    assert weeks(box) == {1: 1, 2: 2, 3: None, **dict.fromkeys(range(10, 30))}
    assert box.archived("weeks", "repointed") == 20
    assert next(s.rows for s in outcome.steps if s.kind == "archive_orphans") == 20


def test_orphans_are_archived(box: Sandbox) -> None:
    """The rows go, and come back."""
    box.execute(ORPHANS)
    outcome = there_and_back(box, reference('orphans = "archive"'))
    assert set(weeks(box)) == {1, 2, 3}
    assert outcome.archived == 20


def test_undo_after_others_have_changed_a_row(either: Sandbox) -> None:
    """It is told and left alone; the others come back."""
    either.execute(ORPHANS)
    applied(either, reference('orphans = "null"'))
    either.execute("UPDATE weeks SET execution_id = 1 WHERE id = 10")
    outcome = api.undo(either.url)
    assert [r["key"] for r in outcome.left_alone] == [{"id": 10}]
    assert (weeks(either)[10], weeks(either)[11]) == (1, 911)


def test_triggers_stay_silent(box: Sandbox) -> None:
    """What they would write would keep the undo from finding the row as it was."""
    box.execute(ORPHANS)
    if box.sqlite:
        box.execute(
            "CREATE TRIGGER touched AFTER UPDATE ON weeks"
            " BEGIN UPDATE weeks SET note = 'touched' WHERE id = NEW.id; END"
        )
    else:
        box.execute(
            """CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN NEW.note := 'touched'; RETURN NEW; END $$;
            CREATE TRIGGER touched BEFORE UPDATE ON weeks FOR EACH ROW EXECUTE FUNCTION touch();"""
        )
    there_and_back(box, reference('orphans = "null"'))
    assert box.value("SELECT count(*) FROM weeks WHERE note = 'touched'") == 0


def test_an_index_helps_it(either: Sandbox) -> None:
    """For all rows, built before the foreign key."""
    outcome = there_and_back(either, reference("index = true"))
    assert outcome.steps[0].kind == "create_index"


def test_an_index_that_is_there_is_enough(either: Sandbox) -> None:
    """One that leads with the columns; a partial one is not."""
    either.execute("CREATE INDEX mine ON weeks (execution_id, note)")
    assert "create_index" not in {s.kind for s in plan(either, reference("index = true")).steps}
    either.execute("DROP INDEX mine; CREATE INDEX mine ON weeks (execution_id) WHERE id > 1")
    assert "create_index" in {s.kind for s in plan(either, reference("index = true")).steps}


def test_one_that_is_there_is_enough(either: Sandbox) -> None:
    """There is nothing to do, whatever its name."""
    applied(either, reference('name = "other"'))
    assert plan(either, reference()).steps == ()
    assert verdicts(either, reference()) == ["enforced"]


def test_one_with_another_action_is_refused(either: Sandbox) -> None:
    """It is somebody else's."""
    applied(either, reference())
    rules = reference('on_delete = "cascade"')
    assert "CASCADE" in blocked(either, rules)["name_taken"]
    assert verdicts(either, rules) == ["not enforced"]


def test_a_taken_name_is_refused(pg_url: str) -> None:
    """A constraint that bears the name is never touched."""
    box = made(pg_url)
    box.execute("ALTER TABLE weeks ADD CONSTRAINT mine CHECK (id > 0)")
    assert "check constraint" in blocked(box, reference('name = "mine"'))["name_taken"]


def test_one_that_is_not_valid_is_mended_and_validated(pg_url: str) -> None:
    """It is not made anew, and is NOT VALID again after the undo, with its comment."""
    box = made(pg_url)
    box.execute(
        ORPHANS,
        "ALTER TABLE weeks ADD CONSTRAINT mine FOREIGN KEY (execution_id) REFERENCES executions"
        " NOT VALID; COMMENT ON CONSTRAINT mine ON weeks IS 'half done'",
    )
    there_and_back(box, reference('orphans = "null"'))


def test_orphans_behind_a_foreign_key_of_sqlite(sqlite_url: str) -> None:
    """SQLite looks only when it is asked to; a declared key says nothing of the rows."""
    box = Sandbox(sqlite_url)
    box.execute(WEEKS.replace("execution_id integer", "execution_id integer REFERENCES executions"))
    box.execute("PRAGMA foreign_keys = OFF; INSERT INTO weeks VALUES (7, 99, 'lost')")
    assert verdicts(box, reference()) == ["not enforced"]
    there_and_back(box, reference('orphans = "null"'))
    assert weeks(box)[7] is None


def test_composite(either: Sandbox) -> None:
    """A row with a NULL in the reference refers to nothing and is no orphan."""
    either.execute(
        "CREATE TABLE places (tenant integer NOT NULL, no integer NOT NULL,"
        " PRIMARY KEY (tenant, no))",
        "INSERT INTO places VALUES (1, 1)",
        "ALTER TABLE weeks ADD COLUMN tenant integer",
        "ALTER TABLE weeks ADD COLUMN no integer",
        "UPDATE weeks SET tenant = 1, no = 1 WHERE id = 1",
        "UPDATE weeks SET tenant = 1, no = 2 WHERE id = 2",
        "UPDATE weeks SET tenant = 5 WHERE id = 3",
    )
    rules = reference('orphans = "null"', columns='["tenant", "no"]', to="places(tenant, no)")
    there_and_back(either, rules)
    found = either.rows("SELECT id, tenant, no FROM weeks ORDER BY id")
    assert found == [(1, 1, 1), (2, None, None), (3, 5, None)]


def test_a_row_may_refer_to_its_own_table(either: Sandbox) -> None:
    """Orphans whose parents go with them are met too."""
    either.execute(
        "ALTER TABLE weeks ADD COLUMN up integer", "UPDATE weeks SET up = 1 WHERE id = 2"
    )
    either.execute("UPDATE weeks SET up = 77 WHERE id = 3")
    there_and_back(either, reference('orphans = "null"', columns='["up"]', to="weeks(id)"))
    assert either.rows("SELECT id, up FROM weeks ORDER BY id") == [(1, None), (2, 1), (3, None)]


# -- what stands in the way ----------------------------------------------------------------------


def test_orphans_that_others_refer_to_are_refused(either: Sandbox) -> None:
    """They would be lost with them."""
    either.execute(
        ORPHANS,
        "CREATE TABLE notes (id integer PRIMARY KEY, week_id integer REFERENCES weeks"
        " ON DELETE CASCADE); INSERT INTO notes VALUES (1, 12), (2, 1)",
    )
    rules = reference('orphans = "archive"')
    assert "1 of" in blocked(either, rules)["orphans"]
    either.execute("DELETE FROM notes WHERE id = 1")
    there_and_back(either, rules)


def test_orphans_that_others_come_to_refer_to_stop_it(pg_url: str) -> None:
    """Also when they come after the plan was made."""
    box = made(pg_url)
    box.execute(ORPHANS, "CREATE TABLE notes (id integer, week_id integer REFERENCES weeks)")
    rules = reference('orphans = "archive"')
    made_plan = plan(box, rules)
    box.execute("INSERT INTO notes VALUES (1, 12)")
    outcome = api.apply(box.url, plan=made_plan)
    assert outcome.status == "stopped"
    assert "notes" in outcome.message
    box.execute("DELETE FROM notes")
    assert apply(box, rules).status == "done"
    undone(box)


def test_a_column_that_must_not_be_null_cannot_be_emptied(either: Sandbox) -> None:
    """The other policy is named."""
    either.execute(
        "CREATE TABLE strict (id integer PRIMARY KEY, execution_id integer NOT NULL);"
        "INSERT INTO strict VALUES (1, 99)"
    )
    rules = rules_of(
        '[[reference]]\ntable = "strict"\ncolumns = ["execution_id"]\nto = "executions(id)"\n'
        'orphans = "null"\n'
    )
    assert "NOT NULL" in blocked(either, rules)["orphans"]


def test_orphans_of_a_table_without_a_key_are_refused(either: Sandbox) -> None:
    """They could not be put back."""
    either.execute("CREATE TABLE bare (e integer); INSERT INTO bare VALUES (99)")
    rules = rules_of(
        '[[reference]]\ntable = "bare"\ncolumns = ["e"]\nto = "executions(id)"\norphans = "null"\n'
    )
    assert "no primary key" in blocked(either, rules)["no_primary_key"]


def test_a_target_without_a_unique_key_is_refused(either: Sandbox) -> None:
    """No foreign key can lean on it."""
    rules = reference(columns='["note"]', to="executions(code)")
    assert "no unique key" in blocked(either, rules)["unsupported"]


def test_a_deferrable_target_is_refused(pg_url: str) -> None:
    """PostgreSQL does not take it."""
    box = made(pg_url)
    box.execute("ALTER TABLE executions ADD UNIQUE (code) DEFERRABLE")
    rules = reference(columns='["note"]', to="executions(code)")
    assert "deferrable" in blocked(box, rules)["deferrable_foreign_key_target"]


def test_a_partitioned_table_is_refused_before_18(pg_url: str) -> None:
    """NOT VALID is not to be had there."""
    box = made(pg_url)
    box.execute("CREATE TABLE parts (id integer, e integer) PARTITION BY LIST (id)")
    rules = rules_of('[[reference]]\ntable = "parts"\ncolumns = ["e"]\nto = "executions(id)"\n')
    found = {b.code for b in api.make_plan(box.url, rules).blockers}
    newer = int(box.value("SHOW server_version_num")) >= 180000
    assert found == (set() if newer else {"unsupported"})


@pytest.mark.parametrize(
    ("lines", "to", "said"),
    [
        ((), "executons(id)", "executions"),
        ((), "executions(idd)", "id"),
        ((), "executions(id", "should read"),
        ((), "executions(id, code)", "as many columns"),
        (('on_delete = "delete"',), "executions(id)", "unknown on_delete"),
    ],
)
def test_what_is_not_there_is_an_error(
    either: Sandbox, lines: tuple[str, ...], to: str, said: str
) -> None:
    """With the nearest name."""
    with pytest.raises(RuleError) as caught:
        api.make_plan(either.url, reference(*lines, to=to))
    assert said in str(caught.value)


def test_types_that_cannot_be_compared_are_an_error(pg_url: str) -> None:
    """The server says so when orphans are counted."""
    box = made(pg_url)
    with pytest.raises(RuleError, match="operator does not exist"):
        api.make_plan(box.url, reference(columns='["note"]'))


def test_an_unknown_policy_is_an_error() -> None:
    """It is read before any database is asked."""
    with pytest.raises(RuleError, match="orphans"):
        reference('orphans = "drop"')


def test_orphans_that_come_meanwhile_are_mended_too(sqlite_url: str) -> None:
    """SQLite: until the table is made again nothing checks new rows."""
    box = Sandbox(sqlite_url)
    box.execute(WEEKS, ORPHANS)
    rules = reference('orphans = "null"')
    made_plan = plan(box, rules)

    def late(event: api.Event) -> None:
        if event.what == "begin" and event.step and event.step.kind == "rebuild_table":
            box.execute("PRAGMA foreign_keys = OFF; INSERT INTO weeks VALUES (77, 1077, 'late')")

    assert api.apply(box.url, plan=made_plan, listen=late).status == "done"
    assert weeks(box)[77] is None
    assert box.archived("weeks", "repointed") == 21
    undone(box)
    assert weeks(box)[77] == 1077
