"""Revisions: what they refuse, what they leave alone, and every kind of step."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.util import CommandError

from onerow import Column, Constraint, Key, Reference, api
from onerow.emit.parts import GROUPS, LEFT_OUT, ROWS
from onerow.errors import InputError, PlanFileError
from onerow.rulefile import Rules
from onerow.steps import kinds
from tests.cli.shell import Shell
from tests.emit.support import Environment, current, lint, schema
from tests.support.rules import rules_of
from tests.support.sandbox import Sandbox

TABLES = """
CREATE TABLE parent (id integer PRIMARY KEY, code text);
CREATE TABLE t (id integer PRIMARY KEY, a integer, b integer, c text, parent_id integer,
    late_id integer, price numeric, CONSTRAINT swapped UNIQUE (a), CONSTRAINT old UNIQUE (b));
CREATE UNIQUE INDEX old_index ON t (c);
CREATE INDEX t_parent_id ON t (parent_id);
"""
#: Everything that can be declared, so that every kind of step is in the plan of one engine or both.
RULES = """
[[column]]
table = "t"
name = "kind"
type = "text"
not_null = true
backfill = { value = "it's a: 100% \\"kind\\"" }

[[column]]
table = "t"
name = "folded"
type = "text"
generated = "lower(c)"

[[reference]]
table = "t"
columns = ["parent_id"]
to = "parent(id)"
on_delete = "set null"
orphans = "null"

[[key]]
name = "swapped"
table = "t"
columns = ["a", "kind"]
replaces = ["swapped"]

[[key]]
name = "new"
table = "t"
columns = ["b", "kind"]
where = "kind <> ':x'"
replaces = ["old"]

[[key]]
name = "new_c"
table = "t"
columns = ["c"]
ignore_case = ["c"]
replaces = ["old_index"]

[[index]]
name = "plain"
table = "t"
columns = ["price"]
where = "price > 0"

[[constraint]]
table = "t"
name = "price_not_negative"
check = "price >= 0 AND c <> 'a:b'"
"""
#: Where only `apply` could be at work.
OF_ROWS = {"merge_duplicates", "backfill", "archive_orphans", "verify"}


def everything(url: str) -> tuple[Sandbox, Rules]:
    box = Sandbox(url)
    box.execute(TABLES)
    if not box.sqlite:
        box.execute(
            "COMMENT ON CONSTRAINT old ON t IS 'it''s old'; COMMENT ON INDEX old_index IS 'older';"
            "ALTER TABLE t ADD CONSTRAINT unproven FOREIGN KEY (late_id) REFERENCES parent (id)"
            " NOT VALID"
        )
        text = RULES + '[[reference]]\ntable = "t"\ncolumns = ["late_id"]\nto = "parent(id)"\n'
        return box, rules_of(text)
    return box, rules_of(RULES)


def test_every_kind_of_step(every_url: str, tmp_path: Path) -> None:
    """Up, down, and up again; the schema is that of apply and that of before, to the comment."""
    (box, rules), env = everything(every_url), Environment(tmp_path, every_url)
    plan = api.make_plan(every_url, rules)
    assert not plan.blockers
    api.write_alembic(every_url, plan, env.folder)
    lint(env.files)
    env.upgrade("first")
    first = schema(box)
    assert api.apply(every_url, rules).status == "done"
    applied = schema(box)
    env.upgrade()
    assert schema(box) == applied, "what apply has done is done"
    env.downgrade()
    assert schema(box) == first, "and comes off without it"
    for _ in range(2):
        env.upgrade()
        assert schema(box) == applied
        env.downgrade()
        assert schema(box) == first


def test_no_kind_is_forgotten() -> None:
    """Each kind of step that is built can be written, or is refused with the way out."""
    assert set(ROWS) == OF_ROWS
    assert {*GROUPS, *ROWS, *LEFT_OUT} <= set(kinds())


def test_a_guard_is_not_needed(db_url: str, tmp_path: Path) -> None:
    """What only stands while rows are merged is left out; the key comes all the same."""
    box, env = small(db_url), Environment(tmp_path, db_url)
    rules = [Key("t", "a", name="t_a_key", guard=True)]
    api.write_alembic(db_url, api.make_plan(db_url, rules), env.folder)
    env.upgrade()
    assert api.verify(db_url, rules)[0].ok
    assert "TRIGGER" not in "".join(p.read_text() for p in env.files)
    env.downgrade()
    assert not api.verify(db_url, rules)[0].ok
    assert box.count("t") == 2


def test_partitions_are_refused(pg_url: str, tmp_path: Path) -> None:
    """What a static revision cannot hold is said, with the way out, and nothing is written."""
    Sandbox(pg_url).execute(
        "CREATE TABLE t (id integer, a integer, PRIMARY KEY (id, a)) PARTITION BY LIST (a);"
        "CREATE TABLE t_1 PARTITION OF t FOR VALUES IN (1)"
    )
    env, plan = Environment(tmp_path, pg_url), api.make_plan(pg_url, [Key("t", "a", name="key")])
    assert not plan.blockers
    with pytest.raises(PlanFileError, match=r"partitioned table\. .*--with-onerow"):
        api.write_alembic(pg_url, plan, env.folder)
    assert env.files == []


KEY = Key("t", "a", name="t_a_key")


def small(url: str, rows: str = "(1, 1), (2, 2)") -> Sandbox:
    box = Sandbox(url)
    box.execute(
        "CREATE TABLE t (id integer PRIMARY KEY, a integer)", f"INSERT INTO t (id, a) VALUES {rows}"
    )
    return box


def test_duplicates_are_counted(db_url: str, tmp_path: Path) -> None:
    """Rows that a key forbids stop the revision; the message has their number and the command."""
    box, env = (
        small(db_url, "(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)"),
        Environment(tmp_path, db_url),
    )
    api.write_alembic(db_url, api.make_plan(db_url, [KEY]), env.folder)
    rows = box.rows("SELECT * FROM t ORDER BY id")
    env.upgrade("first")
    with pytest.raises(CommandError, match=r"2 group\(s\) of duplicates.*`onerow apply`"):
        env.upgrade()
    assert box.rows("SELECT * FROM t ORDER BY id") == rows
    assert current(box) == ["first"]


def test_another_index_of_that_name(db_url: str, tmp_path: Path) -> None:
    """A name with another definition is somebody else's: the revision stops and touches nothing."""
    box, env = small(db_url), Environment(tmp_path, db_url)
    api.write_alembic(db_url, api.make_plan(db_url, [KEY]), env.folder)
    box.execute("CREATE INDEX t_a_key ON t (a, id)")
    env.upgrade("first")
    before = schema(box)
    with pytest.raises(CommandError, match="t_a_key"):
        env.upgrade()
    assert schema(box) == before


