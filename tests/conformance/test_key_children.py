"""Rows that point at merged rows follow the survivor, and come back."""

from __future__ import annotations

import pytest

from onerow import api
from onerow.errors import RuleError
from onerow.rules import Index, Key
from tests.support.sandbox import Sandbox
from tests.support.story import applied, blockers, planned, there_and_back

PARENT = """
CREATE TABLE parent (id integer PRIMARY KEY, k integer NOT NULL, note text);
INSERT INTO parent VALUES (1, 1, NULL), (2, 1, 'b'), (3, 1, NULL), (4, 2, 'd'), (5, 2, 'e'), (6, 3, NULL);
"""
KEY = Key("parent", "k", name="parent_k")
ACTIONS = ["CASCADE", "SET NULL", "RESTRICT", "NO ACTION", "SET DEFAULT"]


@pytest.mark.parametrize("action", ACTIONS)
def test_children_follow_whatever_the_delete_action(every_url: str, action: str) -> None:
    """No child is deleted, emptied or refused."""
    box = Sandbox(every_url)
    box.execute(
        PARENT,
        f"""CREATE TABLE child (id integer PRIMARY KEY,
            parent_id integer DEFAULT 6 REFERENCES parent ON DELETE {action}, word text);
        CREATE INDEX child_parent ON child (parent_id);
        INSERT INTO child VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c'), (4, 5, 'd'), (5, NULL, 'e');""",
    )
    there_and_back(box, KEY)
    assert box.rows("SELECT id, parent_id, word FROM child ORDER BY id") == [
        (1, 1, "a"), (2, 1, "b"), (3, 1, "c"), (4, 4, "d"), (5, None, "e"),
    ]  # fmt: skip


def test_two_references_of_one_child(every_url: str) -> None:
    """Each is moved, also where one row uses both."""
    box = Sandbox(every_url)
    box.execute(
        PARENT,
        """CREATE TABLE child (id integer PRIMARY KEY,
            a integer REFERENCES parent ON DELETE CASCADE,
            b integer REFERENCES parent ON DELETE SET NULL);
        INSERT INTO child VALUES (1, 2, 3), (2, 5, 2), (3, 6, 6), (4, 3, NULL), (5, 1, 4);""",
    )
    there_and_back(box, KEY)
    assert box.rows("SELECT id, a, b FROM child ORDER BY id") == [
        (1, 1, 1), (2, 4, 1), (3, 6, 6), (4, 1, None), (5, 1, 4),
    ]  # fmt: skip


def test_references_to_oneself(every_url: str) -> None:
    """A reference inside of a group points at the survivor, which may be the row itself."""
    box = Sandbox(every_url)
    box.execute(
        """CREATE TABLE parent (id integer PRIMARY KEY, k integer NOT NULL,
            up integer REFERENCES parent ON DELETE CASCADE, note text);
        INSERT INTO parent VALUES (1, 1, NULL, 'x');
        INSERT INTO parent VALUES (2, 1, 1, 'y');
        INSERT INTO parent VALUES (3, 2, 2, 'z');
        INSERT INTO parent VALUES (4, 2, 3, NULL);
        INSERT INTO parent VALUES (5, 3, 4, 'w');
        INSERT INTO parent VALUES (6, 1, 5, 'v');"""
    )
    there_and_back(box, KEY)
    assert box.rows("SELECT id, k, up FROM parent ORDER BY id") == [(1, 1, 1), (3, 2, 1), (5, 3, 3)]


def test_a_cycle_of_references(every_url: str) -> None:
    """Two tables that point at each other keep doing so."""
    box = Sandbox(every_url)
    box.execute(
        """CREATE TABLE parent (id integer PRIMARY KEY, k integer NOT NULL, lead integer);
        CREATE TABLE child (id integer PRIMARY KEY, parent_id integer NOT NULL REFERENCES parent);"""
    )
    if not box.sqlite:
        box.execute("ALTER TABLE parent ADD FOREIGN KEY (lead) REFERENCES child (id)")
    box.execute(
        """INSERT INTO parent VALUES (1, 1, NULL), (2, 1, NULL), (3, 1, NULL);
        INSERT INTO child VALUES (1, 1), (2, 2), (3, 3);
        UPDATE parent SET lead = 4 - id WHERE id > 1;"""
    )
    there_and_back(box, KEY)
    assert box.rows("SELECT * FROM parent") == [(1, 1, 2)]
    assert box.rows("SELECT * FROM child ORDER BY id") == [(1, 1), (2, 1), (3, 1)]


