"""[[index]]: built while writers write, known again by what it is."""

from __future__ import annotations

import threading
import time

import pytest

from onerow import api
from onerow.errors import RuleError
from onerow.session import Limits
from tests.support.rules import applied, blocked, rules_of, there_and_back, undone, verdicts
from tests.support.sandbox import Sandbox

WEEKS = """
CREATE TABLE weeks (id integer PRIMARY KEY, collection_id integer, execution_id integer,
    status varchar(20), name text);
INSERT INTO weeks VALUES (1, 1, NULL, 'pending', 'a'), (2, 1, 7, 'completed', 'B');
"""
PARTIAL = """
[[index]]
table = "weeks"
columns = ["collection_id", "execution_id"]
where = "execution_id IS NOT NULL"
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


def indexes(box: Sandbox) -> list[str]:
    sql = (
        "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'weeks'"
        if box.sqlite
        else "SELECT indexname FROM pg_indexes WHERE tablename = 'weeks' AND indexname !~ 'pkey'"
    )
    return sorted(r[0] for r in box.rows(sql))


def test_partial_index_with_a_made_up_name(box: Sandbox) -> None:
    """It is built, found again, and taken back."""
    rules = rules_of(PARTIAL)
    assert verdicts(box, rules) == ["not enforced"]
    there_and_back(box, rules)
    assert indexes(box) == ["ix_weeks_collection_id_execution_id_where"]


def test_expression_index(either: Sandbox) -> None:
    """An expression in parentheses is an element too."""
    there_and_back(
        either,
        rules_of('[[index]]\ntable = "weeks"\nname = "by_name"\ncolumns = ["(lower(name))"]\n'),
    )
    assert indexes(either) == ["by_name"]


def test_several_indexes_in_one_plan(either: Sandbox) -> None:
    """Each gets a step."""
    outcome = there_and_back(
        either, rules_of(PARTIAL + '\n[[index]]\ntable = "weeks"\ncolumns = ["status"]\n')
    )
    assert [s.kind for s in outcome.steps] == ["create_index", "create_index"]


def test_an_equal_index_of_another_name_is_enough(either: Sandbox) -> None:
    """No second one is built."""
    either.execute("CREATE INDEX own ON weeks (status) WHERE status = 'pending'")
    rules = rules_of(
        '[[index]]\ntable = "weeks"\nname = "ix"\ncolumns = ["status"]\n'
        "where = \"(status = 'pending')\"\n"
    )
    plan = api.make_plan(either.url, rules)
    assert plan.steps == ()
    assert "there as own" in plan.satisfied[0]
    assert verdicts(either, rules) == ["enforced"]


@pytest.mark.parametrize("other", ["(status DESC)", "(status, id)", "(status) WHERE id > 1"])
def test_an_index_that_is_not_the_same_is_not_enough(either: Sandbox, other: str) -> None:
    """Order, elements and rows must be those that the rule asks for."""
    either.execute(f"CREATE INDEX own ON weeks {other}")
    there_and_back(either, rules_of('[[index]]\ntable = "weeks"\ncolumns = ["status"]\n'))


def test_a_taken_name_is_refused(either: Sandbox) -> None:
    """Another index that bears the name is never touched."""
    either.execute("CREATE INDEX ix ON weeks (name)")
    rules = rules_of('[[index]]\ntable = "weeks"\nname = "ix"\ncolumns = ["status"]\n')
    assert "index of" in blocked(either, rules)["name_taken"]


def test_a_taken_name_of_a_table_is_refused(either: Sandbox) -> None:
    """Tables and indexes share their names."""
    either.execute("CREATE TABLE ix (a integer)")
    rules = rules_of('[[index]]\ntable = "weeks"\nname = "ix"\ncolumns = ["status"]\n')
    assert "table" in blocked(either, rules)["name_taken"]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ('columns = ["statsu"]', "Did you mean 'status'?"),
        ("columns = []", "needs a column"),
        ('columns = ["status"]\nwhere = "statsu = 1"', "Did you mean 'status'?"),
        ('columns = ["(lower(name)"]', "not one SQL expression"),
    ],
)
def test_what_is_not_there_is_an_error(either: Sandbox, rule: str, said: str) -> None:
    """With the nearest name."""
    with pytest.raises(RuleError, match="Rule") as caught:
        api.make_plan(either.url, rules_of(f'[[index]]\ntable = "weeks"\n{rule}\n'))
    assert said in str(caught.value)


def test_an_expression_that_no_index_takes_is_an_error(either: Sandbox) -> None:
    """The server is asked on an empty copy, before anything is planned."""
    never = "(random())"
    with pytest.raises(RuleError, match="cannot evaluate"):
        api.make_plan(either.url, rules_of(f'[[index]]\ntable = "weeks"\ncolumns = ["{never}"]\n'))


def test_a_view_is_no_table(either: Sandbox) -> None:
    """It is told as a blocker."""
    either.execute("CREATE VIEW shown AS SELECT * FROM weeks")
    rules = rules_of('[[index]]\ntable = "shown"\ncolumns = ["status"]\n')
    assert "view" in blocked(either, rules)["not_a_table"]


PARTS = """
CREATE TABLE t (a int, b int, c text) PARTITION BY LIST (a);
CREATE TABLE t_1 PARTITION OF t FOR VALUES IN (1);
CREATE TABLE t_2 PARTITION OF t FOR VALUES IN (2) PARTITION BY RANGE (b);
CREATE TABLE t_2_low (c text, b int, a int);
ALTER TABLE t_2 ATTACH PARTITION t_2_low FOR VALUES FROM (0) TO (50);
CREATE TABLE t_2_rest PARTITION OF t_2 DEFAULT;
INSERT INTO t SELECT 1 + i % 2, i, 'c' || i FROM generate_series(1, 100) AS i;
"""


@pytest.mark.parametrize(
    "rest", ['columns = ["b"]', 'columns = ["a", "(lower(c))"]\nwhere = "b > 3"']
)
def test_a_partitioned_table(every_pg_url: str, rest: str) -> None:
    """Built concurrently in each partition and attached; the parent's is valid, undo is exact."""
    box = Sandbox(every_pg_url)
    box.execute(PARTS)
    rules = rules_of(f'[[index]]\ntable = "t"\nname = "ix"\n{rest}\n')
    (step,) = [s for s in api.make_plan(box.url, rules).steps if s.kind == "create_index"]
    assert [("CONCURRENTLY" in q, "ON ONLY" in q) for q in step.sql if "CREATE" in q] == [
        (False, True), (True, False), (False, True), (True, False), (True, False),
    ]  # fmt: skip
    there_and_back(box, rules)
    told = (
        "SELECT count(*), bool_and(indisvalid) FROM pg_partition_tree('ix') AS t"
        " JOIN pg_index ON indexrelid = relid"
    )
    assert box.rows(told) == [(5, True)]
    assert verdicts(box, rules) == ["enforced"]