def test_another_check_of_that_name(db_url: str, tmp_path: Path) -> None:
    """The same of a constraint, and of the text of a SQLite table."""
    box, env = small(db_url), Environment(tmp_path, db_url)
    rule = Constraint(table="t", name="positive", check="a > 0")
    api.write_alembic(db_url, api.make_plan(db_url, [rule]), env.folder)
    if box.sqlite:
        box.execute("ALTER TABLE t ADD COLUMN other text")
    else:
        box.execute("ALTER TABLE t ADD CONSTRAINT positive CHECK (a > -1)")
    env.upgrade("first")
    before = schema(box)
    with pytest.raises(CommandError, match=r"another one|not what it was"):
        env.upgrade()
    assert schema(box) == before


def test_another_column_of_that_name(pg_url: str, tmp_path: Path) -> None:
    """And of a column with another type."""
    box, env = small(pg_url), Environment(tmp_path, pg_url)
    api.write_alembic(
        pg_url, api.make_plan(pg_url, [Column(table="t", name="n", type="integer")]), env.folder
    )
    box.execute("ALTER TABLE t ADD COLUMN n text")
    with pytest.raises(CommandError, match="another one: text"):
        env.upgrade()


def test_an_invalid_index_is_built_again(every_pg_url: str, tmp_path: Path) -> None:
    """What a concurrent build that failed has left is dropped and built; IF NOT EXISTS would not."""
    box, env = small(every_pg_url), Environment(tmp_path, every_pg_url)
    api.write_alembic(every_pg_url, api.make_plan(every_pg_url, [KEY]), env.folder)
    box.execute("INSERT INTO t VALUES (3, 2)")
    with pytest.raises(Exception, match="could not create unique index"):
        box.execute("CREATE UNIQUE INDEX CONCURRENTLY t_a_key ON t (a)")
    box.execute("DELETE FROM t WHERE id = 3")
    assert box.value("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 1
    env.upgrade()
    assert box.value("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0
    assert api.verify(every_pg_url, [KEY])[0].ok


def test_writing_twice(db_url: str, tmp_path: Path) -> None:
    """The same plan makes the same files; those that are there stay, edited or not."""
    small(db_url)
    env, plan = Environment(tmp_path, db_url), api.make_plan(db_url, [KEY])
    first = api.write_alembic(db_url, plan, env.folder)
    assert (len(first.new), first.there) == (1, ())
    first.new[0].write_text(first.new[0].read_text() + "# mine\n")
    again = api.write_alembic(db_url, plan, env.folder / "versions")
    assert (again.new, again.there) == ((), first.new)
    assert first.new[0].read_text().endswith("# mine\n")
    first.new[-1].unlink()
    assert api.write_alembic(db_url, plan, env.folder).new == first.new[-1:]


def test_several_heads(db_url: str, tmp_path: Path) -> None:
    """With several heads one has to be named, and it must be there."""
    small(db_url)
    env, plan = Environment(tmp_path, db_url), api.make_plan(db_url, [KEY])
    env.add("left", "first")
    env.add("right", "first")
    with pytest.raises(InputError, match=r"2 heads: left, right.*--alembic-head"):
        api.write_alembic(db_url, plan, env.folder)
    with pytest.raises(InputError, match="no revision 'middle'"):
        api.write_alembic(db_url, plan, env.folder, head="middle")
    assert env.files == []
    api.write_alembic(db_url, plan, env.folder, head="left")
    assert 'down_revision = "left"' in env.files[0].read_text()


def test_no_environment(db_url: str, tmp_path: Path) -> None:
    """A folder that is none of Alembic's is refused, and nothing is written into it."""
    small(db_url)
    plan = api.make_plan(db_url, [KEY])
    with pytest.raises(InputError, match="no Alembic environment"):
        api.write_alembic(db_url, plan, tmp_path)
    assert not list(tmp_path.glob("**/*onerow_*"))


def test_offline(pg_url: str, tmp_path: Path) -> None:
    """`alembic upgrade --sql` writes the statements, and the look at the rows as a block."""
    box, env = small(pg_url, "(1, 1), (2, 1)"), Environment(tmp_path, pg_url)
    api.write_alembic(pg_url, api.make_plan(pg_url, [KEY]), env.folder)
    script = env.offline()
    statements = [s for s in script.split(";\n\n") if "CREATE UNIQUE INDEX CONCURRENTLY" in s]
    assert len(statements) == 1
    look, *_ = (s for s in script.split(";\n\n") if "DO $onerow$" in s)
    with pytest.raises(Exception, match=r"1 group.*Run `onerow apply` first"):
        box.execute(look)
    box.execute("DELETE FROM t WHERE id = 2", look)


def test_offline_sqlite(sqlite_url: str, tmp_path: Path) -> None:
    """On SQLite a revision has to look first, and says so."""
    small(sqlite_url)
    env = Environment(tmp_path, sqlite_url)
    api.write_alembic(sqlite_url, api.make_plan(sqlite_url, [KEY]), env.folder)
    with pytest.raises(CommandError, match="cannot do with --sql"):
        env.offline()


def test_calling_onerow(every_url: str, tmp_path: Path) -> None:
    """With onerow the revision merges, and its downgrade brings the rows back to the letter."""
    box = small(every_url, "(1, 1), (2, 1), (3, 2)")
    box.execute("CREATE TABLE child (id integer PRIMARY KEY, t_id integer REFERENCES t)")
    box.execute("CREATE INDEX child_t_id ON child (t_id)", "INSERT INTO child VALUES (1, 2)")
    env, before = Environment(tmp_path, every_url), box.state()
    rules = [KEY, Reference(table="child", columns=("t_id",), to="t(id)")]
    api.write_alembic(every_url, api.make_plan(every_url, rules), env.folder, with_onerow=True)
    lint(env.files)
    for _ in range(2):
        env.upgrade()
        assert current(box) == env.heads
        assert [p for p in api.verify(every_url, rules) if not p.ok] == []
        assert box.rows("SELECT id FROM t ORDER BY id") == [(1,), (3,)]
        env.downgrade()
        box.execute("DROP TABLE alembic_version")
        assert box.state() == before
    with pytest.raises(CommandError, match="cannot be run with --sql"):
        env.offline()


def test_no_secret_in_a_revision(pg_url: str, tmp_path: Path) -> None:
    """The address is Alembic's business: neither kind of revision has one."""
    small(pg_url)
    env, plan = Environment(tmp_path, pg_url), api.make_plan(pg_url, [KEY])
    api.write_alembic(pg_url, plan, env.folder)
    api.write_alembic(pg_url, plan, env.folder, with_onerow=True)
    texts = "".join(p.read_text() for p in env.files)
    assert pg_url.partition("://")[2].partition("@")[0].partition(":")[2] not in texts
    assert "127.0.0.1" not in texts


def test_command(db_url: str, tmp_path: Path) -> None:
    """`onerow plan --alembic DIR`: files told in words and in JSON, blockers write nothing."""
    small(db_url)
    env, shell = Environment(tmp_path, db_url), Shell(tmp_path)
    (tmp_path / "onerow.toml").write_text('[[key]]\ntable = "t"\ncolumns = ["a"]\n')
    words = ["--url", db_url, "--rules", str(tmp_path / "onerow.toml"), "plan"]
    done = shell(*words, "--alembic", str(env.folder), "--json")
    document = done.json
    assert (done.code, document["new"]) == (0, [str(p) for p in env.files])
    again = shell(*words, "--alembic", str(env.folder))
    assert (again.code, again.out.count("already written")) == (0, len(env.files))
    assert shell(*words, "--with-onerow").code == 2