def test_composite_reference(every_url: str) -> None:
    """A foreign key of two columns moves as a whole."""
    box = Sandbox(every_url)
    box.execute(
        """CREATE TABLE parent (tenant integer NOT NULL, no integer NOT NULL, k text NOT NULL, note text,
            PRIMARY KEY (tenant, no));
        CREATE TABLE child (id integer PRIMARY KEY, tenant integer, parent_no integer,
            FOREIGN KEY (tenant, parent_no) REFERENCES parent (tenant, no) ON DELETE CASCADE);
        INSERT INTO parent VALUES (1, 1, 'a', NULL), (1, 2, 'a', 'n'), (2, 1, 'a', NULL), (2, 9, 'b', NULL);
        INSERT INTO child VALUES (1, 1, 1), (2, 1, 2), (3, 2, 1), (4, 2, 9), (5, NULL, 2), (6, 1, NULL);"""
    )
    there_and_back(box, Key("parent", "tenant", "k"))
    assert box.rows("SELECT * FROM child ORDER BY id") == [
        (1, 1, 1), (2, 1, 1), (3, 2, 1), (4, 2, 9), (5, None, 2), (6, 1, None),
    ]  # fmt: skip


def test_reference_that_is_part_of_the_childs_primary_key(every_url: str) -> None:
    """The child's own key changes when it moves; it is archived and found again all the same."""
    box = Sandbox(every_url)
    box.execute(
        PARENT,
        """CREATE TABLE child (parent_id integer NOT NULL REFERENCES parent ON DELETE CASCADE,
            tag text NOT NULL, word text, PRIMARY KEY (parent_id, tag));
        INSERT INTO child VALUES (1, 'a', 'x'), (2, 'b', 'y'), (3, 'c', 'z'), (5, 'a', 'w'), (6, 'a', NULL);""",
    )
    there_and_back(box, KEY)
    assert box.rows("SELECT * FROM child ORDER BY parent_id, tag") == [
        (1, "a", "x"), (1, "b", "y"), (1, "c", "z"), (4, "a", "w"), (6, "a", None),
    ]  # fmt: skip
    assert box.archived("child", "repointed") == 3


def test_one_to_one_extension(every_url: str) -> None:
    """A child whose whole primary key is the reference."""
    box = Sandbox(every_url)
    box.execute(
        PARENT,
        """CREATE TABLE child (parent_id integer PRIMARY KEY REFERENCES parent ON DELETE CASCADE, word text);
        INSERT INTO child VALUES (2, 'y'), (5, 'w'), (6, 'v');""",
    )
    there_and_back(box, KEY)
    assert box.rows("SELECT * FROM child ORDER BY 1") == [(1, "y"), (4, "w"), (6, "v")]


def test_self_reference_in_the_primary_key(every_url: str) -> None:
    """Composite keys of a tree within a tenant."""
    box = Sandbox(every_url)
    box.execute(
        """CREATE TABLE node (tenant integer NOT NULL, id integer NOT NULL, k integer NOT NULL, up integer,
            PRIMARY KEY (tenant, id),
            FOREIGN KEY (tenant, up) REFERENCES node (tenant, id) ON DELETE CASCADE);
        INSERT INTO node VALUES (1, 1, 1, NULL);
        INSERT INTO node VALUES (1, 2, 1, 1);
        INSERT INTO node VALUES (1, 3, 2, 2);
        INSERT INTO node VALUES (2, 1, 1, NULL);"""
    )
    there_and_back(box, Key("node", "tenant", "k"))
    assert box.rows("SELECT * FROM node ORDER BY 1, 2") == [
        (1, 1, 1, 1), (1, 3, 2, 1), (2, 1, 1, None),
    ]  # fmt: skip


