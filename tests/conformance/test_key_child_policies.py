"""Children that collide in unique keys of their own when they follow the survivor."""

from __future__ import annotations

import pytest

from onerow import api
from onerow.errors import RuleError
from onerow.rules import Key
from tests.support.sandbox import Sandbox
from tests.support.story import SMALL, applied, blockers, planned, there_and_back, undone

PARENT = """
CREATE TABLE parent (id integer PRIMARY KEY, k integer NOT NULL, note text);
INSERT INTO parent VALUES (1, 1, NULL), (2, 1, 'b'), (3, 1, NULL), (4, 2, 'd'), (5, 2, 'e'), (6, 3, NULL);
"""
NOTES = """
CREATE TABLE child (id integer PRIMARY KEY, parent_id integer NOT NULL REFERENCES parent ON DELETE CASCADE,
    tag text NOT NULL, a text, b text, UNIQUE (parent_id, tag));
INSERT INTO child VALUES (1, 1, 'x', NULL, 'own'), (2, 2, 'x', 'A', 'other'), (3, 3, 'x', NULL, NULL),
    (4, 3, 'y', 'alone', NULL), (5, 4, 'x', 'D', NULL), (6, 5, 'z', 'E', NULL), (7, 6, 'x', NULL, NULL);
"""
ACTIONS = ["CASCADE", "SET NULL", "RESTRICT", "NO ACTION"]


def key(children: dict[str, str], **more: object) -> Key:
    return Key("parent", "k", name="parent_k", children=children, **more)  # type: ignore[arg-type]


# -- what is left alone, and what is refused -----------------------------------------------------


def test_children_that_do_not_collide_are_only_moved(every_url: str) -> None:
    """A policy that nothing calls for archives nothing."""
    box = Sandbox(every_url)
    box.execute(PARENT, NOTES, "DELETE FROM child WHERE id IN (1, 3)")
    there_and_back(box, key({"child": "merge"}))
    assert box.rows("SELECT id, parent_id, tag FROM child ORDER BY id") == [
        (2, 1, "x"), (4, 1, "y"), (5, 4, "x"), (6, 4, "z"), (7, 6, "x"),
    ]  # fmt: skip
    assert box.archived("child", "deleted") == 0


@pytest.mark.parametrize("children", [{}, {"child": "error"}], ids=["default", "error"])
def test_without_a_policy_they_stop_the_plan(every_url: str, children: dict[str, str]) -> None:
    """The message names the index, how many, and the policy that would settle it."""
    box = Sandbox(every_url)
    box.execute(PARENT, NOTES)
    before = box.state()
    found = api.make_plan(box.url, [key(children)]).blockers
    assert [b.code for b in found] == ["colliding_children"]
    assert "1 value(s)" in found[0].message
    assert 'children = { child = "merge" }' in found[0].message
    assert api.apply(box.url, [key(children)]).status == "refused"
    assert box.state() == before


def test_a_policy_for_a_stranger_is_an_error(every_url: str) -> None:
    """A table that is not there, and one that refers to nothing here."""
    box = Sandbox(every_url)
    box.execute(PARENT, NOTES, "CREATE TABLE other (id integer PRIMARY KEY)")
    with pytest.raises(RuleError, match="does not refer to"):
        blockers(box, key({"other": "keep"}))
    with pytest.raises(RuleError, match="no table 'chidl'"):
        blockers(box, key({"chidl": "keep"}))


def test_grandchildren_without_a_policy_stop_the_plan(every_url: str) -> None:
    """They would collide only because their parents are merged, and that is seen before, too."""
    box = Sandbox(every_url)
    box.execute(
        PARENT,
        NOTES,
        """CREATE TABLE grandchild (id integer PRIMARY KEY,
            child_id integer NOT NULL REFERENCES child, n integer, UNIQUE (child_id, n));
        INSERT INTO grandchild VALUES (1, 1, 1), (2, 2, 1);""",
    )
    before = box.state()
    assert blockers(box, key({"child": "merge"})) == ["colliding_children"]
    assert box.state() == before
    box.execute("UPDATE grandchild SET n = 2 WHERE id = 2")
    assert blockers(box, key({"child": "merge"})) == []


