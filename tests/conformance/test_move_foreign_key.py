"""Foreign keys that lean on a key which is replaced: they follow, or the plan says why they cannot."""

from __future__ import annotations

import pytest

from onerow import api
from onerow.rules import Key
from tests.support.sandbox import Sandbox
from tests.support.story import SMALL, blockers, planned, there_and_back, undone

SCHEMA = """
CREATE TABLE sprint (id integer PRIMARY KEY, number integer NOT NULL, team integer NOT NULL,
    CONSTRAINT sprint_old UNIQUE (number));
CREATE TABLE state (id integer PRIMARY KEY, number integer, CONSTRAINT state_fk
    FOREIGN KEY (number) REFERENCES sprint (number) ON DELETE SET NULL DEFERRABLE);
COMMENT ON CONSTRAINT state_fk ON state IS 'which sprint';
CREATE TABLE shift (id integer PRIMARY KEY, number integer REFERENCES sprint (number));
INSERT INTO sprint SELECT i, i, i % 3 FROM generate_series(1, 50) AS i;
INSERT INTO state SELECT i, i FROM generate_series(1, 50) AS i;
INSERT INTO shift SELECT i, 1 + i % 50 FROM generate_series(1, 90) AS i;
"""
RULE = Key("sprint", "number", name="sprint_number", replaces=("sprint_old",))
LEANS = """
SELECT conname, conindid::regclass::text, convalidated FROM pg_constraint
WHERE contype = 'f' ORDER BY 1
"""


def made(url: str, *scripts: str) -> Sandbox:
    box = Sandbox(url)
    box.execute(SCHEMA, *scripts)
    return box


def leaning_on(index: str) -> list[tuple[str, str, bool]]:
    return [("shift_number_fkey", index, True), ("state_fk", index, True)]


def test_a_key_of_other_columns_cannot_take_them_over(every_pg_url: str) -> None:
    """The old key must stay; the plan names the foreign keys, and nothing is touched."""
    box = made(every_pg_url)
    before = box.state()
    rule = Key("sprint", "number", "team", replaces=("sprint_old",))
    found = api.make_plan(box.url, [rule]).blockers
    assert {b.code for b in found} == {"foreign_key_on_replaced_key"}
    told = next(b.message for b in found if "state_fk" in b.message)
    assert "refers to (number), and the new key is of (number, team)" in told
    assert "Leave sprint_old out of replaces" in told
    assert api.apply(box.url, [rule]).status == "refused"
    assert box.state() == before


@pytest.mark.parametrize(
    ("rule", "more"),
    [
        (Key("sprint", "number", name="n", where="team > 0", replaces=("sprint_old",)), ""),
        (RULE, "CREATE UNIQUE INDEX twin ON sprint (number)"),
    ],
    ids=["filter", "twin"],
)
def test_what_else_keeps_them_where_they_are(every_pg_url: str, rule: Key, more: str) -> None:
    """No foreign key leans on a filtered index; with a twin nobody could say on which."""
    assert set(blockers(made(every_pg_url, more), rule)) == {"foreign_key_on_replaced_key"}


def test_a_child_that_is_not_ours(every_pg_url: str) -> None:
    """Only its owner may add the foreign key again."""
    box = made(every_pg_url)
    role = f"r{box.value('SELECT md5(random()::text)')}"
    box.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'x'; ALTER TABLE sprint OWNER TO {role};"
        f"GRANT ALL ON state, shift TO {role}; GRANT ALL ON SCHEMA public TO {role};"
        f"DO $$BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO {role}', current_database());"
        "END$$"
    )
    try:
        tail = box.url.rpartition("@")[2]
        found = api.make_plan(f"postgresql://{role}:x@{tail}", [RULE]).blockers
        assert {b.code for b in found} == {"foreign_key_on_replaced_key"}
        assert any("public.state is not ours" in b.message for b in found)
    finally:
        box.execute(f"REASSIGN OWNED BY {role} TO postgres; DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.parametrize(
    "rule",
    [RULE, Key("sprint", "number", name="sprint_old", nulls="forbidden", replaces=("sprint_old",))],
    ids=["other name", "same name"],
)
def test_there_and_back(every_pg_url: str, rule: Key) -> None:
    """They lean on the new key, validated, with every clause and comment; undo leads exactly back."""
    box = made(every_pg_url, "ALTER TABLE sprint ALTER number DROP NOT NULL")
    before = box.state()
    kinds = [s.kind for s in planned(box, rule).steps]
    assert kinds.count("move_foreign_key") == 1
    assert kinds[-2:] == ["validate_foreign_key"] * 2
    there_and_back(box, rule)
    assert box.rows(LEANS) == leaning_on(rule.name or "")
    undone(box)
    assert box.state() == before
    assert box.rows(LEANS) == leaning_on("sprint_old")


def test_an_index_and_a_foreign_key_that_was_never_validated(every_pg_url: str) -> None:
    """A plain unique index is dropped from under it, too; NOT VALID stays so, there and back."""
    box = made(
        every_pg_url,
        "ALTER TABLE sprint DROP CONSTRAINT sprint_old CASCADE;"
        "CREATE UNIQUE INDEX sprint_old ON sprint (number);"
        "ALTER TABLE state ADD FOREIGN KEY (number) REFERENCES sprint (number) NOT VALID",
    )
    before = box.state()
    there_and_back(box, RULE)
    assert box.rows(LEANS) == [("state_number_fkey", "sprint_number", False)]
    undone(box)
    assert box.state() == before
    assert box.rows(LEANS) == [("state_number_fkey", "sprint_old", False)]


def test_new_rows_are_checked_all_the_time(every_pg_url: str) -> None:
    """The foreign key is gone and back in one transaction, so nobody writes without it."""
    box = made(every_pg_url)
    step = next(s for s in planned(box, RULE).steps if s.kind == "move_foreign_key")
    assert step.transactional
    assert [q.split(" CONSTRAINT ")[0].rpartition(" ")[2] for q in step.sql if "CONSTRAINT" in q][
        :3
    ] == ["DROP"] * 3
    assert api.apply(box.url, [RULE], limits=SMALL).status == "done"
    with pytest.raises(Exception, match="state_fk"):
        box.execute("INSERT INTO state VALUES (1000, 999)")