def test_reference_to_another_unique_column(every_url: str) -> None:
    """Children that point by a code get the survivor's code."""
    box = Sandbox(every_url)
    box.execute(
        """CREATE TABLE parent (id integer PRIMARY KEY, k integer NOT NULL, code text NOT NULL UNIQUE);
        INSERT INTO parent VALUES (1, 1, 'A'), (2, 1, 'B'), (3, 2, 'C');
        CREATE TABLE child (id integer PRIMARY KEY, code text REFERENCES parent (code) ON DELETE CASCADE);
        INSERT INTO child VALUES (1, 'A'), (2, 'B'), (3, 'C');"""
    )
    there_and_back(box, KEY)
    assert box.rows("SELECT * FROM child ORDER BY id") == [(1, "A"), (2, "A"), (3, "C")]


def test_reference_to_a_code_that_the_survivor_lacks_stops_the_plan(every_url: str) -> None:
    """There is nothing that the children could point at; without children the code moves over."""
    box = Sandbox(every_url)
    box.execute(
        """CREATE TABLE parent (id integer PRIMARY KEY, k integer NOT NULL, code text UNIQUE);
        INSERT INTO parent VALUES (1, 1, NULL), (2, 1, 'B'), (3, 2, 'C'), (4, 2, NULL), (5, 3, 'D');
        CREATE TABLE child (id integer PRIMARY KEY,
            code text REFERENCES parent (code) ON DELETE CASCADE);
        INSERT INTO child VALUES (1, 'C'), (2, 'D'), (3, NULL), (4, 'B');"""
    )
    assert blockers(box, KEY) == ["colliding_children"]
    box.execute("DELETE FROM child WHERE id = 4")
    there_and_back(box, KEY)
    assert box.rows("SELECT * FROM parent ORDER BY id") == [(1, 1, "B"), (3, 2, "C"), (5, 3, "D")]
    assert box.rows("SELECT * FROM child ORDER BY id") == [(1, "C"), (2, "D"), (3, None)]


def test_a_value_that_is_referred_to_cannot_be_maximised(every_url: str) -> None:
    """Asked for by name it is an error; by default the survivor keeps its own."""
    box = Sandbox(every_url)
    box.execute(
        """CREATE TABLE parent (id integer PRIMARY KEY, k integer NOT NULL, n integer UNIQUE);
        INSERT INTO parent VALUES (1, 1, 5), (2, 1, 9);
        CREATE TABLE child (id integer PRIMARY KEY, n integer REFERENCES parent (n));
        INSERT INTO child VALUES (1, 5), (2, 9);"""
    )
    with pytest.raises(RuleError, match="referred to"):
        blockers(box, Key("parent", "k", merge={"n": "max"}))
    there_and_back(box, Key("parent", "k", merge={"default": "max"}))
    assert box.rows("SELECT * FROM parent") == [(1, 1, 5)]
    assert box.rows("SELECT * FROM child ORDER BY id") == [(1, 5), (2, 5)]


def test_unique_column_that_the_survivor_lacks(every_url: str) -> None:
    """A value moves from the row that goes to the one that stays, unique as it is."""
    box = Sandbox(every_url)
    box.execute(
        """CREATE TABLE parent (id integer PRIMARY KEY, k integer NOT NULL, code text UNIQUE,
            n integer UNIQUE);
        INSERT INTO parent VALUES (1, 1, NULL, 5), (2, 1, 'B', 9), (3, 1, 'C', 7), (4, 2, NULL, NULL);"""
    )
    there_and_back(box, Key("parent", "k", merge={"n": "max"}))
    assert box.rows("SELECT * FROM parent ORDER BY id") == [(1, 1, "B", 9), (4, 2, None, None)]


def test_declared_only_reference(every_url: str) -> None:
    """also_referenced_by moves what no foreign key tells of, only where its filter says so."""
    box = Sandbox(every_url)
    box.execute(
        PARENT,
        """CREATE TABLE log (id integer PRIMARY KEY, of text, record integer, pct text);
        INSERT INTO log VALUES (1, 'parent', 2, '5%'), (2, 'other', 2, '5%'), (3, 'parent', 6, ':x'),
            (4, 'parent', 5, NULL), (5, 'parent', 77, NULL), (6, NULL, 3, NULL);""",
    )
    there_and_back(
        box,
        Key("parent", "k", also_referenced_by=["log(record) where of = 'parent' and record > 0"]),
    )
    assert box.rows("SELECT id, record FROM log ORDER BY id") == [
        (1, 1), (2, 2), (3, 6), (4, 4), (5, 77), (6, 3),
    ]  # fmt: skip