# -- keep ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ACTIONS)
def test_keep(every_url: str, action: str) -> None:
    """The survivor's child stays as it is, the others are archived; what does not collide moves."""
    box = Sandbox(every_url)
    box.execute(PARENT, NOTES.replace("CASCADE", action))
    there_and_back(box, key({"child": "keep"}))
    assert box.rows("SELECT * FROM child ORDER BY id") == [
        (1, 1, "x", None, "own"), (4, 1, "y", "alone", None), (5, 4, "x", "D", None),
        (6, 4, "z", "E", None), (7, 6, "x", None, None),
    ]  # fmt: skip
    assert box.archived("child", "deleted") == 2


def test_keep_where_the_survivor_has_none(every_url: str) -> None:
    """The child of the next best row stays."""
    box = Sandbox(every_url)
    box.execute(PARENT, NOTES, "DELETE FROM child WHERE id = 1")
    there_and_back(box, key({"child": "keep"}, keep="max id"))
    assert box.rows("SELECT id, parent_id FROM child WHERE tag = 'x' ORDER BY id") == [
        (3, 3), (5, 5), (7, 6),
    ]  # fmt: skip


@pytest.mark.parametrize("action", ACTIONS)
def test_grandchildren_of_a_child_that_is_kept_away(every_url: str, action: str) -> None:
    """They go to the child that stays."""
    box = Sandbox(every_url)
    box.execute(
        PARENT,
        NOTES,
        f"""CREATE TABLE grandchild (id integer PRIMARY KEY,
            child_id integer REFERENCES child ON DELETE {action});
        INSERT INTO grandchild VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, NULL);""",
    )
    there_and_back(box, key({"child": "keep"}))
    assert box.rows("SELECT * FROM grandchild ORDER BY id") == [
        (1, 1), (2, 1), (3, 1), (4, 4), (5, 5), (6, None),
    ]  # fmt: skip


# -- merge ---------------------------------------------------------------------------------------


def test_merge(every_url: str) -> None:
    """The best filled row stays, and takes over what is NULL in it."""
    box = Sandbox(every_url)
    box.execute(PARENT, NOTES, "INSERT INTO child VALUES (8, 5, 'x', NULL, 'late')")
    there_and_back(box, key({"child": "merge"}))
    assert box.rows("SELECT * FROM child ORDER BY id") == [
        (2, 1, "x", "A", "other"), (4, 1, "y", "alone", None), (5, 4, "x", "D", "late"),
        (6, 4, "z", "E", None), (7, 6, "x", None, None),
    ]  # fmt: skip


def test_merge_by_the_childs_own_rule(every_url: str) -> None:
    """A [[key]] of the same file says which row stays and what becomes of its columns."""
    box = Sandbox(every_url)
    box.execute(
        PARENT,
        """CREATE TABLE child (id integer PRIMARY KEY, parent_id integer NOT NULL REFERENCES parent,
            tag text NOT NULL, at integer, n integer NOT NULL, a text, UNIQUE (parent_id, tag));
        INSERT INTO child VALUES (1, 1, 'x', 5, 10, 'full'), (2, 2, 'x', 9, 20, NULL), (3, 3, 'x', NULL, 40, 'c');""",
    )
    own = Key("child", "parent_id", "tag", keep="latest at", merge={"n": "sum", "a": "keep"})
    there_and_back(box, key({"child": "merge"}), own)
    assert box.rows("SELECT * FROM child") == [(2, 1, "x", 9, 70, None)]


