"""The server of a system in a process of its own, spoken to over HTTP.

with served("execution_data", url) as server, server.client(role="ADMIN", …) as http:
    http.get("/api/execution-data")
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import httpx

from systems.shared.web.server import in_thread as in_thread
from systems.shared.web.tokens import SECRET, Claims, Tokens
from tests.systems.support import FOLDER

KEY = "a-secret-of-the-tests-with-many-more-bytes-than-32"
TOKENS = Tokens(KEY)
PATIENCE = 30.0  #: seconds to listen, and to end


class Served:
    """A server that listens.

    Attributes:
        address: of its root.
    """

    def __init__(self, name: str, *words: str, env: Mapping[str, str]) -> None:
        self.name = name
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"systems.{name}", "serve", "--port", "0", *words],
            cwd=FOLDER.parent,
            env={**os.environ, SECRET: KEY, **env},
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=subprocess.STDOUT,
        )
        self.address = self._listening()

    @property
    def log(self) -> str:
        # Not through the file's own position: the process writes at it.
        return os.pread(self._said.fileno(), 10**7, 0).decode()

    def token(self, *, seconds: float = 600, **claims: Any) -> str:
        kind: type[Claims] = import_module(f"systems.{self.name}.claims").Claims
        return TOKENS.mint(kind(**{"sub": "tester", **claims}), seconds)

    def client(self, *, token: str | None = None, **claims: Any) -> httpx.Client:
        """A client with a token that says these claims, or with none when there are none."""
        token = token or (self.token(**claims) if claims else None)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.address, headers=headers, timeout=PATIENCE)

    def _listening(self) -> str:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            for line in self.log.splitlines():
                if line.startswith("Listening on http"):
                    return line.removeprefix("Listening on ")
            time.sleep(0.02)
        self.kill()
        raise AssertionError(f"it does not listen: {self.log}")

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@contextmanager
def served(
    name: str, url: str, *words: str, env: Mapping[str, str] = {}, failing: bool = False
) -> Iterator[Served]:
    """A system's server; it must end in order, and its log must hold neither traceback nor secret.

    Args:
        failing: it is a naive one that breaks: its tracebacks are expected.
    """
    server = Served(name, "--url", url, *words, env=env)
    try:
        yield server
        assert server.stop() == 0, server.log
        assert KEY not in server.log
        assert "eyJ" not in server.log, "a token is in the log"
        assert failing or "Traceback" not in server.log, server.log
    finally:
        server.kill()
        server._said.close()
