"""The command line in a process of its own, which can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onerow

SOURCE = Path(onerow.__file__).parents[1]


class Command:
    """`python -m onerow …` under way.

    Attributes:
        code: its exit code once it has ended, negative when it was killed.
    """

    def __init__(self, *arguments: str, folder: Path) -> None:
        paths = [str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])]
        # Into a file: a pipe that nobody reads could hold the process up.
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", "onerow", *arguments],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=subprocess.STDOUT,
        )

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def said(self) -> str:
        self._said.seek(0)
        return self._said.read()

    def kill(self) -> None:
        """SIGKILL: it cannot clean anything up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def wait(self, seconds: float | None = 60) -> int | None:
        """Its exit code; None when it has not ended until then."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def close(self) -> None:
        if self.running:
            self.kill()
        self._said.close()


@contextmanager
def command(*arguments: str, folder: Path) -> Iterator[Command]:
    """A command, killed at the latest when the block ends."""
    started = Command(*arguments, folder=folder)
    try:
        yield started
    finally:
        started.close()
