"""The public names have the types that they should have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_types() -> None:
    """mypy, strict, agrees with what `public_types.py` says."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "mypy", "--strict", "tests/write/public_types.py"]
    environ = {**os.environ, "MYPYPATH": "src"}
    done = subprocess.run(
        command, cwd=root, env=environ, capture_output=True, text=True, check=False
    )
    assert "public_types.py" not in done.stdout, done.stdout
