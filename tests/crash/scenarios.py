"""Small databases and rules, so that every kind of step is in one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from onerow import api
from onerow.rulefile import Rules
from tests.crash.support import RULES as KEY_RULES
from tests.crash.support import SWAP, fill
from tests.support.sandbox import Sandbox


@dataclass(frozen=True)
class Scenario:
    """Tables that break rules.

    Attributes:
        build: makes them.
        rules: a rule file's text.
        kinds: steps that the plan has on PostgreSQL.
        rebuilt: whether SQLite makes a table again for it.
    """

    build: Callable[[Sandbox], None]
    rules: str
    kinds: frozenset[str]
    rebuilt: bool = False
    file: str = ""  #: content of `map.csv`

    def prepare(self, box: Sandbox, folder: Path) -> Rules:
        """Make the tables and the rule file; returns its rules."""
        self.build(box)
        (folder / "onerow.toml").write_text(self.rules)
        (folder / "map.csv").write_text(self.file)
        return api.load_rules(folder / "onerow.toml")


def _key(box: Sandbox) -> None:
    fill(box, groups=7)


def _key_of_a_constraint(box: Sandbox) -> None:
    fill(box, groups=7)
    if box.sqlite:
        return
    box.execute(
        "DROP INDEX parent_old; ALTER TABLE parent ADD CONSTRAINT parent_old UNIQUE (a, b, seen)"
        " DEFERRABLE; COMMENT ON CONSTRAINT parent_old ON parent IS 'the old key'"
    )


def _settings(box: Sandbox) -> None:
    box.execute(
        """CREATE TABLE settings (id integer PRIMARY KEY, name text, theme text, seen integer);
        CREATE TABLE change (id integer PRIMARY KEY,
            settings_id integer REFERENCES settings ON DELETE SET NULL);
        INSERT INTO settings VALUES (1, NULL, 'dark', 3), (2, 'n', NULL, 9), (3, 'm', 'x', NULL);
        INSERT INTO change VALUES (1, 1), (2, 2), (3, NULL), (4, 3);"""
    )


def _numbers(last: int) -> str:
    return (
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {last})"
        " SELECT {} FROM n"
    )


def _weeks(box: Sandbox) -> None:
    """Two tables whose references point at nothing in every third row."""
    box.execute(
        "CREATE TABLE run (id integer PRIMARY KEY);"
        "CREATE TABLE week (id integer PRIMARY KEY, run_id integer, day text, price integer);"
        "CREATE TABLE note (id integer PRIMARY KEY, run_id integer NOT NULL, text text);",
        "INSERT INTO run " + _numbers(12).format("i"),
        "INSERT INTO week "
        + _numbers(24).format("i, CASE WHEN i % 4 > 0 THEN i END, 'd' || (i % 3), i % 5"),
        "INSERT INTO note " + _numbers(20).format("i, i, 'n' || i"),
    )


def _facts(box: Sandbox) -> None:
    """A table that lacks columns, and has one with gaps."""
    box.execute(
        "CREATE TABLE place (id integer PRIMARY KEY);"
        "CREATE TABLE fact (id integer PRIMARY KEY, region integer, amount integer);",
        "INSERT INTO place " + _numbers(5).format("i"),
        "INSERT INTO fact " + _numbers(22).format("i, CASE WHEN i % 3 = 0 THEN i % 5 END, i"),
    )


SCENARIOS = {
    "key": Scenario(
        _key,
        KEY_RULES,
        frozenset({"merge_duplicates", "add_check", "validate_check", "set_not_null",
                   "create_index", "attach_constraint", "verify", "drop_index"}),
        rebuilt=True,
    ),
    "swap": Scenario(
        _key_of_a_constraint, SWAP,
        frozenset({"merge_duplicates", "create_index", "swap_constraint", "verify"}),
    ),
    "replaced": Scenario(
        _key_of_a_constraint,
        KEY_RULES.replace('nulls = "forbidden"', 'ignore_case = ["b"]'),
        frozenset({"merge_duplicates", "create_index", "verify", "drop_constraint"}),
    ),
    "singleton": Scenario(
        _settings,
        '[[key]]\ntable = "settings"\ncolumns = []\nname = "one"\nkeep = "latest seen"\n',
        frozenset({"merge_duplicates", "create_index", "verify"}),
    ),
    "references": Scenario(
        _weeks,
        """
[[reference]]
table = "week"
columns = ["run_id"]
to = "run(id)"
on_delete = "set null"
orphans = "null"
index = true
[[reference]]
table = "note"
columns = ["run_id"]
to = "run(id)"
on_delete = "cascade"
orphans = "archive"
""",
        frozenset({"add_foreign_key", "archive_orphans", "validate_foreign_key", "create_index",
                   "verify"}),
        rebuilt=True,
    ),
    "column": Scenario(
        _facts,
        """
[[column]]
table = "fact"
name = "place_id"
type = "integer"
not_null = true
references = "place(id)"
on_delete = "cascade"
backfill = { csv = "map.csv", key = "id" }
""",
        frozenset({"add_column", "backfill", "add_check", "validate_check", "set_not_null",
                   "add_foreign_key", "validate_foreign_key", "verify"}),
        rebuilt=True,
        file="id,place_id\n" + "".join(f"{i},{i % 5 + 1}\n" for i in range(1, 23)),
    ),
    "gaps": Scenario(
        _facts,
        """
[[column]]
table = "fact"
name = "region"
type = "integer"
not_null = true
backfill = { sql = "amount + 100" }
[[column]]
table = "fact"
name = "kind"
type = "text"
backfill = { value = "plain" }
""",
        frozenset({"add_column", "backfill", "add_check", "validate_check", "set_not_null",
                   "verify"}),
        rebuilt=True,
    ),
    "together": Scenario(
        _weeks,
        """
[[population]]
table = "week"
column = "day"
[[index]]
table = "week"
columns = ["day", "price"]
where = "run_id is not null"
[[constraint]]
table = "week"
name = "price_not_negative"
check = "price >= 0"
[[key]]
table = "week"
columns = ["day", "price"]
name = "week_key"
where = "price > 0"
keep = "min id"
""",
        frozenset({"create_index", "add_check", "validate_check", "merge_duplicates", "verify"}),
        rebuilt=True,
    ),
}  # fmt: skip
