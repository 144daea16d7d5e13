"""The shape of the house: who may import whom, and who may talk to a database."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import onerow

SOURCE = Path(onerow.__file__).parent

#: Modules from the ground up; a module may import its own layer and the ones before it.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "sql", "files", "codes"),
    ("rules", "schema", "finding", "plan", "facts", "expressions", "rulefile"),
    ("keys", "enforcement", "children", "sameness"),
    ("dialects",),
    ("checks", "steps", "planning", "report"),
    ("emit",),
    (
        "database",
        "catalog",
        "journal",
        "measure",
        "probes",
        "decisions",
        "session",
        "interrupt",
        "archive",
        "archives",
        "folding",
        "merging",
        "restoring",
        "triggers",
        "build",
        "partitions",
        "culprits",
        "pooler",
        "throttle",
        "backup",
        "waits",
        "mapping",
        "survey",
        "states",
        "pace",
        "walk",
        "backfill",
        "orphans",
        "trial",
    ),
    ("planner", "asking", "ways", "running", "newer", "leaving", "undoing", "executor", "starter"),
    ("api",),
    ("demo",),
    ("cli", "__main__"),
)
#: Used by anybody's tests, by the demo, and by nothing that works on a user's database.
BESIDE = {"testing", "_embedded", "_binaries", "__init__"}
#: They stand apart, on the leaves alone.
APART = {"write", "aio", "race"}
LEAVES = {"errors", "sql", "rules", "codes"}
#: What a file of race/ may import besides: whether a key is broken is asked as `onerow check` asks
#: it, and the pytest plugin starts servers.
OF_RACES = {
    "invariants.py": {"rulefile", "keys", "dialects", "catalog"},
    "plugin.py": {"testing"},
}

MAY_RUN_SQL = {
    "database",
    "catalog",
    "journal",
    "measure",
    "decisions",
    "mapping",
    "probes",
    "session",
    "archive",
    "merging",
    "restoring",
    "triggers",
    "build",
    "api",
    "demo",
    "testing",
    "_embedded",
    "write",
    "aio",
    "race",
    "emit",  # its revisions do, when Alembic runs them
}


def unit_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """First names below `onerow` that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "onerow":
                names = [f"onerow.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        for name in names:
            head, _, rest = name.partition(".")
            if head == "onerow" and rest:
                yield rest.partition(".")[0]


def files() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def layer_of(unit: str) -> int:
    return next(i for i, layer in enumerate(LAYERS) if unit in layer)


def test_every_module_has_its_layer() -> None:
    """A new module says where it stands."""
    known = {m for layer in LAYERS for m in layer} | BESIDE | APART
    assert {unit_of(f) for f in files()} <= known


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_down(path: Path) -> None:
    """A module imports its own layer and the layers below, nothing above."""
    unit = unit_of(path)
    if unit in BESIDE:
        return
    wanted = set(imports(path)) - {unit, "__version__"}
    if unit in APART:
        others = OF_RACES.get(path.name, set()) if unit == "race" else APART
        assert wanted <= LEAVES | others
        return
    above = {w for w in wanted - APART if w not in BESIDE and layer_of(w) > layer_of(unit)}
    assert not above
    assert not wanted & APART or unit == "cli"


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_only_the_edge_runs_sql(path: Path) -> None:
    """A pure module has no connection to call `execute` on."""
    calls = {
        node.func.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    if calls & {"execute", "exec_driver_sql", "executemany"}:
        assert unit_of(path) in MAY_RUN_SQL
