"""What stands in the way of a key, found before anything is touched, each with what to do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from onerow import api
from onerow.rules import Key
from tests.support.sandbox import Sandbox
from tests.support.story import SMALL, applied, blockers, there_and_back, undone

SCHEMA = """
CREATE TABLE t (id integer PRIMARY KEY, k integer NOT NULL, old integer NOT NULL, v text,
    CONSTRAINT t_old UNIQUE (old));
INSERT INTO t SELECT i, (i + 1) / 2, i, 'v' FROM generate_series(1, 10) AS i;
"""
KEY = Key("t", "k", name="t_k")
REPLACING = Key("t", "k", name="t_k", replaces=("t_old",))


def made(url: str, *scripts: str) -> Sandbox:
    box = Sandbox(url)
    box.execute(SCHEMA, *scripts)
    return box


def refused(box: Sandbox, rule: Key, url: str = "") -> dict[str, str]:
    """The blockers, code -> message; an apply is refused and touches nothing."""
    before = box.state()
    found = api.make_plan(url or box.url, [rule]).blockers
    outcome = api.apply(url or box.url, [rule], limits=SMALL)
    assert (outcome.status, outcome.exit_code) == ("refused", 1)
    assert box.state() == before
    return {b.code: b.message for b in found}


# -- replication -----------------------------------------------------------------------------------


def publish(box: Sandbox, more: str = "") -> None:
    box.execute("CREATE PUBLICATION p FOR TABLE t" + more)


@pytest.mark.parametrize(
    "setup",
    ["", "ALTER TABLE t REPLICA IDENTITY FULL", "ALTER TABLE t REPLICA IDENTITY USING INDEX t_old"],
)
def test_a_published_table_with_an_identity_is_merged(every_pg_url: str, setup: str) -> None:
    """By its primary key, by whole rows, by another key: there is nothing in the way."""
    box = made(every_pg_url, setup)
    publish(box)
    there_and_back(box, KEY)


def test_a_publication_of_inserts_alone(every_pg_url: str) -> None:
    """What publishes no UPDATE and no DELETE needs no identity."""
    box = made(every_pg_url, "ALTER TABLE t REPLICA IDENTITY NOTHING")
    publish(box, " WITH (publish = 'insert')")
    applied(box, KEY)


@pytest.mark.parametrize("scope", ["FOR TABLE t", "FOR ALL TABLES"])
def test_a_published_table_without_an_identity(every_pg_url: str, scope: str) -> None:
    """The server would refuse the merge's DELETE, half-way; the plan says it before."""
    box = made(every_pg_url, "ALTER TABLE t REPLICA IDENTITY NOTHING")
    box.execute(f"CREATE PUBLICATION p {scope}")
    told = refused(box, KEY)["publication_without_identity"]
    assert "published (p)" in told
    assert "REPLICA IDENTITY FULL" in told


def test_a_child_that_is_published_without_an_identity(every_pg_url: str) -> None:
    """A child is updated by the merge, so it needs one as well."""
    box = made(
        every_pg_url,
        "CREATE TABLE child (id integer PRIMARY KEY, t_id integer REFERENCES t);"
        "INSERT INTO child VALUES (1, 2); ALTER TABLE child REPLICA IDENTITY NOTHING;"
        "CREATE PUBLICATION p FOR TABLE child",
    )
    assert "public.child" in refused(box, KEY)["publication_without_identity"]


def test_the_replica_identity_is_not_taken_away(every_pg_url: str) -> None:
    """Subscribers would have no row to find; another identity first."""
    box = made(every_pg_url, "ALTER TABLE t REPLICA IDENTITY USING INDEX t_old")
    told = refused(box, REPLACING)["replica_identity_on_replaced_key"]
    assert "t_old is the replica identity of public.t" in told
    box.execute("ALTER TABLE t REPLICA IDENTITY FULL")
    there_and_back(box, REPLACING)


# -- what depends on the old key -------------------------------------------------------------------


def test_views_of_the_rows_are_not_in_the_way(every_pg_url: str) -> None:
    """A view that needs no key goes on as it was, also a materialised one."""
    box = made(
        every_pg_url,
        "CREATE VIEW all_t AS SELECT * FROM t; CREATE MATERIALIZED VIEW olds AS SELECT old FROM t",
    )
    there_and_back(box, REPLACING)
    undone(box)


@pytest.mark.parametrize(
    ("needs", "named"),
    [
        ("CREATE VIEW grouped AS SELECT id, v, count(*) FROM t GROUP BY id", "view grouped"),
        (
            "CREATE MATERIALIZED VIEW kept AS SELECT id, v, count(*) FROM t GROUP BY id",
            "materialized view kept",
        ),
        (
            "CREATE FUNCTION put() RETURNS void LANGUAGE sql BEGIN ATOMIC INSERT INTO t"
            " VALUES (1, 1, 1, 'w') ON CONFLICT ON CONSTRAINT t_pkey DO NOTHING; END",
            "function put()",
        ),
    ],
    ids=["view", "materialised view", "function"],
)
def test_what_needs_the_old_key_is_named(every_pg_url: str, needs: str, named: str) -> None:
    """GROUP BY a primary key, and ON CONFLICT ON CONSTRAINT: the old key could not be dropped."""
    box = made(every_pg_url, needs)
    rule = Key("t", "k", name="t_k", replaces=("t_pkey",))
    assert named in refused(box, rule)["dependent_on_replaced_key"]
    assert blockers(box, KEY) == []