def test_link_table_whose_primary_key_is_the_reference(every_url: str) -> None:
    """Tags of experiments: (key, experiment) is the primary key, and both experiments have one."""
    box = Sandbox(every_url)
    box.execute(
        PARENT,
        """CREATE TABLE tag (key text NOT NULL, value text, parent_id integer NOT NULL REFERENCES parent,
            PRIMARY KEY (key, parent_id));
        INSERT INTO tag VALUES ('a', NULL, 1), ('a', 'v2', 2), ('a', 'v3', 3), ('b', 'w2', 2), ('c', 'w3', 3),
            ('a', 'x5', 5), ('a', 'x6', 6);""",
    )
    there_and_back(box, key({"tag": "merge"}))
    assert box.rows("SELECT key, value, parent_id FROM tag ORDER BY key, parent_id") == [
        ("a", "v2", 1), ("a", "x5", 4), ("a", "x6", 6), ("b", "w2", 1), ("c", "w3", 1),
    ]  # fmt: skip


def test_one_to_one_extension(every_url: str) -> None:
    """A child whose whole primary key is the reference."""
    box = Sandbox(every_url)
    box.execute(
        PARENT,
        """CREATE TABLE child (parent_id integer PRIMARY KEY REFERENCES parent ON DELETE CASCADE, word text, n integer);
        INSERT INTO child VALUES (1, 'x', NULL), (2, 'y', 2), (3, NULL, 3), (5, 'w', 5), (6, 'v', NULL);""",
    )
    there_and_back(box, key({"child": "keep"}))
    assert box.rows("SELECT * FROM child ORDER BY 1") == [
        (1, "x", None),
        (4, "w", 5),
        (6, "v", None),
    ]


def test_several_unique_keys_of_one_child(every_url: str) -> None:
    """A row that goes for one key is stood for by the row that stays for the other."""
    box = Sandbox(every_url)
    box.execute(
        PARENT,
        """CREATE TABLE child (id integer PRIMARY KEY, parent_id integer REFERENCES parent, a integer, b integer,
            word text);
        CREATE UNIQUE INDEX child_a ON child (parent_id, a);
        CREATE UNIQUE INDEX child_b ON child (parent_id, b);
        CREATE TABLE grandchild (id integer PRIMARY KEY, child_id integer NOT NULL REFERENCES child ON DELETE CASCADE);
        INSERT INTO child VALUES (1, 1, 1, 1, NULL), (2, 2, 2, 1, 'two'), (3, 3, 2, 3, 'three'), (4, 3, 4, 4, NULL),
            (5, 6, 2, 1, 'six');
        INSERT INTO grandchild VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, 5);""",
    )
    there_and_back(box, key({"child": "keep"}))
    assert box.rows("SELECT id, parent_id, word FROM child ORDER BY id") == [
        (1, 1, None), (4, 1, None), (5, 6, "six"),
    ]  # fmt: skip
    assert box.rows("SELECT * FROM grandchild ORDER BY id") == [
        (1, 1),
        (2, 1),
        (3, 1),
        (4, 4),
        (5, 5),
    ]


def test_partial_and_expression_indexes(every_url: str) -> None:
    """Rows outside of the filter may be equal; what the expression holds equal is one."""
    box = Sandbox(every_url)
    box.execute(
        PARENT,
        """CREATE TABLE child (id integer PRIMARY KEY, parent_id integer REFERENCES parent, tag text,
            gone boolean NOT NULL);
        CREATE UNIQUE INDEX child_key ON child (parent_id, lower(tag)) WHERE NOT gone;
        INSERT INTO child VALUES (1, 1, 'a', false), (2, 2, 'A', false), (3, 3, 'a', true), (4, 2, NULL, false),
            (5, 3, NULL, false), (6, 3, 'B', false), (7, 2, 'b', true);""",
    )
    there_and_back(box, key({"child": "keep"}))
    assert box.rows("SELECT id, parent_id, tag FROM child ORDER BY id") == [
        (1, 1, "a"), (3, 1, "a"), (4, 1, None), (5, 1, None), (6, 1, "B"), (7, 1, "b"),
    ]  # fmt: skip


