"""`onerow` as a process of its own: words in, exit code and both streams out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onerow
from tests.cli.nursery import SECONDS, Nursery

SOURCE = Path(onerow.__file__).parents[1]

_NOT_OURS = ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "ONEROW_DEBUG", "DATABASE_URL")

RULES = """\
[[key]]
name = "uq_selection_workout"
table = "selection"
columns = ["workout_id"]
keep = "latest updated_at"
"""


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without what makes calls behave otherwise than on another machine."""
    own = {k: v for k, v in os.environ.items() if k not in _NOT_OURS and k[:2] != "PG"}
    path = os.pathsep.join(filter(None, [str(SOURCE), own.get("PYTHONPATH")]))
    return {**own, "PYTHONPATH": path, "PYTHONUTF8": "1", **(more or {})}


@dataclass(frozen=True, slots=True)
class Call:
    """How a call ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error of a failed call with --json."""
        document = self.json
        assert document["schema"] == 1
        assert set(document["error"]) >= {"code", "message", "hint"}
        error: dict[str, Any] = document["error"]
        return error

    @property
    def words(self) -> str:
        """Standard output with line ends and runs of blanks as one blank."""
        return " ".join(self.out.split())

    @property
    def said(self) -> str:
        """The same of standard error."""
        return " ".join(self.err.split())


class Shell:
    """Calls `onerow` in a folder.

    What must hold of every call is asserted here: an exit code of the contract, no traceback, no
    secret of the test in either stream, and with --json one document or nothing.
    """

    def __init__(self, folder: Path, nursery: Nursery | None = None) -> None:
        self.folder = folder
        self.nursery = nursery
        self.secrets: list[str] = []

    def __call__(
        self, *words: str, env: Mapping[str, str] | None = None, traceback: bool = False
    ) -> Call:
        # Python reads its own variables when it starts.
        fork = self.nursery is not None and not any(k[:6] == "PYTHON" for k in env or ())
        call = self._forked(words, env) if fork else self._started(words, env)
        self._check(call, words, traceback)
        return call

    def _forked(self, words: tuple[str, ...], env: Mapping[str, str] | None) -> Call:
        assert self.nursery is not None
        return Call(*self.nursery.call(words, self.folder, environment(env)))

    def _started(self, words: tuple[str, ...], env: Mapping[str, str] | None) -> Call:
        done = subprocess.run(
            [sys.executable, "-m", "onerow", *words],
            cwd=self.folder,
            env=environment(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
        return Call(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """The same without waiting for it."""
        streams = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }
        return subprocess.Popen(
            [sys.executable, "-m", "onerow", *words],
            cwd=self.folder,
            env=environment(),
            encoding="utf-8",
            **(streams | options),
        )

    def _check(self, call: Call, words: tuple[str, ...], traceback: bool) -> None:
        assert call.code in (0, 1, 2, 130), call
        assert ("Traceback" in call.out + call.err) == traceback, call.err
        for secret in self.secrets:
            assert secret not in call.out + call.err
        if "--json" in words:
            assert isinstance(call.json, dict)

    def rules(self, text: str = RULES, name: str = "onerow.toml") -> Path:
        """Write a rule file."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path