def test_declared_only_reference_of_another_type(every_url: str) -> None:
    """A number that is kept as text is found, and stays text."""
    box = Sandbox(every_url)
    box.execute(
        PARENT,
        """CREATE TABLE log (id integer PRIMARY KEY, record text, CONSTRAINT log_u UNIQUE (record, id));
        INSERT INTO log VALUES (1, '2'), (2, '02'), (3, 'x'), (4, '5'), (5, NULL);""",
    )
    there_and_back(box, Key("parent", "k", also_referenced_by=["log(record)"]))
    assert box.rows("SELECT id, record FROM log ORDER BY id") == [
        (1, "1"), (2, "02"), (3, "x"), (4, "4"), (5, None),
    ]  # fmt: skip


def test_children_that_would_collide_stop_the_plan(every_url: str) -> None:
    """Before anything is touched; a unique key over an expression counts too."""
    box = Sandbox(every_url)
    box.execute(
        PARENT,
        """CREATE TABLE child (id integer PRIMARY KEY, parent_id integer REFERENCES parent, tag text);
        CREATE UNIQUE INDEX child_key ON child (parent_id, lower(tag));
        INSERT INTO child VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 6, 'a');""",
    )
    assert blockers(box, KEY) == []
    box.execute("INSERT INTO child VALUES (4, 3, 'A')")
    before = box.state()
    assert blockers(box, KEY) == ["colliding_children"]
    assert box.state() == before


def test_children_that_collide_by_two_references_at_once(every_url: str) -> None:
    """Neither reference alone would make two rows equal."""
    box = Sandbox(every_url)
    box.execute(
        PARENT,
        """CREATE TABLE pair (a integer REFERENCES parent, b integer REFERENCES parent,
            id integer PRIMARY KEY, UNIQUE (a, b));
        INSERT INTO pair VALUES (1, 4, 1), (2, 6, 2);""",
    )
    assert blockers(box, KEY) == []
    box.execute("INSERT INTO pair VALUES (2, 5, 3)")
    assert blockers(box, KEY) == ["colliding_children"]


def test_children_that_collide_in_a_filtered_key_only_where_it_looks(every_url: str) -> None:
    """Rows outside of a partial index may be equal."""
    box = Sandbox(every_url)
    box.execute(
        PARENT,
        """CREATE TABLE child (id integer PRIMARY KEY, parent_id integer REFERENCES parent, gone boolean);
        CREATE UNIQUE INDEX child_key ON child (parent_id) WHERE NOT gone;
        INSERT INTO child VALUES (1, 1, false), (2, 2, true), (3, 3, true);""",
    )
    there_and_back(box, KEY)


def test_child_without_primary_key_is_a_blocker(every_url: str) -> None:
    """Its rows could not be found again; an empty one harms nobody."""
    box = Sandbox(every_url)
    box.execute(PARENT, "CREATE TABLE child (parent_id integer REFERENCES parent, word text);")
    assert blockers(box, KEY) == []
    box.execute("INSERT INTO child VALUES (2, 'x')")
    assert blockers(box, KEY) == ["no_primary_key"]


def test_a_big_child_without_an_index_is_a_blocker(every_url: str) -> None:
    """The message has the rule that lets the plan build one; with it, that comes before the merge."""
    box = Sandbox(every_url)
    box.execute(
        PARENT,
        "CREATE TABLE child (id integer PRIMARY KEY, parent_id integer REFERENCES parent);",
        """INSERT INTO child WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 10001)
        SELECT i, i % 6 + 1 FROM g;""",
    )
    (found,) = api.make_plan(box.url, [KEY]).blockers
    assert found.code == "unindexed_child"
    table = "main.child" if box.sqlite else "public.child"
    rule = f'[[index]] table = "{table}", columns = ["parent_id"]'
    assert rule in found.message
    index = Index(table=table, columns=("parent_id",))
    kinds = [s.kind for s in planned(box, index, KEY).steps]
    assert kinds[:2] == ["create_index", "merge_duplicates"]


