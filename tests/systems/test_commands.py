"""The command lines of the systems, each call a process of its own; and whom they import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import onerow
from onerow.rulefile import parse_rules
from tests.support.sandbox import Sandbox
from tests.systems.support import BROKEN, FOLDER, NAMES


def call(module: str, *words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=FOLDER.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done


def test_list() -> None:
    """`python -m systems` names all five."""
    done = call("systems")
    assert [line.split()[0] for line in done.stdout.splitlines()] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_before_after_rules(tmp_path: Path, name: str) -> None:
    """A SQLite file is made; a second state is refused with 1; --force takes its place."""
    url = f"sqlite:///{tmp_path / 'new.sqlite3'}"
    first = call(f"systems.{name}", "before", "--url", url, "--rows", "30", "--seed", "5")
    assert (first.returncode, first.stdout) == (0, ""), first.stderr
    assert f"{BROKEN[name]}: 30 rows" in first.stderr
    second = call(f"systems.{name}", "after", "--url", url)
    assert second.returncode == 1
    assert "--force" in second.stderr
    assert call(f"systems.{name}", "after", "--url", url, "--force").returncode == 0
    assert Sandbox(url).count(BROKEN[name]) == 0
    printed = call(f"systems.{name}", "rules")
    assert printed.returncode == 0
    assert parse_rules(printed.stdout).rules


def test_execution_data_mapping(tmp_path: Path) -> None:
    """The file is written beside the rules that name it, quotes and all."""
    mapping = tmp_path / 'a "b".csv'
    url = f"sqlite:///{tmp_path / 'new.sqlite3'}"
    words = ("--rows", "40", "--unmapped", "4", "--mapping", str(mapping))
    assert call("systems.execution_data", "before", "--url", url, *words).returncode == 0
    assert len(mapping.read_text().splitlines()) == 37
    printed = call("systems.execution_data", "rules", "--mapping", str(mapping)).stdout
    (column,) = (r for r in parse_rules(printed).rules if isinstance(r, onerow.Column))
    assert column.backfill == {"csv": str(mapping), "key": "id"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("before",), "--url"),
        (("before", "--url", "mysql://x/y"), "mysql"),
        (("before", "--url", "not a url"), "URL"),
        (("before", "--url", "sqlite://"), "file"),
        (("before", "--url", "sqlite:////nowhere/at/all.db"), "folder"),
        (("before", "--url", "sqlite:///x.db", "--rows", "-1"), "--rows"),
        (("after", "--url", "postgresql://u:hush@127.0.0.1:1/x?connect_timeout=2"), "refuse"),
        (("befor", "--url", "x"), "befor"),
    ],
)
def test_what_cannot_run(words: tuple[str, ...], said: str) -> None:
    """Exit code 2, a sentence, and no secret in it."""
    done = call("systems.workout_planner", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "hush" not in done.stderr


#: What onerow's documentation imports besides the names of `onerow` itself.
PUBLIC = ("aio", "race", "testing", "write", "write.http.problem", "write.http.starlette")
#: The last is what a story is told with.
PUBLIC += ("write.metrics", "write.alembic", "demo.screen")


def _is_public(name: str) -> bool:
    module, _, last = name.rpartition(".")
    return name in (*onerow.__all__, *PUBLIC) or (module in PUBLIC and last[0] != "_")


def _imports() -> list[tuple[Path, str]]:
    found = []
    for path in sorted(FOLDER.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                found += [(path, f"{node.module}.{a.name}") for a in node.names]
            elif isinstance(node, ast.Import):
                found += [(path, a.name) for a in node.names]
    return found


def test_only_public_names() -> None:
    """The systems are users of onerow; and they do not use each other."""
    for path, name in _imports():
        package, _, rest = name.partition(".")
        if package == "onerow":
            assert not rest or _is_public(rest), (path, name)
        own = path.relative_to(FOLDER).parts[0]
        if package == "systems" and own in BROKEN and rest:
            assert rest.split(".")[0] in (own, "shared"), (path, name)
