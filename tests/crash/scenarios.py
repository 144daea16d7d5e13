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
    engines: tuple[str, ...] = ("sqlite", "postgresql")  #: that have such a thing

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


def _guarded(box: Sandbox) -> None:
    """Groups of two under an index that a guard can look by."""
    box.execute(
        "CREATE TABLE seat (id integer PRIMARY KEY, hall integer, no integer, seen integer);"
        "CREATE INDEX seat_hall ON seat (hall);",
        "INSERT INTO seat " + _numbers(20).format("i, i % 3, i % 11, i * 7 % 10"),
    )


def _partitioned(box: Sandbox) -> None:
    """Leaves of a partition and of one below it."""
    box.execute(
        "CREATE TABLE event (id integer NOT NULL, day integer NOT NULL, code integer NOT NULL,"
        " note text, PRIMARY KEY (id, day, code)) PARTITION BY RANGE (day);"
        "CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM (0) TO (2);"
        "CREATE TABLE event_2 PARTITION OF event FOR VALUES FROM (2) TO (4)"
        " PARTITION BY LIST (code);"
        "CREATE TABLE event_2_a PARTITION OF event_2 FOR VALUES IN (1);"
        "CREATE TABLE event_2_rest PARTITION OF event_2 DEFAULT;",
        "INSERT INTO event " + _numbers(30).format("i, i % 4, i % 3, 'n' || i"),
    )


def _leaned_on(box: Sandbox) -> None:
    """An old key that two foreign keys lean on, one of them never validated."""
    box.execute(
        "CREATE TABLE sprint (id integer PRIMARY KEY, number integer,"
        " CONSTRAINT sprint_old UNIQUE (number));"
        "CREATE TABLE state (id integer PRIMARY KEY, number integer, CONSTRAINT state_fk"
        " FOREIGN KEY (number) REFERENCES sprint (number) ON DELETE SET NULL DEFERRABLE);"
        "COMMENT ON CONSTRAINT state_fk ON state IS 'which sprint';"
        "CREATE TABLE shift (id integer PRIMARY KEY, number integer);",
        "INSERT INTO sprint " + _numbers(9).format("i, i"),
        "INSERT INTO state " + _numbers(9).format("i, i"),
        "INSERT INTO shift " + _numbers(9).format("i, i"),
        "ALTER TABLE shift ADD FOREIGN KEY (number) REFERENCES sprint (number) NOT VALID",
    )


_MOVING = """
[[key]]
table = "sprint"
columns = ["number"]
name = "{}"
replaces = ["sprint_old"]
"""


def _family(box: Sandbox) -> None:
    """Children that collide by one policy, and theirs by another, wherever their parents merge."""
    box.execute(
        """CREATE TABLE parent (id integer PRIMARY KEY, k integer NOT NULL, note text);
        CREATE TABLE child (id integer PRIMARY KEY, parent_id integer NOT NULL
            REFERENCES parent ON DELETE CASCADE, tag integer NOT NULL, a text, b text,
            UNIQUE (parent_id, tag));
        CREATE TABLE leaf (id integer PRIMARY KEY, child_id integer NOT NULL
            REFERENCES child ON DELETE CASCADE, no integer NOT NULL, UNIQUE (child_id, no));""",
        "INSERT INTO parent " + _numbers(14).format("i, i % 6, CASE WHEN i % 2 = 0 THEN 'n' END"),
        "INSERT INTO child "
        + _numbers(28).format(
            "i, (i + 1) / 2, i % 2, CASE WHEN i % 3 > 0 THEN 'a' || i END,"
            " CASE WHEN i % 5 > 0 THEN 'b' || i END"
        ),
        "INSERT INTO leaf " + _numbers(56).format("i, (i + 1) / 2, i % 2"),
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
    "guard": Scenario(
        _guarded,
        """
[[key]]
table = "seat"
columns = ["hall", "no"]
name = "seat_key"
keep = "latest seen"
guard = true
""",
        frozenset({"guard", "merge_duplicates", "create_index", "attach_constraint", "verify",
                   "drop_guard"}),
    ),
    "partitions": Scenario(
        _partitioned,
        '[[key]]\ntable = "event"\ncolumns = ["day", "code"]\nname = "event_key"\n',
        frozenset({"merge_duplicates", "create_index", "verify"}),
        engines=("postgresql",),
    ),
    "moved": Scenario(
        _leaned_on,
        _MOVING.format("sprint_number"),
        frozenset({"merge_duplicates", "create_index", "attach_constraint", "verify",
                   "move_foreign_key", "validate_foreign_key"}),
        engines=("postgresql",),
    ),
    "moved under its name": Scenario(
        _leaned_on,
        _MOVING.format("sprint_old") + 'nulls = "forbidden"\n',
        frozenset({"merge_duplicates", "add_check", "validate_check", "set_not_null",
                   "create_index", "verify", "move_foreign_key", "validate_foreign_key"}),
        engines=("postgresql",),
    ),
    "family": Scenario(
        _family,
        """
[[key]]
table = "parent"
columns = ["k"]
name = "parent_key"
merge = { note = "fill" }
children = { child = "merge", leaf = "keep" }
""",
        frozenset({"merge_duplicates", "create_index", "attach_constraint", "verify"}),
    ),
}  # fmt: skip