def test_reference_in_a_generated_column_is_a_blocker(every_url: str) -> None:
    """It cannot be set."""
    box = Sandbox(every_url)
    box.execute(
        PARENT,
        """CREATE TABLE child (id integer PRIMARY KEY, n integer,
            parent_id integer GENERATED ALWAYS AS (n + 0) STORED REFERENCES parent);
        INSERT INTO child (id, n) VALUES (1, 2);""",
    )
    assert blockers(box, KEY) == ["unsupported"]


def test_child_in_another_schema(pg_url: str) -> None:
    """Foreign keys are followed wherever they come from."""
    box = Sandbox(pg_url)
    box.execute(
        PARENT,
        """CREATE SCHEMA "Other One";
        CREATE TABLE "Other One"."Child" (id integer PRIMARY KEY, parent_id integer REFERENCES parent ON DELETE CASCADE);
        INSERT INTO "Other One"."Child" VALUES (1, 2), (2, 5);""",
    )
    there_and_back(box, KEY)
    assert box.rows('SELECT * FROM "Other One"."Child" ORDER BY 1') == [(1, 1), (2, 4)]


def test_declared_only_child_in_another_schema(pg_url: str) -> None:
    """The declaration names the schema."""
    box = Sandbox(pg_url)
    box.execute(
        PARENT,
        """CREATE SCHEMA audit;
        CREATE TABLE audit.log (id integer PRIMARY KEY, record integer);
        INSERT INTO audit.log VALUES (1, 2), (2, 5);""",
    )
    there_and_back(box, Key("parent", "k", also_referenced_by=["audit.log(record)"]))
    assert box.rows("SELECT * FROM audit.log ORDER BY 1") == [(1, 1), (2, 4)]


def test_partitioned_child(pg_url: str) -> None:
    """Children that move within and between partitions."""
    box = Sandbox(pg_url)
    box.execute(
        PARENT,
        """CREATE TABLE child (id integer, parent_id integer REFERENCES parent, PRIMARY KEY (id, parent_id))
            PARTITION BY LIST (parent_id);
        CREATE TABLE child_1 PARTITION OF child FOR VALUES IN (1, 2);
        CREATE TABLE child_2 PARTITION OF child DEFAULT;
        INSERT INTO child VALUES (1, 2), (2, 3), (3, 5), (4, 6);""",
    )
    there_and_back(box, KEY)
    assert box.rows("SELECT * FROM child ORDER BY 1") == [(1, 1), (2, 1), (3, 4), (4, 6)]


def test_children_of_merged_children(every_url: str) -> None:
    """Two rules in one plan: the parents first, and then the children that have become equal."""
    box = Sandbox(every_url)
    box.execute(
        PARENT,
        """CREATE TABLE child (id integer PRIMARY KEY, parent_id integer NOT NULL REFERENCES parent ON DELETE CASCADE,
            tag text NOT NULL);
        CREATE TABLE grandchild (id integer PRIMARY KEY, child_id integer REFERENCES child ON DELETE CASCADE);
        INSERT INTO child VALUES (1, 1, 'a'), (2, 2, 'a'), (3, 3, 'b'), (4, 5, 'a'), (5, 5, 'a');
        INSERT INTO grandchild VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, 5);""",
    )
    there_and_back(box, KEY, Key("child", "parent_id", "tag"))
    assert box.rows("SELECT * FROM child ORDER BY 1") == [(1, 1, "a"), (3, 1, "b"), (4, 4, "a")]
    assert box.rows("SELECT * FROM grandchild ORDER BY 1") == [
        (1, 1),
        (2, 1),
        (3, 3),
        (4, 4),
        (5, 4),
    ]


def test_children_are_left_alone_when_no_row_of_theirs_points_at_a_duplicate(
    every_url: str,
) -> None:
    """Nothing is archived of them."""
    box = Sandbox(every_url)
    box.execute(
        PARENT,
        """CREATE TABLE child (id integer PRIMARY KEY, parent_id integer REFERENCES parent);
        INSERT INTO child VALUES (1, 1), (2, 4), (3, 6);""",
    )
    applied(box, KEY)
    assert box.archived("child", "repointed") == 0