def test_a_foreign_partition_is_refused(pg_url: str) -> None:
    """No index reaches it."""
    box = Sandbox(pg_url)
    box.execute(
        PARTS,
        "CREATE FOREIGN DATA WRAPPER none; CREATE SERVER far FOREIGN DATA WRAPPER none;"
        "CREATE FOREIGN TABLE t_3 PARTITION OF t FOR VALUES IN (3) SERVER far",
    )
    rules = rules_of('[[index]]\ntable = "t"\ncolumns = ["b"]\n')
    assert ["t_3" in b.message for b in api.make_plan(box.url, rules).blockers] == [True]


def test_somebody_elses_table_is_refused(pg_url: str) -> None:
    """Only an owner may build."""
    box = Sandbox(pg_url)
    role = "onerow_nobody_index"
    box.execute(WEEKS)
    box.execute(f"DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN")
    box.execute(f"GRANT SELECT ON weeks TO {role}")
    try:
        url = pg_url + ("&" if "?" in pg_url else "?") + f"options=-c%20role%3D{role}"
        plan = api.make_plan(url, rules_of(PARTIAL))
        assert "missing_privilege" in {b.code for b in plan.blockers}
    finally:
        box.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_an_invalid_leftover_of_our_own_build_is_built_anew(pg_url: str) -> None:
    """A build that was broken off leaves an index that is ready for nothing."""
    box = Sandbox(pg_url)
    box.execute(WEEKS)
    rules = rules_of('[[index]]\ntable = "weeks"\nname = "ix"\ncolumns = ["status"]\n')
    plan = api.make_plan(box.url, rules)
    stop = api.apply(box.url, plan=plan, limits=Limits(budget=-1.0))
    assert stop.status == "stopped"
    # As a kill during the build leaves it.
    box.execute("UPDATE onerow.step SET status = 'running'")
    box.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix'::regclass")
    assert api.apply(box.url, rules).status == "done"
    assert box.value("SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix'::regclass")
    undone(box)


def test_writers_go_on_while_it_is_built(every_url: str) -> None:
    """No write fails, and none is lost."""
    box = Sandbox(every_url)
    box.execute(WEEKS)
    stop, done, failed = threading.Event(), [0], []

    def write() -> None:
        with box.connect() as connection:
            while not stop.is_set():
                try:
                    number = 100 + done[0]
                    connection.execute(
                        f"INSERT INTO weeks (id, collection_id) VALUES ({number}, 1)"
                    )
                    done[0] += 1
                    time.sleep(0.002)
                except Exception as error:
                    failed.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        applied(box, rules_of(PARTIAL))
    finally:
        stop.set()
        writer.join()
    assert not failed
    assert box.count("weeks") == 2 + done[0]