def test_two_references_of_one_child(every_url: str) -> None:
    """Neither alone makes two rows equal."""
    box = Sandbox(every_url)
    box.execute(
        PARENT,
        """CREATE TABLE pair (a integer REFERENCES parent, b integer REFERENCES parent, id integer PRIMARY KEY,
            word text, more text, UNIQUE (a, b));
        INSERT INTO pair VALUES (1, 4, 1, NULL, NULL), (2, 5, 2, 'w', 'v'), (2, 6, 3, NULL, NULL),
            (3, 4, 4, 'x', NULL), (6, 5, 5, NULL, NULL);""",
    )
    there_and_back(box, key({"pair": "merge"}))
    assert box.rows("SELECT id, a, b, word FROM pair ORDER BY id") == [
        (2, 1, 4, "w"), (3, 1, 6, None), (5, 6, 4, None),
    ]  # fmt: skip


def test_composite_reference(every_url: str) -> None:
    """Both columns move, and the rest of the child's key decides."""
    box = Sandbox(every_url)
    box.execute(
        """CREATE TABLE parent (tenant integer NOT NULL, no integer NOT NULL, k text NOT NULL, PRIMARY KEY (tenant, no));
        CREATE TABLE child (tenant integer NOT NULL, parent_no integer NOT NULL, tag text NOT NULL, w text,
            PRIMARY KEY (tenant, parent_no, tag),
            FOREIGN KEY (tenant, parent_no) REFERENCES parent (tenant, no) ON DELETE CASCADE);
        INSERT INTO parent VALUES (1, 1, 'a'), (1, 2, 'a'), (2, 1, 'a');
        INSERT INTO child VALUES (1, 1, 'x', NULL), (1, 2, 'x', 'w'), (1, 2, 'y', 'v'), (2, 1, 'x', 'u');"""
    )
    there_and_back(box, Key("parent", "tenant", "k", children={"child": "merge"}))
    assert box.rows("SELECT * FROM child ORDER BY 1, 2, 3") == [
        (1, 1, "x", "w"), (1, 1, "y", "v"), (2, 1, "x", "u"),
    ]  # fmt: skip


def test_declared_only_reference(every_url: str) -> None:
    """A table that no foreign key ties has its policy as well."""
    box = Sandbox(every_url)
    box.execute(
        PARENT,
        """CREATE TABLE log (id integer PRIMARY KEY, kind text, record integer, n integer);
        CREATE UNIQUE INDEX log_u ON log (kind, record, n);
        INSERT INTO log VALUES (1, 'parent', 1, 1), (2, 'parent', 2, 1), (3, 'other', 1, 1), (4, 'other', 2, 1),
            (5, 'parent', 3, 2);""",
    )
    there_and_back(
        box, key({"log": "keep"}, also_referenced_by=["log(record) where kind = 'parent'"])
    )
    assert box.rows("SELECT id, record FROM log ORDER BY id") == [(1, 1), (3, 1), (4, 2), (5, 1)]


# -- children of children, and circles -----------------------------------------------------------


