"""Tables, rules and end states of the crash tests."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onerow import api
from tests.support.process import Command, command
from tests.support.sandbox import Sandbox

RULES = """
[[key]]
table = "parent"
columns = ["a", "b"]
name = "parent_key"
nulls = "forbidden"
keep = "latest seen"
replaces = ["parent_old"]
merge = { visits = "sum", note = "concat" }
also_referenced_by = ["log(record) where kind = 'parent'"]
"""

#: The key takes the name of the one that it replaces.
SWAP = """
[[key]]
table = "parent"
columns = ["a", "b"]
name = "parent_old"
keep = "latest seen"
replaces = ["parent_old"]
"""


def fill(box: Sandbox, groups: int = 400) -> None:
    """Parents in groups of one to five, children of two kinds, a log, triggers, an old key."""
    box.execute(
        """CREATE TABLE parent (id integer PRIMARY KEY, a integer, b text, seen integer,
            visits integer NOT NULL, note text, code text UNIQUE);
        CREATE TABLE child (id integer PRIMARY KEY,
            parent_id integer NOT NULL REFERENCES parent ON DELETE CASCADE);
        CREATE TABLE tag (parent_id integer NOT NULL REFERENCES parent ON DELETE CASCADE,
            no integer NOT NULL, PRIMARY KEY (parent_id, no));
        CREATE TABLE log (id integer PRIMARY KEY, kind text, record integer);
        CREATE INDEX child_parent ON child (parent_id);
        CREATE INDEX log_record ON log (record);""",
        f"""WITH RECURSIVE g(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM g WHERE i < {groups} * 5)
        INSERT INTO parent SELECT i, (i / 5) % {groups}, 'b' || ((i / 5) % 7), (i * 7919) % 1000,
            1, CASE WHEN i % 3 = 0 THEN 'n' || (i % 4) END,
            CASE WHEN i % 2 = 0 THEN 'c' || i END
        FROM g WHERE i % 5 <= (i / 5) % 5;
        INSERT INTO child SELECT id, id FROM parent;
        INSERT INTO tag SELECT id, id % 100 FROM parent;
        INSERT INTO log SELECT id, CASE WHEN id % 2 = 0 THEN 'parent' ELSE 'x' END, id FROM parent;
        CREATE UNIQUE INDEX parent_old ON parent (a, b, seen);""",
        SQLITE_TRIGGER if box.sqlite else POSTGRESQL_TRIGGER,
    )


SQLITE_TRIGGER = """
CREATE TRIGGER stop AFTER DELETE ON parent BEGIN SELECT raise(ABORT, 'the trigger fired'); END;
"""
POSTGRESQL_TRIGGER = """
CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE 'the trigger fired'; END $$;
CREATE TRIGGER stop AFTER DELETE OR UPDATE ON parent FOR EACH ROW EXECUTE FUNCTION stop();
COMMENT ON INDEX parent_old IS 'the old key';
"""

#: What no reader may ever see: rows or visits of a group lost, children without their parent.
BROKEN = """
SELECT 'visits', a FROM parent GROUP BY a, b HAVING sum(visits) <> a % 5 + 1
UNION ALL SELECT 'half', a FROM parent GROUP BY a, b HAVING count(*) NOT IN (1, a % 5 + 1)
UNION ALL SELECT 'children', p.a FROM parent p JOIN child c ON c.parent_id = p.id
    GROUP BY p.a, p.b HAVING count(*) <> p.a % 5 + 1
UNION ALL SELECT 'tags', p.a FROM parent p JOIN tag c ON c.parent_id = p.id
    GROUP BY p.a, p.b HAVING count(*) <> p.a % 5 + 1
UNION ALL SELECT 'lost', c.id FROM child c LEFT JOIN parent p ON p.id = c.parent_id
    WHERE p.id IS NULL
UNION ALL SELECT 'lost', t.no FROM tag t LEFT JOIN parent p ON p.id = t.parent_id
    WHERE p.id IS NULL
UNION ALL SELECT 'log', l.id FROM log l LEFT JOIN parent p ON p.id = l.record
    WHERE p.id IS NULL AND l.kind = 'parent'
"""


KILLED = -9  #: the exit code


class Launcher:
    """A process that forks runs which die when they are told to."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, folder / "said"
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("launcher.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self, verb: str, box: Sandbox, moment: int = 0, fragment: str = "", times: int = 0
    ) -> int:
        """The exit code, negative when it was killed: at a moment, or when so many statements like
        this have been committed."""
        order = {"verb": verb, "url": box.url, "rules": str(self.folder / "onerow.toml")}
        order |= {"moment": moment, "fragment": fragment, "times": times, "say": str(self.said)}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    @property
    def moments(self) -> list[str]:
        """What happened at each moment of the last run."""
        return Path(f"{self.said}.moments").read_text().splitlines()

    def __enter__(self) -> Launcher:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@dataclass(frozen=True)
class Ends:
    """What an uninterrupted run leads from and to."""

    before: tuple[dict[str, Any], dict[str, tuple[str, ...]]]
    after: tuple[dict[str, Any], dict[str, tuple[str, ...]]]
    archived: dict[tuple[str, str], int]


def archived(box: Sandbox) -> dict[tuple[str, str], int]:
    """How many rows of each table the archive took, by what was done to them."""
    prefix = "onerow_" if box.sqlite else "onerow."
    return {
        (table, action): int(rows)
        for table, action, rows in box.rows(
            f"SELECT table_name, action, sum(rows) FROM {prefix}operation"
            " GROUP BY table_name, action"
        )
    }


def ends(box: Sandbox) -> Ends:
    """Run it once without a break, and back."""
    rules = api.parse_rules(RULES)
    before = box.state()
    outcome = api.apply(box.url, rules)
    assert outcome.status == "done", outcome.message
    found = Ends(before=before, after=box.state(), archived=archived(box))
    assert api.undo(box.url).exit_code == 0
    assert box.state() == before
    forget(box)
    return found


def forget(box: Sandbox) -> None:
    """As if onerow had never been here."""
    if not box.sqlite:
        box.execute("DROP SCHEMA IF EXISTS onerow CASCADE")
        return
    names = box.rows("SELECT name FROM sqlite_master WHERE name LIKE 'onerow%' AND type = 'table'")
    box.execute(*(f'DROP TABLE "{name}"' for (name,) in names))


def assert_applied(box: Sandbox, found: Ends) -> None:
    """The end state of an uninterrupted run, and nothing archived twice or not at all."""
    assert box.state() == found.after
    assert archived(box) == found.archived
    (run,) = api.status(box.url)
    assert (run.status, {s.status for s in run.steps}) == ("done", {"done"})
    proofs = api.verify(box.url, api.parse_rules(RULES))
    assert all(p.ok for p in proofs), proofs


def assert_undone(box: Sandbox, found: Ends) -> None:
    assert box.state() == found.before
    (run,) = api.status(box.url)
    assert (run.status, {s.status for s in run.steps}) == ("undone", {"undone"})


@contextmanager
def onerow(
    verb: str, box: Sandbox, folder: Path, rules: str = RULES, *more: str
) -> Iterator[Command]:
    """The verb in a process of its own, in small batches."""
    (folder / "onerow.toml").write_text(rules)
    small = ["--yes", "--batch-time", "0.001"] if verb == "apply" else []
    with command(verb, *more, *small, "--quiet", "--url", box.url, folder=folder) as process:
        yield process
