"""What `pip install onerow` brings along, without any extra, is enough for the commands and the library."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"

#: Imports the command line and every public name where a package that nobody asked for is missing.
PROGRAM = """
import importlib, pkgutil, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())

import onerow, onerow.aio, onerow.cli, onerow.race, onerow.testing, onerow.write

for name in onerow.__all__:
    getattr(onerow, name)
for module in pkgutil.iter_modules(onerow.cli.__path__):
    if module.name != "__main__":
        importlib.import_module(f"onerow.cli.{{module.name}}")
"""


def brought_along(wanted: list[Requirement], found: set[str]) -> set[str]:
    """The distributions that an installation of these requirements leads to."""
    for each in wanted:
        name = canonicalize_name(each.name)
        extras = each.extras or {""}
        if name in found and extras == {""}:
            continue
        found.add(name)
        try:
            nested = [Requirement(line) for line in requires(name) or ()]
        except PackageNotFoundError:
            continue
        asked = [
            r
            for r in nested
            if not r.marker or any(r.marker.evaluate({"extra": e}) for e in extras)
        ]
        brought_along(asked, found)
    return found


def test_plain_install_is_enough() -> None:
    """Every command and public name can be imported where only the declared dependencies are."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    there = brought_along([Requirement(line) for line in project["dependencies"]], set())
    missing = {
        module
        for module, names in packages_distributions().items()
        if not there & {canonicalize_name(n) for n in names} and not module.startswith("onerow")
    }
    assert {"asyncpg", "alembic", "flask"} <= missing
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM.format(missing=missing)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