def test_children_of_children_to_a_fixpoint(every_url: str) -> None:
    """Each level collides only because the one above was merged."""
    box = Sandbox(every_url)
    box.execute(
        PARENT,
        """CREATE TABLE b (id integer PRIMARY KEY, parent_id integer NOT NULL REFERENCES parent ON DELETE CASCADE,
            n integer, w text, UNIQUE (parent_id, n));
        CREATE TABLE c (id integer PRIMARY KEY, b_id integer NOT NULL REFERENCES b ON DELETE CASCADE,
            n integer, w text, UNIQUE (b_id, n));
        CREATE TABLE d (c_id integer NOT NULL REFERENCES c ON DELETE RESTRICT, n integer NOT NULL, w text,
            PRIMARY KEY (c_id, n));
        CREATE TABLE e (id integer PRIMARY KEY, c_id integer REFERENCES c ON DELETE SET NULL);
        INSERT INTO b VALUES (1, 1, 1, NULL), (2, 2, 1, 'b2'), (3, 3, 2, 'b3');
        INSERT INTO c VALUES (1, 1, 1, NULL), (2, 2, 1, 'c2'), (3, 2, 2, 'c3'), (4, 3, 1, NULL);
        INSERT INTO d VALUES (1, 1, NULL), (2, 1, 'd'), (2, 2, NULL), (3, 1, NULL), (4, 1, NULL);
        INSERT INTO e VALUES (1, 1), (2, 2), (3, 3), (4, NULL);""",
    )
    there_and_back(box, key({"b": "keep", "c": "keep", "d": "merge"}))
    assert box.rows("SELECT id, parent_id FROM b ORDER BY id") == [(1, 1), (3, 1)]
    assert box.rows("SELECT id, b_id FROM c ORDER BY id") == [(1, 1), (3, 1), (4, 3)]
    assert box.rows("SELECT c_id, n, w FROM d ORDER BY 1, 2") == [
        (1, 1, "d"), (1, 2, None), (3, 1, None), (4, 1, None),
    ]  # fmt: skip
    assert box.rows("SELECT * FROM e ORDER BY id") == [(1, 1), (2, 1), (3, 3), (4, None)]


def test_a_child_that_refers_to_its_own_table(every_url: str) -> None:
    """A thread of comments: what goes away takes its answers to the one that stays."""
    box = Sandbox(every_url)
    box.execute(
        PARENT,
        """CREATE TABLE child (id integer PRIMARY KEY, parent_id integer NOT NULL REFERENCES parent,
            up integer REFERENCES child ON DELETE CASCADE, tag text, UNIQUE (parent_id, up, tag));
        INSERT INTO child VALUES (1, 1, NULL, 'r');
        INSERT INTO child VALUES (2, 1, 1, 'x');
        INSERT INTO child VALUES (3, 2, 1, 'x');
        INSERT INTO child VALUES (4, 2, 3, 'y');
        INSERT INTO child VALUES (5, 1, 2, 'y');
        INSERT INTO child VALUES (6, 3, 4, 'z');
        INSERT INTO child VALUES (7, 2, 5, 'z');
        INSERT INTO child VALUES (8, 6, 7, 'z');""",
    )
    there_and_back(box, key({"child": "keep"}))
    assert box.rows("SELECT id, parent_id, up, tag FROM child ORDER BY id") == [
        (1, 1, None, "r"), (2, 1, 1, "x"), (5, 1, 2, "y"), (7, 1, 5, "z"), (8, 6, 7, "z"),
    ]  # fmt: skip


def test_a_circle_of_two_tables(every_url: str) -> None:
    """A parent names its lead among its children, by a key of its own; all of it comes back."""
    box = Sandbox(every_url)
    lead = "integer UNIQUE REFERENCES child (id)" if box.sqlite else "integer UNIQUE"
    box.execute(
        f"""CREATE TABLE parent (id integer PRIMARY KEY, k integer NOT NULL, lead {lead});
        CREATE TABLE child (id integer PRIMARY KEY, parent_id integer NOT NULL REFERENCES parent ON DELETE CASCADE,
            tag text NOT NULL, UNIQUE (parent_id, tag));"""
    )
    if not box.sqlite:
        box.execute("ALTER TABLE parent ADD FOREIGN KEY (lead) REFERENCES child ON DELETE CASCADE")
    box.execute(
        """INSERT INTO parent VALUES (1, 1, NULL), (2, 1, NULL), (3, 1, NULL), (4, 2, NULL);
        INSERT INTO child VALUES (1, 1, 'x'), (2, 2, 'x'), (3, 3, 'y'), (4, 4, 'x');
        UPDATE parent SET lead = id;"""
    )
    there_and_back(box, key({"child": "keep"}))
    assert box.rows("SELECT * FROM parent ORDER BY id") == [(1, 1, 1), (4, 2, 4)]
    assert box.rows("SELECT * FROM child ORDER BY id") == [(1, 1, "x"), (3, 1, "y"), (4, 4, "x")]


