"""What the tests of all five systems ask for."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import systems
from onerow.rulefile import Rules, parse_rules
from systems.shared.fixtures import State, build
from tests.support.sandbox import Sandbox

FOLDER = Path(systems.__file__).parent

#: Each system, and its table whose key is broken.
BROKEN = {
    "execution_data": "execution_data",
    "membership_plans": "membership_plans",
    "report_weeks": "report_data_weeks",
    "triage_bot": "overrides",
    "workout_planner": "workout_selections",
}
NAMES = sorted(BROKEN)
ROWS = 700


def before(name: str, rows: int = ROWS, seed: int = 1) -> State:
    state: State = import_module(f"systems.{name}.states").before(rows, seed)
    return state


def after(name: str) -> State:
    state: State = import_module(f"systems.{name}.states").after()
    return state


def made(url: str, state: State) -> Sandbox:
    """A database in a state."""
    build(url, state)
    return Sandbox(url)


def rules(name: str, folder: Path, rows: int = ROWS) -> Rules:
    """A system's rules, and beside them the mapping that the ones of execution data name."""
    if name == "execution_data":
        from systems.execution_data.reports import Size, write_mapping

        write_mapping(folder / "facility_of_row.csv", Size(rows), 1)
    text = (FOLDER / name / "rules.toml").read_text(encoding="utf-8")
    return parse_rules(text, str(folder / "rules.toml"))


def groups(box: Sandbox, table: str, key: str, where: str = "true") -> int:
    """How many values of a key several rows have."""
    return int(
        box.value(
            f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {where}"
            f" GROUP BY {key} HAVING count(*) > 1) AS g"
        )
    )


def uniques(box: Sandbox, table: str) -> dict[str, str]:
    """Name and definition of a table's unique constraints and indexes, without its primary key."""
    if not box.sqlite:
        rows = box.rows(
            "SELECT c.relname, pg_get_indexdef(i.indexrelid) FROM pg_index AS i"
            " JOIN pg_class AS c ON c.oid = i.indexrelid"
            f" WHERE i.indrelid = '{table}'::regclass AND i.indisunique AND NOT i.indisprimary"
        )
        return dict(rows)
    sql = f"SELECT name, sql FROM sqlite_master WHERE tbl_name = '{table}'"
    texts = [(n, s) for n, s in box.rows(sql) if s]
    found = {n: s for n, s in texts if s.startswith("CREATE UNIQUE")}
    (create,) = (s for _, s in texts if s.startswith("CREATE TABLE"))
    for line in create.splitlines():
        words = line.split()
        if words[:1] == ["CONSTRAINT"] and "UNIQUE" in words:
            found[words[1]] = line.strip()
    return found
