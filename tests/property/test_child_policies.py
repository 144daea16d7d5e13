"""Random families of tables that collide when they follow the survivor."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onerow import api
from onerow.rules import Key
from onerow.session import Limits
from tests.crash.support import forget
from tests.support.sandbox import Sandbox

SMALL = Limits(batch_rows=3, most_batch_rows=6)
TABLES = ("grandchild", "child", "parent")

#: Unique keys of the child; a family has some of them. The last one is over its own reference.
CHILD_KEYS = (
    "(parent_id, a)",
    "(parent_id, b)",
    "(parent_id, (coalesce(a, b))) WHERE b > 0",
    "(parent_id, other_id)",
    "(up)",
)
GRANDCHILD_KEYS = ("(child_id, n)", "(child_id)")


@dataclass(frozen=True, slots=True)
class Family:
    """Rows by table, the unique keys that they obey, and the policies."""

    parents: list[tuple[int, int | None]]  #: key, and the lead among the children
    children: list[tuple[int, int | None, int | None, int | None, int | None]]
    grandchildren: list[tuple[int | None, int]]
    child_keys: frozenset[str]
    grandchild_keys: frozenset[str]
    policies: dict[str, str]
    lead_is_unique: bool


def _few(most: int) -> st.SearchStrategy[int | None]:
    return st.none() | st.integers(1, most)


FAMILIES = st.builds(
    Family,
    parents=st.lists(st.tuples(st.integers(1, 3), _few(6)), min_size=2, max_size=7),
    children=st.lists(
        st.tuples(st.integers(1, 7), _few(7), _few(2), _few(2), _few(8)), max_size=8
    ),
    grandchildren=st.lists(st.tuples(_few(8), st.integers(1, 2)), max_size=8),
    child_keys=st.frozensets(st.sampled_from(CHILD_KEYS), max_size=3),
    grandchild_keys=st.frozensets(st.sampled_from(GRANDCHILD_KEYS), max_size=1),
    policies=st.fixed_dictionaries(
        {"child": st.sampled_from(["keep", "merge"]), "grandchild": st.sampled_from(["keep", "merge"])},
        optional={"parent": st.just("keep")},
    ),
    lead_is_unique=st.booleans(),
)  # fmt: skip


def build(box: Sandbox, family: Family) -> None:
    """The tables, with the rows that their own keys let in."""
    if not box.sqlite:
        box.execute("DROP TABLE IF EXISTS grandchild, child, parent CASCADE")
    unchecked = ["PRAGMA foreign_keys = OFF"] if box.sqlite else []
    box.execute(*unchecked, *(f"DROP TABLE IF EXISTS {t}" for t in TABLES))
    lead = "integer REFERENCES child (id)" if box.sqlite else "integer"
    box.execute(
        f"""CREATE TABLE parent (id integer PRIMARY KEY, k integer NOT NULL, lead {lead}, note text);
        CREATE TABLE child (id integer PRIMARY KEY, parent_id integer NOT NULL REFERENCES parent ON DELETE CASCADE,
            other_id integer REFERENCES parent ON DELETE SET NULL, a integer, b integer,
            up integer REFERENCES child ON DELETE CASCADE);
        CREATE TABLE grandchild (id integer PRIMARY KEY, child_id integer REFERENCES child ON DELETE CASCADE, n integer);"""
    )
    if not box.sqlite:
        box.execute("ALTER TABLE parent ADD FOREIGN KEY (lead) REFERENCES child ON DELETE CASCADE")
    if family.lead_is_unique:
        box.execute(
            "CREATE UNIQUE INDEX ON parent (lead)"
            if not box.sqlite
            else "CREATE UNIQUE INDEX pl ON parent (lead)"
        )
    for table, keys in (("child", family.child_keys), ("grandchild", family.grandchild_keys)):
        for number, text in enumerate(sorted(keys)):
            box.execute(f"CREATE UNIQUE INDEX {table}_{number} ON {table} {text}")
    there, kids = len(family.parents), len(family.children)
    statements = [
        *(f"INSERT INTO parent VALUES ({i}, {k}, NULL, {sql(k if i % 2 else None)})"
          for i, (k, _) in enumerate(family.parents, 1)),
        *(f"INSERT INTO child VALUES ({i}, {(p - 1) % there + 1}, {sql(o and (o - 1) % there + 1)}, {sql(a)}, {sql(b)}, NULL)"
          for i, (p, o, a, b, _) in enumerate(family.children, 1)),
        *(f"UPDATE child SET up = {(up - 1) % kids + 1} WHERE id = {i}"
          for i, (*_, up) in enumerate(family.children, 1) if up),
        *(f"UPDATE parent SET lead = {lead} WHERE id = {i} AND EXISTS (SELECT 1 FROM child WHERE id = {lead})"
          for i, (_, lead) in enumerate(family.parents, 1) if lead),
        *(f"INSERT INTO grandchild SELECT {i}, {sql(c)}, {n} WHERE {sql(c)} IS NULL OR EXISTS (SELECT 1 FROM child WHERE id = {sql(c)})"
          for i, (c, n) in enumerate(family.grandchildren, 1)),
    ]  # fmt: skip
    with box.connect() as connection:
        for statement in statements:
            try:
                connection.execute(statement)
            except Exception as error:
                # The table's own keys keep such rows out; what they let in is the scenario.
                if not str(getattr(error, "sqlstate", None) or error).startswith(
                    ("23", "UNIQUE", "FOREIGN")
                ):
                    raise


def sql(value: int | None) -> str:
    return "NULL" if value is None else str(value)


def dangling(box: Sandbox) -> int:
    return int(
        box.value(
            "SELECT (SELECT count(*) FROM child c WHERE NOT EXISTS (SELECT 1 FROM parent p WHERE p.id = c.parent_id))"
            " + (SELECT count(*) FROM child c WHERE up IS NOT NULL AND NOT EXISTS (SELECT 1 FROM child u WHERE u.id = c.up))"
            " + (SELECT count(*) FROM grandchild g WHERE child_id IS NOT NULL"
            "    AND NOT EXISTS (SELECT 1 FROM child c WHERE c.id = g.child_id))"
            " + (SELECT count(*) FROM parent p WHERE lead IS NOT NULL"
            "    AND NOT EXISTS (SELECT 1 FROM child c WHERE c.id = p.lead))"
        )
    )


def there_and_back(url: str, family: Family) -> None:
    box = Sandbox(url)
    forget(box)
    build(box, family)
    before = box.state()
    counts = {t: box.count(t) for t in TABLES}
    key = Key("parent", "k", name="parent_k", merge={"note": "keep"}, children=family.policies)
    plan = api.make_plan(box.url, [key])
    if plan.blockers:
        # Only the parents' own key over the lead has no policy, sometimes.
        assert [b.code for b in plan.blockers] == ["colliding_children"]
        assert "parent" not in family.policies
        assert family.lead_is_unique
        assert api.apply(box.url, [key], plan=plan).status == "refused"
        assert box.state() == before
        return
    outcome = api.apply(box.url, [key], plan=plan, limits=SMALL)
    assert outcome.status == "done", outcome.message
    assert dangling(box) == 0
    assert box.count("parent") == box.value("SELECT count(DISTINCT k) FROM parent")
    # Archived + remaining = before.
    assert sum(counts.values()) == outcome.archived + sum(box.count(t) for t in TABLES)
    back = api.undo(box.url, limits=SMALL)
    assert (back.status, back.left_alone) == ("undone", ())
    assert box.state() == before


def budget(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@budget(20)
@given(FAMILIES)
def test_on_sqlite(sqlite_url: str, family: Family) -> None:
    """No row is lost, no reference dangles, and the undo is the identity."""
    there_and_back(sqlite_url, family)


@budget(8)
@given(FAMILIES)
def test_on_postgresql(pg_url: str, family: Family) -> None:
    """The same, with foreign keys that the server checks at every statement."""
    there_and_back(pg_url, family)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@budget(300)
@given(FAMILIES)
def test_on_sqlite_at_length(sqlite_url: str, family: Family) -> None:
    """With a larger budget."""
    there_and_back(sqlite_url, family)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@budget(60)
@given(FAMILIES)
def test_every_server_at_length(every_pg_url: str, family: Family) -> None:
    """On every server, with a larger budget."""
    there_and_back(every_pg_url, family)