def test_the_merged_table_is_its_own_child(every_url: str) -> None:
    """Rows of other groups that become equal by following are settled by the table's policy."""
    box = Sandbox(every_url)
    box.execute(
        """CREATE TABLE parent (id integer PRIMARY KEY, k integer NOT NULL, up integer REFERENCES parent, tag text,
            UNIQUE (up, tag));
        INSERT INTO parent VALUES (1, 1, NULL, 'a');
        INSERT INTO parent VALUES (2, 1, NULL, 'b');
        INSERT INTO parent VALUES (3, 3, 1, 'x');
        INSERT INTO parent VALUES (4, 4, 2, 'x');
        INSERT INTO parent VALUES (5, 5, 3, 'y');
        INSERT INTO parent VALUES (6, 6, 4, 'y');
        INSERT INTO parent VALUES (7, 7, 4, 'z');"""
    )
    assert blockers(box, key({})) == ["colliding_children"]
    there_and_back(box, key({"parent": "keep"}))
    assert box.rows("SELECT * FROM parent ORDER BY id") == [
        (1, 1, None, "a"), (3, 3, 1, "x"), (5, 5, 3, "y"), (7, 7, 3, "z"),
    ]  # fmt: skip


# -- what the plan says, and what happens meanwhile ----------------------------------------------


def test_the_plan_tells_of_it(every_url: str) -> None:
    """The sentence and the step's data name the table, the policy, how many and which rows."""
    box = Sandbox(every_url)
    box.execute(PARENT, NOTES)
    step = planned(box, key({"child": "keep"})).steps[0]
    assert (
        "collide then: keep the survivor's (2 rows in 1 group, as (2), (3), are archived)"
        in step.sentence
    )
    (fold,) = step.args["folds"]
    assert (fold["policy"], fold["groups"], fold["rows"]) == ("keep", 1, 2)
    assert fold["samples"] == [{"id": 2}, {"id": 3}]


def test_collisions_that_arrive_after_the_plan(every_url: str) -> None:
    """Where there is a policy they are settled; where there is none the run stops, and says so."""
    box = Sandbox(every_url)
    box.execute(
        PARENT,
        NOTES,
        """CREATE TABLE other (id integer PRIMARY KEY, parent_id integer UNIQUE REFERENCES parent);
        INSERT INTO other VALUES (1, 1);""",
    )
    rule = key({"child": "keep"})
    plan = planned(box, rule)
    box.execute(
        "INSERT INTO child VALUES (10, 2, 'y', NULL, NULL); INSERT INTO other VALUES (2, 2)"
    )
    before = box.contents()
    outcome = api.apply(box.url, [rule], plan=plan, limits=SMALL)
    assert (outcome.status, outcome.exit_code) == ("stopped", 1)
    assert "other" in outcome.message
    assert box.contents() == before
    box.execute("DELETE FROM other WHERE id = 2")
    assert api.apply(box.url, [rule], limits=SMALL).status == "done"
    assert box.rows("SELECT id FROM child WHERE parent_id = 1 ORDER BY id") == [(1,), (10,)]
    undone(box)


def test_rows_changed_since_are_left_alone(every_url: str) -> None:
    """An undo tells of a child that somebody has changed after the merge."""
    box = Sandbox(every_url)
    box.execute(PARENT, NOTES)
    applied(box, key({"child": "merge"}))
    box.execute(
        "UPDATE child SET tag = 'new' WHERE id = 4; UPDATE child SET b = 'theirs' WHERE id = 2"
    )
    outcome = api.undo(box.url, "last")
    assert {(o["table"].rpartition(".")[2], o["key"]["id"]) for o in outcome.left_alone} <= {
        ("child", 2), ("child", 4),
    }  # fmt: skip
    assert box.value("SELECT b FROM child WHERE id = 2") == "theirs"
    assert box.count("parent") == 6