def test_a_deferrable_key_is_replaced_by_one_that_can_be_referred_to(every_pg_url: str) -> None:
    """A deferrable key enforces at COMMIT only; the new one stands beside it, then it goes."""
    box = made(
        every_pg_url,
        "ALTER TABLE t DROP CONSTRAINT t_old, ADD CONSTRAINT later UNIQUE (old) DEFERRABLE",
    )
    there_and_back(box, Key("t", "old", name="now", replaces=("later",)))
    box.execute("CREATE TABLE c (id integer PRIMARY KEY, old integer REFERENCES t (old))")


# -- what we may do --------------------------------------------------------------------------------


@pytest.fixture
def role(every_pg_url: str) -> Iterator[tuple[Sandbox, str, str]]:
    """A table of a role that may do what a key takes: (database, address as the role, role)."""
    box = made(every_pg_url)
    name = f"onerow_{box.value('SELECT md5(random()::text)')}"
    box.execute(
        f"CREATE ROLE {name} LOGIN PASSWORD 'x'; GRANT ALL ON SCHEMA public TO {name};"
        f"ALTER TABLE t OWNER TO {name};"
        f"DO $$BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO {name}', current_database());"
        "END$$"
    )
    yield box, f"postgresql://{name}:x@{every_pg_url.rpartition('@')[2]}", name
    box.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


def test_an_owner_with_every_right_may(role: tuple[Sandbox, str, str]) -> None:
    """No superuser is needed."""
    _, url, _ = role
    assert api.apply(url, [KEY], limits=SMALL).status == "done"


@pytest.mark.parametrize(
    ("takes", "told"),
    [
        ("ALTER TABLE t OWNER TO postgres; GRANT ALL ON t TO {role}", "Only the owner of public.t"),
        ("REVOKE ALL ON SCHEMA public FROM public; REVOKE CREATE ON SCHEMA public FROM {role}",
         "GRANT CREATE ON SCHEMA"),
        ("REVOKE DELETE ON t FROM {role}", "may not DELETE on public.t"),
        ("CREATE TABLE child (id integer PRIMARY KEY, t_id integer REFERENCES t);"
         "GRANT SELECT ON child TO {role}", "may not UPDATE on public.child"),
        ("DO $$BEGIN EXECUTE format('REVOKE CREATE ON DATABASE %I FROM {role}',"
         " current_database()); END$$", "CREATE SCHEMA onerow AUTHORIZATION"),
    ],
    ids=["owner", "schema", "rows", "child", "journal"],
)  # fmt: skip
def test_a_missing_right_is_named(role: tuple[Sandbox, str, str], takes: str, told: str) -> None:
    """Each right alone, with the GRANT that gives it; no statement fails half-way."""
    box, url, name = role
    box.execute(takes.format(role=name))
    assert told in refused(box, KEY, url)["missing_privilege"]


def test_row_security_that_hides_rows(role: tuple[Sandbox, str, str]) -> None:
    """Rows that we do not see would be counted out, so a forced policy stops the plan."""
    box, url, _ = role
    box.execute("ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (id < 5)")
    assert api.make_plan(url, [KEY]).blockers == ()
    box.execute("ALTER TABLE t FORCE ROW LEVEL SECURITY")
    assert "BYPASSRLS" in refused(box, KEY, url)["row_security_hides_rows"]
    assert blockers(box, KEY) == []


# -- names and heirs -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setup", "told"),
    [
        ("CREATE TABLE t_k (id integer)", "table public.t_k"),
        ("CREATE VIEW t_k AS SELECT 1 AS one", "view public.t_k"),
        ("CREATE TABLE u (id integer); CREATE INDEX t_k ON u (id)", "index of public.u"),
        ("CREATE INDEX t_k ON t (v)", "index of public.t"),
        ("ALTER TABLE t ADD CONSTRAINT t_k CHECK (k > 0)", "check constraint of public.t"),
    ],
    ids=["table", "view", "another's index", "index", "check"],
)
def test_a_name_that_is_taken(pg_url: str, setup: str, told: str) -> None:
    """What bears the name is told, and left alone."""
    assert told in refused(made(pg_url, setup), KEY)["name_taken"]


def test_heirs(every_pg_url: str) -> None:
    """No index of a table reaches those that inherit from it."""
    box = made(every_pg_url, "CREATE TABLE heir () INHERITS (t)")
    assert "public.heir inherit from public.t" in refused(box, KEY)["unsupported"]
