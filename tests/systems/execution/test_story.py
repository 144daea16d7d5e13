"""The story, told to its end by the command that `make demo` calls."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.systems.support import FOLDER
from tests.systems.test_commands import call


@pytest.mark.parametrize(
    "engine", ["sqlite", pytest.param("postgresql", marks=[pytest.mark.slow, pytest.mark.pg])]
)
def test_it_is_told_to_its_end(engine: str, tmp_path: Path) -> None:
    """Failure, findings, plan, apply under load, proof, undo; and nothing is left behind."""
    tmp_path.chmod(0o1777)
    done = subprocess.run(
        [sys.executable, "-m", "systems", "demo", "--engine", engine, "execution_data"],
        cwd=FOLDER.parent,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    for text in ("broken", "raised", "holds", "[201, 201, 409]", "the old key is back"):
        assert text in done.stdout
    assert "FAILED" not in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_story_that_is_not_there() -> None:
    """Is told, with those that are."""
    done = call("systems", "demo", "report_nothing")
    assert done.returncode == 2
    assert "'report_nothing' has no story; these have: execution_data" in done.stderr