# -- exclusion constraints -----------------------------------------------------------------------

BOOKED = """
CREATE TABLE parent (id integer PRIMARY KEY, k integer NOT NULL);
CREATE TABLE booking (id integer PRIMARY KEY, parent_id integer REFERENCES parent, during int4range,
    live boolean NOT NULL DEFAULT true);
INSERT INTO parent VALUES (1, 1), (2, 1), (3, 2), (4, 2);
INSERT INTO booking VALUES (1, 1, '[1,5)'), (2, 2, '[4,9)'), (3, 3, '[1,5)'), (4, 4, '[5,9)'),
    (5, 4, 'empty'), (6, NULL, NULL), (7, 2, NULL);
"""
#: Points on a line stand for the parents: no operator class of integers is needed for them.
EXCLUSIONS = [
    "EXCLUDE USING gist (int4range(parent_id, parent_id, '[]') WITH &&, during WITH &&)",
    "EXCLUDE USING gist (int4range(parent_id, parent_id, '[]') WITH OPERATOR(pg_catalog.=),"
    " during WITH &&) WHERE (live) DEFERRABLE INITIALLY DEFERRED",
]


@pytest.mark.parametrize("exclusion", EXCLUSIONS)
def test_children_that_exclude_each_other_stop_the_plan(every_pg_url: str, exclusion: str) -> None:
    """Pairs that could not stand together are counted before anything is touched."""
    box = Sandbox(every_pg_url)
    box.execute(BOOKED, f"ALTER TABLE booking ADD CONSTRAINT apart {exclusion}")
    before = box.state()
    found = api.make_plan(box.url, [key({})]).blockers
    assert [b.code for b in found] == ["colliding_children"]
    assert "would break public.booking.apart for 1 pair(s)" in found[0].message
    assert api.apply(box.url, [key({})]).status == "refused"
    assert box.state() == before
    box.execute("UPDATE booking SET during = '[5,9)' WHERE id = 2")
    there_and_back(box, key({}))
    assert box.count("booking WHERE parent_id IN (1, 3)") == 6


def test_a_child_that_is_excluded_meanwhile_stops_the_run(every_pg_url: str) -> None:
    """It arrived after the plan: told with the constraint, and the batch leaves no trace."""
    box = Sandbox(every_pg_url)
    box.execute(
        BOOKED,
        "DELETE FROM booking WHERE id = 2",
        f"ALTER TABLE booking ADD CONSTRAINT apart {EXCLUSIONS[0]}",
    )
    plan = planned(box, key({}))
    box.execute("INSERT INTO booking VALUES (8, 2, '[2,3)')")
    before = box.state()
    outcome = api.apply(box.url, [key({})], plan=plan, limits=SMALL)
    assert (outcome.status, outcome.exit_code) == ("stopped", 1)
    assert 'exclusion constraint "apart"' in outcome.message
    assert box.state() == before
    box.execute("DELETE FROM booking WHERE id = 8")
    applied(box, key({}))


def test_periods_that_may_not_overlap(every_pg_url: str) -> None:
    """PostgreSQL 18's keys WITHOUT OVERLAPS are such constraints, too."""
    box = Sandbox(every_pg_url)
    if int(box.value("SHOW server_version_num")) < 180000:
        return
    box.execute(
        BOOKED,
        "ALTER TABLE booking ADD COLUMN p int4range GENERATED ALWAYS AS"
        " (int4range(parent_id, parent_id, '[]')) STORED;"
        "DELETE FROM booking WHERE id IN (5, 6, 7);"
        "ALTER TABLE booking ADD CONSTRAINT apart UNIQUE (p, during WITHOUT OVERLAPS)",
    )
    found = api.make_plan(box.url, [key({})]).blockers
    assert "would break public.booking.apart for 1 pair(s)" in found[0].message
