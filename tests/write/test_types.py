"""The public names have the types that they should have, for mypy and for pyright."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MYPY = ["mypy", "--strict", "--no-pretty", "--follow-imports=silent", "--cache-dir=.mypy_cache"]
PYRIGHT = ["pyright", "--pythonversion", "3.11", "--pythonpath", sys.executable]
CHECKERS = {"mypy": MYPY, "pyright": PYRIGHT}
ENVIRONMENT = {
    "MYPYPATH": "src",
    # The wheel of pyright brings its JavaScript, that of nodejs its node: nothing is downloaded.
    "PYRIGHT_PYTHON_USE_BUNDLED_PYRIGHT": "1",
    "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1",
}

pytestmark = pytest.mark.slow


def errors_of(checker: str, file: str) -> tuple[int, set[int], str]:
    """Exit code, the lines with an error, and everything said."""
    command = [sys.executable, "-m", *CHECKERS[checker], str((HERE / file).relative_to(ROOT))]
    environ = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    found = re.findall(rf"{file}:(\d+)(?::\d+)?(?: -)?:? error", done.stdout)
    return done.returncode, {int(n) for n in found}, done.stdout + done.stderr


@pytest.mark.parametrize("checker", CHECKERS)
def test_types(checker: str) -> None:
    """The checker, strict, agrees with what `public_types.py` says."""
    code, lines, said = errors_of(checker, "public_types.py")
    assert (code, lines) == (0, set()), said


@pytest.mark.parametrize("checker", CHECKERS)
def test_wrong_types(checker: str) -> None:
    """It refuses each wrong call of `wrong_types.py`, and nothing else of it."""
    text = (HERE / "wrong_types.py").read_text()
    wrong = {n for n, line in enumerate(text.splitlines(), 1) if line.endswith("# WRONG")}
    code, lines, said = errors_of(checker, "wrong_types.py")
    assert (code, lines) == (1, wrong), said
